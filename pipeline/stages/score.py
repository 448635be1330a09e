"""score: every metric of every test clip at one operating point.

Sees original and decoded audio only. Writes scores/<point>.csv: one row per clip and metric, with
a value or the reason why there is none, and with provenance.
"""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from codec import audio
from codec.files import write_text
from pipeline import params
from pipeline.coders.bench import decoded_path
from pipeline.corpora import manifest
from pipeline.metrics import METRICS, Unscorable, measure
from pipeline.stage import cores, progress, run
from pipeline.stages.prepare import TEST

SCORES = Path("scores")
COLUMNS = ["point", "clip", "kind", "source", "metric", "value", "reason", "provenance"]


def main(point: str) -> None:
    jobs = params.load().score.jobs or cores()
    # Long clips first: the last process to finish then has little to do alone.
    clips = sorted(manifest.read(TEST), key=lambda clip: -clip.seconds)
    with ProcessPoolExecutor(min(jobs, len(clips)), mp_context=get_context("spawn")) as pool:
        scored = pool.map(partial(score_clip, point), clips)
        rows = [row for found in progress(scored, len(clips), point) for row in found]
    table = pd.DataFrame(rows, columns=COLUMNS).sort_values(["clip", "metric"])
    write_text(SCORES / f"{point}.csv", table.to_csv(index=False, float_format="%.6f"))


def score_clip(point: str, clip: manifest.Clip) -> list[dict[str, object]]:
    """The rows of one clip: all metrics that are made for its kind."""
    reference, rate = audio.read(TEST / clip.file)
    degraded, degraded_rate = audio.read(decoded_path(point, clip))
    if (rate, reference.shape) != (degraded_rate, degraded.shape):
        raise RuntimeError(
            f"{point}, {clip.name}: decoded audio is {degraded.shape} at {degraded_rate} Hz, "
            f"the original {reference.shape} at {rate} Hz"
        )
    rows: list[dict[str, object]] = []
    for metric in METRICS.values():
        if clip.kind not in metric.kinds:
            continue
        value, reason = None, ""
        try:
            value = measure(metric, reference=reference, degraded=degraded, sample_rate=rate)
        except Unscorable as error:
            reason = str(error)
        rows.append(
            {
                "point": point,
                "clip": clip.name,
                "kind": clip.kind,
                "source": clip.source,
                "metric": metric.name,
                "value": value,
                "reason": reason,
                "provenance": metric.provenance(),
            }
        )
    return rows


if __name__ == "__main__":
    run(main)
