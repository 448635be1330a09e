"""Processes that end with the one that started them."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from pipeline.process import lives

CHILD = """
import time
from pipeline.stage import enter
enter(lambda: (print("ready", flush=True), time.sleep(60)))
"""
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE, text=True)
print(child.stdout.readline().strip(), child.pid, flush=True)
child.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_stage_dies_with_its_parent(how: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    ready, pid = parent.stdout.readline().split()
    assert ready == "ready"
    parent.send_signal(how)
    parent.wait()
    for _ in range(100):
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the stage lives on")


def test_who_has_ended_or_came_later_does_not_live() -> None:
    this = psutil.Process()
    assert lives(this.pid)
    assert lives(this.pid, time.time())
    assert not lives(this.pid, this.create_time() - 60)
    ended = subprocess.Popen(["true"])
    while psutil.Process(ended.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert not lives(ended.pid)
    ended.wait()
    assert not lives(ended.pid)
