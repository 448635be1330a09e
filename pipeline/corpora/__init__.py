"""Corpora behind one interface: whatever gives clips, one after the other.

A corpus is a function ``clips(settings)`` in the entry-point group ``rdcodec.corpora``; it yields
each clip's row of the manifest, its (channels, samples) float32 waveform, and the rate in Hz.
`corpus.source` in params.yaml names it. It counts its own progress, because only it knows how
much there is.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from codec.errors import UserError
from pipeline.corpora.manifest import Clip
from pipeline.params import Corpus

GROUP = "rdcodec.corpora"

Made = tuple[Clip, NDArray[np.float32], int]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Settings:
    """What a corpus is asked for: all clips of one split."""

    split: str
    """train (from which validation clips are taken, by source) or test."""
    path: Path
    """`corpus.train` or `corpus.test`: any file or folder that says what the clips are."""
    seed: int
    corpus: Corpus
    """The whole section of params.yaml."""
    skip: Callable[[str, str], None]
    """To be called with a file that cannot be used, and the reason."""


def build(source: str) -> Callable[[Settings], Iterator[Made]]:
    """The corpus of that name; UserError where there is none such."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    if source not in found:
        installed = ", ".join(sorted(found)) or "none: install rdcodec again (make install)"
        raise UserError(f"corpus.source: there is no corpus {source!r}; installed are {installed}")
    clips: Callable[[Settings], Iterator[Made]] = found[source].load()
    return clips


def ahead(pool: Executor, work: Callable[[T], R], items: Iterable[T], most: int) -> Iterator[R]:
    """Results of ``work`` in the order of ``items``, with ``most`` of them in work or waiting.

    Unlike ``Executor.map``, which does everything at once and keeps all results in memory.
    """
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) == most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
