"""score: every metric of every test clip at one operating point.

Sees original and decoded audio only. Writes scores/<point>.csv: one row per clip and metric, with
a value or the reason why there is none, and with provenance. First the metrics are tested
themselves: a bench whose metric is not itself has no scores.
"""

from pathlib import Path

import pandas as pd

from pipeline import params
from pipeline.coders.bench import decoded_path
from pipeline.corpora import manifest
from pipeline.metrics import scoring, selftest
from pipeline.results import tables
from pipeline.stage import forced, progress, run
from pipeline.stages.prepare import TEST

SCORES = Path("scores")
COLUMNS = ["point", "clip", "kind", "source", "metric", "value", "reason", "provenance"]


def main(point: str) -> None:
    settings = params.load().score
    selftest.check()
    clips = {clip.name: clip for clip in manifest.read(TEST)}
    pairs = [
        scoring.Pair(name, clip.kind, str(TEST / clip.file), str(decoded_path(point, clip)))
        for name, clip in clips.items()
    ]
    scored = scoring.score(pairs, settings, again=forced())
    rows = [
        {
            "point": point,
            "clip": name,
            "kind": clips[name].kind,
            "source": clips[name].source,
            **row,
        }
        for name, found in progress(scored, len(pairs), point)
        for row in found
    ]
    table = pd.DataFrame(rows, columns=COLUMNS).sort_values(["clip", "metric"])
    tables.write(SCORES / f"{point}.csv", table, "%.6f")


if __name__ == "__main__":
    run(main)
