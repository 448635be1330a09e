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
# The code that a training runs: what its stage in dvc.yaml depends on, not the command line.
SOURCES = (
    "codec/audio.py",
    "codec/checkpoint.py",
    "codec/config.py",
    "codec/containers.py",
    "codec/model.py",
    "codec/rate.py",
    "codec/nn",
    "codec/coding",
    "pipeline/corpora/manifest.py",
    "pipeline/training",
    "pipeline/stages/train.py",
)


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
    for path in [*data, *sources(Path(__file__).resolve().parents[2])]:
        sha.update(path.read_bytes())
    return sha.hexdigest()[:16]


def sources(root: Path) -> list[Path]:
    """The files of ``SOURCES``, and those in their folders at any depth."""
    return [
        path
        for place in SOURCES
        for path in (
            [root / place] if place.endswith(".py") else sorted((root / place).rglob("*.py"))
        )
    ]


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
