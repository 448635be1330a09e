"""Processes and threads of this machine: none outlives its parent, none takes others with it."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1
# Loaded here and not between fork and exec, where another thread may hold the loader's lock.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Died:
    """What an item gets in place of a result where the process that worked on it died."""

    reason = "the process that worked on it died: a crash in a library, or no memory left"


def let_threads_sleep() -> None:
    """Have OpenMP's threads sleep while they wait, for whatever is imported after this.

    By default they spin, and on a machine that does other things each barrier then waits for a
    processor that a spinning thread holds. What the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "0")


def die_with_parent(parent: int | None = None) -> None:
    """Have Linux end this process when its parent ends, however that ends.

    A killed `dvc repro` would otherwise leave a trainer behind that writes into the next one's
    files. ``parent`` is the process that started this one, where the caller knows it: it may have
    ended before Linux was asked. Workers of multiprocessing know it by themselves. Elsewhere than
    on Linux this does nothing.
    """
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    starter = multiprocessing.parent_process()
    if parent is None and starter is not None:
        parent = starter.pid
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def pool(
    processes: int, initializer: Callable[..., object] | None = None, *arguments: Any
) -> ProcessPoolExecutor:
    """A pool of new processes, each of which ends with this one and begins with ``initializer``.

    Every pool of this project is made here. New ones and not forked ones: a fork has no more of
    its parent's threads than the one that forked, but all the locks that the others held.
    """
    return ProcessPoolExecutor(
        processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(initializer, arguments),
    )


def _begin(initializer: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
    die_with_parent()
    if initializer is not None:
        initializer(*arguments)


def each(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    processes: int,
    initializer: Callable[..., object] | None = None,
    *arguments: Any,
) -> Iterator[tuple[Item, Result | Died]]:
    """Each item with ``work`` of it, done in processes, in the order in which they get done.

    A process that dies ends its own item alone, which gets Died: whatever was at work at that
    moment is done again, one item at a time, so that it shows which of them is deadly.
    """
    todo = iter(items)
    while True:
        suspects: deque[Item] = deque()
        with pool(processes, initializer, *arguments) as executor:
            running: dict[Future[Result], Item] = {}
            try:
                for item in todo:
                    running[_submit(executor, work, item)] = item
                    # Enough that no process waits; not all, which may be very many.
                    if len(running) >= 4 * processes:
                        yield from _ended(running, suspects)
                    if suspects:
                        break
                while running:
                    yield from _ended(running, suspects)
            finally:
                executor.shutdown(wait=False, cancel_futures=True)
        if not suspects:
            return
        yield from _one_by_one(work, suspects, initializer, *arguments)


def _submit(
    executor: ProcessPoolExecutor, work: Callable[[Item], Result], item: Item
) -> Future[Result]:
    try:
        return executor.submit(work, item)
    except BrokenProcessPool as error:
        # It broke since the last look; the item is as good as one that was at work.
        broken: Future[Result] = Future()
        broken.set_exception(error)
        return broken


def _ended(
    running: dict[Future[Result], Item], suspects: deque[Item]
) -> Iterator[tuple[Item, Result]]:
    """Wait for some of what is running; what a broken pool took with it becomes a suspect."""
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        item = running.pop(future)
        try:
            result = future.result()
        except BrokenProcessPool:
            suspects.append(item)
            continue
        yield item, result


def _one_by_one(
    work: Callable[[Item], Result],
    items: deque[Item],
    initializer: Callable[..., object] | None,
    *arguments: Any,
) -> Iterator[tuple[Item, Result | Died]]:
    """``work`` of each item in one process, and after it has died in a new one."""
    while items:
        with pool(1, initializer, *arguments) as executor:
            while items:
                item = items.popleft()
                try:
                    yield item, executor.submit(work, item).result()
                except BrokenProcessPool:
                    yield item, Died()
                    break
