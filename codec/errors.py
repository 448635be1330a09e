"""Errors that a user can mend, as opposed to bugs."""

import errno
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """Bad input: the message names the file or key, what is wrong and what to do.

    The command line prints it as one line on stderr and exits with status 2.
    Anything that is not a ``UserError`` is a bug and keeps its traceback.
    """


class BitstreamError(UserError):
    """A ``.rdc`` file that is damaged, truncated, or made with another model."""


class AudioError(UserError):
    """Audio that cannot be read, or that cannot be coded."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file's name in front of what a UserError says about its content."""
    try:
        yield
    except UserError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error


def reason(path: Path, error: Exception) -> str:
    """One line about a file among many that an error kept from being done."""
    if isinstance(error, UserError):
        said = " ".join(str(error).split())
    elif isinstance(error, OSError) and error.strerror:
        said = error.strerror
    else:
        # A bug, or a library's: its kind is what a report of it begins with.
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return said if str(path) in said else f"{path}: {said}"


# What the system says where it cannot write (or read), and what helps.
_REFUSALS = {
    errno.ENOSPC: "free some space, then run it again",
    errno.EDQUOT: "free some space, then run it again",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), then run it again",
    errno.EROFS: "make the folder writable, or work in another one",
    errno.EACCES: "make it accessible to you, or work in another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EPIPE: "whoever read this has ended",
}


FOR_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""What the system says of a disk, and so of every file that is still to be written there."""


@contextmanager
def one_line() -> Iterator[None]:
    """Make a UserError, or the system's refusal to write, one line on stderr and exit status 2.

    The refusals are a full disk, a read-only folder and missing rights, a name too long and a pipe
    without a reader; any other error keeps its traceback.
    """
    # Names that are not UTF-8 are printed as far as they can be.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror}; {_REFUSALS[error.errno]}", file=sys.stderr)
        sys.exit(2)
