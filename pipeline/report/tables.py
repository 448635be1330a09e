"""Rows of the page's tables."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.metrics import declared
from pipeline.results import worth
from pipeline.results.headline import METRIC, no_saving
from pipeline.results.stretches import GRID, in_words
from pipeline.results.summary import BdRate, Cost, Crossing, Rate, Stretch, Summary


def points_table(curve: pd.DataFrame, kind: str) -> dict[str, Any]:
    """Metrics with scores for ``kind``, and a row per point with its rates, costs and scores."""
    of_kind = curve[curve.kind == kind]
    known = set(of_kind.dropna(subset=["mean"]).metric)
    names = [name for name in declared() if name in known]
    rows = []
    for point, found in of_kind.groupby("point", sort=False):
        by_metric = {
            row["metric"]: {key: _known(value) for key, value in row.items()}
            for row in found.to_dict("records")
        }
        first = next(iter(by_metric.values()))
        rows.append(
            {
                "point": point,
                "series": first["series"],
                "chosen": first["chosen"],
                "rates": {name: first[name] for name in Rate.model_fields},
                "bandwidth_khz": first["bandwidth_khz"],
                "cost": {name: first[name] for name in Cost.model_fields},
                "scores": [by_metric.get(name) for name in names],
            }
        )
    rows.sort(key=lambda row: row["rates"]["file_kbps"])
    return {"metrics": names, "rows": rows}


def _known(value: Any) -> Any:
    """None for a number that is none."""
    return None if pd.isna(value) else value


def bars(found: list[Stretch], kinds: list[str], titles: dict[str, str]) -> dict[str, Any]:
    """A bar of rates for each kind, and the ticks under them; places in percent of the width."""

    def place(kbps: float) -> float:
        return round(float(100 * np.log(kbps / GRID[0]) / np.log(GRID[-1] / GRID[0])), 2)

    rows = []
    for kind in kinds if found else []:
        own = [one for one in found if one.kind == kind]
        parts = [
            {
                "judgement": one.judgement,
                "left": place(one.lowest),
                "width": round(place(one.highest) - place(one.lowest), 2),
                "title": in_words([one]),
            }
            for one in own
        ]
        words = in_words(own)
        rows.append(
            {"title": titles[kind], "words": f"{words[0].upper()}{words[1:]}.", "parts": parts}
        )
    return {"rows": rows, "ticks": [(kbps, place(kbps)) for kbps in (1, 2, 4, 8, 16, 32, 64)]}


def ablations_table(summary: Summary) -> list[dict[str, Any]]:
    """For each ablation what it changes, its rate and scores, and those of the whole model.

    Scores are of all kinds where the metric has them, else of speech.
    """
    rows = []
    for ablation in summary.ablations:
        own, whole = summary.points[ablation.point], summary.points[ablation.of]
        change = [
            f"{part}.{key} {value}"
            for part, values in ablation.change.items()
            for key, value in values.items()
        ]
        scores = []
        for name in declared():
            kinds = [kind for kind in ("all", "speech") if kind in own.metrics.get(name, {})]
            found = (facts.metrics[name][kinds[0]].mean for facts in (own, whole))
            scores.append(tuple(found) if kinds else (None, None))
        rates = tuple(facts.rates["all"].file_kbps for facts in (own, whole))
        about = {"point": ablation.point, "of": ablation.of, "change": ", ".join(change)}
        rows.append({**about, "rates": rates, "scores": scores})
    return rows


def coders_table(coders: pd.DataFrame) -> dict[str, Any]:
    """Names of the entropy codes, and a row per model with kbps and bits per symbol of each."""
    if coders.empty:
        return {"names": [], "rows": []}
    names = list(dict.fromkeys(coders.coder))
    rows = []
    for model, found in coders.groupby("model", sort=False):
        cells = found.set_index("coder").loc[names]
        rows.append(
            {"model": model, "cells": cells[["kbps", "bits_per_symbol"]].to_dict("records")}
        )
    return {"names": names, "rows": rows}


def codes_table(codes: pd.DataFrame) -> list[dict[str, Any]]:
    """For each model the use of its codes; for codebooks, one by one."""
    rows: list[dict[str, Any]] = []
    if codes.empty:
        return rows
    for model, found in codes.groupby("model", sort=False):
        residual = bool(found["of"].notna().any())
        parts = [(f", codebook {row + 1}", found[found.row == row]) for row in found.row]
        for name, part in parts if residual else [("", found)]:
            rows.append(
                {
                    "name": f"{model}{name}",
                    "in_use": float(part.in_use.mean()),
                    "of": int(part["of"].iloc[0]) if residual else None,
                    "entropy": float(part.entropy.mean()),
                    "bits_per_symbol": float(part.bits_per_symbol.mean()),
                    "silent": None if residual else int((part.in_use == 1).sum()),
                    "rows": len(part),
                }
            )
    return rows


def worth_table(found: list[worth.Worth]) -> dict[str, Any]:
    """Columns, and a row per installed metric: its cells, and what else is known of it."""
    by_name = {one.metric: worth.cells(one) for one in found}
    rows = [
        {
            "title": metric.title,
            "cells": by_name[name][1:] if name in by_name else ["–"] * (len(worth.COLUMNS) - 1),
            "judged": metric.judged,
        }
        for name, metric in declared().items()
    ]
    return {"columns": worth.COLUMNS[1:], "rows": rows}


def cards(
    bd_rates: list[BdRate], crossings: list[Crossing], kinds: list[str]
) -> list[dict[str, Any]]:
    """For each kind its BD-rates, those that could be computed first, of them the headline's.

    The first is shown large, unless there is a reason ``why`` none may stand for all.
    """
    found = []
    for kind in kinds:
        rows = [row for row in bd_rates if row.kind == kind]
        rows.sort(key=lambda row: (row.percent is None, row.metric != METRIC))
        if rows:
            why = no_saving(kind, bd_rates, crossings)
            first, rest = (None, rows) if why else (rows[0], rows[1:])
            found.append({"kind": kind, "why": why, "first": first, "rest": rest})
    return found
