"""The result in words: nothing that one metric alone, or half of a curve, would have to carry."""

from collections.abc import Iterable, Sequence

import pandas as pd

from pipeline.metrics import declared
from pipeline.params.points import is_opus
from pipeline.results.crossing import SURE
from pipeline.results.stretches import independent
from pipeline.results.summary import BdRate, Crossing

METRIC = "visqol_audio"
"""The metric whose chart comes first."""
NAMES = {
    "neural": "the neural codec",
    "sweep": "the neural codec with a network for each beta",
    "rvq": "the neural codec with RVQ",
    "perceptual": "the neural codec with its perceptual decoder",
}
"""Our own series, and what to call them."""
KINDS = {"all": "over all kinds", "speech": "on speech", "music": "on music",
         "general": "on general sounds"}  # fmt: skip
WIDE = 2.0
"""The highest of the common rates over the lowest, from which on one may speak of every rate."""


def headline(
    curve: pd.DataFrame, bd_rates: Sequence[BdRate], crossings: Sequence[Crossing]
) -> list[str]:
    """Where the neural codec stands against Opus, in some sentences.

    First over all kinds, then kind by kind: at which rates it is ahead and at which behind, by
    every judge; then the bitrate that it saves, if judges that work differently agree on its sign.
    """
    tested, opus = tested_series(curve), called(curve)
    if tested is None:
        return ["This run has no point of the neural codec's own curves: it only shows the others."]
    if opus is None:
        return ["This run has no point of Opus, so there is nothing to compare with."]
    if not crossings:
        return ["No clip could be scored, so there is nothing to say about quality."]
    kinds = [kind for kind in KINDS if any(row.kind == kind for row in crossings)]
    return [
        sentence for kind in kinds for sentence in verdict(tested, opus, kind, bd_rates, crossings)
    ]


def called(curve: pd.DataFrame) -> str | None:
    """What Opus is to be called: at its best only where the run has several settings of it."""
    series = {name for name in curve.series if is_opus(name)}
    if not series:
        return None
    return "Opus at its best" if len(series) > 1 else "Opus at one setting alone"


def verdict(
    tested: str, opus: str, kind: str, bd_rates: Sequence[BdRate], crossings: Sequence[Crossing]
) -> list[str]:
    """What the judges say of one kind: on which side of Opus's curve, and how much bitrate.

    Nothing where one judge alone, or several that work alike, have scores.
    """
    judged = [row for row in crossings if row.kind == kind and row.side is not None]
    if not judged:
        return [f"{_upper(KINDS[kind])}, {name_of(tested)} and {opus} share no rate."]
    if not independent(row.metric for row in judged):
        return [
            f"{_upper(KINDS[kind])}, nothing is said: no two judges that work differently have "
            f"scores, {_titles(judged)} alone."
        ]
    parts = [
        f"{place} by {_titles(row for row in judged if where(row) == place)}"
        for place in dict.fromkeys(map(where, judged))
    ]
    said = f"{_upper(KINDS[kind])}, against {opus} at equal bitrate, {name_of(tested)} is "
    said += "; ".join(parts) + "."
    if len({row.side for row in judged}) > 1:
        return [said, "The judges disagree."]
    return [said, *_between_crossings(judged), *_saved(opus, kind, bd_rates, crossings)]


def tested_series(curve: pd.DataFrame) -> str | None:
    """The series that is compared with Opus: the first one of ``NAMES`` that there is.

    Where none of ours is, it is the only one beside Opus.
    """
    found = dict.fromkeys(curve.series)
    others = [series for series in found if not is_opus(series)]
    alone = others[0] if len(others) == 1 else None
    return next((series for series in NAMES if series in found), alone)


def name_of(tested: str | None) -> str:
    """What sentences call the series that is compared; None as in a run without one."""
    return NAMES.get(tested or "neural", tested or "")


def saving(row: BdRate, tested: str, anchor: str) -> str:
    """A BD-rate in a sentence, with its interval and the scores that it is averaged over."""
    if row.percent is None:
        return ""
    return (
        f"For the same {declared()[row.metric].title} score, {tested} needs "
        f"{_changed(row.percent)} bitrate than {anchor}{_between(row)}, on average over the scores "
        f"that both reach{_scores(row)}."
    )


def where(row: Crossing) -> str:
    """Ahead or behind, at which rates, and whether other clips might have said otherwise."""
    span = f"from {row.lowest:.1f} to {row.highest:.1f} kbps"
    if row.side == "mixed":
        return f"neither ahead nor behind {span}, where the curves cross more than once,"
    if row.side in ("ahead", "behind"):
        wide = row.highest is not None and row.highest >= WIDE * (row.lowest or 0.0)
        said = f"{row.side} at every rate {span}"
        if not wide:
            said = f"{row.side} {span}, the only rates that both have,"
    else:
        between = f" ({row.low:.1f} to {row.high:.1f})" if row.low is not None else ""
        first, then = ("ahead", "behind") if row.side == "below" else ("behind", "ahead")
        said = f"{first} below {row.kbps:.1f} kbps{between} and {then} above"
    if row.agreeing is not None and row.agreeing < SURE:
        said += f" (in {100 * row.agreeing:.0f} % of resamples)"
    return said


def _between_crossings(judged: Sequence[Crossing]) -> list[str]:
    """Where judges that see the same crossing see it at other rates."""
    found = sorted(f"{row.kbps:6.1f}" for row in judged if row.kbps is not None)
    if not found or found[0] == found[-1]:
        return []
    return [f"From {found[0].strip()} to {found[-1].strip()} kbps the judges disagree."]


def no_saving(kind: str, bd_rates: Sequence[BdRate], crossings: Sequence[Crossing]) -> str:
    """Why a kind's BD-rates make no number for a headline; empty where they do."""
    known = [row for row in bd_rates if row.kind == kind and row.percent is not None]
    signs = {row.percent is not None and row.percent < 0 for row in known}
    sides = {row.side for row in crossings if row.kind == kind and row.side is not None}
    if max(len(signs), len(sides)) > 1:
        return "the judges disagree"
    if not independent(row.metric for row in known):
        return "no two judges that work differently have a BD-rate"
    return ""


def _saved(
    opus: str, kind: str, bd_rates: Sequence[BdRate], crossings: Sequence[Crossing]
) -> list[str]:
    if no_saving(kind, bd_rates, crossings):
        return []
    known = [row for row in bd_rates if row.kind == kind and row.percent is not None]
    parts = [
        f"{_changed(row.percent or 0.0)} by {declared()[row.metric].title}"
        f"{_between(row)}{_scores(row)}"
        for row in known
    ]
    return [f"For the same score it needs {_listed(parts)} bitrate than {opus}."]


def _scores(row: BdRate) -> str:
    if row.scores is None:
        return ""
    digits = declared()[row.metric].digits - 1
    return f", {row.scores[0]:.{digits}f} to {row.scores[1]:.{digits}f}"


def _changed(percent: float) -> str:
    return f"{abs(percent):.0f} % {'less' if percent < 0 else 'more'}"


def _between(row: BdRate) -> str:
    """An interval of BD-rates in words, by rising size where both have one sign."""
    if row.low is None or row.high is None:
        return ""
    if (row.low < 0) == (row.high < 0):
        small, large = sorted((abs(row.low), abs(row.high)))
        return f" ({small:.0f} to {large:.0f} %)"
    return f" (from {_changed(row.low)} to {_changed(row.high)})"


def _titles(rows: Iterable[Crossing]) -> str:
    return _listed([declared()[row.metric].title for row in rows])


def _listed(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _upper(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"
