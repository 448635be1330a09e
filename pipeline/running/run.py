"""The stages of one run: through DVC, on what the machine has, all that they say in the log."""

import contextlib
import functools
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.running import dashboard  # before Prefect, which it sets up

# isort: split
from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Crashed, Failed, Pending, Running

from codec.process import die_with_parent
from pipeline.running.graph import Stage
from pipeline.running.resources import Machine
from pipeline.stage import FORCED, counted

CACHED, RESTORED, TIMED_OUT, WAITING = "Cached", "Restored", "TimedOut", "Waiting"
KILL_SECONDS = 5.0
# How a stage says in one line what is wrong, and DVC after it.
ERROR = re.compile(r"(?:error|ERROR): (.*)")


@dataclass
class Ended:
    """How `dvc repro` of one stage ended."""

    status: int
    unchanged: bool = False
    restored: bool = False
    timed_out: bool = False
    reason: str = ""
    """What the stage, or DVC, said of why it failed."""


@dataclass
class Run:
    """The stages of one run: what has run so far, and which processes are at work."""

    forced: set[str]
    machine: Machine = field(default_factory=Machine.this)
    changed: set[str] = field(default_factory=set)
    """Stages whose outs this run has made or restored."""
    processes: set["subprocess.Popen[str]"] = field(default_factory=set)
    progress: dict[str, float] = field(default_factory=dict)
    """The share of its work that a stage has counted, from 0 to 1."""
    stopping: bool = False

    def perform(self, stage: Stage) -> State[Any]:
        """Run one stage through DVC, or say that nothing changed."""
        forced = stage.name in self.forced
        if not (forced or stage.changes) and self.changed.isdisjoint(stage.needs):
            return Completed(name=CACHED, message=f"{stage.name}: unchanged")
        waited = threading.Event()

        def waits() -> None:
            waited.set()
            why = f"{stage.name}: waits for processors, memory or a GPU"
            dashboard.show(Pending(name=WAITING, message=why))

        with self.machine.lent(stage.meta, lambda: self.stopping, waits) as variables:
            if self.stopping:
                return Crashed(message=f"{stage.name}: the run was stopped")
            if waited.is_set():
                dashboard.show(Running())
            if forced:  # DVC's --force says nothing to the stage, which keeps scores of its own
                variables = {**variables, FORCED: "1"}
            ended = self._repro(stage, forced, environment() | variables)
        if self.stopping and ended.status:
            return Crashed(message=f"{stage.name}: stopped with the run")
        if ended.timed_out:
            message = f"{stage.name}: ended after its timeout of {stage.meta.timeout:g} s"
            return Failed(name=TIMED_OUT, message=message)
        if ended.status:
            reason = ended.reason or f"failed with exit status {ended.status}"
            return Failed(message=f"{stage.name}: {reason}")
        if ended.unchanged:
            return Completed(name=CACHED, message=f"{stage.name}: unchanged")
        self.changed.add(stage.name)
        if ended.restored:
            return Completed(name=RESTORED, message=f"{stage.name}: restored from DVC's cache")
        return Completed(message=f"{stage.name}: done")

    def _repro(self, stage: Stage, forced: bool, variables: dict[str, str]) -> Ended:
        """`dvc repro` of one stage, its output logged line by line."""
        logger = get_run_logger()
        # The flag must stand before the command: eight stages at once then wait for their turn.
        command = [sys.executable, "-m", "pipeline.running.repro", "--wait-for-lock", "repro"]
        command += ["-s", stage.name]
        process = subprocess.Popen(
            [*command, "--force"] if forced else command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=variables,
            start_new_session=True,
            preexec_fn=functools.partial(die_with_parent, os.getpid()),
        )
        self.processes.add(process)
        ended = Ended(0)
        with _deadline(process, stage.meta.timeout) as passed:
            assert process.stdout is not None
            for line in process.stdout:
                ended.unchanged |= "didn't change, skipping" in line
                ended.restored |= "is cached - skipping run" in line
                if (share := counted(line)) is not None:
                    self.progress[stage.name] = share
                if said := ERROR.match(line):
                    ended.reason = ended.reason or said[1].strip()
                if line.strip():
                    logger.info(line.rstrip())
            ended.status = process.wait()
        ended.timed_out = bool(ended.status) and passed.is_set()
        self.processes.discard(process)
        return ended

    def stop(self) -> None:
        """End all stages at work, with everything that they started."""
        self.stopping = True
        self.machine.wake()
        for process in list(self.processes):
            end(process)


@contextlib.contextmanager
def _deadline(process: "subprocess.Popen[str]", seconds: float | None) -> Iterator[threading.Event]:
    """End a process that takes longer; the event says whether that was done."""
    passed = threading.Event()
    if seconds is None:
        yield passed
        return

    def late() -> None:
        passed.set()
        end(process)

    timer = threading.Timer(seconds, late)
    timer.daemon = True
    timer.start()
    try:
        yield passed
    finally:
        timer.cancel()


def end(process: "subprocess.Popen[str]") -> None:
    """Ask a process and all that it started to end, and kill soon what does not."""

    def send(number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)

    send(signal.SIGTERM)
    # The leader may go before its children do, so the whole group is told once more.
    killer = threading.Timer(KILL_SECONDS, send, (signal.SIGKILL,))
    killer.daemon = True
    killer.start()


def environment() -> dict[str, str]:
    """The environment of stages: `python` in dvc.yaml is this very Python, and says all at once."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "VIRTUAL_ENV": sys.prefix, "PYTHONUNBUFFERED": "1"}
