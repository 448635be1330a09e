"""Kill a run anywhere, at a random moment, and see what is left: `python -m tests.faults`.

A small graph of stages that write slowly is run by the real flow, by the real `stage.sh` and by
DVC, and SIGINT, SIGTERM or SIGKILL hits the flow, one process of a running stage, or the Prefect
server: one that was there before, or the run's own. What must hold after it is in `Trial.judge`.
"""

import argparse
import itertools
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.projects import outputs, synthetic, tiny
from tests.faults.trial import Outcome, Trial
from tests.project import Project

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
TARGETS = ("flow", "stage", "server", "own server")


def undisturbed(build: Callable[[Path], Project], folder: Path) -> tuple[dict[str, str], float]:
    """The results of a run that nothing hits, and its seconds."""
    trial = Trial(build(folder), {})
    started = time.monotonic()
    flow = trial.start()
    if flow.wait(600):
        raise RuntimeError((folder / ".prefect.log").read_text()[-3000:])
    return outputs(folder), time.monotonic() - started


def trials(
    build: Callable[[Path], Project], count: int, seed: int, folder: Path, say: Callable = print,
    kinds: list | None = None, limit: float = 120, first: int = 0,
) -> list[Outcome]:  # fmt: skip
    """``count`` trials over all targets and signals in turn, at moments drawn from ``seed``."""
    random.seed(seed)
    (folder / "reference").mkdir(parents=True)
    reference, seconds = undisturbed(build, folder / "reference")
    say(f"undisturbed: {seconds:.1f} s, {len(reference)} files")
    kinds = kinds or list(itertools.product(TARGETS, SIGNALS))
    done = []
    for number in range(first, first + count):
        target, how = kinds[number % len(kinds)]
        place = folder / f"trial-{number}"
        place.mkdir()
        trial = Trial(build(place), reference, limit)
        # Where a server is there before, nobody waits for one to start.
        share = 0.4 if target == "server" else 0.85
        outcome = trial.hit(target, how, random.uniform(0, share * seconds))
        say(f"{number + 1:3} {outcome}")
        done.append(outcome)
    return done


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--trials", type=int, default=30)
    words.add_argument("--first", type=int, default=0, help="number of the first trial")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--real", action="store_true", help="the real pipeline, tiny")
    words.add_argument("--target", choices=TARGETS)
    words.add_argument("--keep", type=Path, help="a folder for the projects")
    given = words.parse_args()
    chosen = [k for k in itertools.product(TARGETS, SIGNALS) if given.target in (None, k[0])]
    with tempfile.TemporaryDirectory() as scratch:
        found = trials(
            tiny if given.real else synthetic, given.trials, given.seed,
            given.keep or Path(scratch), lambda line: print(line, flush=True), chosen,
            600 if given.real else 120, given.first,
        )  # fmt: skip
    bad = [outcome for outcome in found if outcome.faults]
    print(f"{len(found)} trials, {len(found) - len(bad)} without fault")
    sys.exit(bool(bad))
