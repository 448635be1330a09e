"""Files that are either whole or absent."""

import fcntl
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

from codec.errors import UserError

_MEBIBYTE = 1 << 20
_LONGEST_NAME = 255
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_OPEN_FILE = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_PASSED_OVER = re.compile(r"\._|\..*\.part\.[^.]*$", re.DOTALL)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a scratch path beside ``path``; rename it over ``path`` if the block succeeds.

    A reader sees the old file or the new one, never a part of one. If the block raises, ``path``
    is left as it was and the scratch file is removed; a kill leaves it behind, and the next writer
    of ``path`` takes it over, so that nothing piles up. Writers of one ``path`` take turns.
    The scratch name keeps the suffix, because audio writers choose their format by it, and has
    ``.part`` before it, by which `.dvcignore` knows it.

    A link is followed, as cp does. A pipe, a device or an open file's name (/dev/stdout) stays what
    it is: the finished file is written into it.

    Raises OSError with ``path`` as its file name where the system refuses to write, and UserError
    where ``path`` is a folder or leads through a file.
    """
    path = Path(path)
    if is_stream(path):
        with _streamed(path) as scratch:
            yield scratch
        return
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file")
    if path.is_symlink():
        path = Path(os.path.realpath(path))  # what is written is what the link leads to
        if path.is_symlink():
            raise UserError(f"{path}: its links lead in a circle")
    scratch = _scratch(path)
    handle = None
    try:
        _make_parents(path)
        handle = _own(scratch)
        try:
            yield scratch
        except Exception as error:
            if not isinstance(error, OSError):
                # Libraries tell of a full disk in words of their own. Ask the system.
                _probe(handle)
            raise
        os.replace(scratch, path)
    except OSError as error:
        if error.filename in (None, str(scratch)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        if handle is not None:
            # Nothing is there after the rename, unless the next writer of `path` began.
            if _same(handle, scratch):
                scratch.unlink()
            os.close(handle)


def _scratch(path: Path) -> Path:
    name = f".{path.stem}.part{path.suffix}"
    if len(os.fsencode(name)) > _LONGEST_NAME >= len(os.fsencode(path.name)):
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()}.part{path.suffix}"
    return path.with_name(name)


def _make_parents(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{path}: leads through {error.filename}, which is no folder") from error


def is_stream(path: Path) -> bool:
    """Whether a path is a pipe or a device, or names an open file: read and written once, in order.

    Such a thing is never replaced by a file, and is read to its end before its content is used.
    """
    if _descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _descriptor(path: Path) -> int | None:
    """The open file that a path names."""
    if found := _OPEN_FILE.fullmatch(str(path)):
        return int(found[1])
    return _STANDARD.get(str(path))


def _open_stream(path: Path, mode: Literal["rb", "wb"]) -> BinaryIO:
    descriptor = _descriptor(path)
    if descriptor is None:
        return path.open(mode)
    if descriptor == 1:
        sys.stdout.flush()
    return os.fdopen(os.dup(descriptor), mode)


@contextmanager
def _streamed(path: Path) -> Iterator[Path]:
    """A scratch file; its content goes into the stream if the block succeeds."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / f"scratch{path.suffix}"
        yield scratch
        with scratch.open("rb") as file, _open_stream(path, "wb") as stream:
            shutil.copyfileobj(file, stream)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """``path`` open for reading anywhere in it; what a stream gives is kept in a scratch file."""
    if not is_stream(path):
        with path.open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as scratch:
        with _open_stream(path, "rb") as stream:
            shutil.copyfileobj(stream, scratch)
        scratch.flush()
        scratch.seek(0)
        yield scratch


def check_apart(source: Path, target: Path) -> None:
    """Raise UserError where an output is its own input."""
    if is_stream(target) or not (source.exists() and target.exists()):
        return
    if target.samefile(source):
        raise UserError(f"{target}: is the input itself; name another output")


def _own(scratch: Path) -> int:
    """The empty scratch file, locked until its handle is closed or the process ends."""
    while True:
        handle = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            # While this one waited, another writer may have renamed or removed the file.
            if _same(handle, scratch):
                os.ftruncate(handle, 0)
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _same(handle: int, path: Path) -> bool:
    """Whether ``path`` is the open file."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _probe(handle: int) -> None:
    """Raise the OSError of a disk on which no mebibyte is left."""
    os.lseek(handle, 0, os.SEEK_END)
    left = memoryview(bytes(_MEBIBYTE))
    while left:
        left = left[os.write(handle, left) :]


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` in one step."""
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write ``data`` to ``path`` in one step."""
    with replacing(path) as scratch:
        scratch.write_bytes(data)


def below(folder: Path, endings: tuple[str, ...]) -> tuple[list[Path], list[OSError]]:
    """All files below a folder whose names end so (in lower or upper case), in a fixed order.

    Linked folders are followed, each folder once, so that links in a circle end. What is no input
    of anybody's is passed over: scratch files that a kill left behind, and the ``._`` files in
    which macOS keeps attributes. Folders that cannot be listed are the second answer.
    """
    found: list[Path] = []
    refused: list[OSError] = []
    seen: set[tuple[int, int]] = set()
    real, linked = deque([folder]), deque[Path]()
    while real or linked:
        # Links last: what they lead to may be a part of this folder.
        here = real.popleft() if real else linked.popleft()
        try:
            status = here.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            refused.append(error)
            continue
        for entry in entries:
            if entry.is_dir():
                (linked if entry.is_symlink() else real).append(Path(entry.path))
            elif entry.name.lower().endswith(endings) and not _PASSED_OVER.match(entry.name):
                found.append(Path(entry.path))
    return sorted(found), refused
