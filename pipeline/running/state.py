"""DVC's files of state, dvc.lock and its table of locks: whole after any kill, free of the dead.

DVC opens these files for writing and fills them bit by bit: a kill at that moment leaves a file
that DVC itself can no longer read. Here they are written beside, then renamed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dvc.fs import LocalFileSystem
from dvc.repo import Repo
from dvc.rwlock import RWLOCK_FILE, _edit_rwlock

from codec.files import replacing
from pipeline.process import lives

_plainly = LocalFileSystem.open


def keep_whole() -> None:
    """Have DVC in this process replace the files of text that it writes in one step."""
    LocalFileSystem.open = _whole


def release_dead(repo: Repo) -> None:
    """Take DVC's locks of files back from processes that were killed.

    DVC does so itself, unless a process has their number: a new one, or the dead one, which keeps
    it until it is collected, and in a container there may be nobody who collects.
    """
    table = Path(repo.tmp_dir) / RWLOCK_FILE
    if not table.is_file():
        return
    written = table.stat().st_mtime
    hardlink = repo.config["core"].get("hardlink_lock", False)
    with _edit_rwlock(repo.tmp_dir, repo.fs, hardlink) as locks:
        for path, one in list(locks["write"].items()):
            if not lives(one["pid"], written):
                del locks["write"][path]
        for path, some in list(locks["read"].items()):
            locks["read"][path] = [one for one in some if lives(one["pid"], written)]


def _whole(self: Any, path: Any, mode: str = "r", **options: Any) -> Any:
    """LocalFileSystem.open, where text that is written anew appears in one step."""
    if mode not in ("w", "w+"):
        return _plainly(self, path, mode, **options)
    return _beside(self, os.fspath(path), mode, options)


@contextmanager
def _beside(self: Any, path: str, mode: str, options: dict[str, Any]) -> Iterator[Any]:
    with replacing(path) as scratch, _plainly(self, str(scratch), mode, **options) as file:
        yield file
