"""One project that is run, hit, judged, and run again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from tests.faults.projects import outputs
from tests.pipeline import toy
from tests.project import Project

MARK = "RDCODEC_TRIAL"
FLOW = "import sys; from pipeline.running import flow; sys.exit(not flow.execute([]))"


def marked(mark: str) -> list[psutil.Process]:
    """The living processes that descend from a trial, whatever became of their parents."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def _interruptible() -> None:
    # Shells start what runs in the background with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass
class Outcome:
    """What a trial saw; no ``faults`` is what is wanted."""

    target: str
    signal: str
    at: float
    hit: str
    ended: float
    rerun: str
    faults: list[str]


class Trial:
    """One project that is run, hit, judged, and run again."""

    def __init__(
        self, project: Project, reference: dict[str, str], limit: float = 120, api: str = ""
    ) -> None:
        self.project = project
        self.folder = project.folder
        self.reference = reference
        self.limit = limit
        self.api = api
        """Of a Prefect server that is there already; empty: the flow starts one of its own."""
        self.before: dict | None = None
        self.busy = False
        self.mark = uuid.uuid4().hex
        self.faults: list[str] = []

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": sys.prefix,
            "PREFECT_HOME": str(self.folder / ".prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_API_URL": self.api,
            MARK: self.mark,
        }

    def start(self) -> "subprocess.Popen[str]":
        log = (self.folder / ".prefect.log").open("a")
        return subprocess.Popen(
            [sys.executable, "-c", FLOW], cwd=self.folder, env=self.environment(),
            stdout=log, stderr=subprocess.STDOUT, text=True,
            start_new_session=True, preexec_fn=_interruptible,
        )  # fmt: skip

    def hit(self, target: str, how: signal.Signals, after: float, busy: bool = False) -> Outcome:
        """Run, hit ``target`` after ``after`` seconds, judge, run again.

        "server" is one that was there before the run, "own server" one that the run started.
        The seconds count from the start of the flow, or if ``busy`` of its first stage.
        """
        self.busy = busy
        if target == "server":
            with toy.server(self.folder, self.environment()) as self.api:
                hit, ended = self._hit(self.start(), self.serving, how, after)
            self.api = ""
        else:
            flow = self.start()
            victims = {"flow": lambda: [flow], "stage": self.at_work, "own server": self.serving}
            hit, ended = self._hit(flow, victims[target], how, after)
        self.judge()
        rerun = self.rerun()
        return Outcome(target, how.name, round(after, 2), hit, round(ended, 1), rerun, self.faults)

    def _hit(
        self,
        flow: "subprocess.Popen[str]",
        victims: Callable[[], list],
        how: signal.Signals,
        after: float,
    ) -> tuple[str, float]:
        started = time.monotonic()
        hit = "over before"
        while self.busy and not self.at_work() and flow.poll() is None:
            started = time.monotonic()
        while flow.poll() is None:
            if time.monotonic() - started < after:
                time.sleep(0.005)
                continue
            found = victims()
            if not found:
                continue
            victim = random.choice(found)
            self.before = self.locked()
            try:
                hit = _name(victim.pid)
                os.kill(victim.pid, how)
            except (ProcessLookupError, psutil.Error):
                continue
            break
        hit_at = time.monotonic()
        try:
            flow.wait(self.limit)
        except subprocess.TimeoutExpired:
            self.faults.append(f"the flow did not end within {self.limit:g} s")
            flow.kill()
            flow.wait()
        return hit, time.monotonic() - hit_at

    def at_work(self) -> list[psutil.Process]:
        """DVC's and the stages' processes."""
        return self._with("pipeline.stages", " repro ", "multiprocessing.spawn")

    def serving(self) -> list[psutil.Process]:
        """The Prefect server."""
        return self._with("prefect server start")

    def _with(self, *names: str) -> list[psutil.Process]:
        found = []
        for process in marked(self.mark):
            try:
                if any(name in " ".join(process.cmdline()) for name in names):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def locked(self) -> dict | None:
        """dvc.lock's stages; None where it is half-written."""
        path = self.folder / "dvc.lock"
        try:
            found = yaml.safe_load(path.read_text()) if path.exists() else {}
            return found.get("stages", {})
        except (yaml.YAMLError, AttributeError):
            return None

    def judge(self) -> None:
        """Note what is wrong: orphans, half-written files, lost results, a lying status."""
        try:
            toy.wait_for(lambda: not marked(self.mark), 15)
        except TimeoutError:
            for process in marked(self.mark):
                self.faults.append(f"orphan: {_name(process.pid)}")
                process.kill()
        here = outputs(self.folder)
        for name, sha in here.items():
            if name in self.reference and self.reference[name] != sha:
                self.faults.append(f"half-written: {name}")
            elif name not in self.reference:
                self.faults.append(f"unknown: {name}")
        now = self.locked()
        if now is None:
            self.faults.append("dvc.lock is half-written")
            return
        for stage, entry in (self.before or {}).items():
            if now.get(stage) != entry:
                self.faults.append(f"dvc.lock lost {stage}")
        done = self.status()
        if done.returncode:
            self.faults.append(f"dvc status fails: {done.stderr.strip()[-300:]}")
            return
        changed = set(json.loads(done.stdout))
        for stage, entry in now.items():
            whole = all(
                name in here
                for out in entry.get("outs", [])
                for name in self.reference
                if name == out["path"] or name.startswith(out["path"] + "/")
            )
            if not whole and stage not in changed:
                self.faults.append(f"dvc status calls {stage} unchanged, and outs are missing")

    def status(self) -> "subprocess.CompletedProcess[str]":
        """`dvc status`, once the machine has collected the dead, which DVC takes for alive."""
        late = time.monotonic() + 15
        while True:
            done = self.project.dvc("status", "--json")
            if "is being blocked by" not in done.stderr or time.monotonic() > late:
                return done
            time.sleep(0.5)

    def rerun(self) -> str:
        """Run to the end; what the flow says of it."""
        flow = self.start()
        try:
            status = flow.wait(self.limit)
        except subprocess.TimeoutExpired:
            flow.kill()
            flow.wait()
            status = -1
        log = (self.folder / ".prefect.log").read_text().splitlines()
        if status:
            self.faults.append(f"the rerun ended with {status}")
            self.faults += log[-8:]
            return "failed"
        here = outputs(self.folder)
        if here != self.reference:
            names = dict(here.items() ^ self.reference.items())
            self.faults.append(f"the rerun's results differ: {', '.join(sorted(names)[:8])}")
        parts = [str(p.relative_to(self.folder)) for p in self.folder.rglob(".*.part*")]
        if parts:
            self.faults.append(f"left over: {', '.join(parts)}")
        status_now = self.project.dvc("status", "--json")
        if status_now.stdout.strip() != "{}":
            self.faults.append(f"dvc status after the rerun: {status_now.stdout.strip()}")
        try:
            toy.wait_for(lambda: not marked(self.mark), 15)
        except TimeoutError:
            self.faults.append("orphans of the rerun")
            for process in marked(self.mark):
                process.kill()
        said = [line for line in log if "stages run" in line]
        return said[-1].strip() if said else "?"


def _name(pid: int) -> str:
    words = psutil.Process(pid).cmdline()
    return " ".join(Path(word).name if "/" in word else word for word in words[:8])[:70]
