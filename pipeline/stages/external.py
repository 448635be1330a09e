"""external: what other codecs made of the test clips elsewhere, as scores or as audio.

The table has a row per point and clip: ``point``, ``clip`` (the test clip's file, or its name) and
``payload_kbps``; then a column per metric, empty where it does not apply, or ``file``, the decoded
audio, which is scored here. Writes coded/external-<name>.csv and scores/external-<name>.csv.
"""

import json
from pathlib import Path

import pandas as pd

from codec import audio
from codec.errors import UserError
from pipeline import layout, params
from pipeline.corpora import manifest
from pipeline.corpora.manifest import Clip
from pipeline.layout import TEST
from pipeline.metrics import declared, scoring, selftest
from pipeline.params import Score
from pipeline.results import tables
from pipeline.stage import enter, forced, log, progress


def main(name: str) -> None:
    settings = params.load()
    path = Path(settings.external[name])
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
    coded = []
    for row in known.to_dict("records"):
        clip = clips[row["clip"]]
        size = row["payload_kbps"] * 1000 * clip.seconds / 8
        coded.append(
            {**scoring.labels(row["point"], clip), "seconds": clip.seconds,
             "file_bytes": size, "payload_bytes": size,
             "pcm_bytes": 2 * clip.channels * clip.seconds * clip.sample_rate,
             "about": json.dumps({"from": path.name}), "details": "{}"}
        )  # fmt: skip
    if "file" in known:
        scores = scored(known, clips, path, settings.score)
    else:
        scores = given(known, clips, path)
    own = layout.external(name)
    tables.write(layout.files_table(own), pd.DataFrame(coded))
    tables.write(layout.scores_table(own), pd.DataFrame(scores, columns=scoring.COLUMNS))


def read(path: Path) -> pd.DataFrame:
    """The table; UserError where it is none, or lacks a column."""
    needed = ("point", "clip", "payload_kbps")
    table = tables.read(path, {*needed, "file", *declared()})
    for column in needed:
        if column not in table:
            raise UserError(f"{path}: has no column `{column}`")
    found = set(table) & set(declared())
    if not found and "file" not in table:
        raise UserError(
            f"{path}: has no column of a metric, which are {', '.join(declared())}, and no column "
            "`file` of decoded audio"
        )
    if found and "file" in table:
        raise UserError(f"{path}: has both scores and audio to be scored; leave one of them out")
    return table


def given(table: pd.DataFrame, clips: dict[str, Clip], path: Path) -> list[scoring.Row]:
    """A row per clip and metric, with the score that stands in the table."""
    rows: list[scoring.Row] = []
    for row in table.to_dict("records"):
        clip = clips[row["clip"]]
        for metric in declared().values():
            if clip.kind in metric.kinds and metric.name in table:
                value = row[metric.name]
                rows.append(
                    {**scoring.labels(row["point"], clip), "metric": metric.name, "value": value,
                     "reason": "" if pd.notna(value) else "not given",
                     "provenance": f"from {path.name}"}
                )  # fmt: skip
    return rows


def scored(
    table: pd.DataFrame, clips: dict[str, Clip], path: Path, settings: Score
) -> list[scoring.Row]:
    """A row per clip and metric of the audio that the table names, from its own folder on."""
    selftest.require()
    of: dict[str, scoring.Row] = {}
    pairs = []
    for row in table.to_dict("records"):
        clip, decoded = clips[row["clip"]], path.parent / row["file"]
        require_alike(decoded, TEST / clip.file)
        name = f"{row['point']}, {clip.name}"
        of[name] = scoring.labels(row["point"], clip)
        pairs.append(scoring.Pair(name, clip.kind, str(TEST / clip.file), str(decoded)))
    found = progress(scoring.score(pairs, settings, again=forced()), len(pairs), path.name)
    rows = [{**of[name], **row} for name, rows in found for row in rows]
    return sorted(rows, key=lambda row: [str(row[key]) for key in ("point", "clip", "metric")])


def require_alike(decoded: Path, original: Path) -> None:
    """UserError where decoded audio is not of its original's rate, channels and length."""
    (ours, rate), (theirs, their_rate) = audio.read(original), audio.read(decoded)
    if (rate, ours.shape) != (their_rate, theirs.shape):
        raise UserError(
            f"{decoded}: {theirs.shape[0]} x {theirs.shape[1]} samples at {their_rate} Hz, and the "
            f"test clip {ours.shape[0]} x {ours.shape[1]} at {rate} Hz; bring it to the clip's form"
        )


if __name__ == "__main__":
    enter(main)
