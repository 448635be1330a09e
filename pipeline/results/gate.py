"""The gate: a run against a baseline, value by value."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from codec.errors import UserError
from pipeline.metrics import declared
from pipeline.params import Check
from pipeline.results import tables
from pipeline.results.summary import Baseline, Measured, Reason, Summary, read_history, write

ADVICE = "if this is meant, `rdcodec check --update --reason WHY` makes it the new baseline"
ANCHOR = "opus"
SHOWN = 12
"""Values that came nearest to their tolerance, printed where none became worse."""


@dataclass(frozen=True)
class Finding:
    """One value that may have become worse; ``change`` is positive where it did."""

    point: str
    kind: str
    what: str
    before: float | None
    after: float | None
    tolerance: float
    change: float | None
    """None: it cannot be told, because one of the two is missing."""

    @property
    def worse(self) -> bool:
        """Whether it became worse by more than its tolerance, or is gone."""
        if self.change is None:
            return self.before is not None and self.after is None
        return self.change > self.tolerance

    @property
    def better(self) -> bool:
        """Whether it became better by more than its tolerance."""
        return self.change is not None and -self.change > self.tolerance

    @property
    def used(self) -> float:
        """The share of its tolerance that the change uses up."""
        if self.change is None:
            return float("inf") if self.worse else 0.0
        if self.change <= 0:
            return 0.0
        return self.change / self.tolerance if self.tolerance else float("inf")

    def __str__(self) -> str:
        return (
            f"{self.what} of {self.point} ({self.kind}): before {_show(self.before)}, "
            f"after {_show(self.after)}, tolerance {self.tolerance:.4g}"
        )


def read_speed(path: Path) -> dict[str, dict[str, float]]:
    """Speeds of speed.csv as ratios to Opus's in the same run, and peak memory in MB, by point.

    Ratios of one run hardly depend on the machine and what else it does; times do. Empty without a
    point of Opus.
    """
    table = tables.read(path).set_index("point")
    anchors = table[table.series == ANCHOR]
    if anchors.empty:
        return {}
    anchor = anchors.iloc[0]
    return {
        str(point): {
            "encoding against Opus": float(row.encode_x / anchor.encode_x),
            "decoding against Opus": float(row.decode_x / anchor.decode_x),
            "peak MB": float(row.peak_mb),
        }
        for point, row in table[table.series != ANCHOR].iterrows()
    }


def not_comparable(summary: Summary, baseline: Baseline | None) -> str:
    """Why the two cannot be compared; empty where they can.

    Other clips from the same settings are no reason: they are a regression.
    """
    if baseline is None:
        return "there is no baseline yet; `rdcodec check --update --reason WHY` makes this run one"
    if baseline.test.corpus != summary.test.corpus:
        return "the baseline was measured on another test corpus, so nothing was compared"
    return ""


def findings(
    summary: Summary,
    speed: dict[str, dict[str, float]],
    baseline: Baseline,
    tolerances: Check,
) -> list[Finding]:
    """Every compared value: clips, quality, coverage, rate, estimate gap, speed and memory."""
    old, new = baseline.test, summary.test
    findings = [_less("the corpus", "all", "test clips", old.clips, new.clips, 0)]
    if old.fingerprint != new.fingerprint:
        findings.append(Finding("the corpus", "all", "the same clips", 1, None, 0, None))
    for point, before in baseline.points.items():
        after = summary.points.get(point)
        if after is None:
            findings.append(Finding(point, "all", "the point", 1, None, 0, None))
        else:
            findings += _quality(point, before, after, tolerances)
            findings += _rates(point, before, after, tolerances)
    for point, after in summary.points.items():
        gap = after.rates["all"].estimate_gap_percent
        if gap is not None:
            known = baseline.points.get(point)
            earlier = known.rates["all"].estimate_gap_percent if known else None
            limit = tolerances.estimate_gap_percent
            findings.append(Finding(point, "all", "estimate gap %", earlier, gap, limit, abs(gap)))
    for point, times in baseline.speed.items():
        found = speed.get(point, {})
        for what, value in times.items():
            if what == "peak MB":
                room = value * tolerances.memory_percent / 100
                findings.append(_more(point, "all", what, value, found.get(what), room))
            else:
                room = value * tolerances.speed_percent / 100
                findings.append(_less(point, "all", what, value, found.get(what), room))
    return findings


def _quality(point: str, before: Measured, after: Measured, tolerances: Check) -> Iterable[Finding]:
    for name, kinds in before.metrics.items():
        for kind, old in kinds.items():
            new = after.metrics.get(name, {}).get(kind)
            mean, scored = (new.mean, new.n_scored) if new else (None, None)
            metric = declared().get(name)
            tolerance = tolerances.metrics.get(name, metric.tolerance if metric else 0.0)
            judge = _less if metric is None or metric.higher_is_better else _more
            yield judge(point, kind, name, old.mean, mean, tolerance)
            yield _less(point, kind, f"{name} scored clips", old.n_scored, scored, 0)


def _rates(point: str, before: Measured, after: Measured, tolerances: Check) -> Iterable[Finding]:
    for kind, old in before.rates.items():
        new = after.rates.get(kind)
        room = old.file_kbps * tolerances.rate_percent / 100
        kbps = new.file_kbps if new else None
        yield _more(point, kind, "file kbps", old.file_kbps, kbps, room)


def _less(
    point: str, kind: str, what: str, before: float | None, after: float | None, tolerance: float
) -> Finding:
    """A finding for a value that should not fall."""
    change = None if before is None or after is None else before - after
    return Finding(point, kind, what, before, after, tolerance, change)


def _more(
    point: str, kind: str, what: str, before: float | None, after: float | None, tolerance: float
) -> Finding:
    """A finding for a value that should not rise."""
    change = None if before is None or after is None else after - before
    return Finding(point, kind, what, before, after, tolerance, change)


def table(findings: list[Finding]) -> str:
    """What became worse, and after that what came nearest to it, in lines for a terminal."""
    ordered = sorted(findings, key=lambda finding: (not finding.worse, -finding.used))
    count = max(SHOWN, sum(finding.worse for finding in findings))
    rows = [
        {
            "": "WORSE" if finding.worse else "ok",
            "value": finding.what,
            "point": finding.point,
            "clips": finding.kind,
            "before": _show(finding.before),
            "after": _show(finding.after),
            "tolerance": f"{finding.tolerance:.4g}",
        }
        for finding in ordered[:count]
    ]
    lines = [pd.DataFrame(rows).to_string(index=False)]
    if len(findings) > count:
        lines.append(f"... and {len(findings) - count} values further from their tolerance")
    return "\n".join(lines)


def markdown(findings: list[Finding], note: str, reason: str = "") -> str:
    """The findings as a page for a pull request: the verdict, what is worse, what is better.

    ``reason`` is why the baseline is what it is.
    """
    if note:
        return f"# Check\n\nNot compared: {note}.\n"
    worse = [finding for finding in findings if finding.worse]
    better = [finding for finding in findings if finding.better]
    parts = ["# Check\n"]
    if worse:
        parts += [f"**{len(worse)} of {len(findings)} values became worse.**\n", _rows(worse)]
        parts.append(f"{ADVICE[0].upper()}{ADVICE[1:]}.\n")
    else:
        parts.append(f"Nothing became worse ({len(findings)} values compared).\n")
    if better:
        parts += [f"Better by more than the tolerance: {len(better)} values.\n", _rows(better)]
    near = sorted(
        (finding for finding in findings if not finding.worse and finding.used > 0),
        key=lambda finding: -finding.used,
    )[:SHOWN]
    if near:
        parts += ["Within the tolerance, nearest to it first:\n", _rows(near)]
    if reason:
        parts.append(f"The baseline's reason: {reason}\n")
    return "\n".join(parts)


def _rows(findings: list[Finding]) -> str:
    lines = [
        "| point | clips | value | before | after | tolerance |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {f.point} | {f.kind} | {f.what} | {_show(f.before)} | {_show(f.after)} "
        f"| {f.tolerance:.4g} |"
        for f in findings
    ]
    return "\n".join(lines) + "\n"


def update(
    summary: Summary,
    speed: dict[str, dict[str, float]],
    path: Path,
    reason: str,
    revision: str,
    date: str,
) -> None:
    """Make this run the baseline; why, when and on what stays in it, with all earlier reasons."""
    if not reason.strip():
        raise UserError("--update: say why with --reason; it is kept in the baseline")
    why = Reason(reason=reason.strip(), revision=revision, date=date)
    kept = Baseline(
        history=[why, *read_history(path)],
        points={
            point: Measured(metrics=facts.metrics, rates=facts.rates)
            for point, facts in summary.points.items()
        },
        speed={
            point: {what: round(value, 4) for what, value in found.items()}
            for point, found in speed.items()
        },
        test=summary.test,
    )
    write(path, kept)


def _show(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
