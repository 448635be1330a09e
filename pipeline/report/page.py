"""The page: one HTML file with everything in it."""

import json
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import plotly.offline

from codec.files import write_text
from pipeline.metrics import METRICS
from pipeline.report import figures, provenance

KIND_TITLES = {"all": "All kinds", "speech": "Speech", "music": "Music", "general": "General"}
LOSSES = {
    "kbps": "estimated rate (kbps)",
    "recon": "reconstruction loss",
    "log_magnitude": "log-magnitude loss",
    "phase": "phase loss",
}


def write(
    path: Path,
    summary: dict[str, Any],
    curve: pd.DataFrame,
    training: dict[str, pd.DataFrame],
    tables: dict[str, pd.DataFrame],
    speed: pd.DataFrame,
    checked: list[dict[str, str]],
    params_text: str,
) -> None:
    """Write the page of a run.

    ``summary`` and ``curve`` are summary.json and rd.csv, ``training`` the curves by model,
    ``tables`` what stages write under models/, all models together, by file name; ``speed`` is
    speed.csv, ``checked`` the claims.
    """
    kinds = [kind for kind in KIND_TITLES if kind in set(curve.kind)]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = number
    html = environment.get_template("page.html.j2").render(
        summary=summary,
        kinds={kind: KIND_TITLES[kind] for kind in kinds},
        tables={kind: points_table(summary, curve, kind) for kind in kinds},
        metrics=METRICS,
        charts=charts(curve, kinds),
        training_charts=[f"training {column}" for column in LOSSES],
        entropy=tables["entropy"].to_dict("records"),
        coders=coders_table(tables["entropy_coders"]),
        codes=codes_table(tables["codes"]),
        ablations=ablations_table(summary),
        paired=[row for row in summary["paired"] if row.get("p") is not None],
        late=late(summary),
        speed=speed.to_dict("records"),
        claims=checked,
        revision=provenance.revision(),
        versions=provenance.versions(),
        machine=provenance.machine(),
        params_text=params_text,
        figures=embedded_json(
            figures.all_rate_distortion(curve, kinds)
            | {
                f"training {column}": figures.training(training, column, title)
                for column, title in LOSSES.items()
            }
            | {"bits per row": figures.bits_per_row(tables["codes"])}
        ),
        plotly=plotly.offline.get_plotlyjs(),
    )
    write_text(path, html)


def late(summary: dict[str, Any]) -> dict[str, float]:
    """Points whose audio comes later or earlier than the original's by more than 1 ms."""
    delays = {point: facts["delay_ms"] for point, facts in summary["points"].items()}
    return {point: delay for point, delay in delays.items() if delay and abs(delay) > 1}


def charts(curve: pd.DataFrame, kinds: list[str]) -> list[dict[str, Any]]:
    """One chart per metric that has scores: its name, title and the kinds it can show."""
    return [
        {
            "name": metric.name,
            "title": metric.title,
            "kinds": [kind for kind in kinds if kind in found],
        }
        for metric in METRICS.values()
        if (found := set(curve[curve.metric == metric.name].kind))
    ]


def points_table(summary: dict[str, Any], curve: pd.DataFrame, kind: str) -> dict[str, Any]:
    """Metrics with scores for ``kind``, and a row per point with its rates and those scores."""
    names = [name for name in METRICS if ((curve.metric == name) & (curve.kind == kind)).any()]
    rows = []
    for point, facts in summary["points"].items():
        scores = [facts["metrics"].get(name, {}).get(kind) for name in names]
        coder = curve[curve.point == point].coder.iloc[0]
        rates = facts["rates"].get(kind)
        if rates is None:
            continue  # a series from elsewhere need not have clips of every kind
        rows.append(
            {
                "point": point,
                "coder": coder,
                "chosen": facts["chosen"],
                "rates": rates,
                "scores": scores,
            }
        )
    rows.sort(key=lambda row: row["rates"]["file_kbps"])
    return {"metrics": names, "rows": rows}


def ablations_table(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """For each ablation what it changes, its rate and scores, and those of the whole model.

    Scores are of all kinds where the metric has them, else of speech.
    """
    rows = []
    for ablation in summary["ablations"]:
        own, whole = (summary["points"][ablation[key]] for key in ("point", "of"))
        change = [
            f"{part}.{key} {value}"
            for part, values in ablation["change"].items()
            for key, value in values.items()
        ]
        scores = []
        for name in METRICS:
            kinds = [kind for kind in ("all", "speech") if kind in own["metrics"].get(name, {})]
            found = (facts["metrics"][name][kinds[0]]["mean"] for facts in (own, whole))
            scores.append(tuple(found) if kinds else (None, None))
        rates = tuple(facts["rates"]["all"]["file_kbps"] for facts in (own, whole))
        rows.append({**ablation, "change": ", ".join(change), "rates": rates, "scores": scores})
    return rows


def coders_table(coders: pd.DataFrame) -> dict[str, Any]:
    """Names of the entropy codes, and a row per model with kbps and bits per symbol of each."""
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


def number(value: float | None, digits: int = 2) -> str:
    """A number for a table; a dash where there is none."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")


def embedded_json(value: object) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
