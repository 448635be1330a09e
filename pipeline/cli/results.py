"""The commands that look at results: variants, check, score, compare, listening, release."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from codec.errors import UserError


def variants() -> None:
    """List the named changes of params.yaml that `rdcodec run --variant` makes."""
    from pipeline import params

    for name, about in params.variants().items():
        typer.echo(f"{name:16} {about}")


def check(
    update: Annotated[
        bool, typer.Option("--update", help="Make the present results the baseline.")
    ] = False,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the baseline.")
    ] = "",
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 where nothing can be compared, too.")
    ] = False,
) -> None:
    """Compare the results with the baseline; worse values exit with 1.

    \b
    rdcodec check --strict
    rdcodec check --update --reason "new beta"
    """
    from pipeline import params
    from pipeline.layout import SPEED, SUMMARY
    from pipeline.report import page, provenance
    from pipeline.results import gate, summary
    from pipeline.stages import check as stage

    if update:
        path = Path(params.load().check.baseline)
        speed = gate.read_speed(SPEED)
        now = page.date()
        gate.update(summary.read(SUMMARY), speed, path, reason, provenance.revision(), now)
        typer.echo(f"{path} is now this run; commit it")
        return
    import logging

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    stage.main(strict)


def score(
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="The original.")],
    degraded: Annotated[Path, typer.Argument(metavar="DEGRADED", help="What became of it.")],
    kind: Annotated[
        str, typer.Option("--kind", help="speech, music or general: which metrics apply.")
    ] = "general",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Score any pair of files with every metric that is made for its kind.

    \b
    rdcodec score original.wav decoded.wav --kind speech
    """
    import json

    from pipeline.corpora.manifest import KINDS
    from pipeline.metrics import installed, scoring

    if kind not in KINDS:
        raise UserError(f"--kind {kind}: use {', '.join(KINDS)}")
    found = scoring.score_files(reference, degraded, kind)
    if as_json:
        typer.echo(json.dumps(found))
        return
    for row in found["scores"]:
        metric = installed()[row["metric"]]
        shown = (
            f"no score: {row['reason']}"
            if row["value"] is None
            else f"{row['value']:.4f} {metric.unit}"
        )
        typer.echo(f"{metric.title:14} {shown:20} {row['provenance']}")
    for note in found["notes"]:
        typer.echo(f"note: {note}")


def compare(
    before: Annotated[
        str, typer.Argument(metavar="A", help="A git revision, or a folder with results.")
    ],
    after: Annotated[
        str, typer.Argument(metavar="B", help="The same; by default this folder.")
    ] = ".",
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Where the page goes.")
    ] = Path("reports/compare"),
) -> None:
    """Compare the results of two runs: curves and BD-rates of B against A, on a page.

    \b
    rdcodec compare HEAD~1
    rdcodec compare ../before ../after --out page/
    """
    from pipeline import params
    from pipeline.report import page
    from pipeline.results import compare as comparison

    settings = params.load()
    found = comparison.compare(
        comparison.load(before), comparison.load(after), settings.statistics, settings.seed
    )
    page.write_comparison(out, found)
    typer.echo(comparison.table(found))
    typer.echo(f"\n{found['headline']}\n\nThe page is {(out / 'index.html').resolve()}")


def listening(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="What the listening test saved.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count blind listening tests: the share of listeners who heard no difference, and ratings."""
    import dataclasses
    import json

    from pipeline.results import listening as test

    result = test.evaluate(test.read(files))
    typer.echo(json.dumps(dataclasses.asdict(result)) if as_json else test.table(result))


def release(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="One of models in params.yaml.")],
    name: Annotated[str, typer.Option("--name", help="What users will call it.")],
) -> None:
    """Copy a benched model into codec/weights/, with its card."""
    from pipeline.report.release import release as released

    typer.echo(f"{released(model, name)}; commit it with its model")


COMMANDS: tuple[Callable[..., None], ...] = (variants, check, score, compare, listening, release)
