"""The Prefect flow: dvc.yaml's own graph, run and shown.

One task per stage, with DVC's names and edges. DVC alone decides what is up to date; Prefect runs
independent stages side by side, streams their logs and keeps the record.
"""

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Annotated, Any

from pipeline import layout
from pipeline import params as settings
from pipeline.running import (
    dashboard,
    graph,
    lock,
    server,
    skipped,
)  # before Prefect, which it sets up

# isort: split
from prefect import flow, get_run_logger, tags, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.context import TagsContext
from prefect.futures import PrefectFuture, wait
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError, WithJsonSchema

from codec.errors import UserError
from codec.process import die_with_parent
from pipeline.running.graph import Stage
from pipeline.running.run import CACHED, KILL_SECONDS, RESTORED, Run

BURIED = "run %s did not say how it ended: now marked Crashed"
POLL_SECONDS = 5.0

# As many threads as stages: a waiting stage holds a thread, and a processor only when it runs.
RUNNER: Any = ThreadPoolTaskRunner(max_workers=256)


# The dashboard makes a form of it.
Patch = Annotated[dict[str, Any], WithJsonSchema(settings.schema())]


@flow(name=dashboard.FLOW, flow_run_name=dashboard.revision, task_runner=RUNNER)
def pipeline_flow(
    stages: list[str] = [],  # noqa: B006
    force: bool = False,
    params: Patch = {},  # noqa: B006
) -> State[Any]:
    """Run dvc.yaml: a task per stage, each after those that it needs.

    Args:
        stages: Stages or groups such as `train`, which are run with what they need; empty: all.
        force: Run these stages even where nothing changed.
        params: New values for params.yaml, such as {"train": {"steps": 400}}.
    """
    if deployment.id:  # a process that `rdcodec serve`, or a worker, has started for this run
        die_with_parent()
        if multiprocessing.parent_process():
            # Ctrl-C reaches it and `rdcodec serve`, which ends it; once is enough.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        for name in dashboard.bury_dead():
            get_run_logger().info(BURIED, name)
    with lock.alone():
        if params:
            settings.change(patch=params)
            settings.check_paths(settings.load())
        dashboard.sign(flow_run.id)
        whole = skipped.reconsidered(_read or graph.stages())
        chosen = graph.selected(whole, stages)
        run = Run(forced=skipped.named(whole) | (graph.named(whole, stages) if force else set()))
        return _run(run, chosen)


def _run(run: Run, chosen: list[Stage]) -> State[Any]:
    futures: dict[str, PrefectFuture[Any]] = {}
    cancelled = True  # unless we get to the end of the loop
    try:
        for stage in chosen:
            work = task(
                name=stage.name,
                description=stage.description,
                cache_policy=NO_CACHE,
                retries=stage.meta.retries,
                retry_delay_seconds=stage.meta.retry_delay,
            )(_watched(run))
            needed = [futures[name] for name in stage.needs]
            # With the run's tags, each task would ask the server for its limit of such tasks.
            with TagsContext():
                futures[stage.name] = work.submit(stage, wait_for=needed)
        progress = dashboard.Progress(flow_run.id)
        busy = True
        while busy:
            busy = bool(wait(list(futures.values()), timeout=POLL_SECONDS).not_done)
            if not server.answers():  # no dashboard; Prefect would try for a minute
                continue
            with server.optional():
                for name, share in dict(run.progress).items():
                    progress.show(futures[name].task_run_id, name, share)
                if busy and dashboard.cancelling(flow_run.id):
                    run.stop()
        cancelled = run.stopping
    finally:
        run.stop()
        wait(list(futures.values()))
        states = {name: future.state for name, future in futures.items()}
        end = _summed_up(states, cancelled)
        server.conclude(str(end.message), 0 if end.is_completed() else 1)
        if lost := dashboard.lost(flow_run.id):
            server.leave(lost)
        dashboard.settle(
            flow_run.id, {future.task_run_id: future.state for future in futures.values()}
        )
    _publish(chosen, states)
    return end


def _watched(run: Run) -> Any:
    """The work of a task: a stage, and its losses if it was a training."""

    def work(stage: Stage) -> State[Any]:
        state = run.perform(stage)
        if stage.name in run.changed:
            dashboard.publish_losses(_trainings([stage]))
        return state

    return work


def _trainings(stages: list[Stage]) -> list[Path]:
    """The curves that trainings among these stages have written."""
    outs = [Path(out) for stage in stages for out in stage.outs]
    return [out for out in outs if out.name == layout.TRAINING and out.is_file()]


def _publish(chosen: list[Stage], states: dict[str, State[Any]]) -> None:
    done = [stage for stage in chosen if states[stage.name].is_completed()]
    outs = {out for stage in done for out in stage.outs}
    dashboard.publish(lambda path: str(path) in outs)
    dashboard.publish_losses(_trainings(done))


def _summed_up(states: dict[str, State[Any]], cancelled: bool) -> State[Any]:
    """How the run ended: the number of stages that ended in each way, and why some failed."""
    bad = {StateType.FAILED} if cancelled else {StateType.FAILED, StateType.CRASHED}
    failed = [str(state.message) for state in states.values() if state.type in bad]
    completed = [state.name for state in states.values() if state.is_completed()]
    kept, restored = completed.count(CACHED), completed.count(RESTORED)
    message = f"{len(completed) - kept - restored} stages run, {kept} unchanged"
    if restored:
        message += f", {restored} restored from DVC's cache"
    not_run = len(states) - len(completed) - len(failed)
    if cancelled:
        return Cancelled(message=f"{message}, {not_run} not run: the run was cancelled")
    if failed:
        message = f"{message}, {not_run} not run; failed: {'; '.join(failed)}"
        return Failed(message=message)
    return Completed(message=message)


# The graph, where `execute` has read it for the run that it starts.
_read: list[Stage] = []


def execute(stages: list[str], force: bool = False) -> bool:
    """Run the flow here and now; True if every stage that it had is up to date at its end.

    Raises UserError where there is no such stage.
    """

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    with lock.alone(), server.connected() as ready:
        _read[:] = graph.stages()
        graph.named(_read, stages)
        ready()
        for name in dashboard.bury_dead():
            print(BURIED % name)
        with tags(*dashboard.own_tags()):
            state = pipeline_flow(stages, force, return_state=True)
    if isinstance(state.data, UserError):
        raise state.data
    print(state.message)
    return bool(state.is_completed())


def serve(name: str, cron: str | None, interval: float | None) -> None:
    """Offer the flow to the server as a deployment, and run what it is asked for until ended."""
    if cron is not None:
        try:
            CronSchedule(cron=cron)
        except ValidationError as error:
            raise UserError(f"--cron: {cron!r}: five fields, such as '0 3 * * *'") from error

    def stop(number: int, frame: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    # By itself Prefect goes on waiting for a run after Ctrl-C.
    signal.signal(signal.SIGINT, stop)
    with server.connected(own=False):
        dashboard.bury_dead()
        try:
            pipeline_flow.serve(
                name=name,
                cron=cron,
                interval=interval,
                limit=1,  # one run at a time in a folder
                description=f"dvc.yaml of {Path.cwd()}",
                entrypoint_type=EntrypointType.MODULE_PATH,
            )
        finally:
            # Prefect waits for a run that it started, and never tells it that all ends.
            runs = multiprocessing.active_children()
            for run in runs:
                run.terminate()
            for run in runs:  # where the server is gone, too, its grace period must pass first
                run.join(server.GRACE_SECONDS + 2 * KILL_SECONDS)
                run.kill()
