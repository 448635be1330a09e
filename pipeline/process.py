"""What a process owes to the one that started it."""

import ctypes
import multiprocessing
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
# Loaded here and not between fork and exec, where another thread may hold the loader's lock.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


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
