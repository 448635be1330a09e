"""What a process owes to the one that started it."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
# Loaded here and not between fork and exec, where another thread may hold the loader's lock.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """Have Linux end this process when its parent ends, however that ends.

    A killed `dvc repro` would otherwise leave a trainer behind that writes into the next one's
    files. Elsewhere than on Linux this does nothing.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
