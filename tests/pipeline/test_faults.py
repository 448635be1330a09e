"""Runs that are killed; `python -m tests.faults` makes as many trials as one has time for."""

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.projects import outputs, synthetic
from tests.faults.trial import Trial
from tests.pipeline import toy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    project = synthetic(tmp_path_factory.mktemp("reference"), seconds=0.1)
    done = project.dvc("repro")
    assert done.returncode == 0, done.stdout + done.stderr
    return outputs(project.folder)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with toy.server(tmp_path_factory.mktemp("idle")) as address:
        yield address


@pytest.mark.parametrize(
    ("target", "how"),
    [
        ("flow", signal.SIGKILL),
        ("flow", signal.SIGTERM),
        ("stage", signal.SIGKILL),
        ("own server", signal.SIGKILL),
    ],
)
def test_after_a_kill_all_is_whole_and_a_rerun_gives_the_same(
    tmp_path: Path, reference: dict[str, str], api: str, target: str, how: signal.Signals
) -> None:
    trial = Trial(synthetic(tmp_path), reference, api="" if target == "own server" else api)
    outcome = trial.hit(target, how, random.uniform(0, 3), busy=True)
    assert outcome.hit != "over before"
    assert not outcome.faults, outcome
