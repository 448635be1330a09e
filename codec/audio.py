"""Reading, writing and resampling: the one place for each."""

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


def read(path: str | Path) -> tuple[NDArray[np.float32], int]:
    """An audio file to (channels, samples) float32 in [-1, 1] and its sample rate in Hz.

    WAV, FLAC, OGG and MP3 through libsndfile, M4A through FFmpeg's libraries (PyAV). Raises
    AudioError where the file cannot be read or holds no samples.
    """
    path = Path(path)
    if not path.exists():
        raise AudioError(f"{path}: no such file")
    if path.is_dir():
        raise AudioError(f"{path}: is a folder, not an audio file")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: is empty (0 bytes)")
    if path.suffix.lower() in (".m4a", ".mp4", ".aac"):
        waveform, rate = _read_av(path)
    else:
        try:
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
            raise AudioError(f"{path}: cannot be read as audio: {reason}") from error
        waveform = np.ascontiguousarray(samples.T)
    if waveform.shape[-1] == 0:
        raise AudioError(f"{path}: holds no samples")
    return waveform, rate


def _read_av(path: Path) -> tuple[NDArray[np.float32], int]:
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioError(f"{path}: has no audio stream")
            stream = container.streams.audio[0]
            to_float = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
            parts = [
                out.to_ndarray()
                for frame in container.decode(stream)
                for out in to_float.resample(frame)
            ]
    except av.FFmpegError as error:
        raise AudioError(f"{path}: cannot be read as audio: {error.strerror}") from error
    if not parts:
        raise AudioError(f"{path}: holds no samples")
    return np.concatenate(parts, axis=1), int(stream.rate)


def write(path: str | Path, waveform: NDArray[np.float32], sample_rate: int) -> None:
    """Write (channels, samples) as 16-bit PCM, WAV or FLAC by the name's ending, in one step.

    Samples outside [-1, 1] are clipped: a fixed-point file has no room for them.
    """
    path = Path(path)
    formats = {".wav": "WAV", ".flac": "FLAC"}
    if path.suffix.lower() not in formats:
        raise AudioError(f"{path}: can only write .wav and .flac")
    with replacing(path) as scratch:
        soundfile.write(
            scratch,
            to_int16(waveform).T,
            sample_rate,
            subtype="PCM_16",
            format=formats[path.suffix.lower()],
        )


def to_int16(waveform: NDArray[np.float32]) -> NDArray[np.int16]:
    """Float in [-1, 1] to 16-bit integers, rounded, clipped."""
    scaled = np.rint(np.asarray(waveform, np.float64) * 32768)
    return np.clip(scaled, -32768, 32767).astype(np.int16)


def check(waveform: NDArray[np.float32], sample_rate: int) -> None:
    """Raise AudioError for (channels, samples) that no codec here can take."""
    channels, length = waveform.shape
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise AudioError(f"sample rate {sample_rate} Hz; {MIN_RATE} to {MAX_RATE} can be coded")
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{channels} channels; 1 to {MAX_CHANNELS} can be coded")
    if length == 0:
        raise AudioError("no samples to code")
    if not np.isfinite(waveform).all():
        index = int(np.flatnonzero(~np.isfinite(waveform).all(axis=0))[0])
        raise AudioError(f"sample {index} is NaN or infinite; mend the audio first")


def resample(
    waveform: NDArray[np.float32], source_rate: int, target_rate: int
) -> NDArray[np.float32]:
    """(channels, samples) to the target rate with soxr's very-high-quality filter.

    The result has ``resampled_length`` samples and no delay.
    """
    if source_rate == target_rate:
        return waveform
    wanted = resampled_length(waveform.shape[-1], source_rate, target_rate)
    resampled = soxr.resample(waveform.T, source_rate, target_rate, quality="VHQ").T
    # soxr rounds the length its own way; at most one sample is missing or too many.
    if resampled.shape[-1] < wanted:
        resampled = np.pad(resampled, ((0, 0), (0, wanted - resampled.shape[-1])))
    return np.ascontiguousarray(resampled[:, :wanted])


def resampled_length(length: int, source_rate: int, target_rate: int) -> int:
    """Samples after resampling: length · target / source, rounded up."""
    return -(-length * target_rate // source_rate)
