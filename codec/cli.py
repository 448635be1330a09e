"""The codec's commands: encode, decode, trim, info, verify, models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

ModelOption = Annotated[
    str | None, typer.Option("--model", help="Released name, model folder or model file.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite outputs that exist.")]
JobsOption = Annotated[int, typer.Option("--jobs", min=1, help="Files at a time, for folders.")]


def encode(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Audio file or folder, any rate.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.rdc", help="File, or folder for folders.")],
    model: ModelOption = None,
    codebooks: Annotated[
        int | None,
        typer.Option("--codebooks", help="Codebooks to use, of a residual model; default: all."),
    ] = None,
    jobs: JobsOption = 1,
    force: ForceOption = False,
) -> None:
    """Compress an audio file, or every audio file in a folder."""
    from codec import batch

    name = _chosen(model)
    if source.is_dir():
        _say(batch.encode_folder(source, target, name, codebooks, jobs, force))
    else:
        _ready(source, target, force)
        typer.echo(batch.encode_file(source, target, name, codebooks))


def decode(
    source: Annotated[Path, typer.Argument(metavar="IN.rdc", help="File or folder.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.wav", help=".wav or .flac, or folder.")],
    model: ModelOption = None,
    start: Annotated[float, typer.Option("--start", min=0, help="First second to decode.")] = 0.0,
    duration: Annotated[
        float | None,
        typer.Option("--duration", help="Seconds to decode; default: the rest."),
    ] = None,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Put silence where the file is damaged.")
    ] = False,
    jobs: JobsOption = 1,
    force: ForceOption = False,
) -> None:
    """Decompress .rdc to audio of the original's rate and length."""
    from codec import batch
    from codec.errors import UserError

    if source.is_dir():
        if start or duration is not None or skip_damaged:
            raise UserError("--start, --duration and --skip-damaged are for one file at a time")
        _say(batch.decode_folder(source, target, model, jobs, force))
        return
    _ready(source, target, force)
    if start or duration is not None:
        if skip_damaged:
            raise UserError("--skip-damaged goes with whole files, not with --start or --duration")
        typer.echo(batch.decode_range(source, target, model, start, duration))
    else:
        typer.echo(batch.decode_file(source, target, model, skip_damaged))


def trim(
    source: Annotated[Path, typer.Argument(metavar="IN.rdc")],
    target: Annotated[Path, typer.Argument(metavar="OUT.rdc")],
    codebooks: Annotated[int, typer.Option("--codebooks", help="How many of them to keep.")],
    force: ForceOption = False,
) -> None:
    """Cut a file of a residual model down to its first codebooks; nothing is encoded again."""
    from codec import batch

    _ready(source, target, force)
    typer.echo(batch.trim_file(source, target, codebooks))


def info(
    source: Annotated[Path, typer.Argument(metavar="FILE.rdc")],
    model: ModelOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what an .rdc file holds and what it costs.

    Only the count of symbols needs the file's model; without it, the rest is said.
    """
    from codec import batch

    _exists(source)
    facts = vars(batch.describe_file(source, model))
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        for key, value in facts.items():
            if key == "codebooks" and value is None:
                continue  # a scalar quantizer has none
            shown = round(value, 4) if isinstance(value, float) else value
            typer.echo(f"{key:>24}  {'not known' if value is None else shown}")


def verify(source: Annotated[Path, typer.Argument(metavar="FILE.rdc")]) -> None:
    """Check every byte of an .rdc file against its checksums, without decoding it."""
    from codec.coding import bitstream
    from codec.errors import naming

    _exists(source)
    with naming(source), source.open("rb") as file:
        facts = bitstream.describe(file)
    typer.echo(f"{source}: whole, {facts.chunks} chunks, {facts.seconds:.3f} s")


def models() -> None:
    """List the models that come with this version, and what they cost and were measured at."""
    from codec import checkpoint

    listed = checkpoint.listed()
    for name, path in checkpoint.released().items():
        facts = listed[name]
        default = ", the default" if name == checkpoint.DEFAULT else ""
        typer.echo(
            f"{name}  {facts['file_kbps']:g} kbps on average, {facts['quantizer']} quantizer, "
            f"{facts['sample_rate']} Hz{default}; card: {path.with_suffix('.md')}"
        )


def _say(result: tuple[int, int, list[str]]) -> None:
    """Report a folder's result; files that failed make the exit status 2."""
    done, kept, failed = result
    for reason in failed:
        typer.echo(f"error: {reason}", err=True)
    typer.echo(f"{done} files done, {kept} kept as they were, {len(failed)} failed")
    if failed:
        raise typer.Exit(2)


def _chosen(model: str | None) -> str:
    from codec import checkpoint
    from codec.errors import UserError

    if model is None and checkpoint.DEFAULT not in checkpoint.released():
        raise UserError("no model comes with this version; name one with --model")
    return model or checkpoint.DEFAULT


def _exists(source: Path) -> None:
    from codec.errors import UserError

    if not source.is_file():
        raise UserError(f"{source}: no such file")


def _ready(source: Path, target: Path, force: bool) -> None:
    from codec.errors import UserError

    _exists(source)
    if target.exists() and not force:
        raise UserError(f"{target}: exists already; --force overwrites it")


COMMANDS: tuple[Callable[..., None], ...] = (encode, decode, trim, info, verify, models)


def application(*commands: Callable[..., None]) -> typer.Typer:
    """A command line of these commands, each named as its function is."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
    for command in commands:
        app.command()(command)
    return app
