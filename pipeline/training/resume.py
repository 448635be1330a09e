"""What a training run needs to go on after it was killed: one file, one lock."""

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from codec.errors import UserError
from codec.files import replacing

STATE = "state.pt"
SOURCES = ("codec/nn", "codec/coding", "pipeline/training")


@contextmanager
def locked(folder: Path, main: bool) -> Iterator[None]:
    """Hold the folder's lock; UserError where another trainer holds it.

    Of processes that train together only the ``main`` one takes it.
    """
    if not main:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"{folder}: another training writes there; wait for it, or end it"
            ) from error
        yield


def fingerprint(*facts: object, data: list[Path]) -> str:
    """Names what a state belongs to: these facts, the data's manifests, and the code."""
    sha = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    root = Path(__file__).resolve().parents[2]
    sources = [path for folder in SOURCES for path in sorted((root / folder).glob("*.py"))]
    for path in [*data, *sources]:
        sha.update(path.read_bytes())
    return sha.hexdigest()[:16]


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors and plain values in one step."""
    with replacing(path) as scratch:
        torch.save(state, scratch)


def load(path: Path, mark: str) -> dict[str, Any] | None:
    """The state that was saved there with this fingerprint; None where there is none."""
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state if state.get("fingerprint") == mark else None
