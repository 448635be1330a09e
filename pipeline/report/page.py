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
    "log_magnitude": "log-magnitude loss",
    "phase": "phase loss",
}


def write(
    path: Path,
    summary: dict[str, Any],
    curve: pd.DataFrame,
    training: dict[str, pd.DataFrame],
    entropy: pd.DataFrame,
    params_text: str,
) -> None:
    """Write the page of a run: its summary, rd.csv, training curves, entropy table and params."""
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
        entropy=entropy.to_dict("records"),
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
        ),
        plotly=plotly.offline.get_plotlyjs(),
    )
    write_text(path, html)


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
        rows.append({"point": point, "rates": facts["rates"][kind], "scores": scores})
    rows.sort(key=lambda row: row["rates"]["file_kbps"])
    return {"metrics": names, "rows": rows}


def number(value: float | None, digits: int = 2) -> str:
    """A number for a table; a dash where there is none."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")


def embedded_json(value: object) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
