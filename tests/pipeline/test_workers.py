"""Two workers of a Prefect work pool, each with a clone of its own, as on two machines."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT
from tests.faults.projects import outputs, synthetic
from tests.pipeline import toy

pytestmark = pytest.mark.slow
DONE = ("COMPLETED", "FAILED", "CRASHED")


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True)


@contextmanager
def worker(clone: Path, variables: dict[str, str]) -> Iterator[None]:
    """A worker that runs one run at a time in ``clone``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", "rdcodec", "--limit", "1"],
        cwd=clone, env={**variables, "RDCODEC_CLONE": str(clone)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def test_two_workers_run_in_clones_of_their_own(tmp_path: Path) -> None:
    origin = synthetic(tmp_path / "origin", seconds=1.0).folder
    shutil.copy(ROOT / "prefect.yaml", origin)
    git(origin, "add", "--all")
    git(origin, "commit", "-q", "-m", "start")
    clones = [tmp_path / name for name in ("one", "two")]
    for clone in clones:
        git(tmp_path, "clone", "-q", str(origin), str(clone))
    with toy.server(tmp_path) as api, ExitStack() as workers:
        variables = {
            **toy.environment(tmp_path, api),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }

        def prefect(*words: str) -> None:
            done = subprocess.run(
                [sys.executable, "-m", "prefect", *words],
                cwd=clones[0], env=variables, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr

        def online() -> bool:
            found = httpx.post(f"{api}/work_pools/rdcodec/workers/filter", json={}, timeout=30)
            return len(found.json()) == len(clones)

        def ended() -> list[dict] | None:
            runs = toy.flow_runs(api)
            return runs if all(run["state"]["type"] in DONE for run in runs) else None

        # As docs/cluster.md has it.
        prefect("work-pool", "create", "rdcodec", "--type", "process")
        prefect("--no-prompt", "deploy", "--all")
        for clone in clones:
            workers.enter_context(worker(clone, variables))
        toy.wait_for(online, 120)
        for _ in clones:
            prefect("deployment", "run", "rdcodec/cluster")
        runs = toy.wait_for(ended, 240)
        assert [run["state"]["message"] for run in runs] == ["6 stages run, 0 unchanged"] * 2
        assert len({tag for run in runs for tag in run["tags"] if tag.startswith("pid:")}) == 2
    assert "end/last.csv" in outputs(clones[0])
    assert outputs(clones[0]) == outputs(clones[1])
    assert not (origin / "out").exists()
