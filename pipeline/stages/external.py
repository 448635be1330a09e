"""external: a table of scores from elsewhere, brought to the form of the bench's own.

The table has a row per point and clip: ``point``, ``clip`` (the test clip's file, or its name),
``payload_kbps``, and a column per metric, empty where it does not apply. Writes
coded/external-<name>.csv and scores/external-<name>.csv.
"""

import json
from pathlib import Path

import pandas as pd

from codec.errors import UserError
from pipeline import layout, params
from pipeline.corpora import manifest
from pipeline.layout import TEST
from pipeline.metrics import declared
from pipeline.metrics.scoring import COLUMNS
from pipeline.results import tables
from pipeline.stage import enter, log


def main(name: str) -> None:
    path = Path(params.load().external[name])
    clips = {clip.name: clip for clip in manifest.read(TEST)}
    table = read(path)
    table["clip"] = table["clip"].map(lambda file: Path(file).stem)
    known = table[table["clip"].isin(clips)]
    if known.empty:
        raise UserError(f"external.{name}: {path}: none of its clips is among the test clips")
    if len(known) < len(table):
        log.warning(
            "%s: %d of %d rows are of other clips", path, len(table) - len(known), len(table)
        )
    coded, scores = [], []
    for row in known.to_dict("records"):
        clip = clips[row["clip"]]
        common = {
            "point": row["point"],
            "clip": clip.name,
            "kind": clip.kind,
            "source": clip.source,
        }
        size = row["payload_kbps"] * 1000 * clip.seconds / 8
        coded.append(
            {**common, "seconds": clip.seconds, "file_bytes": size, "payload_bytes": size,
             "pcm_bytes": 2 * clip.channels * clip.seconds * clip.sample_rate,
             "about": json.dumps({"from": path.name}), "details": "{}"}
        )  # fmt: skip
        for metric in declared().values():
            if clip.kind in metric.kinds and metric.name in table:
                value = row[metric.name]
                scores.append(
                    {**common, "metric": metric.name, "value": value,
                     "reason": "" if pd.notna(value) else "not given",
                     "provenance": f"from {path.name}"}
                )  # fmt: skip
    own = layout.external(name)
    tables.write(layout.files_table(own), pd.DataFrame(coded))
    tables.write(layout.scores_table(own), pd.DataFrame(scores, columns=COLUMNS))


def read(path: Path) -> pd.DataFrame:
    """The table; UserError where it is none, or lacks a column."""
    needed = ("point", "clip", "payload_kbps")
    table = tables.read(path, {*needed, *declared()})
    for column in needed:
        if column not in table:
            raise UserError(f"{path}: has no column `{column}`")
    if not set(table) & set(declared()):
        raise UserError(f"{path}: has no column of a metric; those are {', '.join(declared())}")
    return table


if __name__ == "__main__":
    enter(main)
