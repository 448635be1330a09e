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
from dvc.utils.serialize import _yaml
from dvc_objects.fs.local import FsspecLocalFileSystem

from codec.files import replacing
from pipeline.process import lives

_plainly = LocalFileSystem.open
_local: Any = FsspecLocalFileSystem
_walk = _local.walk


def keep_whole() -> None:
    """Have DVC in this process replace the files of text that it writes in one step."""
    LocalFileSystem.open = _whole


def hash_what_can_be() -> None:
    """Have DVC in this process pass over what has no content, or no name that it could write.

    Links that lead nowhere, pipes and names that are not UTF-8 lie in many a folder of recordings.
    DVC hashes such a folder before `prepare` can say what it skips of it, and would end, or wait
    for ever.
    """
    _local.walk = _walk_hashable


def read_plainly() -> None:
    """Have DVC in this process read dvc.lock anew, before it changes it, as it reads it elsewhere.

    Its reader for files that people write keeps their comments, and takes five times as long, for
    each stage of a run. What is written is the same to the byte.
    """
    _yaml.parse_yaml_for_update = _yaml.parse_yaml


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


def _walk_hashable(
    self: Any, path: Any, maxdepth: Any = None, topdown: bool = True, detail: bool = False,
    **options: Any,
) -> Iterator[Any]:  # fmt: skip
    """FsspecLocalFileSystem.walk, of hashable files."""
    for root, folders, files in _walk(self, path, maxdepth, topdown, **options):
        folders[:] = filter(_is_utf8, folders)
        files[:] = (one for one in files if _is_utf8(one) and os.path.isfile(f"{root}/{one}"))
        if not detail:
            yield root, folders, files
            continue
        inside, content = (
            {name: self.info(os.path.join(root, name)) for name in names}
            for names in (folders, files)
        )
        yield root, inside, content
        folders[:] = inside  # as with os.walk: what the caller takes out is not walked


def _is_utf8(name: str) -> bool:
    return name.encode("utf-8", "replace") == os.fsencode(name)


def _whole(self: Any, path: Any, mode: str = "r", **options: Any) -> Any:
    """LocalFileSystem.open, where text that is written anew appears in one step."""
    if mode not in ("w", "w+"):
        return _plainly(self, path, mode, **options)
    return _beside(self, os.fspath(path), mode, options)


@contextmanager
def _beside(self: Any, path: str, mode: str, options: dict[str, Any]) -> Iterator[Any]:
    with replacing(path) as scratch, _plainly(self, str(scratch), mode, **options) as file:
        yield file
