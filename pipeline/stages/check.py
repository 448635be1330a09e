"""check: reports/summary.json against reports/baseline.json; a worse value exits 1.

Writes reports/check.md, and prints metric, point, before and after of what became worse.
"""

import sys
from pathlib import Path

from codec.files import write_text
from pipeline import check, params
from pipeline.stage import log, run
from pipeline.stages.aggregate import SUMMARY

PAGE = Path("reports/check.md")


def main() -> None:
    summary, baseline = check.read(SUMMARY), check.read(check.BASELINE)
    note = check.not_comparable(summary, baseline)
    findings = [] if note else check.compare(summary, baseline, params.load().check)
    write_text(PAGE, check.markdown(findings, note))
    worse = [finding for finding in findings if finding.worse]
    for finding in worse:
        log.info("worse: %s", finding)
    if note:
        log.info("not compared: %s", note)
    elif not worse:
        log.info("nothing became worse (%d values compared)", len(findings))
    else:
        log.info("%s", check.ADVICE)
        sys.exit(1)


if __name__ == "__main__":
    run(main)
