"""Errors that a user can mend, as opposed to bugs."""

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
