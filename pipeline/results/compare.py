"""Two runs beside each other: their curves, BD-rates and paired tests, on the report's page."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException

from codec.errors import UserError
from pipeline.git import git
from pipeline.params import Statistics
from pipeline.report import page
from pipeline.results import tables
from pipeline.results.comparisons import Bench
from pipeline.results.headline import METRIC, saving
from pipeline.results.summary import Cost

CURVE = "reports/rd.csv"
TESTED = "neural"
COMPARED = [TESTED, "rvq", "opus"]
"""Series that are shown of both runs, where they differ."""
LATER = ["chosen", "worst", "bandwidth_khz", *Cost.model_fields]
"""Columns that rd.csv of earlier versions has not got."""


@dataclass(frozen=True)
class Results:
    """What a run measured: rd.csv, and all of scores/*.csv and coded/*.csv."""

    name: str
    curve: pd.DataFrame
    scores: pd.DataFrame
    files: pd.DataFrame


def load(place: str) -> Results:
    """The results of a folder, or of a git revision, whose tables DVC keeps in its cache.

    Raises UserError where there is neither, or where the results are not there.
    """
    folder = Path(place)
    if folder.is_dir():
        name = "the working tree" if folder.samefile(".") else folder.resolve().name
        return _tables(name, lambda table: (folder / table).read_bytes())
    try:
        git("rev-parse", "--verify", f"{place}^{{commit}}")
    except UserError as error:
        raise UserError(f"{place}: neither a folder nor a git revision: {error}") from error
    return _tables(place, DVCFileSystem(repo=".", rev=place).read_bytes)


def _tables(place: str, read: Callable[[str], bytes]) -> Results:
    def table(name: str) -> pd.DataFrame:
        try:
            data = read(name)
        except (OSError, DvcException) as error:
            raise UserError(
                f"{place}: {name} is not there; run the pipeline there, or `dvc fetch` the "
                "results of that revision"
            ) from error
        return tables.parse(data, f"{place}: {name}")

    curve = table(CURVE)
    for column in LATER:
        curve[column] = curve.get(column, "" if column in tables.TEXT else float("nan"))
    if "series" not in curve:  # as 0.1.0 called it
        curve = curve.rename(columns={"coder": "series"})
    # Series from elsewhere and other coders are no runs of ours to compare.
    curve = curve[curve.series.isin(COMPARED)].reset_index(drop=True)
    if TESTED not in set(curve.series):
        raise UserError(f"{place}: {CURVE} has no point of the neural codec")
    names = list(dict.fromkeys(curve.point))
    scores = pd.concat([table(f"scores/{name}.csv") for name in names], ignore_index=True)
    files = pd.concat(
        [table(f"coded/{name}.csv").assign(point=name) for name in names], ignore_index=True
    )
    return Results(place, curve, scores, files)


def check_same_clips(before: Results, after: Results) -> None:
    """UserError unless both were scored on the same clips."""
    clips = [
        found.files[["clip", "kind", "source", "seconds"]]
        .drop_duplicates()
        .sort_values("clip")
        .to_csv(index=False)
        for found in (before, after)
    ]
    if clips[0] != clips[1]:
        raise UserError(
            f"{before.name} and {after.name} were scored on other clips, so their scores cannot "
            "be compared"
        )


def joined(before: Results, after: Results) -> Results:
    """Both runs as one: the first one's series and points carry its name.

    Series that both have alike, as Opus usually, are there once.
    """

    def renamed(table: pd.DataFrame, points: set[str]) -> pd.DataFrame:
        kept = table[table.point.isin(points)].copy()
        kept["point"] += f" ({before.name})"
        return kept

    points = set()
    for series in COMPARED:
        own, theirs = (
            found.curve[found.curve.series == series].drop(columns=LATER).reset_index(drop=True)
            for found in (before, after)
        )
        if series == TESTED or not own.equals(theirs):
            points |= set(own.point)
    curve = renamed(before.curve, points)
    curve["series"] += f" ({before.name})"
    return Results(
        after.name,
        pd.concat([after.curve, curve], ignore_index=True),
        pd.concat([after.scores, renamed(before.scores, points)], ignore_index=True),
        pd.concat([after.files, renamed(before.files, points)], ignore_index=True),
    )


def compare(before: Results, after: Results, statistics: Statistics, seed: int) -> dict[str, Any]:
    """Headline, BD-rates and paired tests of ``after`` against ``before``, with their curve."""
    check_same_clips(before, after)
    both = joined(before, after)
    anchor = f"{TESTED} ({before.name})"
    bench = Bench(both.curve, both.scores, both.files, statistics, seed, anchor, TESTED)
    bd_rates = bench.bd_rates()
    kinds = page.kinds_of(both.curve)
    told = [row for row in bd_rates if (row.metric, row.kind) == (METRIC, kinds[0])]
    sentence = saving(told[0], after.name, before.name) if told else ""
    return {
        "before": before.name,
        "after": after.name,
        "headline": sentence or f"No BD-rate of {after.name} against {before.name} can be given.",
        "curve": both.curve,
        "bd_rate": bd_rates,
        "paired": bench.paired_tests(),
    }


def table(compared: dict[str, Any]) -> str:
    """BD-rates in lines for a terminal."""
    rows = [
        {
            "metric": row.metric,
            "kind": row.kind,
            "BD-rate %": None if row.percent is None else round(row.percent, 2),
            "interval": "" if row.low is None else f"{row.low:.1f} to {row.high:.1f}",
            "over scores": "" if row.scores is None else "{:.4g} to {:.4g}".format(*row.scores),
            "reason": row.reason,
        }
        for row in compared["bd_rate"]
    ]
    return pd.DataFrame(rows).to_string(index=False, na_rep="none")
