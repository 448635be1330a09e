"""Processes that end with the one that started them, and alone."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from codec.process import Died, each, let_threads_sleep, pool
from tests.codec import deadly
from tests.conftest import ROOT

PARENT = """
import time
from codec.process import each, pool
if __name__ == "__main__":
    with pool(2) as workers:
        for _ in range(2):
            workers.submit(time.sleep, 60)
        print("ready", flush=True)
        time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_die_with_their_parent(tmp_path, how: signal.Signals) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, "parent.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert parent.stdout.readline() == "ready\n"
    late = time.monotonic() + 60
    while len(workers := spawned(parent.pid)) < 2 and time.monotonic() < late:
        time.sleep(0.05)
    assert len(workers) == 2
    time.sleep(1)  # until they are at work
    parent.send_signal(how)
    parent.wait()
    _, left = psutil.wait_procs(workers, timeout=20)
    for process in left:
        process.kill()
    assert not left


def spawned(number: int) -> list[psutil.Process]:
    children = psutil.Process(number).children()
    return [one for one in children if "spawn_main" in " ".join(one.cmdline())]


def test_a_process_that_dies_ends_its_own_item_alone() -> None:
    found = dict(each(deadly.work, range(14), 2))
    assert {number for number, result in found.items() if isinstance(result, Died)} == {3, 13}
    assert {number: result for number, result in found.items() if number % 10 != 3} == {
        number: number * number for number in range(14) if number % 10 != 3
    }


def test_what_work_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(each(int, ["1", "x"], 1))


def test_pools_begin_as_they_are_told() -> None:
    with pool(1, deadly.set_variable, "RDCODEC_TEST", "7") as workers:
        assert workers.submit(deadly.variable, "RDCODEC_TEST").result() == "7"


def test_threads_sleep_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    let_threads_sleep()
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv("GOMP_SPINCOUNT", "100")
    let_threads_sleep()
    assert os.environ["GOMP_SPINCOUNT"] == "100"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    let_threads_sleep()
    assert os.environ["GOMP_SPINCOUNT"] == "0"
