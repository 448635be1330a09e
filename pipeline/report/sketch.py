"""The first curve as plain SVG, seen before the library of the figures is loaded."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.metrics import declared
from pipeline.report.figures import KBPS_TICKS, lines, series_of

WIDTH, HEIGHT = 1000, 400
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 12, 40


def sketch(curve: pd.DataFrame, metric: str, kind: str, best: Sequence[str] = ()) -> dict[str, Any]:
    """Ticks, bands and lines of one metric and kind, in the coordinates of the template's view.

    Drawn as plotly does later: file kbps on a logarithmic axis, a line and a band per series.
    """
    rows = curve[(curve.metric == metric) & (curve.kind == kind)].dropna(subset=["mean"])
    rows = rows[rows.series.isin(series_of(curve))].sort_values("file_kbps")
    rates = np.log(rows.file_kbps.to_numpy(float))
    edges = rows[["mean", "low", "high"]].to_numpy(float)
    (first, last), (lowest, highest) = (
        _widened(float(np.nanmin(values)), float(np.nanmax(values))) for values in (rates, edges)
    )

    def x(kbps: Any) -> Any:
        return LEFT + (np.log(kbps) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    top, bottom = highest, lowest
    if not declared()[metric].higher_is_better:
        top, bottom = lowest, highest

    def y(score: Any) -> Any:
        return TOP + (top - score) / (top - bottom) * (HEIGHT - TOP - BOTTOM)

    drawn = []
    for name, style, part in lines(curve, rows, best):
        known = part[:0] if style.width < 2 else part.dropna(subset=["low"])
        band = [*zip(known.file_kbps, known.high, strict=True),
                *zip(known.file_kbps[::-1], known.low[::-1], strict=True)]  # fmt: skip
        drawn.append({
            "name": name,
            "style": style,
            "points": _path([(x(kbps), y(score))
                             for kbps, score in zip(part.file_kbps, part["mean"], strict=True)]),
            "band": _path([(x(kbps), y(score)) for kbps, score in band]),
        })  # fmt: skip
    step = 10 ** np.floor(np.log10(highest - lowest))
    scores = np.arange(np.ceil(lowest / step), np.floor(highest / step) + 1) * step
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "bottom": HEIGHT - BOTTOM,
        "right": WIDTH - RIGHT,
        "kbps": [(k, round(float(x(k)), 1)) for k in KBPS_TICKS if first < np.log(k) < last],
        "scores": [(f"{score:g}", round(float(y(score)), 1)) for score in scores],
        "lines": drawn,
    }


def _widened(low: float, high: float) -> tuple[float, float]:
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room


def _path(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
