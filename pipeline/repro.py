"""`python -m pipeline.repro ...` is `dvc ...`, with files of state that no kill can cut in two.

DVC opens dvc.lock and its table of locks for writing and fills them bit by bit: a kill at that
moment leaves a file that DVC itself can no longer read. Here they are written beside, then renamed.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dvc.cli import main
from dvc.fs import LocalFileSystem

from codec.files import replacing

_plainly = LocalFileSystem.open


def _whole(self: Any, path: Any, mode: str = "r", **options: Any) -> Any:
    """LocalFileSystem.open, where text that is written anew appears in one step."""
    if mode not in ("w", "w+"):
        return _plainly(self, path, mode, **options)
    return _beside(self, os.fspath(path), mode, options)


@contextmanager
def _beside(self: Any, path: str, mode: str, options: dict[str, Any]) -> Iterator[Any]:
    with replacing(path) as scratch, _plainly(self, str(scratch), mode, **options) as file:
        yield file


if __name__ == "__main__":
    LocalFileSystem.open = _whole
    sys.exit(main(sys.argv[1:]))
