"""Runs that are killed; `python -m tests.faults` makes as many trials as one has time for."""

import random
import signal
from pathlib import Path

import pytest

from tests.faults.projects import outputs, synthetic
from tests.faults.trial import Trial

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    project = synthetic(tmp_path_factory.mktemp("reference"), seconds=0.1)
    done = project.dvc("repro")
    assert done.returncode == 0, done.stdout + done.stderr
    return outputs(project.folder)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory):
    with Trial(synthetic(tmp_path_factory.mktemp("idle")), {}).server() as (_, address):
        yield address


@pytest.mark.parametrize(
    ("target", "how"),
    [("flow", signal.SIGKILL), ("flow", signal.SIGTERM), ("stage", signal.SIGKILL)],
)
def test_after_a_kill_all_is_whole_and_a_rerun_gives_the_same(
    tmp_path: Path, reference: dict[str, str], api: str, target: str, how: signal.Signals
) -> None:
    trial = Trial(synthetic(tmp_path), reference, api=api)
    outcome = trial.hit(target, how, random.uniform(0, 3), busy=True)
    assert outcome.hit != "over before"
    assert not outcome.faults, outcome
