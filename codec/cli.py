"""The codec's commands: encode, decode, info, models."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from codec.model import AudioCodec

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

ModelOption = Annotated[
    str | None, typer.Option("--model", help="Released name, model folder or model file.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite the output if it exists.")]


@app.command()
def encode(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Audio file, any rate.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.rdc")],
    model: ModelOption = None,
    force: ForceOption = False,
) -> None:
    """Compress an audio file."""
    from codec import audio
    from codec.files import write_bytes

    _ready(source, target, force)
    codec = _model(model)
    waveform, rate = audio.read(source)
    with _naming(source):
        data = codec.compress(waveform, rate)
    write_bytes(target, data)
    kbps = len(data) * 8 * rate / waveform.shape[-1] / 1000
    typer.echo(f"{target}: {len(data)} bytes, {kbps:.2f} kbps")


@app.command()
def decode(
    source: Annotated[Path, typer.Argument(metavar="IN.rdc")],
    target: Annotated[Path, typer.Argument(metavar="OUT.wav", help=".wav or .flac")],
    model: ModelOption = None,
    force: ForceOption = False,
) -> None:
    """Decompress an .rdc file to audio of the original's rate and length."""
    from codec import audio, bitstream, checkpoint
    from codec.model import load

    _ready(source, target, force)
    with _naming(source), source.open("rb") as file:
        header = bitstream.read_header(file)
        codec = load(model) if model else checkpoint.find_by_hash(header.model_hash)
        file.seek(0)
        waveform, rate = codec.decompress(file)
    audio.write(target, waveform, rate)
    typer.echo(f"{target}: {waveform.shape[-1] / rate:.2f} s at {rate} Hz")


@app.command()
def info(
    source: Annotated[Path, typer.Argument(metavar="FILE.rdc")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what an .rdc file holds and what it costs; no model is needed."""
    from codec import bitstream

    _exists(source)
    with _naming(source), source.open("rb") as file:
        facts = vars(bitstream.describe(file))
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        for key, value in facts.items():
            typer.echo(f"{key:>24}  {round(value, 4) if isinstance(value, float) else value}")


@app.command()
def models() -> None:
    """List the models that come with this version."""
    from codec import checkpoint

    for name, path in checkpoint.released().items():
        typer.echo(f"{name}  {path}")


def _model(name: str | None) -> "AudioCodec":
    from codec import checkpoint
    from codec.errors import UserError
    from codec.model import load

    if name is None:
        names = list(checkpoint.released())
        if not names:
            raise UserError("no model comes with this version; name one with --model")
        name = names[0]
    return load(name)


def _exists(source: Path) -> None:
    from codec.errors import UserError

    if not source.is_file():
        raise UserError(f"{source}: no such file")


def _ready(source: Path, target: Path, force: bool) -> None:
    from codec.errors import UserError

    _exists(source)
    if target.exists() and not force:
        raise UserError(f"{target}: exists already; --force overwrites it")


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file's name in front of what the library says about its content."""
    from codec.errors import UserError

    try:
        yield
    except UserError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error
