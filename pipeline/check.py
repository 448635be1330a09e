"""The gate: a summary against a baseline, point by point."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codec.errors import UserError
from codec.files import write_text
from pipeline.params import Check

BASELINE = Path("reports/baseline.json")
ADVICE = "if this is meant, `rdcodec check --update` makes it the new baseline"


@dataclass(frozen=True)
class Finding:
    """One value that may have become worse."""

    point: str
    kind: str
    what: str
    before: float | None
    after: float | None
    tolerance: float
    worse: bool

    def __str__(self) -> str:
        return (
            f"{self.what} of {self.point} ({self.kind}): before {_show(self.before)}, "
            f"after {_show(self.after)}, tolerance {self.tolerance:g}"
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
        raise UserError(f"{path}: not a summary; `rdcodec check --update` writes a new baseline")
    return found


def not_comparable(summary: dict[str, Any], baseline: dict[str, Any]) -> str:
    """Why the two cannot be compared; empty where they can."""
    if not baseline:
        return "there is no baseline yet; `rdcodec check --update` makes this run the baseline"
    if baseline["test"]["fingerprint"] != summary["test"]["fingerprint"]:
        return "the baseline was measured on another test corpus, so nothing was compared"
    return ""


def compare(summary: dict[str, Any], baseline: dict[str, Any], tolerances: Check) -> list[Finding]:
    """Every compared value: quality, coverage, file rate and estimate gap of every point."""
    findings = []
    for point, before in baseline["points"].items():
        after = summary["points"].get(point)
        if after is None:
            findings.append(Finding(point, "all", "the point", 1, None, 0, worse=True))
            continue
        for metric, kinds in before["metrics"].items():
            for kind, old in kinds.items():
                new = after["metrics"].get(metric, {}).get(kind, {"mean": None, "n_scored": 0})
                tolerance = tolerances.metrics.get(metric, 0.0)
                findings.append(_lower(point, kind, metric, old["mean"], new["mean"], tolerance))
                findings.append(
                    _lower(
                        point, kind, f"{metric} scored clips", old["n_scored"], new["n_scored"], 0
                    )
                )
        for kind, old in before["rates"].items():
            new = after["rates"].get(kind, {"file_kbps": None})
            room = old["file_kbps"] * tolerances.rate_percent / 100
            risen = new["file_kbps"] is None or new["file_kbps"] > old["file_kbps"] + room
            findings.append(
                Finding(point, kind, "file kbps", old["file_kbps"], new["file_kbps"], room, risen)
            )
    for point, after in summary["points"].items():
        gap = after["rates"]["all"]["estimate_gap_percent"]
        if gap is not None:
            limit = tolerances.estimate_gap_percent
            old = baseline["points"].get(point, {}).get("rates", {}).get("all", {})
            findings.append(
                Finding(
                    point, "all", "estimate gap %", old.get("estimate_gap_percent"), gap, limit,
                    worse=abs(gap) > limit,
                )
            )  # fmt: skip
    return findings


def _lower(
    point: str, kind: str, what: str, before: float | None, after: float | None, tolerance: float
) -> Finding:
    """A finding for a value that should not fall."""
    worse = before is not None and (after is None or after < before - tolerance)
    return Finding(point, kind, what, before, after, tolerance, worse)


def markdown(findings: list[Finding], note: str) -> str:
    """The findings as a page for a pull request."""
    worse = [finding for finding in findings if finding.worse]
    if note:
        return f"# Check\n\nNot compared: {note}.\n"
    if not worse:
        return f"# Check\n\nNothing became worse ({len(findings)} values compared).\n"
    lines = [
        f"# Check\n\n{len(worse)} of {len(findings)} values became worse.\n",
        "| point | kind | value | before | after | tolerance |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {f.point} | {f.kind} | {f.what} | {_show(f.before)} | {_show(f.after)} "
        f"| {f.tolerance:g} |"
        for f in worse
    ]
    return "\n".join(lines) + f"\n\n{ADVICE[0].upper()}{ADVICE[1:]}.\n"


def update(summary: dict[str, Any], path: Path = BASELINE) -> None:
    """Make this summary the baseline."""
    kept = {key: summary[key] for key in ("points", "test")}
    write_text(path, json.dumps(kept, indent=1, sort_keys=True) + "\n")


def _show(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
