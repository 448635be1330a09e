"""The commands that run the pipeline: run, serve."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Annotated

import typer

from codec.errors import UserError


def run(
    stages: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STAGE]...",
            help="Stages of dvc.yaml to run with what they need, such as train@b050, or whole "
            "groups, such as train; all by default.",
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of params.yaml first."),
    ] = None,
    variants: Annotated[
        list[str] | None,
        typer.Option(
            "--variant",
            metavar="NAME",
            help="Change params.yaml as a named variant or a .yaml file of that form says, first "
            "of all; `rdcodec variants` lists the names.",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Run the named stages (all by default) even if unchanged."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would run, and why.")
    ] = False,
) -> None:
    """Run the pipeline of dvc.yaml: what changed, and what depends on it.

    \b
    rdcodec run
    rdcodec run train@b050
    rdcodec run score report --dry-run
    rdcodec run --set train.steps=400
    """
    from pipeline import params
    from pipeline.running import lock

    names = stages or []
    if dry_run and (assignments or variants):
        raise UserError("--dry-run changes nothing: leave out --set and --variant")
    with nullcontext() if dry_run else lock.alone():
        if assignments or variants:
            params.change(assignments or [], variants=variants or [])
        params.check_paths(params.load())
        if dry_run:
            _say_plan(names, force)
            return
        from pipeline.running import flow

        try:
            done = flow.execute(names, force)
        except KeyboardInterrupt as error:
            print("stopped; `rdcodec run` goes on from here", file=sys.stderr)
            raise typer.Exit(130) from error
    if not done:
        raise typer.Exit(1)
    if not names:
        _say_result()  # a part of the graph may have left the last one's behind


def serve(
    name: Annotated[
        str, typer.Option("--name", help="What the deployment is called in the dashboard.")
    ] = "rdcodec",
    cron: Annotated[
        str | None,
        typer.Option("--cron", metavar="'M H D M W'", help="When to run, as cron says it."),
    ] = None,
    interval: Annotated[
        float | None, typer.Option("--interval", metavar="SECONDS", help="How often to run.")
    ] = None,
) -> None:
    """Offer the pipeline to the dashboard: runs with parameters, on demand or on a schedule."""
    from pipeline import params

    if cron and interval:
        raise UserError("--cron and --interval: one of them")
    if interval is not None and interval <= 0:
        raise UserError("--interval: seconds, more than 0")
    params.load()
    from pipeline.running import flow

    flow.serve(name, cron, interval)


def _say_plan(names: list[str], force: bool) -> None:
    from pipeline.running import graph, skipped

    whole = skipped.reconsidered(graph.stages())
    chosen = graph.selected(whole, names)
    why = graph.plan(chosen, graph.named(whole, names) if force else ())
    width = max(map(len, why), default=0)
    for name, reason in why.items():
        typer.echo(f"{name:{width}}  {reason}")
    typer.echo(f"{len(why)} stages would run, {len(chosen) - len(why)} are unchanged")


def _say_result() -> None:
    from pipeline.layout import CURVE, PAGE, SUMMARY

    if not CURVE.is_file():  # another graph than ours
        return
    from pipeline.results import summary, tables
    from pipeline.results.curve import table

    typer.echo(f"\n{table(tables.read(CURVE)).to_string(index=False)}\n")
    found = summary.read(SUMMARY)
    for point, reason in found.skipped.items():
        typer.echo(f"{point} was skipped: {reason}")
    typer.echo(" ".join(found.headline))
    typer.echo(f"\nThe report is {PAGE.resolve()}")


COMMANDS: tuple[Callable[..., None], ...] = (run, serve)
