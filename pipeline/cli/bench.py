"""The command that benches a coder of somebody else's against Opus, without a project: bench."""

import json
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Annotated, Any

import typer

from codec.errors import UserError

SERIES = "tested"
"""The curve of a coder whose class has the name of another curve, or none that can stand there."""


def bench(
    coder: Annotated[
        str, typer.Argument(metavar="MODULE:CLASS", help="Where Python finds the coder's class.")
    ],
    clips: Annotated[
        Path, typer.Option("--clips", metavar="FOLDER", help="Audio files, or a manifest.csv.")
    ],
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--options",
            metavar="YAML",
            help="Keywords of the class for one point of its curve, such as '{bits: 8}'; once "
            "for each point.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="What the class gets as `weights`, a file or a folder."),
    ] = None,
    opus: Annotated[
        list[int] | None,
        typer.Option("--opus", metavar="KBPS", help="A bitrate of Opus; default: six of them."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of params.yaml."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the page goes.")] = (
        Path("bench")
    ),
) -> None:
    """Bench a coder of your own against Opus, on your clips, to one page.

    \b
    rdcodec bench my_package:MyCoder --clips recordings/
    rdcodec bench my_coder:HalfRate --clips recordings/ --options '{bits: 8}' --options '{bits: 4}'
    """
    from pipeline import coders, layout, params

    if not clips.exists():
        raise UserError(f"--clips {clips}: no such folder")
    if weights is not None and not weights.exists():
        raise UserError(f"--weights {weights}: no such file or folder")
    # The class may lie in this folder, not installed; stages start processes that look for it, too.
    here = str(Path.cwd())
    sys.path.insert(0, here)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    made_from = layout.TEST if weights is None else weights.resolve()
    points = _points(coders.load(coder), coder, options or ["{}"], str(made_from))
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    clips, out = clips.resolve(), out.resolve()
    with tempfile.TemporaryDirectory() as project, chdir(project):
        shutil.copyfile(params.DEFAULT, params.FILE)
        anchors = _anchors(opus)
        # There is no training, whose clips are the same here: only those to test with are prepared.
        params.change(
            [
                "corpus.source=folder",
                f"corpus.train={json.dumps(str(clips))}",
                f"corpus.test={json.dumps(str(clips))}",
                "models={}",
                f"points={json.dumps(points | anchors)}",
                *(assignments or []),
            ]
        )
        _perform(list(params.load().points))
        shutil.rmtree(out / "assets", ignore_errors=True)  # of an earlier run
        shutil.copytree(layout.REPORTS, out, dirs_exist_ok=True)
    typer.echo(f"\nThe page is {out / layout.PAGE.name}")


def _perform(points: list[str]) -> None:
    """The stages that make a page of these points, in the order of dvc.yaml."""
    from pipeline.stages import aggregate, anchors, code, prepare, report, score, speed

    prepare.main("test")
    for point in points:
        code.main(point)
        score.main(point)
    anchors.without_clips()
    aggregate.main()
    speed.main()
    report.main()


def _points(kind: type, coder: str, options: list[str], made_from: str) -> dict[str, Any]:
    """The coder's points, named after its class and their options."""
    from pipeline import params

    series = _slug(kind.__name__)
    taken = params.load(params.DEFAULT).series().values()
    if not series or series.startswith("opus") or series in taken:
        series = SERIES
    found: dict[str, Any] = {}
    for text in options:
        chosen = params.value(text)
        if not isinstance(chosen, dict):
            raise UserError(f"--options {text}: write it as '{{key: value}}'")
        name = "-".join([series, *(_slug(f"{key}-{value}") for key, value in chosen.items())])
        if name in found:
            raise UserError(f"--options {text}: there is a point {name} already")
        found[name] = {"coder": coder, "from": made_from, "options": chosen, "series": series}
    return found


def _anchors(kbps: list[int] | None) -> dict[str, Any]:
    """The points of Opus, at these bitrates or at those of params.yaml."""
    from pipeline import params

    rates = kbps or [
        point.options["kbps"]
        for point in params.load().points.values()
        if point.series == "opus" and set(point.options) == {"kbps"}
    ]
    return {
        f"opus-{rate}": {
            "coder": "opus", "from": "data/test", "options": {"kbps": rate}, "series": "opus"
        }
        for rate in rates
    }  # fmt: skip


def _slug(text: str) -> str:
    """Small letters, digits, - and _, the first one a letter, as names of points are."""
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).lstrip("-_0123456789").rstrip("-")


COMMANDS: tuple[Callable[..., None], ...] = (bench,)
