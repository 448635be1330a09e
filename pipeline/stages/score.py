"""score: every metric of every test clip at one operating point.

Sees original and decoded audio only. Writes scores/<point>.csv: one row per clip and metric, with
a value or the reason why there is none, and with provenance; no row of a point that was skipped.
First the metrics are tested themselves: a bench whose metric is not itself has no scores.
"""

import pandas as pd

from pipeline import layout, params
from pipeline.corpora import manifest
from pipeline.layout import TEST
from pipeline.metrics import scoring, selftest
from pipeline.results import tables
from pipeline.stage import enter, forced, progress


def main(point: str) -> None:
    if layout.skip_note(layout.DECODED, point).is_file():
        tables.write(layout.scores_table(point), pd.DataFrame(columns=scoring.COLUMNS))
        return
    settings = params.load().score
    selftest.require()
    clips = {clip.name: clip for clip in manifest.read(TEST)}
    pairs = [
        scoring.Pair(
            name, clip.kind, str(TEST / clip.file), str(layout.decoded_file(point, clip.name))
        )
        for name, clip in clips.items()
    ]
    scored = scoring.score(pairs, settings, again=forced())
    rows = [
        {**scoring.labels(point, clips[name]), **row}
        for name, found in progress(scored, len(pairs), point)
        for row in found
    ]
    table = pd.DataFrame(rows, columns=scoring.COLUMNS).sort_values(["clip", "metric"])
    tables.write(layout.scores_table(point), table, "%.6f")


if __name__ == "__main__":
    enter(main)
