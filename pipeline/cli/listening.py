"""rdcodec listening: blind listening tests, served to listeners and counted."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


class _Files(TyperGroup):
    """What is none of its commands is a file to be counted: `rdcodec listening *.json`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["count", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Files, no_args_is_help=True, help="Serve blind listening tests, and count their answers."
)


@app.command()
def count(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="What the listening test saved.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count answers: the share of listeners who heard no difference, and ratings.

    `rdcodec listening FILE...` is the same.
    """
    import dataclasses
    import json

    from pipeline.results import listening as test

    result = test.evaluate(test.read(files))
    typer.echo(json.dumps(dataclasses.asdict(result)) if as_json else test.table(result))


@app.command()
def serve(
    answers: Annotated[
        Path, typer.Option("--answers", help="The folder that gets a file of each listener.")
    ] = Path("answers"),
    reports: Annotated[
        Path, typer.Option("--reports", help="The folder of the report whose test it is.")
    ] = Path("reports"),
    host: Annotated[
        str,
        typer.Option("--host", help="0.0.0.0: for the network, by a link with a token."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any.")] = 8000,
) -> None:
    """Give a report's listening test to listeners, and collect what they answer."""
    from pipeline.report.serving import serve as served

    served(reports, answers, host, port)
