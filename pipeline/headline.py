"""The result in words, computed from the curve."""

from typing import Any

import numpy as np
import pandas as pd

METRIC = "visqol_audio"
"""The one metric that scores every kind of clip."""


def headline(curve: pd.DataFrame, bd_rates: list[dict[str, object]]) -> str:
    """One or two sentences on ``METRIC`` over all kinds, against Opus at measured file rates."""
    kind = "all" if "all" in set(curve[curve.metric == METRIC].kind) else curve.kind.iloc[0]
    rows = curve[(curve.metric == METRIC) & (curve.kind == kind)].dropna(subset=["mean"])
    neural = rows[rows.coder == "neural"].sort_values("file_kbps")
    opus = rows[rows.coder == "opus"].sort_values("file_kbps")
    if neural.empty or opus.empty:
        return "No clip could be scored, so there is nothing to say about quality."
    found = next((row for row in bd_rates if row["metric"] == METRIC and row["kind"] == kind), {})
    percent = found.get("percent")
    sentences = []
    if isinstance(percent, float):
        word = "less" if percent < 0 else "more"
        sentences.append(
            f"For the same ViSQOL audio score, the neural codec needs {abs(percent):.0f} % {word} "
            "bitrate than Opus, on average over the scores that both reach."
        )
    sentences.append(_nearest(neural, opus))
    return " ".join(sentences)


def _nearest(neural: pd.DataFrame, opus: pd.DataFrame) -> str:
    """The neural point closest to Opus's lowest rate, beside Opus at that rate or at its lowest."""
    lowest = opus.iloc[0]
    point = neural.iloc[int(np.argmin(np.abs(np.log(neural.file_kbps / lowest.file_kbps))))]
    said = (
        f"At {point.file_kbps:.1f} kbps of file it scores {point['mean']:.2f}{_interval(point)}; "
    )
    rates = np.log(opus.file_kbps.to_numpy(float))
    at = float(np.log(point.file_kbps))
    if rates[0] <= at <= rates[-1]:
        score = float(np.interp(at, rates, opus["mean"].to_numpy(float)))
        return said + f"Opus, interpolated at that rate, {score:.2f}."
    return said + (
        f"Opus scores {lowest['mean']:.2f}{_interval(lowest)} at its lowest, "
        f"{lowest.file_kbps:.1f} kbps."
    )


def _interval(point: "pd.Series[Any]") -> str:
    low, high = float(str(point.low)), float(str(point.high))
    return "" if np.isnan(low) else f" ({low:.2f} to {high:.2f})"
