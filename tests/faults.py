"""Kill a run anywhere, at a random moment, and see what is left: `python -m tests.faults`.

A small graph of stages that write slowly is run by the real flow, by the real `stage.sh` and by
DVC, and SIGINT, SIGTERM or SIGKILL hits the flow, one process of a running stage, or the Prefect
server. What must hold after it is in `Trial.judge`.
"""

import argparse
import hashlib
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from tests.project import TINY, Project

MARK = "RDCODEC_TRIAL"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
TARGETS = ("flow", "stage", "server", "own server")
FLOW = "import sys; from pipeline import flow; sys.exit(not flow.execute([]))"

# Results that follow from the inputs alone; folders, single files, and a pool of processes.
WORK = '''"""work NAME SECONDS OUT DEP...: write slowly what the deps determine."""

import hashlib
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from codec.files import replacing, write_text
from pipeline.process import die_with_parent
from pipeline.stage import run

PARTS = 6


def part(out: Path, text: str, seconds: float) -> None:
    with replacing(out) as scratch, scratch.open("w") as file:
        for line in range(200):
            file.write(f"{line} {text}\\n")
            file.flush()
            time.sleep(seconds / 200)


def main(name: str, seconds: str, out: str, *deps: str) -> None:
    sha = hashlib.sha256(name.encode())
    for dep in deps:
        for path in sorted(p for p in [Path(dep), *Path(dep).rglob("*")] if p.is_file()):
            if ".part" not in path.name:
                sha.update(path.name.encode() + path.read_bytes())
    each = float(seconds) / PARTS
    if "pool" in name:
        with ProcessPoolExecutor(
            2, mp_context=get_context("spawn"), initializer=die_with_parent
        ) as pool:
            waits = [
                pool.submit(part, Path(out) / f"{n}.txt", f"{sha.hexdigest()} {n}", 2 * each)
                for n in range(PARTS)
            ]
            for wait in waits:
                wait.result()
    else:
        for n in range(PARTS):
            part(Path(out) / f"{n}.txt", f"{sha.hexdigest()} {n}", each)
    write_text(Path("tables") / f"{name}.csv", sha.hexdigest() + "\\n")


if __name__ == "__main__":
    run(main)
'''


def synthetic(folder: Path, seconds: float = 0.6) -> Project:
    """A project of seven stages: one, four beside each other, one on two of them, one on all."""
    project = Project(folder)
    (folder / "pipeline" / "stages" / "work.py").write_text(WORK)
    (folder / "input.txt").write_text("input\n")
    needs: dict[str, list[str]] = {
        "first": ["input.txt"],
        **{name: ["out/first"] for name in ("a", "b", "pool")},
        "pair": ["out/a", "out/b"],
        "last": ["tables"],
    }
    stages = {
        name: {
            "cmd": f"sh pipeline/stage.sh work {name} {seconds} out/{name} {' '.join(deps)}",
            "deps": deps,
            "outs": [f"out/{name}", ("end/" if name == "last" else "tables/") + f"{name}.csv"],
            "meta": {"cores": 1},
        }
        for name, deps in needs.items()
    }
    # The last stage depends on a folder that others write into, and writes beside it.
    stages["last"]["outs"] = ["out/last"]
    stages["last"]["cmd"] = "sh pipeline/stage.sh last"
    (folder / "pipeline" / "stages" / "last.py").write_text(
        "from pathlib import Path\n"
        "from codec.files import write_text\n"
        "from pipeline.stage import run\n"
        "def main() -> None:\n"
        "    rows = [p.read_text() for p in sorted(Path('tables').glob('*.csv'))]\n"
        "    write_text('out/last/all.csv', ''.join(rows))\n"
        "if __name__ == '__main__':\n"
        "    run(main)\n"
    )
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    (folder / "params.yaml").write_text("{}\n")
    (folder / ".gitignore").write_text("/out\n/tables\n/.prefect\n__pycache__/\n")
    return project


def tiny(folder: Path) -> Project:
    """The real pipeline with the parameters of the end-to-end test."""
    project = Project(folder)
    project.set(*TINY)
    return project


def outputs(folder: Path) -> dict[str, str]:
    """SHA-256 of every finished file of every stage, by path; volatile tables are left out."""
    declared = (
        yaml.safe_load((folder / "dvc.lock").read_text()).get("stages", {})
        if ((folder / "dvc.lock").exists())
        else {}
    )
    tops = {
        "out",
        "tables",
        *(
            Path(out["path"]).parts[0]
            for stage in declared.values()
            for out in stage.get("outs", [])
        ),
    }
    found = {}
    for top in sorted(tops):
        for path in sorted((folder / top).rglob("*")):
            if path.is_file() and ".part" not in path.name and path.name != ".gitignore":
                found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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

    @contextmanager
    def server(self):
        """A Prefect server on a free port: its process and its API's address."""
        port = free_port()
        environment = self.environment() | {
            "PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{port}/api"
        }
        environment.pop("PREFECT_API_URL")
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)],
            cwd=self.folder, env=environment, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True, preexec_fn=_interruptible,
        )  # fmt: skip
        try:
            api = f"http://127.0.0.1:{port}/api"
            wait_for(lambda: _answers(f"{api}/health"), 120, "the Prefect server")
            yield process, api
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(30)

    def hit(self, target: str, how: signal.Signals, after: float, busy: bool = False) -> Outcome:
        """Run, hit ``target`` after ``after`` seconds, judge, run again.

        "server" is one that was there before the run, "own server" one that the run started.

        The seconds count from the start of the flow, or if ``busy`` of its first stage.
        """
        self.busy = busy
        if target == "server":
            with self.server() as (server, self.api):
                hit, ended = self._hit(self.start(), lambda: [server], how, after)
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
        """The server that the run has started."""
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
            wait_for(lambda: not marked(self.mark), 15, "")
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
        done = self.project.dvc("status", "--json")
        if done.returncode:
            self.faults.append(f"dvc status fails: {done.stderr.strip()[-300:]}")
            return
        changed = set(json.loads(done.stdout))
        for stage, entry in now.items():
            whole = all(
                any(name == out["path"] or name.startswith(out["path"] + "/") for name in here)
                and all(
                    name in here
                    for name in self.reference
                    if name == out["path"] or name.startswith(out["path"] + "/")
                )
                for out in entry.get("outs", [])
            )
            if not whole and stage not in changed:
                self.faults.append(f"dvc status calls {stage} unchanged, and outs are missing")

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
        if outputs(self.folder) != self.reference:
            self.faults.append("the rerun's results differ")
        parts = [str(p.relative_to(self.folder)) for p in self.folder.rglob(".*.part*")]
        if parts:
            self.faults.append(f"left over: {', '.join(parts)}")
        status_now = self.project.dvc("status", "--json")
        if status_now.stdout.strip() != "{}":
            self.faults.append(f"dvc status after the rerun: {status_now.stdout.strip()}")
        try:
            wait_for(lambda: not marked(self.mark), 15, "")
        except TimeoutError:
            self.faults.append("orphans of the rerun")
            for process in marked(self.mark):
                process.kill()
        said = [line for line in log if "stages run" in line]
        return said[-1].strip() if said else "?"


def wait_for(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until ``holds``; TimeoutError after ``seconds``."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except OSError:
        return False


def _name(pid: int) -> str:
    words = psutil.Process(pid).cmdline()
    return " ".join(Path(word).name if "/" in word else word for word in words[:8])[:70]


def undisturbed(build: Callable[[Path], Project], folder: Path) -> tuple[dict[str, str], float]:
    """The results of a run that nothing hits, and its seconds."""
    trial = Trial(build(folder), {})
    started = time.monotonic()
    flow = trial.start()
    if flow.wait(600):
        raise RuntimeError((folder / ".prefect.log").read_text()[-3000:])
    return outputs(folder), time.monotonic() - started


def trials(
    build: Callable[[Path], Project], count: int, seed: int, folder: Path, say: Callable = print,
    kinds: list | None = None, limit: float = 120, first: int = 0,
) -> list[Outcome]:  # fmt: skip
    """``count`` trials over all targets and signals in turn, at moments drawn from ``seed``."""
    random.seed(seed)
    (folder / "reference").mkdir(parents=True)
    reference, seconds = undisturbed(build, folder / "reference")
    say(f"undisturbed: {seconds:.1f} s, {len(reference)} files")
    kinds = kinds or list(itertools.product(TARGETS, SIGNALS))
    done = []
    for number in range(first, first + count):
        target, how = kinds[number % len(kinds)]
        place = folder / f"trial-{number}"
        place.mkdir()
        trial = Trial(build(place), reference, limit)
        # Where a server is there before, nobody waits for one to start.
        share = 0.4 if target == "server" else 0.85
        outcome = trial.hit(target, how, random.uniform(0, share * seconds))
        say(f"{number + 1:3} {outcome}")
        done.append(outcome)
    return done


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--trials", type=int, default=30)
    words.add_argument("--first", type=int, default=0, help="number of the first trial")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--real", action="store_true", help="the real pipeline, tiny")
    words.add_argument("--target", choices=TARGETS)
    words.add_argument("--keep", type=Path, help="a folder for the projects")
    given = words.parse_args()
    chosen = [k for k in itertools.product(TARGETS, SIGNALS) if given.target in (None, k[0])]
    with tempfile.TemporaryDirectory() as scratch:
        found = trials(
            tiny if given.real else synthetic, given.trials, given.seed,
            given.keep or Path(scratch), lambda line: print(line, flush=True), chosen,
            600 if given.real else 120, given.first,
        )  # fmt: skip
    bad = [outcome for outcome in found if outcome.faults]
    print(f"{len(found)} trials, {len(found) - len(bad)} without fault")
    sys.exit(bool(bad))
