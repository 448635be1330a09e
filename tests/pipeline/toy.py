"""A small DVC project of shell commands, and a Prefect server of its own to run it with."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from pipeline import params
from tests.conftest import ROOT, WITHOUT_RELEASED

DVC_YAML = """
stages:
  a:
    desc: The first one
    cmd: "echo a > a.txt"
    params: [seed]
    outs: [a.txt]
  b:
    foreach: [x, y]
    do:
      cmd: "echo step one of ${item}; sleep 1; cp a.txt b-${item}.txt"
      deps: [a.txt]
      outs: ["b-${item}.txt"]
  train:
    cmd: "echo 'step 25 of 50: 7 kbps' && mkdir -p models/m && cp curve.csv models/m/training.csv"
    deps: [a.txt, curve.csv]
    outs: [models/m/training.csv]
    meta: {gpu: 1}
  join:
    cmd: "cat b-x.txt b-y.txt > c.txt"
    deps: [b-x.txt, b-y.txt]
    outs: [c.txt]
"""
CURVE = "step,split,total,kbps\n25,train,0.5,7\n25,valid,0.6,8\n50,train,0.25,7\n50,valid,0.75,8\n"


def make(folder: Path, dvc_yaml: str = DVC_YAML) -> Path:
    """The project in ``folder``, under git and DVC, committed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dvc.yaml").write_text(dvc_yaml)
    (folder / "curve.csv").write_text(CURVE)
    shutil.copy(ROOT / "params.yaml", folder)
    params.change(WITHOUT_RELEASED, folder / "params.yaml")
    shutil.copytree(ROOT / "pipeline/corpora/recipes", folder / "pipeline/corpora/recipes")
    (folder / ".gitignore").write_text("/*.txt\n/models\n/once\n/.prefect\n")
    who = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (
        ["git", "init", "-q"],
        [sys.executable, "-m", "dvc", "init", "-q"],
        ["git", "add", "."],
        [*who, "commit", "-q", "-m", "start"],
    ):
        subprocess.run(command, cwd=folder, check=True)
    return folder


def environment(folder: Path, api: str = "") -> dict[str, str]:
    """Prefect's home in the project, so that nothing of the user's is touched."""
    return {**os.environ, "PREFECT_HOME": str(folder / ".prefect"), "PREFECT_API_URL": api}


def rdcodec(folder: Path, *words: str, api: str = "") -> "subprocess.CompletedProcess[str]":
    """Run the command in the project."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *words],
        cwd=folder, env=environment(folder, api), capture_output=True, text=True, check=False,
        timeout=600,
    )  # fmt: skip


@contextmanager
def server(folder: Path, variables: dict[str, str] | None = None) -> Iterator[str]:
    """A Prefect server with its dashboard on a free port; yields the API's address.

    ``variables`` is its environment, by default the project's.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1",
         "--port", str(port)],
        env={**(variables or environment(folder)), "PREFECT_SERVER_UI_API_URL": api,
             "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(lambda: _healthy(api), 180)
        yield api
    finally:
        process.terminate()
        process.wait(timeout=30)


def _healthy(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", timeout=10).is_success
    except httpx.HTTPError:
        return False


def wait_for(condition, seconds: float):
    """What ``condition`` gives, once that is something; TimeoutError after ``seconds``."""
    late = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > late:
            raise TimeoutError(f"nothing for {seconds:g} s")
        time.sleep(0.1)
    return found


def flow_runs(api: str) -> list[dict]:
    """All flow runs that a server knows, newest first."""
    body = {"sort": "START_TIME_DESC"}
    return httpx.post(f"{api}/flow_runs/filter", json=body, timeout=30).raise_for_status().json()


def of_run(api: str, what: str, run: str) -> list[dict]:
    """Task runs, logs or artifacts of a flow run."""
    body = (
        {"logs": {"flow_run_id": {"any_": [run]}}}
        if what == "logs"
        else {"flow_runs": {"id": {"any_": [run]}}}
    )
    return httpx.post(f"{api}/{what}/filter", json=body, timeout=30).raise_for_status().json()
