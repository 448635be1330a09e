"""Where one curve overtakes another: the rates at which a codec is better, and those at which not.

A BD-rate averages over scores and hides that two curves cross.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.results.statistics import Curve, Sample, drawn_weights, interval

SURE = 0.95
"""The share of draws of clips that have to find the same."""
Side = Literal["ahead", "behind", "below", "above", "mixed"]
"""Ahead or behind at every common rate; ahead only below or above one; or several crossings."""


@dataclass(frozen=True)
class Standing:
    """Which side of an anchor's curve a tested one lies on, between the rates that both have."""

    side: Side | None
    """None: there are no such rates."""
    kbps: float | None
    """Where they cross, if they do once."""
    lowest: float | None
    highest: float | None
    """The common rates in kbps."""


def standing(anchor: Curve, tested: Curve) -> Standing:
    """Compare two curves, higher is better; between points they are linear over log rate."""
    curves = []
    for rate, quality in (anchor, tested):
        order = np.argsort(rate)
        curves.append((np.log(np.asarray(rate)[order]), np.asarray(quality)[order]))
    (rates, _), (own_rates, _) = curves
    low, high = max(rates[0], own_rates[0]), min(rates[-1], own_rates[-1])
    if not low < high:
        return Standing(None, None, None, None)
    inner = np.concatenate([rates, own_rates])
    grid = np.unique([low, *inner[(inner > low) & (inner < high)], high])
    theirs, ours = (np.interp(grid, *curve) for curve in curves)
    gain = ours - theirs
    crossings = [
        x0 + (x1 - x0) * y0 / (y0 - y1)
        for (x0, y0), (x1, y1) in pairwise(zip(grid, gain, strict=True))
        if y0 * y1 < 0
    ]
    side: Side
    if len(crossings) > 1:
        side = "mixed"
    elif crossings:
        side = "below" if gain[0] > 0 else "above"
    else:
        side = "ahead" if gain.sum() > 0 else "behind"
    kbps = float(np.exp(crossings[0])) if len(crossings) == 1 else None
    return Standing(side, kbps, float(np.exp(low)), float(np.exp(high)))


@dataclass(frozen=True)
class Sureness:
    """How much of a standing hangs on the clips that were taken."""

    agreeing: float
    """Share of the draws that find the same side."""
    low: float | None
    high: float | None
    """Interval of the crossing; None where there is none, or in under 19 of 20 draws."""


def sureness(
    anchor: Sample,
    tested: Sample,
    groups: NDArray[np.str_],
    resamples: int,
    confidence: float,
    seed: int,
) -> Sureness | None:
    """The same two curves compared on other draws of whole groups of clips; None for one group."""
    weights = drawn_weights(groups, resamples, seed)
    if weights is None:
        return None
    whole = np.ones((1, len(groups)))
    side = standing(anchor.curves(whole)[0], tested.curves(whole)[0]).side
    found = [
        standing(theirs, ours)
        for theirs, ours in zip(anchor.curves(weights), tested.curves(weights), strict=True)
    ]
    same = [one for one in found if one.side == side]
    crossed = [one.kbps for one in same if one.kbps is not None]
    low, high = None, None
    if len(crossed) >= SURE * resamples:
        low, high = interval(crossed, confidence, len(np.unique(groups)))
    return Sureness(len(same) / resamples, low, high)
