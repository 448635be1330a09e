"""check: the run against the baseline; a worse value exits 1.

Prints what became worse, or came nearest to it, and writes reports/check.md for a pull request.
"""

import sys
from pathlib import Path

from codec.files import write_text
from pipeline import params
from pipeline.layout import SPEED, SUMMARY, VERDICT
from pipeline.results import gate
from pipeline.results import summary as summaries
from pipeline.stage import enter, log


def main(strict: bool = False) -> None:
    settings = params.load().check
    summary, baseline = summaries.read(SUMMARY), summaries.read_baseline(Path(settings.baseline))
    note = gate.not_comparable(summary, baseline)
    if baseline is None or note:
        write_text(VERDICT, gate.markdown([], note))
        log.info("not compared: %s", note)
        if strict:
            sys.exit(1)
        return
    findings = gate.findings(summary, gate.read_speed(SPEED), baseline, settings)
    write_text(VERDICT, gate.markdown(findings, "", baseline.history[0].reason))
    log.info("%s", gate.table(findings))
    worse = [finding for finding in findings if finding.worse]
    for finding in worse:
        log.info("worse: %s", finding)
    if worse:
        log.info("%s", gate.ADVICE)
        sys.exit(1)
    log.info("nothing became worse (%d values compared)", len(findings))


if __name__ == "__main__":
    enter(main)
