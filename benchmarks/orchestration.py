"""What Prefect costs over DVC alone, what it gains on two cores, and whether it loses tasks.

Prints Markdown. Each measurement is made in a project and a Prefect home of its own, paired with
`dvc repro` where it is a comparison; the server that `rdcodec run` starts is part of its time.
"""

import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNS = 3
UP_TO_DATE, MANY = 40, 200
SECONDS_OF_WORK = 60.0
RUN = ("pipeline.cli", "run")
SPIN = "python -c 'for _ in range({count}): pass' && echo {name} > {name}.txt"


def project(folder: Path, stages: dict[str, str]) -> dict[str, str]:
    """A DVC project whose stages are these commands; the environment to run it in."""
    folder.mkdir()
    lines = ["stages:"]
    for name, command in stages.items():
        lines.append(f'  {name}: {{cmd: "{command}", outs: [{name}.txt]}}')
    (folder / "dvc.yaml").write_text("\n".join(lines) + "\n")
    params = (ROOT / "params.yaml").read_text()
    (folder / "params.yaml").write_text(
        params.replace("pipeline/corpora", f"{ROOT}/pipeline/corpora")
    )
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=folder, check=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    home = {"PREFECT_HOME": str(folder / ".prefect"), "PREFECT_API_URL": "", "PATH": path}
    return {**os.environ, **home}


def seconds(folder: Path, environment: dict[str, str], *words: str) -> float:
    """Wall time of a command; what it prints is shown if it fails."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    took = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return took


def overhead(folder: Path) -> None:
    """`rdcodec run` beside `dvc repro` where there is nothing to do."""
    names = [f"s{number}" for number in range(UP_TO_DATE)]
    environment = project(folder, {name: f"echo > {name}.txt" for name in names})
    seconds(folder, environment, "dvc", "repro", "-q")
    seconds(folder, environment, *RUN)  # makes Prefect's database, once
    pairs = [
        (seconds(folder, environment, "dvc", "repro"), seconds(folder, environment, *RUN))
        for _ in range(RUNS)
    ]
    alone, through = (statistics.median(column) for column in zip(*pairs, strict=True))
    extra = statistics.median(b - a for a, b in pairs)
    print(f"| up-to-date graph of {UP_TO_DATE} stages | `dvc repro` {alone:.1f} s, `rdcodec run` "
          f"{through:.1f} s | overhead {extra:.1f} s | < 10 s |", flush=True)  # fmt: skip


def speed_up(folder: Path) -> None:
    """Four independent stages of one core each, through `dvc repro` and through `rdcodec run`."""
    count = 100_000_000
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"for _ in range({count}): pass"], check=True)
    count = round(count * SECONDS_OF_WORK / (time.perf_counter() - start))
    names = [f"s{number}" for number in range(4)]
    environment = project(folder, {n: SPIN.format(count=count, name=n) for n in names})
    alone = seconds(folder, environment, "dvc", "repro", "--force", "--no-run-cache")
    seconds(folder, environment, *RUN)  # makes Prefect's database, once
    through = seconds(folder, environment, *RUN, "--force")
    cores = len(os.sched_getaffinity(0))
    print(f"| four CPU stages of {alone / 4:.0f} s, {cores} cores | `dvc repro` "
          f"{alone:.0f} s, `rdcodec run` {through:.0f} s | speed-up {alone / through:.2f} "
          "| >= 1.7 |", flush=True)  # fmt: skip


def recorded(folder: Path) -> None:
    """Task runs that Prefect's database has at the end of a run of many unchanged stages."""
    names = [f"s{number}" for number in range(MANY)]
    environment = project(folder, {name: f"echo > {name}.txt" for name in names})
    seconds(folder, environment, "dvc", "repro", "-q")
    took = seconds(folder, environment, *RUN)
    with sqlite3.connect(folder / ".prefect" / "prefect.db") as database:
        query = "SELECT count(*) FROM task_run WHERE state_type = 'COMPLETED'"
        found = database.execute(query).fetchone()[0]
    print(f"| {MANY} stages | `rdcodec run` {took:.1f} s | {found} task runs recorded as completed "
          f"| {MANY} |", flush=True)  # fmt: skip


def main() -> None:
    """Measure all three."""
    print("| what | times | result | wanted |\n| --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for measure in (overhead, recorded, speed_up):
            measure(Path(scratch) / measure.__name__)


if __name__ == "__main__":
    main()
