"""Points that were skipped for what this machine lacked: a run codes them as soon as it has that.

DVC cannot see it: what is installed is no dependency of theirs.
"""

from collections.abc import Iterable
from dataclasses import replace

from pipeline import layout, params
from pipeline.coders import Unavailable, build
from pipeline.running.graph import Stage

INSTALLED = "what its coder lacked is here now"


def reconsidered(stages: Iterable[Stage]) -> list[Stage]:
    """The stages, ``INSTALLED`` among the changes of those of skipped points that can be coded now.

    And among those of ``speed``, which left them out.
    """
    again = {f"code@{point}" for point in _noted() if _can_be_coded(point)}
    if again:
        again.add("speed")
    return [
        replace(stage, changes=(*stage.changes, INSTALLED)) if stage.name in again else stage
        for stage in stages
    ]


def named(stages: Iterable[Stage]) -> set[str]:
    """Those of them that ``reconsidered`` has marked: DVC must be forced to run them."""
    return {stage.name for stage in stages if INSTALLED in stage.changes}


def _noted() -> list[str]:
    """The points whose folder holds a note in place of files."""
    return [path.parent.name for path in layout.CODED.glob(f"*/{layout.SKIP_NOTE}")]


def _can_be_coded(point: str) -> bool:
    settings = params.load()
    if point not in settings.points:
        return False
    try:
        build(*settings.coder_of(point))
    except Unavailable:
        return False
    return True
