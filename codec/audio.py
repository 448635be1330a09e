"""Reading, writing and resampling: the one place for each."""

import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from codec import containers
from codec.containers import Block
from codec.errors import AudioError, naming
from codec.files import is_stream, opened, replacing

SUFFIXES = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".m4b", ".aac", ".aif", ".aiff",
)  # fmt: skip
"""File name endings that count as audio when a folder is searched."""

MIN_RATE, MAX_RATE, MAX_CHANNELS = 8_000, 192_000, 8


_FULL_SCALE = {
    "uint8": ": (samples - 128) / 128",
    "int16": ": samples / 32768",
    "int32": ": samples / 2147483648",
}
"""What makes floats of PCM."""
LARGEST_WAV = (1 << 32) - (1 << 16)
"""Bytes of samples that a WAV with 32-bit lengths has room for."""


def read(path: str | Path) -> tuple[NDArray[np.float32], int]:
    """An audio file to (channels, samples) float32 in [-1, 1] and its sample rate in Hz.

    WAV, FLAC, AIFF and Ogg through libsndfile, MP3, M4A and others through FFmpeg's libraries
    (PyAV): the content decides, not the name. Channels are in the order of WAV. Raises AudioError
    where the file cannot be read, or holds no samples, or changes its format on the way.
    """
    with reading(path) as (parts, rate):
        return np.concatenate(list(parts), axis=-1), rate


@contextmanager
def reading(path: str | Path) -> Iterator[tuple[Iterator[NDArray[np.float32]], int]]:
    """``read`` in parts: an iterator of (channels, samples) and the rate, in constant memory."""
    path = Path(path)
    if path.is_dir():
        raise AudioError(f"{path}: is a folder, not an audio file")
    try:
        with opened(path) as file:
            blocks = _of_one_format(containers.blocks(file), path)
            first = next(blocks, None)
            if first is None:
                raise AudioError(f"{path}: holds no samples")
            yield (part for part, _ in itertools.chain([first], blocks)), first[1]
    except FileNotFoundError as error:
        if error.filename not in (str(path), path):
            raise
        raise AudioError(f"{path}: no such file") from error


def _of_one_format(blocks: Iterator[Block], path: Path) -> Iterator[Block]:
    """The same blocks, with the file's name in errors; AudioError where rate or channels change."""
    known: tuple[int, int] | None = None
    seconds = 0.0
    with naming(path):
        for part, rate in blocks:
            found = (rate, part.shape[0])
            if known not in (None, found):
                raise AudioError(
                    f"changes after {seconds:.2f} s from {known[0]} Hz and {known[1]} channels to "
                    f"{rate} Hz and {part.shape[0]}; split it there"
                )
            known = found
            seconds += part.shape[-1] / rate
            yield part, rate


def write(path: str | Path, waveform: NDArray[np.float32], sample_rate: int) -> None:
    """Write (channels, samples) or (samples,) as 16-bit PCM, WAV or FLAC by the name's ending.

    In one step. Samples outside [-1, 1] are clipped: a fixed-point file has no room for them.
    """
    waveform = as_waveform(waveform)
    write_parts(path, [waveform], sample_rate, *waveform.shape)


def write_parts(
    path: str | Path,
    parts: Iterable[NDArray[np.float32]],
    sample_rate: int,
    channels: int,
    length: int | None = None,
) -> int:
    """``write`` for a waveform that comes in parts; returns its samples per channel.

    ``length`` is what they will be, where it is known: a WAV of more than 4 GiB then becomes RF64,
    which is the same with room for its length; without it, that is an AudioError.
    """
    path = Path(path)
    formats = {".wav": "WAV", ".flac": "FLAC"}
    # What is piped has no name that says.
    suffix = path.suffix.lower() or (".wav" if is_stream(path) else "")
    if suffix not in formats:
        raise AudioError(f"{path}: can only write .wav and .flac")
    kind, size = formats[suffix], 2 * channels
    if kind == "WAV" and (length or 0) * size > LARGEST_WAV:
        kind = "RF64"
    done = 0
    with (
        replacing(path) as scratch,
        soundfile.SoundFile(
            os.fsencode(scratch), "w", sample_rate, channels, subtype="PCM_16", format=kind
        ) as file,
    ):
        for part in parts:
            done += part.shape[-1]
            if kind == "WAV" and done * size > LARGEST_WAV:
                raise AudioError(f"{path}: more than 4 GiB, too much for a WAV; write a .flac")
            file.write(to_int16(part).T)
    return done


def to_int16(waveform: NDArray[np.float32]) -> NDArray[np.int16]:
    """Float in [-1, 1] to 16-bit integers, rounded, clipped."""
    scaled = np.rint(np.asarray(waveform, np.float64) * 32768)
    return np.clip(scaled, -32768, 32767).astype(np.int16)


def as_waveform(samples: Any) -> NDArray[np.float32]:
    """Whatever holds (channels, samples) or (samples,), a tensor too, as (channels, samples).

    Raises AudioError for what holds no floats, or another number of dimensions. Integers are not
    guessed at: whether 1 is full scale or next to nothing, only the caller knows.
    """
    try:
        if hasattr(samples, "detach"):  # a tensor of torch, which this module need not import
            samples = samples.detach().cpu()
            samples = (samples.float() if samples.is_floating_point() else samples).numpy()
        elif isinstance(samples, np.ma.MaskedArray):  # what is masked is missing
            samples = np.where(np.ma.getmaskarray(samples), np.nan, samples.data)
        array = np.asarray(samples)
    except (ValueError, TypeError, NotImplementedError) as error:
        # Lists of unequal lengths; tensors that are sparse, quantized or without data.
        raise AudioError(f"not an array of samples: {error}") from error
    if array.ndim not in (1, 2):
        raise AudioError(
            f"shape {array.shape}; pass one waveform, (channels, samples) or (samples,)"
        )
    if not np.issubdtype(array.dtype, np.floating):
        scale = _FULL_SCALE.get(array.dtype.name, "")
        raise AudioError(f"samples of type {array.dtype}; pass floats in [-1, 1]{scale}")
    with np.errstate(over="ignore"):  # infinity is refused later, and by its place
        return np.atleast_2d(array).astype(np.float32, copy=False)


def whole_rate(sample_rate: float) -> int:
    """A sample rate in Hz as an integer; AudioError where it is none."""
    try:
        if int(sample_rate) == sample_rate:
            return int(sample_rate)
    except (TypeError, ValueError, OverflowError):
        pass
    raise AudioError(f"sample rate {sample_rate!r}; pass a whole number of Hz")


def check(waveform: NDArray[np.float32], sample_rate: int, start: int = 0) -> None:
    """Raise AudioError for (channels, samples) that no codec here can take.

    ``start`` is where this part begins in the whole waveform, for the message.
    """
    channels, length = waveform.shape
    check_format(sample_rate, channels)
    if length == 0:
        raise AudioError("no samples to code")
    if not np.isfinite(waveform).all():
        index = int(np.flatnonzero(~np.isfinite(waveform).all(axis=0))[0])
        raise AudioError(f"sample {start + index} is NaN or infinite; mend the audio first")


def check_format(sample_rate: int, channels: int) -> None:
    """Raise AudioError for a rate or a number of channels that no codec here can take."""
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise AudioError(f"sample rate {sample_rate} Hz; {MIN_RATE} to {MAX_RATE} can be coded")
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(
            f"{channels} channels; 1 to {MAX_CHANNELS} can be coded (a waveform is an array of "
            "(channels, samples))"
        )


def resample(
    waveform: NDArray[np.float32], source_rate: int, target_rate: int
) -> NDArray[np.float32]:
    """(channels, samples) to the target rate with soxr's very-high-quality filter.

    The result has ``resampled_length`` samples and no delay.
    """
    parts = resample_parts([waveform], source_rate, target_rate)
    return np.concatenate(list(parts), axis=-1)


def resample_parts(
    parts: Iterable[NDArray[np.float32]], source_rate: int, target_rate: int
) -> Iterator[NDArray[np.float32]]:
    """``resample`` for a waveform that comes in parts: the same samples, whatever the parts."""
    if source_rate == target_rate:
        yield from parts
        return
    stream: soxr.ResampleStream | None = None
    taken, channels = 0, 0

    def resampled() -> Iterator[NDArray[np.float32]]:
        nonlocal stream, taken, channels
        for part in parts:
            channels = part.shape[0]
            taken += part.shape[-1]
            if stream is None:
                stream = soxr.ResampleStream(
                    source_rate, target_rate, channels, dtype="float32", quality="VHQ"
                )
            yield np.ascontiguousarray(stream.resample_chunk(part.T).T)
        if stream is not None:
            rest = np.empty((0, channels), np.float32)
            yield np.ascontiguousarray(stream.resample_chunk(rest, last=True).T)

    given = 0
    for part in resampled():
        given += part.shape[-1]
        if part.shape[-1]:
            yield part
    # soxr rounds the length its own way: half a sample down is one that is missing here.
    missing = resampled_length(taken, source_rate, target_rate) - given
    if missing > 0:
        yield np.zeros((channels, missing), np.float32)


def fit_parts(parts: Iterable[NDArray[np.float32]], length: int) -> Iterator[NDArray[np.float32]]:
    """(channels, samples) parts cut, or continued with zeros, to ``length`` samples in all."""
    channels = 1
    for part in parts:
        channels = part.shape[0]
        fitting = part[:, :length]
        length -= fitting.shape[-1]
        if fitting.shape[-1]:
            yield fitting
    if length > 0:
        yield np.zeros((channels, length), np.float32)


def fit_length(waveform: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """(channels, samples) cut, or continued with zeros, to exactly ``length`` samples."""
    return np.concatenate(list(fit_parts([waveform], length)), axis=-1)


def resampler_reach(source_rate: int, target_rate: int) -> float:
    """Seconds on either side that a resampled sample depends on.

    soxr's filter of this quality falls below 1e-7 of its peak within 127 samples of the lower rate;
    twice that is taken.
    """
    return 0.0 if source_rate == target_rate else 256 / min(source_rate, target_rate)


def resampled_length(length: int, source_rate: int, target_rate: int) -> int:
    """Samples after resampling: length · target / source, rounded up."""
    return -(-length * target_rate // source_rate)
