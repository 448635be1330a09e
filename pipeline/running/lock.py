"""One run at a time in a project's folder."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from codec.errors import UserError

FILE = Path(".dvc/tmp/rdcodec.lock")  # DVC keeps .dvc/tmp out of git
_held = False


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Hold the folder's lock, which ends with this process.

    Raises UserError where another run has it, or where there is no project.
    """
    global _held
    if _held:  # by this very process: the command holds it for the flow that it starts
        yield
        return
    for name, what in (("params.yaml", "file"), (".dvc", "folder")):
        if not Path(name).exists():
            raise UserError(f"{name}: no such {what}; run rdcodec in the project's folder")
    FILE.parent.mkdir(exist_ok=True)
    with FILE.open("a+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            other = file.read().decode() or "unknown"
            raise UserError(
                f"{Path.cwd()}: another run ({other}) is at work in this folder; "
                "wait for it, or end it"
            ) from error
        try:
            file.truncate(0)
            file.write(f"process {os.getpid()}".encode())
        except OSError as error:  # a full disk
            raise OSError(error.errno, error.strerror, str(FILE)) from error
        _held = True
        try:
            yield
        finally:
            _held = False
