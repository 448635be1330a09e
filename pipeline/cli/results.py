"""The commands that look at what there is: variants, anchors, check, score, metrics and others."""

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


def anchors() -> None:
    """Say which coders of the variant anchors are installed, and what installs the others."""
    from pipeline import params
    from pipeline.coders import Unavailable, build
    from pipeline.params.points import Point

    # The first point of each series stands for it: the others differ in their rates alone.
    found: dict[str, Point] = {}
    for entry in params.read_variant("anchors")["points"].values():
        point = Point.model_validate(entry)
        found.setdefault(point.series, point)
    apt, pip = set(), False
    for series, point in found.items():
        try:
            version = build(point.coder, point.all_options).about()["coder"]
        except Unavailable as missing:
            typer.echo(f"{series:16} missing    {missing}")
            apt |= {missing.apt} if missing.apt else set()
            pip |= not missing.apt
        else:
            typer.echo(f"{series:16} installed  {version}")
    if apt:
        typer.echo(f"apt-get install {' '.join(sorted(apt))}")
    if pip:
        typer.echo("pip install 'rdcodec[anchors]'")


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
    from pipeline.metrics import declared, scoring

    if kind not in KINDS:
        raise UserError(f"--kind {kind}: use {', '.join(KINDS)}")
    found = scoring.score_files(reference, degraded, kind)
    if as_json:
        typer.echo(json.dumps(found))
        return
    for row in found["scores"]:
        metric = declared()[row["metric"]]
        shown = (
            f"no score: {row['reason']}"
            if row["value"] is None
            else f"{row['value']:.4f} {metric.unit}"
        )
        if "worst" in row:
            shown += f" (worst channel {row['worst']:.4f})"
        typer.echo(f"{metric.title:14} {shown:20} {row['provenance']}")
    for note in found["notes"]:
        typer.echo(f"note: {note}")


def metrics(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where stimuli and their references are.")
    ],
    ratings: Annotated[
        Path | None,
        typer.Option("--ratings", metavar="CSV", help="What listeners gave; FOLDER/ratings.csv."),
    ] = None,
    apart: Annotated[
        float,
        typer.Option(
            "--apart", metavar="POINTS", help="Listeners order what they rate so far apart."
        ),
    ] = 10.0,
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Where the tables go.")
    ] = Path("reports/metrics"),
) -> None:
    """Measure what the metrics are worth: their scores of rated stimuli, against the ratings."""
    import pandas as pd

    from codec.files import write_text
    from pipeline import params
    from pipeline.results import ratings as rated
    from pipeline.results import tables, worth

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    if not apart > 0:
        raise UserError(f"--apart {apart:g}: points, more than 0")
    settings = params.load().score
    stimuli = rated.read(ratings or folder / rated.FILE_NAME, folder)
    scores = rated.score(stimuli, folder, settings)
    found = rated.worth(scores, apart)
    text = "\n".join([worth.markdown(found), *(f"- {note}" for note in rated.notes(scores)), ""])
    tables.write(out / "scores.csv", scores, "%.6f")
    tables.write(out / "metrics.csv", pd.DataFrame([dict(row) for row in found]), "%.4f")
    write_text(out / "metrics.md", text)
    typer.echo(f"{text}\nScores and tables are in {out.resolve()}")


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


def release(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="One of models in params.yaml.")],
    name: Annotated[str, typer.Option("--name", help="What users will call it.")],
) -> None:
    """Copy a benched model into codec/weights/, with its card."""
    from pipeline.report.release import release as released

    typer.echo(f"{released(model, name)}; commit it with its model")


COMMANDS: tuple[Callable[..., None], ...] = (
    variants, anchors, check, score, metrics, compare, release,
)  # fmt: skip
