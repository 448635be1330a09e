"""Intervals and curve comparisons."""

import warnings
from dataclasses import dataclass
from typing import Any

import bjontegaard
import numpy as np
import scipy.stats
from numpy.typing import ArrayLike, NDArray


def bootstrap_mean(
    values: NDArray[np.float64],
    groups: NDArray[np.str_],
    resamples: int,
    confidence: float,
    seed: int,
) -> tuple[float, float]:
    """Interval of the mean of ``values`` by bootstrap, drawing whole ``groups`` with replacement.

    ``groups`` names each value's speaker or recording: clips of one speaker are not independent,
    so they are drawn together (Efron and Tibshirani, "An introduction to the bootstrap", 1993,
    chapter 8). One group alone gives no interval: (nan, nan).
    """
    names, member = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return float("nan"), float("nan")
    sums = np.bincount(member, weights=values)
    counts = np.bincount(member)
    drawn = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return interval(means, confidence, len(names))


def interval(draws: ArrayLike, confidence: float, groups: int) -> tuple[float, float]:
    """Quantiles of bootstrap draws that hold the truth as often as they say.

    Plain percentiles are too narrow for small samples, as a normal quantile in place of Student's
    is; the tails are cut accordingly further out. Source: Hesterberg, "What teachers should know
    about the bootstrap", 2015, section 5.3, expanded percentiles.
    """
    low, high = intervals(np.asarray(draws, np.float64)[:, None], confidence, groups)
    return float(low[0]), float(high[0])


def intervals(
    draws: NDArray[np.float64], confidence: float, groups: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``interval`` of each column of (draws, quantities): all lower ends, all upper ones."""
    student = scipy.stats.t.ppf((1 - confidence) / 2, groups - 1)
    tail = float(scipy.stats.norm.cdf(student * np.sqrt(groups / (groups - 1))))
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return low, high


@dataclass(frozen=True)
class Comparison:
    """A BD-rate and a BD-quality, or the reason why there are none."""

    percent: float | None
    """Difference in rate at equal quality."""
    quality: float | None
    """Difference in quality at equal rate, in the metric's unit."""
    overlap: tuple[float, float] | None
    """Shares of the anchor's and of the tested curve's quality range that both cover, 0 to 1."""
    reason: str


Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""kbps and quality of the points of a curve, in any order."""


def bd_rate(
    anchor: Curve,
    tested: Curve,
    min_overlap: float,
    names: tuple[str, str] = ("anchor", "tested"),
    least: float = 0.0,
) -> Comparison:
    """Bjøntegaard differences of ``tested`` against ``anchor``; negative rate: it needs less.

    Refused, with a reason that calls the curves by ``names``, where a curve has under four points,
    where its quality does not rise with its rate, or where less than ``min_overlap`` of either
    curve's quality range, or than ``least`` in the quality's own unit, is common. Source:
    Bjøntegaard, VCEG-M33, 2001; Akima interpolation as in Herglotz et al., "The Bjøntegaard
    bible", 2023.
    """
    curves = []
    for name, (rate, quality) in zip(names, (anchor, tested), strict=True):
        order = np.argsort(rate)
        rate, quality = np.asarray(rate)[order], np.asarray(quality)[order]
        if len(rate) < 4:
            return _refused(f"the {name} curve has {len(rate)} points, four are needed")
        if np.any(np.diff(quality) <= 0):
            return _refused(f"the {name} curve does not rise everywhere with rate")
        curves.append((rate, quality))
    (anchor_rate, anchor_quality), (tested_rate, tested_quality) = curves
    common = min(anchor_quality[-1], tested_quality[-1]) - max(anchor_quality[0], tested_quality[0])
    if common <= 0:
        return _refused("the curves share no quality", (0.0, 0.0))
    overlap = (float(common / np.ptp(anchor_quality)), float(common / np.ptp(tested_quality)))
    for name, share in zip(names, overlap, strict=True):
        if share < min_overlap:
            return _refused(f"only {share:.0%} of the {name} curve's range is common", overlap)
    if common < least:
        return _refused(
            f"the curves share a range of {common:.3g}, too little: {least:.3g} are needed", overlap
        )
    options: dict[str, Any] = {"method": "akima", "require_matching_points": False}
    with warnings.catch_warnings():
        # The package warns by a measure of overlap of its own; ours was checked above.
        warnings.simplefilter("ignore")
        points = (anchor_rate, anchor_quality, tested_rate, tested_quality)
        percent = float(bjontegaard.bd_rate(*points, min_overlap=0, **options))
        gain = float(bjontegaard.bd_psnr(*points, min_overlap=0, **options))
    # Curves may share qualities and yet no rate: then nothing is known at equal rate.
    return Comparison(percent, gain if np.isfinite(gain) else None, overlap, "")


def _refused(reason: str, overlap: tuple[float, float] | None = None) -> Comparison:
    return Comparison(None, None, overlap, reason)


@dataclass(frozen=True)
class Sample:
    """What a curve was measured on: the same clips at each of its points."""

    bits: NDArray[np.float64]
    """(points, clips)"""
    seconds: NDArray[np.float64]
    """(clips,)"""
    scores: NDArray[np.float64]
    """(points, clips); nan where a clip has no score."""

    def curves(self, weights: NDArray[np.float64]) -> list[Curve]:
        """The curve of each of (draws, clips) samples in which clips count that often."""
        scored = np.isfinite(self.scores).astype(float)
        kbps = (weights @ self.bits.T) / (weights @ self.seconds)[:, None] / 1000
        totals, counts = weights @ np.nan_to_num(self.scores).T, weights @ scored.T
        with np.errstate(invalid="ignore"):
            return list(zip(kbps, totals / counts, strict=True))


def drawn_weights(
    groups: NDArray[np.str_], resamples: int, seed: int
) -> NDArray[np.float64] | None:
    """How often each clip counts in each draw of whole groups, (resamples, clips).

    None where there is one group alone, which tells nothing of others.
    """
    names, member = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return None
    drawn = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=resamples
    )
    return drawn[:, member].astype(float)


def bootstrap_bd_rate(
    anchor: Sample,
    tested: Sample,
    groups: NDArray[np.str_],
    min_overlap: float,
    resamples: int,
    confidence: float,
    seed: int,
) -> tuple[float, float] | None:
    """Interval of the BD-rate in percent, drawing whole groups of clips.

    None where more than one draw in twenty gives no BD-rate: then the comparison hangs on a few
    clips, and an interval of the others would look surer than it is.
    """
    weights = drawn_weights(groups, resamples, seed)
    if weights is None:
        return None
    found = [
        comparison.percent
        for ours, theirs in zip(anchor.curves(weights), tested.curves(weights), strict=True)
        if (comparison := bd_rate(ours, theirs, min_overlap)).percent is not None
    ]
    if len(found) < 0.95 * resamples:
        return None
    return interval(found, confidence, len(np.unique(groups)))


@dataclass(frozen=True)
class Paired:
    """A paired test of one point against another curve, or the reason why there is none."""

    difference: float | None
    """Mean over clips, in the metric's unit; positive: the tested point is better."""
    low: float | None
    high: float | None
    p: float | None
    """Two-sided, of Wilcoxon's signed-rank test over groups."""
    groups: int
    reason: str


FEWEST_GROUPS = 6
"""With fewer, no outcome of a signed-rank test is rare (2 / 2^5 = 0.06)."""


def paired(
    tested: NDArray[np.float64],
    others: NDArray[np.float64],
    groups: NDArray[np.str_],
    resamples: int,
    confidence: float,
    seed: int,
) -> Paired:
    """Scores of two coders on the same clips at the same rate, compared.

    Differences are averaged within a group (a speaker, a recording) before they are ranked, so
    that groups and not clips are the sample. Source: Wilcoxon, "Individual comparisons by ranking
    methods", 1945.
    """
    both = np.isfinite(tested) & np.isfinite(others)
    differences, groups = (tested - others)[both], groups[both]
    names, member = np.unique(groups, return_inverse=True)
    if len(names) < FEWEST_GROUPS:
        return Paired(
            None, None, None, None, len(names),
            f"{len(names)} speakers or recordings, {FEWEST_GROUPS} are needed",
        )  # fmt: skip
    means = np.bincount(member, weights=differences) / np.bincount(member)
    p = float(scipy.stats.wilcoxon(means).pvalue) if np.any(means) else 1.0
    low, high = bootstrap_mean(differences, groups, resamples, confidence, seed)
    return Paired(float(differences.mean()), low, high, p, len(names), "")


def holm(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """p values corrected for being many; nan stays and does not count.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    values = np.asarray(values, float)
    corrected = np.full(len(values), np.nan)
    order = np.argsort(values)[: int(np.isfinite(values).sum())]
    factors = len(order) - np.arange(len(order))
    corrected[order] = np.minimum(1, np.maximum.accumulate(values[order] * factors))
    return corrected


def at_rate(
    rates: NDArray[np.float64], scores: NDArray[np.float64], kbps: float
) -> NDArray[np.float64]:
    """(points, clips) scores of a curve, interpolated for each clip at one rate of the curve.

    Linear over the logarithm of the points' ``rates`` (points,). nan outside the curve.
    """
    order = np.argsort(rates)
    log, rows = np.log(rates[order]), scores[order]
    x = np.log(kbps)
    if not log[0] <= x <= log[-1]:
        return np.full(scores.shape[1], np.nan)
    upper = min(max(1, int(np.searchsorted(log, x))), len(log) - 1)
    part = (x - log[upper - 1]) / (log[upper] - log[upper - 1])
    return np.asarray((1 - part) * rows[upper - 1] + part * rows[upper])
