"""What the pages play: points at like rates, clip by clip, and their audio as scripts.

Browsers let a page that was opened from a disk run scripts beside it, and read no other file. So
every piece of audio is a script with the FLAC file that was scored, in base64; it is loaded when
somebody asks for it.
"""

import base64
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyloudnorm
from numpy.typing import NDArray

from codec import audio
from codec.files import write_text
from pipeline import layout
from pipeline.corpora.manifest import Clip
from pipeline.metrics import declared
from pipeline.params.points import is_opus
from pipeline.report import figures
from pipeline.results.headline import METRIC, NAMES, tested_series
from pipeline.results.summary import Envelope

ORIGINAL = "original"


@dataclass(frozen=True)
class Pair:
    """A neural point and the Opus point at the nearest measured rate, with both file rates."""

    neural: str
    anchor: str
    neural_kbps: float
    anchor_kbps: float


def pairs(curve: pd.DataFrame, count: int, envelopes: Sequence[Envelope] = ()) -> list[Pair]:
    """The ``count`` neural points that come nearest to a point of Opus, by rising rate.

    Of Opus those that are its best at some rate, by the metric whose chart comes first.
    """
    widest = _widest(curve)
    points = curve[curve.kind == widest].drop_duplicates("point").set_index("point")
    rates, series = points.file_kbps, points.series
    neural = rates[series == tested_series(curve)]
    best = figures.best(curve, envelopes).get((METRIC, widest))
    anchors = rates[series.map(is_opus)] if best is None else rates[rates.index.isin(best)]
    if anchors.empty:
        return []
    found = []
    for point, kbps in neural.items():
        distances = np.abs(np.log(anchors.to_numpy(float) / float(kbps)))
        nearest = int(distances.argmin())
        pair = Pair(
            str(point), str(anchors.index[nearest]), float(kbps), float(anchors.iloc[nearest])
        )
        found.append((float(distances[nearest]), pair))
    chosen = sorted(found, key=lambda one: (one[0], one[1].neural))[:count]
    return sorted((pair for _, pair in chosen), key=lambda pair: pair.neural_kbps)


@dataclass(frozen=True)
class Peer:
    """A point of a codec that is neither ours nor Opus."""

    point: str
    kbps: float


def peer(curve: pd.DataFrame, chosen: list[Pair], coded: Collection[str]) -> Peer | None:
    """The peer at the rate nearest to the middle pair's; None where none of them was ``coded``."""
    points = curve[curve.kind == _widest(curve)].drop_duplicates("point")
    others = points[
        points.point.isin(coded)
        & ~points.series.isin([*NAMES, "ablation"])
        & ~points.series.map(is_opus)
    ]
    if others.empty or not chosen:
        return None
    wanted = chosen[(len(chosen) - 1) // 2].neural_kbps
    nearest = others.iloc[int(np.abs(np.log(others.file_kbps.to_numpy(float) / wanted)).argmin())]
    return Peer(str(nearest.point), float(nearest.file_kbps))


def _widest(curve: pd.DataFrame) -> str:
    return "all" if "all" in set(curve.kind) else str(curve.kind.iloc[0])


def points_of(chosen: list[Pair], other: Peer | None = None) -> list[str]:
    """Every point that is played, once."""
    found = [point for pair in chosen for point in (pair.neural, pair.anchor)]
    return list(dict.fromkeys([*found, *([other.point] if other else [])]))


def rows(
    clips: list[Clip], points: list[str], files: pd.DataFrame, scores: pd.DataFrame
) -> list[dict[str, Any]]:
    """A row per clip: name, kind, seconds, and rate and scores at each of the ``points`` played.

    ``files`` and ``scores`` are coded/*.csv and scores/*.csv of all points; a missing score is
    its reason.
    """
    rates = (8 * files.file_bytes / files.seconds / 1000).round(3)
    kbps = {
        (row.point, row.clip): rate for row, rate in zip(files.itertuples(), rates, strict=True)
    }
    played = scores[scores.point.isin(points)]
    values = {
        key: reason if np.isnan(value) else round(value, 4)
        for key, value, reason in zip(
            zip(played["point"], played["clip"], played["metric"], strict=True),
            played["value"].to_numpy(float),
            played["reason"],
            strict=True,
        )
    }
    return [
        {
            "clip": clip.name,
            "kind": clip.kind,
            "seconds": clip.seconds,
            "points": {
                point: {
                    "kbps": kbps[point, clip.name],
                    "scores": {
                        name: values[point, clip.name, name]
                        for name in declared()
                        if (point, clip.name, name) in values
                    },
                }
                for point in points
            },
        }
        for clip in clips
    ]


def write_audio(
    folder: Path, split: Path, clips: list[Clip], points: list[str], files: pd.DataFrame
) -> None:
    """Write ``folder``/NUMBER-POINT.js for every clip's original and its points.

    ``split`` holds the originals. Each script calls ``rdcodec.receive`` with its own name, the
    FLAC file, its loudness in LUFS (ITU-R BS.1770-4; null of silence and of clips under 0.4 s) and,
    for a point whose coder can tell, the payload bits of every tenth of a second.
    """
    folder.mkdir(parents=True)
    timelines = {(row.point, row.clip): str(row.timeline or "null") for row in files.itertuples()}
    for number, clip in enumerate(clips):
        _write(folder, f"{number}-{ORIGINAL}", split / clip.file, "null")
        for point in points:
            path = layout.decoded_file(point, clip.name)
            _write(folder, f"{number}-{point}", path, timelines[point, clip.name])


def _write(folder: Path, name: str, path: Path, timeline: str) -> None:
    data = base64.b64encode(path.read_bytes()).decode()
    lufs = json.dumps(loudness(*audio.read(path)))
    write_text(
        folder / f"{name}.js",
        f"rdcodec.receive({json.dumps(name)},"
        f'{{"flac":"{data}","lufs":{lufs},"timeline":{timeline}}});\n',
    )


def loudness(waveform: NDArray[np.float32], sample_rate: int) -> float | None:
    """Of a (channels, samples) waveform in LUFS; None where it is too short or silent."""
    meter = pyloudnorm.Meter(sample_rate)
    if waveform.shape[1] < meter.block_size * sample_rate or waveform.shape[0] > 5:
        return None
    found = float(meter.integrated_loudness(waveform.T.astype(np.float64)))
    return round(found, 2) if np.isfinite(found) else None
