"""What a process owes to the one that started it."""

import ctypes
import multiprocessing
import os
import signal
import sys

import psutil

_PR_SET_PDEATHSIG = 1
_CLOCK = 1.0  # s by which the beginning of a process is uncertain
# Loaded here and not between fork and exec, where another thread may hold the loader's lock.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def lives(number: int, since: float | None = None) -> bool:
    """Whether a process of this number runs, and ran at ``since`` (s since 1970) if that is given.

    One that began later has only inherited the number; one that has ended keeps it until it is
    collected.
    """
    try:
        process = psutil.Process(number)
        begun = since is None or process.create_time() <= since + _CLOCK
        return begun and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


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
