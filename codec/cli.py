"""The codec's commands: encode, decode, trim, info, verify, models."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from codec import __version__

ModelOption = Annotated[
    str | None, typer.Option("--model", help="Released name, model folder or model file.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite outputs that exist.")]
JobsOption = Annotated[int, typer.Option("--jobs", min=1, help="Files at a time, for folders.")]


def _text(argument: str) -> str:
    """An argument that is there: an empty one, of a variable not set, would be this folder."""
    if not argument:
        raise typer.BadParameter("is empty; name a file or folder")
    return argument


def _path(argument: str) -> Path:
    return Path(_text(argument))


def encode(
    source: Annotated[
        Path,
        typer.Argument(parser=_path, metavar="IN", help="Audio file or folder; - reads a pipe."),
    ],
    target: Annotated[
        str,
        typer.Argument(
            parser=_text, metavar="OUT.rdc", help="File or folder; - is standard output."
        ),
    ],
    model: ModelOption = None,
    codebooks: Annotated[
        int | None,
        typer.Option("--codebooks", help="Codebooks to use, of a residual model; default: all."),
    ] = None,
    kbps: Annotated[
        float | None,
        typer.Option("--kbps", help="Bitrate of each file, of a model of many rates."),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option("--quality", metavar="LEVEL", help="Level of such a model, from 0 up."),
    ] = None,
    jobs: JobsOption = 1,
    force: ForceOption = False,
) -> None:
    """Compress an audio file, or every audio file in a folder.

    \b
    rdcodec encode speech.wav speech.rdc --kbps 6
    rdcodec encode recordings/ coded/ --jobs 2
    ffmpeg -i talk.mp4 -f wav - | rdcodec encode - talk.rdc
    """
    from codec import batch
    from codec.errors import UserError

    name = _chosen(model)
    if kbps is not None and quality is not None:
        raise UserError("--kbps and --quality: one of them")
    if source.is_dir():
        _say(batch.encode_folder(source, Path(target), name, jobs, force, codebooks, quality, kbps))
    else:
        source, out = _ready(source, target, ".rdc", force)
        _tell(batch.encode_file(source, out, name, codebooks, quality, kbps), out)


def decode(
    source: Annotated[
        Path, typer.Argument(parser=_path, metavar="IN.rdc", help="File or folder; - reads a pipe.")
    ],
    target: Annotated[
        str,
        typer.Argument(
            parser=_text, metavar="OUT.wav", help=".wav or .flac, or folder; - is a WAV's pipe."
        ),
    ],
    model: ModelOption = None,
    start: Annotated[float, typer.Option("--start", min=0, help="First second to decode.")] = 0.0,
    duration: Annotated[
        float | None,
        typer.Option("--duration", help="Seconds to decode; default: the rest."),
    ] = None,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Put silence where the file is damaged.")
    ] = False,
    perceptual: Annotated[
        bool,
        typer.Option(
            "--perceptual", help="Sound like a recording rather than be near to the original."
        ),
    ] = False,
    jobs: JobsOption = 1,
    force: ForceOption = False,
) -> None:
    """Decompress .rdc to audio of the original's rate and length.

    \b
    rdcodec decode speech.rdc back.wav
    rdcodec decode speech.rdc back.wav --perceptual
    rdcodec decode speech.rdc part.flac --start 60 --duration 5
    rdcodec decode coded/ decoded/ --jobs 2
    """
    from codec import batch
    from codec.errors import UserError

    if source.is_dir():
        if start or duration is not None or skip_damaged:
            raise UserError("--start, --duration and --skip-damaged are for one file at a time")
        _say(batch.decode_folder(source, Path(target), model, jobs, force, perceptual))
        return
    source, out = _ready(source, target, ".wav", force)
    if start or duration is not None:
        if skip_damaged:
            raise UserError("--skip-damaged goes with whole files, not with --start or --duration")
        _tell(batch.decode_range(source, out, model, start, duration, perceptual), out)
    else:
        _tell(batch.decode_file(source, out, model, skip_damaged, perceptual), out)


def trim(
    source: Annotated[Path, typer.Argument(parser=_path, metavar="IN.rdc")],
    target: Annotated[str, typer.Argument(parser=_text, metavar="OUT.rdc")],
    codebooks: Annotated[int, typer.Option("--codebooks", help="How many of them to keep.")],
    force: ForceOption = False,
) -> None:
    """Cut a file of a residual model down to its first codebooks; nothing is encoded again.

    \b
    rdcodec trim in.rdc out.rdc --codebooks 2
    """
    from codec import batch

    source, out = _ready(source, target, ".rdc", force)
    _tell(batch.trim_file(source, out, codebooks), out)


def info(
    source: Annotated[Path, typer.Argument(parser=_path, metavar="FILE.rdc")],
    model: ModelOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what an .rdc file holds and what it costs.

    Only the count of symbols needs the file's model; without it, the rest is said.

    \b
    rdcodec info speech.rdc --json
    """
    from codec import batch

    source = _exists(source)
    facts = vars(batch.describe_file(source, model))
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        for key, value in facts.items():
            if key == "codebooks" and value is None:
                continue  # a scalar quantizer has none
            shown = round(value, 4) if isinstance(value, float) else value
            typer.echo(f"{key:>24}  {'not known' if value is None else shown}")


def verify(source: Annotated[Path, typer.Argument(parser=_path, metavar="FILE.rdc")]) -> None:
    """Check every byte of an .rdc file against its checksums, without decoding it."""
    from codec.coding import bitstream
    from codec.errors import naming
    from codec.files import opened

    source = _exists(source)
    with naming(source), opened(source) as file:
        facts = bitstream.describe(file)
    typer.echo(f"{source}: whole, {facts.chunks} chunks, {facts.seconds:.3f} s")


def models() -> None:
    """List the models that come with this version, and what they cost and were measured at."""
    from codec import checkpoint

    listed = checkpoint.listed()
    for name, path in checkpoint.released().items():
        facts = listed[name]
        default = ", the default" if name == checkpoint.DEFAULT else ""
        rate = f"{facts['file_kbps']:g} kbps on average"
        if "range_kbps" in facts:
            rate += ", {:g} to {:g} with --kbps".format(*facts["range_kbps"])
        if "perceptual" in facts:
            rate += ", two decoders (--perceptual)"
        typer.echo(
            f"{name}  {rate}, {facts['quantizer']} quantizer, {facts['sample_rate']} Hz{default}; "
            f"card: {path.with_suffix('.md')}"
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


def _exists(source: Path) -> Path:
    """The input, which has to be there; - is standard input."""
    from codec.errors import UserError

    if str(source) == "-":
        return Path("/dev/stdin")
    if source.is_dir():
        raise UserError(f"{source}: is a folder; name a file")
    if not os.path.lexists(source):
        raise UserError(f"{source}: no such file")
    return source


def _ready(source: Path, target: str, ending: str, force: bool) -> tuple[Path, Path]:
    """Input and output of a command, where they can be used; - is standard input or output.

    What is a folder, or ends with a slash and is to be one, gets a file named after the input.
    """
    from codec.errors import UserError
    from codec.files import check_apart, is_stream

    source = _exists(source)
    if target == "-":
        return source, Path("/dev/stdout")
    out = Path(target)
    if out.is_dir() or target.endswith("/"):
        if is_stream(source):
            raise UserError(f"{target}: is a folder; name a file, for a pipe has no name to take")
        out /= source.stem + ending
    check_apart(source, out)
    if out.exists() and not is_stream(out) and not force:
        raise UserError(f"{out}: exists already; --force overwrites it")
    return source, out


def _tell(line: str, out: Path) -> None:
    """Say a line where it is no part of the output."""
    from codec.files import is_stream

    typer.echo(line, err=is_stream(out))


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rdcodec {__version__}")
        raise typer.Exit


def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version."),
    ] = False,
) -> None:
    """rdcodec: a neural audio codec, and the bench that tells where it stands."""


COMMANDS: tuple[Callable[..., None], ...] = (encode, decode, trim, info, verify, models)


def application(*commands: Callable[..., None], completion: bool = False) -> typer.Typer:
    """A command line of these commands, each named as its function is.

    ``completion`` offers to install completion, which shells do for a program of one word alone.
    """
    app = typer.Typer(
        add_completion=completion, no_args_is_help=True, pretty_exceptions_enable=False
    )
    app.callback()(_common)
    for command in commands:
        app.command()(command)
    return app
