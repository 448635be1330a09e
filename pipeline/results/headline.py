"""The result in words, computed from the curve."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.metrics import installed
from pipeline.results.summary import BdRate

METRIC = "visqol_audio"
"""The one metric that scores every kind of clip."""
NAMES = {"neural": "the neural codec", "rvq": "the neural codec with RVQ"}
"""Our own series, and what to call them."""


def headline(curve: pd.DataFrame, bd_rates: list[BdRate]) -> list[str]:
    """Where the neural codec stands against Opus at measured file rates, in some sentences.

    First ``METRIC`` over all kinds; then, because one metric is not the whole truth, on which side
    of Opus's curve the neural points lie by each metric that scores speech.
    """
    kind = "all" if "all" in set(curve[curve.metric == METRIC].kind) else curve.kind.iloc[0]
    series, tested = set(curve.series), tested_series(curve)
    if tested is None:
        return ["This run has no point of the neural codec's own curves: it only shows the others."]
    if "opus" not in series:
        return ["This run has no point of Opus, so there is nothing to compare with."]
    neural, opus = _curves(_scored(curve, METRIC, kind), tested)
    if neural.empty or opus.empty:
        return ["No clip could be scored, so there is nothing to say about quality."]
    said = [verdict(curve, bd_rates, kind, tested=(tested, NAMES[tested])), _nearest(neural, opus)]
    return [*filter(None, said), *_speech(curve, tested)]


def tested_series(curve: pd.DataFrame) -> str | None:
    """The series that stands for our codec: the β sweep, or RVQ where there is no sweep."""
    return next((series for series in NAMES if series in set(curve.series)), None)


def verdict(
    curve: pd.DataFrame,
    bd_rates: list[BdRate],
    kind: str,
    metric: str = METRIC,
    tested: tuple[str, str] = ("neural", "the neural codec"),
    anchor: tuple[str, str] = ("opus", "Opus"),
) -> str:
    """What BD-rate says of a kind by a metric, with its interval; empty where there is none.

    ``tested`` and ``anchor`` are a series of the curve and what to call it.
    """
    found = next((row for row in bd_rates if (row.metric, row.kind) == (metric, kind)), None)
    if found is None or found.percent is None:
        return ""
    curves = _curves(_scored(curve, metric, kind), tested[0], anchor[0])
    title = installed()[metric].title
    return (
        f"For the same {title} score, {tested[1]} needs {_changed(found.percent)} "
        f"bitrate than {anchor[1]}{_between(found.low, found.high)}, on average over "
        f"the scores that both reach, {_common(*curves)}."
    )


def _scored(curve: pd.DataFrame, metric: str, kind: str) -> pd.DataFrame:
    return curve[(curve.metric == metric) & (curve.kind == kind)].dropna(subset=["mean"])


def _changed(percent: float) -> str:
    return f"{abs(percent):.0f} % {'less' if percent < 0 else 'more'}"


def _between(low: float | None, high: float | None) -> str:
    """An interval of BD-rates in words, by rising size where both have one sign."""
    if low is None or high is None:
        return ""
    if (low < 0) == (high < 0):
        small, large = sorted((abs(low), abs(high)))
        return f" ({small:.0f} to {large:.0f} %)"
    return f" (from {_changed(low)} to {_changed(high)})"


def _curves(
    rows: pd.DataFrame, tested: str = "neural", anchor: str = "opus"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tested and the anchor's points of one metric and kind, by rising file rate."""
    ordered = rows.sort_values("file_kbps")
    return ordered[ordered.series == tested], ordered[ordered.series == anchor]


def _common(neural: pd.DataFrame, opus: pd.DataFrame) -> str:
    """The range of mean scores that two curves share."""
    lowest = max(neural["mean"].min(), opus["mean"].min())
    highest = min(neural["mean"].max(), opus["mean"].max())
    return f"{lowest:.2f} to {highest:.2f}"


def _speech(curve: pd.DataFrame, tested: str) -> list[str]:
    """At equal file rate, on speech: the metrics by which ours is ahead, behind, or both."""
    verdicts: dict[str, list[str]] = {"ahead of": [], "behind": [], "partly ahead of": []}
    for metric in installed().values():
        neural, opus = _curves(_scored(curve, metric.name, "speech"), tested)
        if metric.kinds != ("speech",) or opus.empty:
            continue
        within = neural[neural.file_kbps.between(opus.file_kbps.min(), opus.file_kbps.max())]
        if within.empty:
            continue
        gain = within["mean"].to_numpy(float) - _at(opus, within.file_kbps.to_numpy(float))
        ahead = metric.sign * gain > 0
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
