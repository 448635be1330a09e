"""What is commonly claimed of such codecs, against what was measured here."""

from itertools import pairwise

import pandas as pd

from pipeline.metrics import declared
from pipeline.params.points import own
from pipeline.results.headline import METRIC
from pipeline.results.stretches import independent
from pipeline.results.summary import PairedTest, Point, Summary

CD_KBPS = 1411.2
KIND_WORDS = {"speech": "speech", "music": "music", "general": "general sounds", "all": "all clips"}
HELD, NOT_HELD, NOT_SEEN = "holds", "does not hold", "not measured"

Claim = dict[str, str]
"""claim, measured, verdict"""


def claims(summary: Summary, codes: pd.DataFrame, models: list[str]) -> list[Claim]:
    """A row per claim; ``codes`` is codes.csv of all models, ``models`` the β sweep by rising β.

    None where the run has no sweep: all of them are about it.
    """
    points = summary.points
    if not models:
        return []
    return [
        _beta(points, models),
        _entropy(points, codes, models),
        _compression(points, models, 50.0),
        _cd(points, models),
        _opus(summary, models),
    ]


def _kbps(points: dict[str, Point], model: str) -> float:
    return points[own(model)].rates["all"].file_kbps


def _beta(points: dict[str, Point], models: list[str]) -> Claim:
    rates = [_kbps(points, model) for model in models]
    falls = all(high > low for high, low in pairwise(rates))
    listed = ", ".join(f"{model} {kbps:.1f}" for model, kbps in zip(models, rates, strict=True))
    return {
        "claim": "A larger β gives a smaller file.",
        "measured": f"file kbps by rising β: {listed}",
        "verdict": HELD if falls else NOT_HELD,
    }


def _entropy(points: dict[str, Point], codes: pd.DataFrame, models: list[str]) -> Claim:
    """Payload against the symbols' own empirical entropy, which knows the test clips."""
    found = []
    for model in models:
        rows = codes[codes.model == model]
        found.append(float(rows.bits_per_symbol.sum() / rows.entropy.sum() - 1))
    rates = [points[own(model)].rates["all"] for model in models]
    gaps = [abs(gap) for rate in rates if (gap := rate.estimate_gap_percent) is not None]
    return {
        "claim": "Real files come near the entropy of their symbols.",
        "measured": (
            f"payloads are within {max(gaps):.2f} % of the model's estimate, and that is "
            f"{100 * min(found):.1f} to {100 * max(found):.1f} % above the entropy of the test "
            "clips' own histograms, which no coder knows beforehand"
        ),
        "verdict": HELD if max(gaps) < 1 and max(found) < 0.1 else NOT_HELD,
    }


def _compression(points: dict[str, Point], models: list[str], factor: float) -> Claim:
    """Against 16-bit PCM of the clips at their own rates."""
    reached = [
        (model, ratio) for model in models if (ratio := points[own(model)].compression) >= factor
    ]
    if not reached:
        best = max(points[own(model)].compression for model in models)
        measured = f"at most {best:.0f}×"
    else:
        model, ratio = reached[0]
        measured = (
            f"{ratio:.0f}× at {_kbps(points, model):.1f} kbps ({model}){_quality(points, model)}"
        )
    return {
        "claim": f"{factor:.0f}× compression of 16-bit PCM.",
        "measured": measured,
        "verdict": HELD if reached else NOT_HELD,
    }


def _cd(points: dict[str, Point], models: list[str]) -> Claim:
    nearest = min(models, key=lambda model: abs(_kbps(points, model) - 24))
    kbps = _kbps(points, nearest)
    return {
        "claim": "24 kbps is 58.8× less than the 1,411.2 kbps of a CD.",
        "measured": (
            f"1,411.2 / 24 = {CD_KBPS / 24:.1f}; the nearest point, {nearest}, has {kbps:.1f} "
            f"kbps, {CD_KBPS / kbps:.1f}× less than a CD, but codes one channel at 24 kHz"
        ),
        "verdict": "holds as arithmetic, says nothing of quality",
    }


def _opus(summary: Summary, models: list[str]) -> Claim:
    """By the paired tests at equal measured rate of the point nearest to 24 kbps.

    It holds where judges that work differently find it better, and none finds it worse.
    """
    rates = {point: found.rates["all"].file_kbps for point, found in summary.points.items()}
    # Tested are the points of the codec's own curve: the sweep, or one network for all rates.
    tested = {row.point for row in summary.paired} or {own(model) for model in models}
    point = min(sorted(tested), key=lambda one: abs(rates[one] - 24))
    nearest = point.removeprefix("neural-")
    rows = [row for row in summary.paired if row.point == point and row.p_holm is not None]
    if not rows:
        return {
            "claim": "Better than Opus at 24 kbps.",
            "measured": f"no test was possible at the nearest point, {nearest}",
            "verdict": NOT_SEEN,
        }
    sure = [row for row in rows if row.p_holm is not None and row.p_holm < 0.05]
    better = [row for row in sure if (row.difference or 0) > 0]
    worse = [row for row in sure if (row.difference or 0) < 0]
    unclear = [row for row in rows if row not in sure]
    parts = [
        f"{word} by {', '.join(_title(row) for row in found)}"
        for word, found in (("better", better), ("worse", worse), ("no difference shown", unclear))
        if found
    ]
    return {
        "claim": "Better than Opus at 24 kbps.",
        "measured": (
            f"{nearest} at {rates[point]:.1f} kbps against Opus at that rate: " + "; ".join(parts)
        ),
        "verdict": HELD if independent(row.metric for row in better) and not worse else NOT_HELD,
    }


def _title(row: PairedTest) -> str:
    return f"{declared()[row.metric].title} of {KIND_WORDS[row.kind]}"


def _quality(points: dict[str, Point], model: str) -> str:
    found = points[own(model)].metrics.get(METRIC, {}).get("all")
    if found is None or found.mean is None:
        return ""
    return f", with {declared()[METRIC].title} {found.mean:.2f}"
