"""anchors: Opus at every setting of the run on validation clips, where its best are chosen.

So no test clip has a say in it. Writes reports/anchors.csv: one row per point, metric and kind (and
`all` kinds), with the mean, the rate in kbps, and how many clips have a score.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codec import audio
from pipeline import params
from pipeline.coders import Coder, Unavailable, build
from pipeline.coders.bench import decode
from pipeline.corpora import manifest
from pipeline.corpora.manifest import KINDS, Clip
from pipeline.layout import ANCHORS, VALID
from pipeline.metrics import scoring, selftest
from pipeline.params.points import is_opus
from pipeline.results import tables
from pipeline.results.curve import ALL
from pipeline.stage import enter, forced, progress

CLIPS = 12
"""Of each kind, at most."""
SECONDS = 5.0
"""Of each, from its middle."""


def main() -> None:
    settings = params.load()
    selftest.require()
    points = {name: series for name, series in settings.series().items() if is_opus(series)}
    with tempfile.TemporaryDirectory() as folder:
        originals = excerpts(Path(folder))
        files: list[dict[str, Any]] = []
        for point in progress(list(points), len(points), "coded"):
            try:
                files += code(point, build(*settings.coder_of(point)), originals)
            except Unavailable:  # its stage `code` says so
                del points[point]
        pairs = [
            scoring.Pair(row["pair"], row["kind"], row["reference"], row["degraded"])
            for row in files
        ]
        scores = [
            {"pair": name, "metric": row["metric"], "value": row["value"]}
            for name, found in progress(
                scoring.score(pairs, settings.score, again=forced()), len(pairs), "scored"
            )
            for row in found
        ]
    tables.write(ANCHORS, means(pd.DataFrame(files), pd.DataFrame(scores), points), "%.6g")


def without_clips() -> None:
    """Write the table without rows, where there are no validation clips to choose with."""
    tables.write(ANCHORS, means(pd.DataFrame(), pd.DataFrame(), {}))


@dataclass(frozen=True)
class Excerpt:
    """The middle of a validation clip, (channels, samples), which ``path`` holds too."""

    clip: Clip
    waveform: NDArray[np.float32]
    sample_rate: int
    path: Path


def excerpts(folder: Path) -> list[Excerpt]:
    """Some clips' excerpts, written to ``folder``."""
    found = []
    for clip in some_of(manifest.read(VALID)):
        whole, rate = audio.read(VALID / clip.file)
        found.append(Excerpt(clip, middle(whole, rate), rate, folder / f"{clip.name}.flac"))
        audio.write(found[-1].path, found[-1].waveform, rate)
    return found


def code(point: str, coder: Coder, originals: list[Excerpt]) -> list[dict[str, Any]]:
    """A row for each excerpt: what it is, its bytes, its file and that of what was decoded."""
    rows = []
    for original in originals:
        clip, waveform, rate = original.clip, original.waveform, original.sample_rate
        data = coder.encode(waveform, rate)
        degraded = original.path.parent / point / original.path.name
        audio.write(degraded, decode(coder, data, rate, waveform.shape[-1]), rate)
        rows.append(
            {
                "pair": f"{point}/{clip.name}",
                "point": point,
                "kind": clip.kind,
                "seconds": waveform.shape[-1] / rate,
                "file_bytes": len(data),
                "reference": str(original.path),
                "degraded": str(degraded),
            }
        )
    return rows


def some_of(clips: list[Clip]) -> list[Clip]:
    """At most ``CLIPS`` of each kind, spread over the names."""
    found = []
    for kind in KINDS:
        of_kind = [clip for clip in clips if clip.kind == kind]
        places = np.linspace(0, len(of_kind) - 1, min(CLIPS, len(of_kind))).round().astype(int)
        found += [of_kind[place] for place in places]
    return found


def middle(waveform: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """(channels, samples) to ``SECONDS`` of it at most."""
    length = min(waveform.shape[-1], round(SECONDS * rate))
    start = (waveform.shape[-1] - length) // 2
    return waveform[:, start : start + length]


def means(files: pd.DataFrame, scores: pd.DataFrame, series: dict[str, str]) -> pd.DataFrame:
    """The table of anchors.csv from a row per point and clip, a pair, and one per pair and metric.

    No rows where the run has no point of Opus.
    """
    columns = ["point", "series", "metric", "kind", "mean", "file_kbps", "n_scored"]
    rows = []
    for point, name in series.items():
        both = scores.merge(files[files.point == point], on="pair").sort_values("pair")
        for metric, found in both.groupby("metric"):
            for kind in [*(kind for kind in KINDS if kind in set(found.kind)), ALL]:
                part = found if kind == ALL else found[found.kind == kind]
                values = part.value.astype(float)
                kbps = 8 * part.file_bytes.sum() / part.seconds.sum() / 1000
                rows.append(
                    (point, name, metric, kind, values.mean(), kbps, int(values.notna().sum()))
                )
    return pd.DataFrame(rows, columns=columns)


if __name__ == "__main__":
    enter(main)
