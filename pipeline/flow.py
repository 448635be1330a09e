"""The Prefect flow: dvc.yaml's own graph, run and shown.

One task per stage, with DVC's names and edges. DVC alone decides what is up to date; Prefect runs
independent stages side by side, streams their logs and keeps the record.
"""

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before Prefect is imported, which reads them once.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "90")
DASHBOARD = ("127.0.0.1", 4200)


def _dashboard_runs() -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(DASHBOARD) == 0


if "PREFECT_API_URL" not in os.environ and _dashboard_runs():
    os.environ["PREFECT_API_URL"] = f"http://{DASHBOARD[0]}:{DASHBOARD[1]}/api"

import httpx  # noqa: E402
from prefect import flow, get_run_logger, task  # noqa: E402
from prefect.artifacts import create_markdown_artifact, create_table_artifact  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.futures import wait  # noqa: E402
from prefect.server.api.server import SubprocessASGIServer  # noqa: E402
from prefect.settings import PREFECT_API_URL  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402
from prefect.task_runners import ThreadPoolTaskRunner  # noqa: E402

from pipeline.graph import Stage, stages  # noqa: E402
from pipeline.process import die_with_parent, end_with_this  # noqa: E402
from pipeline.stage import cores  # noqa: E402

SUMMARY, CURVE, PAGE = (
    Path("reports/summary.json"),
    Path("reports/rd.csv"),
    Path("reports/index.html"),
)


# As many threads as stages: a waiting stage holds a thread, and a processor only when it runs.
RUNNER: Any = ThreadPoolTaskRunner(max_workers=256)


class Cores:
    """The machine's processors, lent to stages: those that need all of them run alone."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total
        self.changed = threading.Condition()

    @contextlib.contextmanager
    def lent(self, wanted: int) -> Iterator[None]:
        """Wait for ``wanted`` processors (0, or more than there are: all) and hold them."""
        count = min(wanted, self.total) or self.total
        with self.changed:
            self.changed.wait_for(lambda: self.free >= count)
            self.free -= count
        try:
            yield
        finally:
            with self.changed:
                self.free += count
                self.changed.notify_all()


class Run:
    """The stages of one run: what has run so far, and which processes are at work."""

    def __init__(self) -> None:
        self.cores = Cores(cores())
        self.executed: set[str] = set()
        self.processes: set[subprocess.Popen[str]] = set()
        self.stopping = False

    def stage(self, stage: Stage) -> State[Any]:
        """Run one stage through DVC, or say that nothing changed."""
        if not stage.changed and self.executed.isdisjoint(stage.needs):
            return Completed(name="Cached", message=f"{stage.name}: unchanged")
        with self.cores.lent(stage.cores):
            if self.stopping:
                return Failed(message=f"{stage.name}: the run was stopped")
            status, skipped = self._repro(stage.name)
        if status:
            return Failed(message=f"{stage.name}: failed with exit status {status}")
        if skipped:
            return Completed(name="Cached", message=f"{stage.name}: unchanged")
        self.executed.add(stage.name)
        return Completed(message=f"{stage.name}: done")

    def _repro(self, name: str) -> tuple[int, bool]:
        """`dvc repro` of one stage: exit status, and whether DVC found it unchanged."""
        logger = get_run_logger()
        # The flag must stand before the command: eight stages at once then wait for their turn.
        command = [sys.executable, "-m", "pipeline.repro", "--wait-for-lock", "repro", "-s", name]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment(),
            start_new_session=True,
            preexec_fn=functools.partial(die_with_parent, os.getpid()),
        )
        self.processes.add(process)
        skipped = False
        assert process.stdout is not None
        for line in process.stdout:
            skipped |= "didn't change, skipping" in line
            if line.strip():
                logger.info(line.rstrip())
        status = process.wait()
        self.processes.discard(process)
        return status, skipped

    def stop(self) -> None:
        """End all stages at work, with everything that they started."""
        self.stopping = True
        for process in list(self.processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def environment() -> dict[str, str]:
    """The environment of stages: `python` in dvc.yaml is this very Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "VIRTUAL_ENV": sys.prefix}


@flow(name="rdcodec", task_runner=RUNNER, validate_parameters=False)
def pipeline_flow() -> State[Any]:
    """Run dvc.yaml: a task per stage, each after those that it needs."""
    run = Run()
    futures: dict[str, Any] = {}
    try:
        for stage in stages():
            options: Any = task(
                name=stage.name, description=stage.description, cache_policy=NO_CACHE
            )
            needed = [futures[name] for name in stage.needs]
            futures[stage.name] = options(run.stage).submit(stage, wait_for=needed)
        wait(list(futures.values()))
    finally:
        run.stop()
    states = {name: future.state for name, future in futures.items()}
    failed = [name for name, state in states.items() if state.is_failed()]
    kept = [name for name, state in states.items() if state.name == "Cached"]
    publish()
    done = len([state for state in states.values() if state.is_completed()]) - len(kept)
    message = f"{done} stages run, {len(kept)} unchanged"
    if failed:
        not_run = len(states) - done - len(kept) - len(failed)
        return Failed(message=f"{message}, {not_run} not run; failed: {', '.join(failed)}")
    return Completed(message=message)


def publish() -> None:
    """The table of points and the link to the page, as artifacts of the run."""
    if not (SUMMARY.is_file() and CURVE.is_file()):
        return
    import pandas as pd

    from pipeline.stages.aggregate import table

    rows = json.loads(table(pd.read_csv(CURVE)).to_json(orient="records"))
    headline = " ".join(json.loads(SUMMARY.read_text(encoding="utf-8"))["headline"])
    create_table_artifact(key="summary", table=rows, description=headline)
    if PAGE.is_file():
        link = PAGE.resolve().as_uri()
        create_markdown_artifact(key="report", markdown=f"{headline}\n\n[{PAGE}]({link})\n")


def execute() -> bool:
    """Run the flow; True if every stage is up to date at its end."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    if not PREFECT_API_URL.value():
        # The server that Prefect would start by itself outlives a killed flow.
        server = SubprocessASGIServer()
        server.start()
        if server.server_process is not None:
            end_with_this(server.server_process.pid)
    try:
        state = pipeline_flow(return_state=True)
    except httpx.ConnectError as error:
        print(
            f"error: Prefect's server is gone ({error}); what stages made is kept: run again",
            file=sys.stderr,
            flush=True,
        )
        # Prefect would try for minutes to deliver every event that is left; no stage is at work.
        os._exit(1)
    print(state.message)
    return bool(state.is_completed())
