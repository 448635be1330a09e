"""At which rates our codec is better than the anchor and at which worse, by judges that agree.

A crossing says where two curves meet by one metric. Here all metrics speak at once, each rate by
itself, and each says only what other clips would say as well.
"""

from collections.abc import Iterable, Mapping
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics import declared
from pipeline.results.statistics import Curve, Sample, drawn_weights, intervals
from pipeline.results.summary import Judgement, Stretch

GRID = np.geomspace(1.0, 64.0, 145)
"""kbps: 24 to an octave."""
_MIDDLES = np.sqrt(GRID[1:] * GRID[:-1])
EDGES = [float(kbps) for kbps in np.round([GRID[0], *_MIDDLES, GRID[-1]], 4)]
"""kbps: from the one before to its own, a rate of the grid stands for all of them."""


def opinion(
    anchor: Sample,
    tested: Sample,
    groups: NDArray[np.str_],
    resamples: int,
    confidence: float,
    seed: int,
) -> NDArray[np.float64]:
    """What one metric says at each rate of ``GRID``: 1 better, −1 worse, 0 no difference shown.

    Better is a gain whose bootstrap interval over whole groups of clips lies above 0. NaN outside
    of the rates that both curves have, and everywhere where there is one group alone.
    """
    whole = np.ones((1, len(groups)))
    common = np.isfinite(_gain(anchor.curves(whole)[0], tested.curves(whole)[0]))
    found = np.full(len(GRID), np.nan)
    weights = drawn_weights(groups, resamples, seed)
    if weights is None or not common.any():
        return found
    draws = np.array([
        _gain(theirs, ours, reach=False)[common]
        for theirs, ours in zip(anchor.curves(weights), tested.curves(weights), strict=True)
    ])  # fmt: skip
    low, high = intervals(draws, confidence, len(np.unique(groups)))
    found[common] = (low > 0).astype(float) - (high < 0)
    return found


def _gain(anchor: Curve, tested: Curve, reach: bool = True) -> NDArray[np.float64]:
    """Quality at equal rate, linear over log rate; with ``reach`` NaN where a curve has no rate.

    Without, the curves go on level: a draw of clips may begin or end a little elsewhere.
    """
    found = np.zeros(len(GRID))
    for (rate, quality), sign in ((tested, 1), (anchor, -1)):
        order = np.argsort(rate)
        rates, values = np.asarray(rate)[order], np.asarray(quality)[order]
        edge = {"left": np.nan, "right": np.nan} if reach else {}
        found += sign * np.interp(np.log(GRID), np.log(rates), values, **edge)
    return found


def stretches(kind: str, opinions: Mapping[str, NDArray[np.float64]]) -> list[Stretch]:
    """The rates of one kind from end to end, cut where the judgement changes.

    ``opinions`` has each metric's.
    """
    judged = [
        judgement({name: float(found[at]) for name, found in opinions.items()})
        for at in range(len(GRID))
    ]
    found, at = [], 0
    for judgement_, group in groupby(judged):
        first, at = at, at + len(list(group))
        if judgement_ is not None:
            lowest, highest = EDGES[first], EDGES[at]
            found.append(Stretch(kind=kind, judgement=judgement_, lowest=lowest, highest=highest))
    return found


def judgement(says: Mapping[str, float]) -> Judgement | None:
    """Of all metrics at one rate; None where no two that work differently have an opinion.

    Better or worse takes two that work differently, and none that says the contrary.
    """
    better, worse = ([name for name, one in says.items() if one == sign] for sign in (1, -1))
    if not independent(name for name, one in says.items() if np.isfinite(one)):
        return None
    if better and worse:
        return "disagree"
    if independent(better):
        return "better"
    return "worse" if independent(worse) else "level"


def independent(names: Iterable[str]) -> bool:
    """Whether at least two of these metrics work differently."""
    return len({declared()[name].family or name for name in names}) > 1


def in_words(found: list[Stretch]) -> str:
    """Stretches of one kind by rising rate: "better from 2.0 to 7.4 kbps, then level to 9.1"."""
    parts: list[str] = []
    before = None
    for one in found:
        joined = before is not None and np.isclose(before, one.lowest)
        start = "then " if joined else ""
        span = "" if joined else f" from {one.lowest:.1f}"
        unit = "" if parts else " kbps"
        said = "the judges disagree" if one.judgement == "disagree" else one.judgement
        parts.append(f"{start}{said}{span} to {one.highest:.1f}{unit}")
        before = one.highest
    return ", ".join(parts) if parts else "no rate that two judges of different kinds know"
