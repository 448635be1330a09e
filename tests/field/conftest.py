"""Every test of this folder has the marker ``field``; and what they share."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from codec import audio
from codec.cli import COMMANDS, application
from tests.conftest import ROOT, tone

MODEL = str(ROOT / "tests" / "golden" / "spectral.safetensors")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("field")


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """Half a second at 16 kHz."""
    path = tmp_path / "a.wav"
    audio.write(path, tone(0.5, 16_000), 16_000)
    return path


def invoke(*words: object) -> Result:
    """The codec's commands, in this process; errors are there to be looked at."""
    return CliRunner().invoke(application(*COMMANDS), [str(word) for word in words])


def rdcodec(*words: object, **options) -> "subprocess.CompletedProcess[bytes]":
    """The command as a shell starts it."""
    command = [sys.executable, "-m", "codec", *map(str, words)]
    return subprocess.run(command, capture_output=True, **{"cwd": ROOT, **options})


Codec = Callable[..., Result]
