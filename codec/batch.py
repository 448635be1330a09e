"""Files and folders of them: what the commands encode and decode do."""

import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from codec import audio, checkpoint
from codec.coding import bitstream
from codec.errors import FOR_ALL, UserError, naming, reason
from codec.files import below, check_apart, is_stream, opened, replacing
from codec.model import AudioCodec, load
from codec.names import output_names
from codec.process import Died, each
from codec.rate import compress_near

Job = tuple[Path, Path]


@functools.lru_cache(maxsize=4)
def _model(name: str) -> AudioCodec:
    return load(name)


@functools.lru_cache(maxsize=4)
def _model_of(model_hash: bytes) -> AudioCodec:
    return checkpoint.find_by_hash(model_hash)


def _decoder(file: BinaryIO, model: str | None) -> AudioCodec:
    """The model that was named, or else the one that the file names."""
    if model is not None:
        return _model(model)
    header = bitstream.read_header(file)
    file.seek(0)
    return _model_of(header.model_hash)


def encode_file(
    source: Path,
    target: Path,
    model: str,
    codebooks: int | None = None,
    level: int | None = None,
    kbps: float | None = None,
) -> str:
    """Encode one file in constant memory; returns a line about the result.

    With ``kbps`` the file is read and coded some times.
    """
    codec = _model(model)
    check_apart(source, target)
    if kbps is not None and is_stream(source):
        raise UserError(f"{source}: --kbps reads its input several times; give it a file")
    with (
        naming(source),
        audio.reading(source) as (parts, rate),
        replacing(target) as scratch,
        scratch.open("wb") as file,
    ):
        if kbps is None:
            header = codec.compress_to(file, parts, rate, codebooks, level)
        else:
            data, header = compress_near(codec, lambda: _parts(source), rate, kbps)
            file.write(data)
        size = file.tell()
    return f"{target}: {size} bytes, {size * 8 / header.seconds / 1000:.2f} kbps"


def _parts(source: Path) -> Iterator[NDArray[np.float32]]:
    with audio.reading(source) as (parts, _):
        yield from parts


def decode_file(
    source: Path,
    target: Path,
    model: str | None,
    skip_damaged: bool = False,
    perceptual: bool = False,
) -> str:
    """Decode one file in constant memory; returns a line about the result and about damage."""
    lost: list[bitstream.Chunk] = []
    check_apart(source, target)
    with naming(source), opened(source) as file:
        codec = _decoder(file, model)
        header, parts = codec.decompress_parts(file, lost if skip_damaged else None, perceptual)
        audio.write_parts(target, parts, header.sample_rate, header.channels, header.length)
    lines = [f"{target}: {header.seconds:.2f} s at {header.sample_rate} Hz"]
    for chunk in lost:
        begin = chunk.number * bitstream.CHUNK_SECONDS
        end = min(header.seconds, begin + bitstream.CHUNK_SECONDS)
        gap = f"; silence from {begin:g} to {end:.2f} s" if begin < end else ""
        lines.append(f"{source}: {chunk.damage}{gap}")
    return "\n".join(lines)


def trim_file(source: Path, target: Path, codebooks: int) -> str:
    """Cut one file down to its first codebooks; returns a line about the result."""
    check_apart(source, target)
    with (
        naming(source),
        opened(source) as file,
        replacing(target) as scratch,
        scratch.open("wb") as out,
    ):
        header = bitstream.trim(file, out, codebooks)
        size = out.tell()
    return f"{target}: {size} bytes, {size * 8 / header.seconds / 1000:.2f} kbps"


def describe_file(source: Path, model: str | None) -> bitstream.Description:
    """The facts of one file; symbols are counted where its model is named or found."""
    with naming(source), opened(source) as file:
        header = bitstream.read_header(file)
        file.seek(0)
        codec: AudioCodec | None = None
        if model is not None:
            codec = _model(model)
            codec.read_header(file)
            file.seek(0)
        elif checkpoint.is_at_hand(header.model_hash):
            codec = _model_of(header.model_hash)
        return bitstream.describe(file, codec.count_symbols if codec else lambda _: None)


def decode_range(
    source: Path,
    target: Path,
    model: str | None,
    start: float,
    duration: float | None,
    perceptual: bool = False,
) -> str:
    """Decode some seconds of one file; returns a line about the result."""
    check_apart(source, target)
    for option, value in (("--start", start), ("--duration", duration)):
        if value is not None and not math.isfinite(value):
            raise UserError(f"{option} {value}: give seconds")
    with naming(source), opened(source) as file:
        codec = _decoder(file, model)
        if duration is None:
            duration = bitstream.read_header(file).seconds - start
            file.seek(0)
        waveform, rate = codec.decompress_range(file, start, duration, perceptual)
    audio.write(target, waveform, rate)
    return f"{target}: {waveform.shape[-1] / rate:.2f} s at {rate} Hz"


def encode_folder(
    source: Path,
    target: Path,
    model: str,
    jobs: int,
    force: bool,
    codebooks: int | None = None,
    level: int | None = None,
    kbps: float | None = None,
) -> tuple[int, int, list[str]]:
    """Encode all audio below a folder; returns files done, files kept, and reasons of failure."""
    _model(model)
    encode = functools.partial(
        encode_file, model=model, codebooks=codebooks, level=level, kbps=kbps
    )
    work = functools.partial(_try, encode)
    return _all(audio.SUFFIXES, source, target, ".rdc", work, jobs, force)


def decode_folder(
    source: Path,
    target: Path,
    model: str | None,
    jobs: int,
    force: bool,
    perceptual: bool = False,
) -> tuple[int, int, list[str]]:
    """Decode all .rdc files below a folder to .wav; returns as ``encode_folder`` does."""
    decode = functools.partial(decode_file, model=model, perceptual=perceptual)
    work = functools.partial(_try, decode)
    return _all((".rdc",), source, target, ".wav", work, jobs, force)


def _try(work: Callable[[Path, Path], str], job: Job) -> str:
    """Do one file; returns the reason where it cannot be done, else nothing."""
    try:
        if is_stream(job[0]):  # which may have no end
            raise UserError(f"{job[0]}: is a pipe or a device, not a file")
        work(*job)
    except OSError as error:
        if error.errno in FOR_ALL:
            raise  # the next file would fare no better
        return reason(job[0], error)
    except Exception as error:
        return reason(job[0], error)
    return ""


def _all(
    endings: tuple[str, ...],
    source: Path,
    target: Path,
    suffix: str,
    work: Callable[[Job], str],
    jobs: int,
    force: bool,
) -> tuple[int, int, list[str]]:
    found, refused = below(source, endings)
    if not found and not refused:
        raise UserError(f"{source}: no files to do in this folder")
    names = output_names((path.relative_to(source).as_posix() for path in found), suffix)
    pairs = [(source / name, target / out) for name, out in sorted(names.items())]
    todo = [(path, out) for path, out in pairs if force or not out.exists()]
    failed = [reason(Path(error.filename), error) for error in refused]
    results = each(work, todo, jobs, torch.set_num_threads, 1)
    for (path, _), why in tqdm(results, total=len(todo), disable=None, unit="file"):
        if why:
            failed.append(f"{path}: {why.reason}" if isinstance(why, Died) else why)
    done = len(todo) + len(refused) - len(failed)
    return done, len(pairs) - len(todo), sorted(failed)
