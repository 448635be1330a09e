"""What Prefect's server is told about a run, so that its dashboard tells the truth."""

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from pipeline.running import server  # first: it sets up Prefect

# isort: split
from prefect import get_run_logger
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType, TaskRun
from prefect.context import TaskRunContext
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Crashed
from prefect.utilities.engine import emit_task_run_state_change_event

from codec.errors import UserError
from pipeline.git import git
from pipeline.layout import CURVE, PAGE, SUMMARY
from pipeline.process import lives

FLOW = "rdcodec"
SETTLE_SECONDS = 60.0
LIVE = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
PAGE_SIZE = 200


# --- Who runs what ---------------------------------------------------------------------------


def revision() -> str:
    """The commit, with -dirty where files are changed or new: the name of a run."""
    try:
        commit = git("rev-parse", "--short", "HEAD")
        return f"{commit}-dirty" if git("status", "--porcelain") else commit
    except UserError:
        return "no-revision"


def own_tags() -> set[str]:
    """Where this process is: what tells later whether it lives."""
    return {f"host:{socket.gethostname()}", f"pid:{os.getpid()}"}


def sign(run: UUID) -> None:
    """Name a run after the revision, and tag it with this process."""
    with get_client(sync_client=True) as client:
        tags = set(client.read_flow_run(run).tags) | own_tags()
        client.update_flow_run(run, name=revision(), tags=tags)


def cancelling(run: UUID) -> bool:
    """Whether somebody asked for an end of this run in the dashboard."""
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run).state
    return state is not None and (state.is_cancelling() or state.is_cancelled())


def lost(run: UUID) -> str:
    """What keeps the server from recording how this run ends: nothing, or it is gone, or cannot."""
    if server.gone():
        return server.GONE
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run(run, name=client.read_flow_run(run).name)
    except (httpx.TransportError, PrefectHTTPStatusError) as error:
        if not (why := server.lost_by(error)):
            raise
        return why
    return ""


def bury_dead() -> list[str]:
    """Mark runs of this machine Crashed whose process is gone; their names."""
    found = []
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=LIVE)),
                tags=FlowRunFilterTags(all_=[f"host:{socket.gethostname()}"]),
            ),
        )
        for run in runs:
            if _lives(run):
                continue
            state: State[Any] = Crashed(message="Its process is gone, and did not say how.")
            unfinished = TaskRunFilter(
                state=TaskRunFilterState(
                    type=TaskRunFilterStateType(any_=[*LIVE, StateType.SCHEDULED])
                )
            )
            for task in task_runs(client, run.id, unfinished):
                client.set_task_run_state(task.id, state, force=True)
            client.set_flow_run_state(run.id, state, force=True)
            found.append(run.name)
    return found


def _lives(run: FlowRun) -> bool:
    since = run.start_time.timestamp() if run.start_time else None
    pids = [int(tag.removeprefix("pid:")) for tag in run.tags if tag.startswith("pid:")]
    return not pids or any(lives(pid, since) for pid in pids)


# --- What has become of it -------------------------------------------------------------------


def task_runs(
    client: SyncPrefectClient, run: UUID, task_run_filter: TaskRunFilter | None = None
) -> list[TaskRun]:
    """All task runs of a flow run that the server knows."""
    found: list[TaskRun] = []
    while True:
        page = client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])),
            task_run_filter=task_run_filter,
            limit=PAGE_SIZE,
            offset=len(found),
        )
        found += page
        if len(page) < PAGE_SIZE:
            return found


def show(state: State[Any]) -> None:
    """Give this thread's task a state that Prefect does not give it by itself.

    A task begins when it runs, not when it begins to wait for what it needs.
    """
    context = TaskRunContext.get()
    assert context is not None
    run = context.task_run
    before, run.state = run.state, state
    if state.is_running():
        run.start_time = state.timestamp  # type: ignore[assignment]
    emit_task_run_state_change_event(run, initial_state=before, validated_state=state)


class Progress:
    """A bar beside each task of a flow run: which share of its work the stage has counted."""

    def __init__(self, run: UUID) -> None:
        self.run = run
        self.bars: dict[UUID, tuple[UUID, float]] = {}
        """Artifact, and what it shows, by task run."""

    def show(self, task: UUID, stage: str, share: float) -> None:
        """Draw the bar of a task, or move it; ``share`` is from 0 to 1."""
        percent = round(100 * share, 1)
        artifact, shown = self.bars.get(task, (None, None))
        if percent == shown:
            return
        with get_client(sync_client=True) as client:
            if artifact is None:
                bar = ArtifactCreate(
                    type="progress", data=percent, description=stage,
                    flow_run_id=self.run, task_run_id=task,
                )  # fmt: skip
                artifact = client.create_artifact(bar).id
            else:
                client.update_artifact(artifact, ArtifactUpdate(data=percent))
        self.bars[task] = artifact, percent


def settle(run: UUID, states: Mapping[UUID, State[Any]]) -> None:
    """Wait until the server shows these task runs in these states.

    It records task runs from events some time after they happened. What it does not show in a
    minute is said in the log.
    """
    late = time.monotonic() + SETTLE_SECONDS
    with get_client(sync_client=True) as client:
        while True:
            shown = {task.id: task.state_type for task in task_runs(client, run)}
            missing = [key for key, state in states.items() if shown.get(key) != state.type]
            if not missing:
                return
            if time.monotonic() > late:
                get_run_logger().warning(
                    "The server does not show how %d of %d tasks ended.", len(missing), len(states)
                )
                return
            time.sleep(0.2)


# --- Results ---------------------------------------------------------------------------------


@server.optional()
def publish(up_to_date: Callable[[Path], bool]) -> None:
    """The headline, the table of points and the link to the page, where this run vouches for them.

    ``up_to_date`` says so of an out of dvc.yaml.
    """
    if up_to_date(SUMMARY) and up_to_date(CURVE):
        from pipeline.results import summary, tables
        from pipeline.results.curve import table

        rows = json.loads(table(tables.read(CURVE)).to_json(orient="records"))
        headline = " ".join(summary.read(SUMMARY).headline)
        create_markdown_artifact(key="headline", markdown=headline)
        create_table_artifact(key="curve", table=rows, description=headline)
    if up_to_date(PAGE):
        # Browsers follow no link from a server's page to a file: the path is there to be copied.
        path = PAGE.resolve()
        create_link_artifact(
            key="report", link=path.as_uri(), link_text=str(PAGE),
            description=f"The report, on {socket.gethostname()}: {path}",
        )  # fmt: skip


@server.optional()
def publish_losses(curves: list[Path]) -> None:
    """The last training and validation losses of each of these training curves."""
    from pipeline.results import tables

    rows: list[dict[str, Any]] = []
    for path in curves:
        curve = tables.read(path)
        for split, part in curve.groupby("split", sort=False):
            last = part.iloc[-1].dropna()
            numbers = {
                str(key): float(f"{value:.5g}")
                for key, value in last.items()
                if key not in ("step", "split")
            }
            rows.append({"model": path.parent.name, "split": split, "step": int(last["step"])}
                        | numbers)  # fmt: skip
    if rows:
        create_table_artifact(key="losses", table=rows, description="Each training's last losses.")
