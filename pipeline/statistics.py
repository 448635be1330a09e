"""Intervals and curve comparisons."""

import warnings
from dataclasses import dataclass

import bjontegaard
import numpy as np
from numpy.typing import NDArray


def bootstrap_mean(
    values: NDArray[np.float64],
    groups: NDArray[np.str_],
    resamples: int,
    confidence: float,
    seed: int,
) -> tuple[float, float]:
    """Percentile interval of the mean of ``values``, drawing whole ``groups`` with replacement.

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
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class Comparison:
    """A BD-rate, or the reason why there is none."""

    percent: float | None
    overlap: float | None
    """Share of the smaller curve's quality range that both curves cover, 0 to 1."""
    reason: str


def bd_rate(
    anchor: tuple[NDArray[np.float64], NDArray[np.float64]],
    tested: tuple[NDArray[np.float64], NDArray[np.float64]],
    min_overlap: float,
) -> Comparison:
    """Average difference in rate at equal quality, in percent; negative: ``tested`` needs less.

    Each curve is (kbps, quality), in any order. Refused, with the reason, where a curve has under
    four points, where its quality does not rise with its rate, or where less than ``min_overlap``
    of the quality ranges is common. Source: Bjøntegaard, VCEG-M33, 2001; Akima interpolation as in
    Herglotz et al., "The Bjøntegaard bible", 2023.
    """
    curves = []
    for name, (rate, quality) in (("Opus", anchor), ("neural", tested)):
        order = np.argsort(rate)
        rate, quality = np.asarray(rate)[order], np.asarray(quality)[order]
        if len(rate) < 4:
            return Comparison(
                None, None, f"the {name} curve has {len(rate)} points, four are needed"
            )
        if np.any(np.diff(quality) <= 0):
            return Comparison(None, None, f"the {name} curve does not rise everywhere with rate")
        curves.append((rate, quality))
    (anchor_rate, anchor_quality), (tested_rate, tested_quality) = curves
    common = min(anchor_quality[-1], tested_quality[-1]) - max(anchor_quality[0], tested_quality[0])
    smaller = min(np.ptp(anchor_quality), np.ptp(tested_quality))
    overlap = max(0.0, float(common / smaller))
    if overlap < min_overlap or overlap == 0:
        return Comparison(None, overlap, f"only {overlap:.0%} of the quality ranges overlap")
    with warnings.catch_warnings():
        # The package warns by a measure of overlap of its own; ours was checked above.
        warnings.simplefilter("ignore")
        percent = bjontegaard.bd_rate(
            anchor_rate,
            anchor_quality,
            tested_rate,
            tested_quality,
            method="akima",
            require_matching_points=False,
            min_overlap=0,
        )
    return Comparison(float(percent), overlap, "")
