"""The result in words, computed from the curve."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.metrics import METRICS

METRIC = "visqol_audio"
"""The one metric that scores every kind of clip."""


def headline(curve: pd.DataFrame, bd_rates: list[dict[str, object]]) -> list[str]:
    """Where the neural codec stands against Opus at measured file rates, in some sentences.

    First ``METRIC`` over all kinds; then, because one metric is not the whole truth, on which side
    of Opus's curve the neural points lie by each metric that scores speech.
    """
    kind = "all" if "all" in set(curve[curve.metric == METRIC].kind) else curve.kind.iloc[0]
    rows = curve[(curve.metric == METRIC) & (curve.kind == kind)].dropna(subset=["mean"])
    neural, opus = _curves(rows)
    if neural.empty or opus.empty:
        return ["No clip could be scored, so there is nothing to say about quality."]
    found = next((row for row in bd_rates if row["metric"] == METRIC and row["kind"] == kind), {})
    percent = found.get("percent")
    sentences = []
    if isinstance(percent, float):
        word = "less" if percent < 0 else "more"
        sentences.append(
            f"For the same ViSQOL audio score, the neural codec needs {abs(percent):.0f} % {word} "
            "bitrate than Opus, on average over the scores that both reach, "
            f"{_common(neural, opus)}."
        )
    sentences.append(_nearest(neural, opus))
    return sentences + _speech(curve)


def _curves(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The neural and the Opus points of one metric and kind, by rising file rate."""
    ordered = rows.sort_values("file_kbps")
    return ordered[ordered.coder == "neural"], ordered[ordered.coder == "opus"]


def _common(neural: pd.DataFrame, opus: pd.DataFrame) -> str:
    """The range of mean scores that two curves share."""
    lowest = max(neural["mean"].min(), opus["mean"].min())
    highest = min(neural["mean"].max(), opus["mean"].max())
    return f"{lowest:.2f} to {highest:.2f}"


def _speech(curve: pd.DataFrame) -> list[str]:
    """At equal file rate, on speech: the metrics by which ours is ahead, behind, or both."""
    verdicts: dict[str, list[str]] = {"ahead of": [], "behind": [], "partly ahead of": []}
    for metric in METRICS.values():
        rows = curve[(curve.metric == metric.name) & (curve.kind == "speech")]
        neural, opus = _curves(rows.dropna(subset=["mean"]))
        if metric.kinds != ("speech",) or opus.empty:
            continue
        within = neural[neural.file_kbps.between(opus.file_kbps.min(), opus.file_kbps.max())]
        if within.empty:
            continue
        ahead = within["mean"].to_numpy(float) > _at(opus, within.file_kbps.to_numpy(float))
        verdict = "ahead of" if ahead.all() else "partly ahead of" if ahead.any() else "behind"
        verdicts[verdict].append(metric.title)
    parts = [f"{verdict} Opus by {_listed(names)}" for verdict, names in verdicts.items() if names]
    return [f"On speech, at equal bitrate, it is {'; '.join(parts)}."] if parts else []


def _listed(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _at(curve: pd.DataFrame, kbps: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Mean scores of a curve at other rates, interpolated over the logarithm of the rate."""
    rates = np.log(curve.file_kbps.to_numpy(float))
    return np.asarray(np.interp(np.log(kbps), rates, curve["mean"].to_numpy(float)))


def _nearest(neural: pd.DataFrame, opus: pd.DataFrame) -> str:
    """The neural point closest to Opus's lowest rate, beside Opus at that rate or at its lowest."""
    lowest = opus.iloc[0]
    point = neural.iloc[int(np.argmin(np.abs(np.log(neural.file_kbps / lowest.file_kbps))))]
    said = (
        f"At {point.file_kbps:.1f} kbps of file it scores {point['mean']:.2f}{_interval(point)}; "
    )
    if lowest.file_kbps <= point.file_kbps <= opus.file_kbps.max():
        score = float(_at(opus, float(point.file_kbps)))
        return said + f"Opus, interpolated at that rate, {score:.2f}."
    return said + (
        f"Opus scores {lowest['mean']:.2f}{_interval(lowest)} at its lowest, "
        f"{lowest.file_kbps:.1f} kbps."
    )


def _interval(point: "pd.Series[Any]") -> str:
    low, high = float(str(point.low)), float(str(point.high))
    return "" if np.isnan(low) else f" ({low:.2f} to {high:.2f})"
