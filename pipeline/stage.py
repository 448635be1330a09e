"""What every stage shares: how it starts, logs, shows progress and fails."""

import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from codec.errors import one_line
from codec.process import die_with_parent

T = TypeVar("T")
FORCED = "RDCODEC_FORCED"
"""The environment variable of a stage that is to keep nothing of an earlier run."""
log = logging.getLogger("rdcodec")
# How stages count aloud: "neural-b050: 26 of 52", "step 100 of 400: total 0.61, ...".
COUNT = re.compile(r"(?:\S+:|step) (\d+) of (\d+)\b")


def enter(main: Callable[..., None]) -> None:
    """Run a stage's ``main`` with the command line's arguments.

    A UserError becomes one line on stderr and exit status 2; anything else keeps its traceback.
    """
    # stage.sh says who started it; that one may have been killed while Python was starting.
    parent = os.environ.pop("RDCODEC_PARENT", None)
    die_with_parent(int(parent) if parent else None)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    with one_line():
        main(*sys.argv[1:])


def forced() -> bool:
    """Whether the run was told to do this stage again although nothing changed (`--force`)."""
    return FORCED in os.environ


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Pass ``items`` on, with a bar on a terminal and some ten log lines elsewhere."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=what, unit="")
        return
    for number, item in enumerate(items, start=1):
        yield item
        if number == total or number % max(1, total // 10) == 0:
            log.info("%s: %d of %d", what, number, total)


def counted(line: str) -> float | None:
    """The share that is done, from 0 to 1, where a line of a stage's log counts its work."""
    found = COUNT.match(line)
    return int(found[1]) / int(found[2]) if found and int(found[2]) else None
