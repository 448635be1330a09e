"""rdcodec run and rdcodec serve on a small project, with a server of its own."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psutil
import pytest

from codec.errors import UserError
from pipeline.running import graph
from pipeline.running.graph import Meta, Stage
from pipeline.stage import counted
from tests.pipeline import toy


def a_stage(name: str, *needs: str, changes: tuple[str, ...] = ()) -> Stage:
    return Stage(name, "", needs, (), Meta(), changes)


GRAPH = [
    a_stage("prepare"),
    a_stage("train@a", "prepare", changes=("param seed changed",)),
    a_stage("train@b", "prepare"),
    a_stage("score@a", "train@a"),
]


def test_a_part_of_the_graph_is_what_is_named_and_what_it_needs() -> None:
    names = [stage.name for stage in graph.selected(GRAPH, ["train"])]
    assert names == ["prepare", "train@a", "train@b"]
    assert [stage.name for stage in graph.selected(GRAPH, ["score@a"])] == [
        "prepare", "train@a", "score@a",
    ]  # fmt: skip
    assert graph.selected(GRAPH, []) == GRAPH
    with pytest.raises(UserError, match=r"train@c: .* did you mean train@"):
        graph.selected(GRAPH, ["train@c"])


def test_a_plan_says_why() -> None:
    assert graph.plan(GRAPH) == {
        "train@a": "param seed changed",
        "score@a": "if its inputs change: after train@a",
    }
    assert graph.plan(GRAPH, ["train@b"])["train@b"] == "forced"


def test_a_wrong_meta_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.make(tmp_path, "stages:\n  a: {cmd: x, meta: {core: 1}}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"dvc\.yaml: a: meta\.core: .*; keys are cores, memory"):
        graph.stages()


def test_lines_that_count_are_progress() -> None:
    assert counted("neural-b050: 13 of 52") == 0.25
    assert counted("step 50 of 400: total 0.61, 7 kbps") == 0.125
    assert counted("nothing became worse (3 of 4 values compared)") is None
    assert counted("empty: 0 of 0") is None


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def api(project: Path) -> Iterator[str]:
    with toy.server(project) as found:
        yield found


def states(api: str, run: str) -> dict[str, str]:
    return {
        task["name"].rpartition("-")[0]: task["state"]["name"]
        for task in toy.of_run(api, "task_runs", run)
        if task["state"]  # a task run is recorded a moment before its first state
    }


def begun(api: str, process: "subprocess.Popen[str]") -> str:
    """The flow run of a process, once one of its tasks runs."""

    def running() -> str | None:
        for run in toy.flow_runs(api):
            if f"pid:{process.pid}" in run["tags"]:
                return run["id"] if "Running" in states(api, run["id"]).values() else None
        return None

    return toy.wait_for(running, 120)


def at_work_in(folder: Path) -> list[psutil.Process]:
    """The processes whose working folder is this one, or below it."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if str(folder) in process.cwd() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.mark.slow
def test_a_run_tells_all_that_it_does(project: Path, api: str) -> None:
    plan = toy.rdcodec(project, "run", "--dry-run", "b")
    assert "b@x  dep a.txt missing, out b-x.txt missing" in plan.stdout, plan.stderr
    assert "train" not in plan.stdout
    assert not toy.flow_runs(api)
    done = toy.rdcodec(project, "run", "b", api=api)
    assert "3 stages run, 0 unchanged" in done.stdout, done.stderr
    assert not (project / "c.txt").exists()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=project, capture_output=True, text=True
    ).stdout.strip()
    assert toy.flow_runs(api)[0]["name"] == commit
    done = toy.rdcodec(project, "run", "join", "train", api=api)
    assert "2 stages run, 3 unchanged" in done.stdout, done.stderr
    run = toy.flow_runs(api)[0]
    assert run["name"] == f"{commit}-dirty"  # by the new dvc.lock
    assert f"host:{socket.gethostname()}" in run["tags"]
    assert states(api, run["id"]) == {
        "a": "Cached", "b@x": "Cached", "b@y": "Cached", "train": "Completed", "join": "Completed",
    }  # fmt: skip
    artifacts = toy.of_run(api, "artifacts", run["id"])
    losses = [x["data"] for x in artifacts if x["key"] == "losses"]
    assert '"step": 50, "total": 0.75' in losses[0]
    bars = [(x["description"], x["data"]) for x in artifacts if x["type"] == "progress"]
    assert bars == [("train", 50.0)]
    done = toy.rdcodec(project, "run", "b@x", "--force", api=api)
    assert "1 stages run, 1 unchanged" in done.stdout, done.stderr
    logs = [x["message"] for x in toy.of_run(api, "logs", toy.flow_runs(api)[0]["id"])]
    assert "step one of x" in logs


@pytest.mark.slow
def test_retries_and_time_limits(tmp_path: Path, project: Path, api: str) -> None:
    folder = toy.make(
        tmp_path / "toy",
        """
stages:
  flaky:
    cmd: "test -f once || { touch once; exit 3; }; echo > f.txt"
    outs: [f.txt]
    meta: {retries: 1, retry_delay: 0.5}
  late: {cmd: "sleep 300", outs: [l.txt], meta: {timeout: 5}}
  after: {cmd: "cp l.txt m.txt", deps: [l.txt], outs: [m.txt]}
""",
    )
    done = toy.rdcodec(folder, "run", api=api)
    assert done.returncode == 1
    assert (
        "1 stages run, 0 unchanged, 1 not run; failed: late: ended after its timeout of 5 s"
        in done.stdout
    ), done.stderr
    assert states(api, toy.flow_runs(api)[0]["id"]) == {
        "flaky": "Completed", "late": "TimedOut", "after": "NotReady",
    }  # fmt: skip


@pytest.mark.slow
def test_each_gpu_has_one_stage(tmp_path: Path, api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at a time on two devices, and none that did not ask for one."""
    folder = toy.make(
        tmp_path / "toy",
        """
stages:
  train:
    foreach: [a, b, c]
    do:
      # Each waits for a second one beside it, however slow the machine is.
      cmd: >-
        echo $CUDA_VISIBLE_DEVICES > ${item}.txt; mkdir -p begun/${item};
        until [ $(ls begun | wc -l) -ge 2 ]; do sleep 0.1; done
      outs: ["${item}.txt"]
      meta: {gpu: 1, cores: 0}
  other: {cmd: "echo none$CUDA_VISIBLE_DEVICES > other.txt", outs: [other.txt]}
""",
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1,GPU-2")
    done = toy.rdcodec(folder, "run", "train", "other", api=api)
    assert "4 stages run" in done.stdout, done.stderr
    seen = [(folder / f"{name}.txt").read_text().strip() for name in "abc"]
    assert set(seen) == {"GPU-1", "GPU-2"}
    assert (folder / "other.txt").read_text() == "none\n"
    # The dashboard has the third one begin when a device was free, which is a moment before it is
    # told that the one that had it has ended.
    tasks = toy.of_run(api, "task_runs", toy.flow_runs(api)[0]["id"])
    trained = [task for task in tasks if task["name"].startswith("train@")]
    begun, ended = (
        sorted(datetime.fromisoformat(task[key]) for task in trained)
        for key in ("start_time", "end_time")
    )
    assert ended[0] < begun[2] + timedelta(seconds=0.5)
    assert begun[1] + timedelta(seconds=0.5) < begun[2]


@pytest.mark.slow
def test_a_killed_run_is_marked_crashed_at_the_next_start(tmp_path: Path, api: str) -> None:
    folder = toy.make(tmp_path / "toy", 'stages: {a: {cmd: "sleep 300", outs: [a.txt]}}\n')
    run = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "run"],
        cwd=folder, env=toy.environment(folder, api), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    number = begun(api, run)
    busy = toy.rdcodec(folder, "run", api=api)
    assert busy.returncode == 2
    assert f"another run (process {run.pid}) is at work in this folder" in busy.stderr
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert httpx.get(f"{api}/flow_runs/{number}").json()["state"]["type"] == "RUNNING"
    (folder / "dvc.yaml").write_text('stages: {a: {cmd: "echo > a.txt", outs: [a.txt]}}\n')
    done = toy.rdcodec(folder, "run", api=api)
    assert done.returncode == 0, done.stderr
    assert "did not say how it ended: now marked Crashed" in done.stdout
    assert httpx.get(f"{api}/flow_runs/{number}").json()["state"]["type"] == "CRASHED"
    assert states(api, number) == {"a": "Crashed"}


@pytest.mark.slow
def test_cancel_in_the_dashboard_stops_a_run(tmp_path: Path, api: str) -> None:
    folder = toy.make(tmp_path / "toy", 'stages: {a: {cmd: "sleep 302", outs: [a.txt]}}\n')
    run = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "run"],
        cwd=folder, env=toy.environment(folder, api), stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    number = begun(api, run)
    # What the button sends.
    body = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    httpx.post(f"{api}/flow_runs/{number}/set_state", json=body).raise_for_status()
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "0 stages run, 0 unchanged, 1 not run: the run was cancelled" in said
    assert httpx.get(f"{api}/flow_runs/{number}").json()["state"]["type"] == "CANCELLED"
    assert states(api, number) == {"a": "Crashed"}


def post(url: str, body: dict) -> dict:
    """What a server answers, once its SQLite is not busy."""

    def answer() -> httpx.Response | None:
        found = httpx.post(url, json=body, timeout=30)
        return found if found.status_code != 503 else None

    return toy.wait_for(answer, 30).raise_for_status().json()


@contextmanager
def serving(
    folder: Path, api: str, *words: str
) -> Iterator[tuple["subprocess.Popen[bytes]", dict]]:
    """`rdcodec serve`, and its deployment, which is named after the folder."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "serve", "--name", folder.name, *words],
        cwd=folder, env=toy.environment(folder, api), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def deployed() -> dict | None:
        answer = httpx.get(f"{api}/deployments/name/rdcodec/{folder.name}", timeout=30)
        # One that an earlier `rdcodec serve` has left is paused until this one takes it up.
        return answer.json() if answer.is_success and not answer.json()["paused"] else None

    try:
        yield process, toy.wait_for(deployed, 120)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


@pytest.fixture
def served(project: Path, api: str) -> Iterator[dict]:
    with serving(project, api, "--interval", "86400") as (_, deployment):
        yield deployment
    subprocess.run(["git", "checkout", "-q", "params.yaml"], cwd=project, check=True)


def ended(api: str, run: str) -> dict:
    """A flow run, once it has come to an end."""

    def found() -> dict | None:
        state = httpx.get(f"{api}/flow_runs/{run}", timeout=30).json()
        return state if state["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED") else None

    return toy.wait_for(found, 180)


def changed(project: Path) -> list[str]:
    """The lines that params.yaml has gained since the last commit, without comments."""
    told = subprocess.run(
        ["git", "diff", "-U0", "params.yaml"], cwd=project, capture_output=True, text=True
    ).stdout
    lines = [line.partition("#")[0].rstrip() for line in told.splitlines()]
    return [line for line in lines if line.startswith("+") and line[1] != "+"]


@pytest.mark.slow
def test_a_served_run_takes_parameters(project: Path, api: str, served: dict) -> None:
    assert served["schedules"][0]["schedule"]["interval"] == 86400
    form = served["parameter_openapi_schema"]["properties"]
    assert set(form) == {"stages", "force", "params"}
    assert form["stages"]["items"] == {"type": "string"}
    body = {"parameters": {"stages": ["a"], "params": {"seed": 7, "train": {"steps": 3}}}}
    run = post(f"{api}/deployments/{served['id']}/create_flow_run", body)
    state = ended(api, run["id"])
    assert state["state"]["message"] == "1 stages run, 0 unchanged"
    assert state["name"].endswith("-dirty")
    assert changed(project) == ["+seed: 7", "+  steps: 3"]
    assert states(api, run["id"]) == {"a": "Completed"}


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_serve_that_ends_takes_its_run_with_it(
    tmp_path: Path, api: str, how: signal.Signals
) -> None:
    folder = toy.make(tmp_path / how.name, 'stages: {a: {cmd: "sleep 303", outs: [a.txt]}}\n')
    with serving(folder, api) as (process, deployment):
        run = post(f"{api}/deployments/{deployment['id']}/create_flow_run", {})["id"]
        toy.wait_for(lambda: "Running" in states(api, run).values(), 120)
        process.send_signal(how)
        toy.wait_for(lambda: not at_work_in(folder), 60)
    (folder / "dvc.yaml").write_text('stages: {a: {cmd: "echo > a.txt", outs: [a.txt]}}\n')
    done = toy.rdcodec(folder, "run", api=api)
    assert done.returncode == 0, done.stderr
    assert httpx.get(f"{api}/flow_runs/{run}").json()["state"]["type"] == "CRASHED"


@pytest.mark.slow
def test_a_served_run_marks_killed_ones_crashed(api: str, served: dict) -> None:
    killed = subprocess.Popen(["true"])
    killed.wait()
    body = {
        "flow_id": served["flow_id"],
        "state": {"type": "RUNNING"},
        "tags": [f"host:{socket.gethostname()}", f"pid:{killed.pid}"],
    }
    dead = post(f"{api}/flow_runs/", body)
    body = {"parameters": {"stages": ["a"]}}
    run = post(f"{api}/deployments/{served['id']}/create_flow_run", body)
    assert ended(api, run["id"])["state"]["type"] == "COMPLETED"
    assert ended(api, dead["id"])["state"]["type"] == "CRASHED"


@pytest.mark.slow
@pytest.mark.browser
def test_the_dashboard_s_form_changes_what_was_filled_in(
    project: Path, api: str, served: dict, chromium
) -> None:
    page = chromium.new_page(viewport={"width": 1400, "height": 1000})
    try:
        page.goto(f"{api.removesuffix('/api')}/deployments/deployment/{served['id']}/run")
        page.get_by_text("How training steps are made.").wait_for()
        seed = page.locator(".schema-form-property", has_text="seed (Optional)").last
        seed.locator("input").fill("8")
        for _ in range(10):
            with page.expect_response("**/create_flow_run") as answer:
                page.get_by_role("button", name="Submit").click()
            if answer.value.status != 503:  # SQLite was busy: one clicks again
                break
            page.wait_for_timeout(1000)
        assert answer.value.ok, answer.value.text()
        run = answer.value.json()["id"]
    finally:
        page.close()
    assert ended(api, run)["state"]["type"] == "COMPLETED"
    assert changed(project) == ["+seed: 8"]


@pytest.mark.slow
def test_ctrl_c_leaves_no_process_and_a_true_record(tmp_path: Path) -> None:
    """With a server of the run's own, whose database tells afterwards."""
    folder = toy.make(tmp_path / "toy", 'stages: {a: {cmd: "sleep 301", outs: [a.txt]}}\n')
    with (folder / "out.txt").open("w") as out:
        run = subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", "run"],
            cwd=folder, env=toy.environment(folder), stdout=out, stderr=out,
        )  # fmt: skip
    toy.wait_for(lambda: "> sleep 301" in (folder / "out.txt").read_text(), 240)
    time.sleep(0.5)
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=60) == 130, (folder / "out.txt").read_text()
    assert not at_work_in(folder)
    with toy.server(folder) as api:
        found = toy.flow_runs(api)
        assert [run["state"]["type"] for run in found] == ["CRASHED"]
        assert states(api, found[0]["id"]) == {"a": "Crashed"}


class Broken(BaseHTTPRequestHandler):
    """A server whose database fails: it is healthy, and answers nothing."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/health" else 500)
        self.end_headers()

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_cannot_write_is_one_line(project: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        done = toy.rdcodec(project, "run", "a", api=url)
        server.shutdown()
    assert done.returncode == 1
    assert "`rdcodec run` goes on from here" in done.stdout
    why = "cannot write (is its disk full?), and has no record of how this run ended"
    assert done.stderr == f"error: the Prefect server at {url} {why}\n"


def test_a_folder_without_a_project_is_one_line(tmp_path: Path, project: Path) -> None:
    for name in ("params.yaml", "pipeline"):
        (tmp_path / name).symlink_to(project / name)
    done = toy.rdcodec(tmp_path, "run")
    assert (done.returncode, done.stderr) == (
        2, "error: .dvc: no such folder; run rdcodec in the project's folder\n",
    )  # fmt: skip
    assert not (tmp_path / ".dvc").exists()
    folder = toy.make(tmp_path / "toy", "stages: {}\n")
    done = toy.rdcodec(folder, "run")
    assert (done.returncode, done.stderr) == (
        2, "error: dvc.yaml: has no stages, or is not in this folder\n",
    )  # fmt: skip


def test_serve_needs_a_server_and_a_schedule_that_makes_sense(project: Path) -> None:
    both = toy.rdcodec(project, "serve", "--cron", "0 3 * * *", "--interval", "60")
    assert both.returncode == 2
    assert "--cron and --interval: one of them" in both.stderr
    never = toy.rdcodec(project, "serve", "--cron", "0 25 * *")
    assert never.returncode == 2
    assert "--cron: '0 25 * *': five fields" in never.stderr
    gone = toy.rdcodec(project, "serve", api="http://127.0.0.1:9/api")
    assert gone.returncode == 2
    assert "no Prefect server answers at http://127.0.0.1:9/api" in gone.stderr
