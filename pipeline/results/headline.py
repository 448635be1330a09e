"""The result in words: nothing that one metric alone, or half of a curve, would have to carry."""

from collections.abc import Sequence

import pandas as pd

from pipeline.metrics import installed
from pipeline.results.comparisons import is_opus
from pipeline.results.summary import BdRate, Crossing

METRIC = "visqol_audio"
"""The metric whose chart comes first."""
NAMES = {
    "neural": "the neural codec",
    "sweep": "the neural codec, one network for each beta,",
    "rvq": "the neural codec with RVQ",
}
"""Our own series, and what to call them."""
KINDS = {"all": "over all kinds", "speech": "on speech", "music": "on music",
         "general": "on general sounds"}  # fmt: skip


def headline(
    curve: pd.DataFrame, bd_rates: Sequence[BdRate], crossings: Sequence[Crossing]
) -> list[str]:
    """Where the neural codec stands against Opus at its best, in some sentences.

    First over all kinds, then kind by kind: at which rates it is ahead and at which behind, by
    every judge; then the bitrate that it saves, if two judges agree on its sign.
    """
    tested = tested_series(curve)
    if tested is None:
        return ["This run has no point of the neural codec's own curves: it only shows the others."]
    if not any(map(is_opus, curve.series)):
        return ["This run has no point of Opus, so there is nothing to compare with."]
    if not crossings:
        return ["No clip could be scored, so there is nothing to say about quality."]
    kinds = [kind for kind in KINDS if any(row.kind == kind for row in crossings)]
    return [sentence for kind in kinds for sentence in verdict(tested, kind, bd_rates, crossings)]


def verdict(
    tested: str, kind: str, bd_rates: Sequence[BdRate], crossings: Sequence[Crossing]
) -> list[str]:
    """What the judges say of one kind: on which side of Opus's curve, and how much bitrate."""
    judged = [row for row in crossings if row.kind == kind and row.side is not None]
    if not judged:
        return [f"{_upper(KINDS[kind])}, {called(tested)} and Opus share no rate."]
    sides = {row.side for row in judged}
    parts = [f"by {installed()[row.metric].title} it is {_where(row)}" for row in judged]
    if len(sides) == 1 and sides <= {"ahead", "behind"}:
        titles = _listed([installed()[row.metric].title for row in judged])
        parts = [f"{_where(judged[0])} by {titles}"]
    said = f"{_upper(KINDS[kind])}, against Opus at equal bitrate, {called(tested)}: "
    said += "; ".join(parts) + "."
    if len(sides) > 1:
        said += " The judges disagree."
    elif len(judged) == 1:
        said += " That is one judge alone."
    return [said, *_saved(kind, bd_rates)]


def tested_series(curve: pd.DataFrame) -> str | None:
    """The series that is compared with Opus: the first one of ``NAMES`` that there is.

    Where none of ours is, it is the only one beside Opus.
    """
    found = dict.fromkeys(curve.series)
    others = [series for series in found if not is_opus(series)]
    alone = others[0] if len(others) == 1 else None
    return next((series for series in NAMES if series in found), alone)


def called(tested: str | None) -> str:
    """What sentences call the series that is compared; None as in a run without one."""
    return NAMES.get(tested or "neural", tested or "")


def saving(row: BdRate, tested: str, anchor: str) -> str:
    """A BD-rate in a sentence, with its interval and the scores that it is averaged over."""
    if row.percent is None:
        return ""
    return (
        f"For the same {installed()[row.metric].title} score, {tested} needs "
        f"{_changed(row.percent)} bitrate than {anchor}{_between(row)}, on average over the scores "
        f"that both reach{_scores(row)}."
    )


def _saved(kind: str, bd_rates: Sequence[BdRate]) -> list[str]:
    known = [row for row in bd_rates if row.kind == kind and row.percent is not None]
    signs = {row.percent is not None and row.percent < 0 for row in known}
    if len(known) < 2 or len(signs) > 1:
        return []
    parts = [
        f"{_changed(row.percent or 0.0)} by {installed()[row.metric].title}"
        f"{_between(row)}{_scores(row)}"
        for row in known
    ]
    return [f"For the same score it needs {_listed(parts)} bitrate than Opus."]


def _where(row: Crossing) -> str:
    """Ahead or behind, and at which rates."""
    span = f"from {row.lowest:.1f} to {row.highest:.1f} kbps"
    if row.side in ("ahead", "behind"):
        return f"{row.side} at every rate {span}"
    if row.side == "mixed":
        return f"neither ahead nor behind {span}, where the curves cross more than once"
    between = f" ({row.low:.1f} to {row.high:.1f})" if row.low is not None else ""
    first, then = ("ahead", "behind") if row.side == "below" else ("behind", "ahead")
    return f"{first} below {row.kbps:.1f} kbps{between} and {then} above"


def _scores(row: BdRate) -> str:
    if row.scores is None:
        return ""
    digits = installed()[row.metric].digits - 1
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


def _listed(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _upper(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"
