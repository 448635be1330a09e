"""The gate: a run against a baseline, value by value."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from codec.errors import UserError
from codec.files import write_text
from pipeline.params import Check
from pipeline.results import tables

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


def read(path: Path) -> dict[str, Any]:
    """A summary or a baseline."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; `dvc repro` makes it") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: not a JSON object; `dvc repro` makes it anew")
    return found


def read_baseline(path: Path) -> dict[str, Any]:
    """A baseline; empty where none was made yet."""
    found = read(path)
    if found and not {"history", "points", "speed", "test"} <= set(found):
        raise UserError(
            f"{path}: not a baseline of this version; `rdcodec check --update --reason WHY` "
            "writes a new one"
        )
    return found


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


def not_comparable(summary: dict[str, Any], baseline: dict[str, Any]) -> str:
    """Why the two cannot be compared; empty where they can.

    Other clips from the same settings are no reason: they are a regression.
    """
    if not baseline:
        return "there is no baseline yet; `rdcodec check --update --reason WHY` makes this run one"
    if baseline["test"]["corpus"] != summary["test"]["corpus"]:
        return "the baseline was measured on another test corpus, so nothing was compared"
    return ""


def compare(
    summary: dict[str, Any],
    speed: dict[str, dict[str, float]],
    baseline: dict[str, Any],
    tolerances: Check,
) -> list[Finding]:
    """Every compared value: clips, quality, coverage, rate, estimate gap, speed and memory."""
    old, new = (found["test"] for found in (baseline, summary))
    findings = [_less("the corpus", "all", "test clips", old["clips"], new["clips"], 0)]
    if old["fingerprint"] != new["fingerprint"]:
        findings.append(Finding("the corpus", "all", "the same clips", 1, None, 0, None))
    for point, before in baseline["points"].items():
        after = summary["points"].get(point)
        if after is None:
            findings.append(Finding(point, "all", "the point", 1, None, 0, None))
        else:
            findings += _quality(point, before, after, tolerances)
            findings += _rates(point, before, after, tolerances)
    for point, after in summary["points"].items():
        gap = after["rates"]["all"]["estimate_gap_percent"]
        if gap is not None:
            found = baseline["points"].get(point, {}).get("rates", {}).get("all", {})
            limit = tolerances.estimate_gap_percent
            findings.append(
                Finding(point, "all", "estimate gap %", found.get("estimate_gap_percent"), gap,
                        limit, abs(gap))
            )  # fmt: skip
    for point, before in baseline["speed"].items():
        found = speed.get(point, {})
        for what, value in before.items():
            if what == "peak MB":
                room = value * tolerances.memory_percent / 100
                findings.append(_more(point, "all", what, value, found.get(what), room))
            else:
                room = value * tolerances.speed_percent / 100
                findings.append(_less(point, "all", what, value, found.get(what), room))
    return findings


def _quality(
    point: str, before: dict[str, Any], after: dict[str, Any], tolerances: Check
) -> Iterable[Finding]:
    for metric, kinds in before["metrics"].items():
        for kind, old in kinds.items():
            new = after["metrics"].get(metric, {}).get(kind, {"mean": None, "n_scored": None})
            tolerance = tolerances.metrics.get(metric, 0.0)
            yield _less(point, kind, metric, old["mean"], new["mean"], tolerance)
            scored = f"{metric} scored clips"
            yield _less(point, kind, scored, old["n_scored"], new["n_scored"], 0)


def _rates(
    point: str, before: dict[str, Any], after: dict[str, Any], tolerances: Check
) -> Iterable[Finding]:
    for kind, old in before["rates"].items():
        new = after["rates"].get(kind, {"file_kbps": None})["file_kbps"]
        room = old["file_kbps"] * tolerances.rate_percent / 100
        yield _more(point, kind, "file kbps", old["file_kbps"], new, room)


def _less(
    point: str, kind: str, what: str, before: float | None, after: float | None, tolerance: float
) -> Finding:
    """A finding for a value that should not fall."""
    change = None if before is None or after is None else before - after
    return Finding(point, kind, what, before, after, tolerance, change)


def _more(
    point: str, kind: str, what: str, before: float, after: float | None, tolerance: float
) -> Finding:
    """A finding for a value that should not rise."""
    change = None if after is None else after - before
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
    summary: dict[str, Any],
    speed: dict[str, dict[str, float]],
    path: Path,
    reason: str,
    revision: str,
    date: str,
) -> None:
    """Make this run the baseline; why, when and on what stays in it, with all earlier reasons."""
    if not reason.strip():
        raise UserError("--update: say why with --reason; it is kept in the baseline")
    history = read(path).get("history", []) if path.is_file() else []
    kept = {
        "history": [{"reason": reason.strip(), "revision": revision, "date": date}, *history],
        "points": {
            point: {name: facts[name] for name in ("metrics", "rates")}
            for point, facts in summary["points"].items()
        },
        "speed": {
            point: {what: round(value, 4) for what, value in found.items()}
            for point, found in speed.items()
        },
        "test": summary["test"],
    }
    write_text(path, json.dumps(kept, indent=1, sort_keys=True) + "\n")


def _show(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
