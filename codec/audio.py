"""Reading, writing and resampling: the one place for each."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from codec.errors import AudioError
from codec.files import replacing

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aif", ".aiff")
"""File name endings that count as audio when a folder is searched."""

MIN_RATE, MAX_RATE, MAX_CHANNELS = 8_000, 192_000, 8


BLOCK_SAMPLES = 1 << 18
"""Samples per channel that are in memory at a time when a file is read or written in parts."""


def read(path: str | Path) -> tuple[NDArray[np.float32], int]:
    """An audio file to (channels, samples) float32 in [-1, 1] and its sample rate in Hz.

    WAV, FLAC, OGG and MP3 through libsndfile, M4A through FFmpeg's libraries (PyAV). Raises
    AudioError where the file cannot be read or holds no samples.
    """
    with reading(path) as (parts, rate):
        return np.concatenate(list(parts), axis=-1), rate


@contextmanager
def reading(path: str | Path) -> Iterator[tuple[Iterator[NDArray[np.float32]], int]]:
    """``read`` in parts: an iterator of (channels, samples) and the rate, in constant memory."""
    path = Path(path)
    if not path.exists():
        raise AudioError(f"{path}: no such file")
    if path.is_dir():
        raise AudioError(f"{path}: is a folder, not an audio file")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: is empty (0 bytes)")
    opened = _opened_av if path.suffix.lower() in (".m4a", ".mp4", ".aac") else _opened_soundfile
    with opened(path) as (parts, rate):
        yield _not_empty(parts, path), rate


def _not_empty(parts: Iterator[NDArray[np.float32]], path: Path) -> Iterator[NDArray[np.float32]]:
    empty = True
    for part in parts:
        empty = False
        yield part
    if empty:
        raise AudioError(f"{path}: holds no samples")


@contextmanager
def _opened_soundfile(path: Path) -> Iterator[tuple[Iterator[NDArray[np.float32]], int]]:
    try:
        with soundfile.SoundFile(path) as file:
            yield _blocks(file), file.samplerate
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip().rstrip(".")
        raise AudioError(f"{path}: cannot be read as audio: {reason}") from error


def _blocks(file: soundfile.SoundFile) -> Iterator[NDArray[np.float32]]:
    while len(block := file.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
        yield np.ascontiguousarray(block.T, np.float32)


@contextmanager
def _opened_av(path: Path) -> Iterator[tuple[Iterator[NDArray[np.float32]], int]]:
    import av

    try:
        with av.open(str(path), mode="r") as container:
            if not container.streams.audio:
                raise AudioError(f"{path}: has no audio stream")
            stream = container.streams.audio[0]
            to_float = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
            frames = container.decode(stream)
            yield (
                (
                    np.asarray(out.to_ndarray(), np.float32)
                    for frame in frames
                    for out in to_float.resample(frame)
                ),
                int(stream.rate),
            )
    except av.FFmpegError as error:
        raise AudioError(f"{path}: cannot be read as audio: {error.strerror}") from error


def write(path: str | Path, waveform: NDArray[np.float32], sample_rate: int) -> None:
    """Write (channels, samples) as 16-bit PCM, WAV or FLAC by the name's ending, in one step.

    Samples outside [-1, 1] are clipped: a fixed-point file has no room for them.
    """
    write_parts(path, [waveform], sample_rate, waveform.shape[0])


def write_parts(
    path: str | Path, parts: Iterable[NDArray[np.float32]], sample_rate: int, channels: int
) -> int:
    """``write`` for a waveform that comes in parts; returns its samples per channel."""
    path = Path(path)
    formats = {".wav": "WAV", ".flac": "FLAC"}
    if path.suffix.lower() not in formats:
        raise AudioError(f"{path}: can only write .wav and .flac")
    length = 0
    with (
        replacing(path) as scratch,
        soundfile.SoundFile(
            scratch,
            "w",
            sample_rate,
            channels,
            subtype="PCM_16",
            format=formats[path.suffix.lower()],
        ) as file,
    ):
        for part in parts:
            file.write(to_int16(part).T)
            length += part.shape[-1]
    return length


def to_int16(waveform: NDArray[np.float32]) -> NDArray[np.int16]:
    """Float in [-1, 1] to 16-bit integers, rounded, clipped."""
    scaled = np.rint(np.asarray(waveform, np.float64) * 32768)
    return np.clip(scaled, -32768, 32767).astype(np.int16)


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
        raise AudioError(f"{channels} channels; 1 to {MAX_CHANNELS} can be coded")


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
