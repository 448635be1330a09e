"""What is in audio files: the format by content, every stream to its end, channels in WAV's order.

libsndfile reads what it knows to the exact sample, but believes a header's word on where a file
ends, and of several files put together it sees the first. FFmpeg (through PyAV) reads the rest.
"""

import errno
import io
import os
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from codec.errors import AudioError

Block = tuple[NDArray[np.float32], int]
"""(channels, samples) and the rate in Hz."""

BLOCK_SAMPLES = 1 << 18
"""Samples per channel that are in memory at a time."""

LARGEST_RIFF = (1 << 32) + 8
"""Bytes of a file whose 32-bit lengths can be true."""
_FLAC = b"fLaC\x00\x00\x00\x22"  # with the head of its first block, which has always 34 bytes
_FFMPEG_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,ogg,mp3,aac,flac,wav,aiff,w64,caf,asf,ac3,eac3,amr,wv,"
    "ape,tta,au,avi,flv,mpegts,mpeg"
)
"""Those that hold audio; playlists, which make FFmpeg open other files, are not among them."""
_RESYNCHRONIZING = ("mp3", "aac")
"""Formats in which anything may lie between two frames, tags first of all."""
# Channels of Ogg's codecs as WAV and FFmpeg order them (Vorbis I, 4.3.9; RFC 7845, 5.1.1.2).
_FROM_VORBIS = {
    3: [0, 2, 1], 5: [0, 2, 1, 3, 4], 6: [0, 2, 1, 5, 3, 4], 7: [0, 2, 1, 6, 5, 3, 4],
    8: [0, 2, 1, 7, 5, 6, 3, 4],
}  # fmt: skip


def blocks(file: BinaryIO) -> Iterator[Block]:
    """All audio of an open file, in blocks; AudioError where it cannot be read."""
    size = file.seek(0, os.SEEK_END)
    if not size:
        raise AudioError("is empty (0 bytes)")
    starts = _starts(file, size)
    begun, known = False, bool(starts)
    try:
        if size > LARGEST_RIFF and _at(file, 0, 4) == b"RIFF":
            yield from _by_libsndfile(whole_riff(file, size))
            return
        for begin, end in zip(starts, [*starts[1:], size], strict=False):
            for block in _by_libsndfile(soundfile.SoundFile(_Window(file, begin, end))):
                begun = True
                yield block
    except soundfile.LibsndfileError as error:
        if begun:
            raise AudioError(f"is damaged or cut off: {error.error_string}") from error
        known = False
    if not begun:
        yield from _by_ffmpeg(file, known)


def _starts(file: BinaryIO, size: int) -> list[int]:
    """Where the files that were put together begin; nothing where FFmpeg is to read them."""
    head = _at(file, 0, 26)
    if head[:4] == b"OggS":
        return _ogg_starts(file)
    if head[:8] == _FLAC:
        if not int.from_bytes(head[21:26], "big") & ((1 << 36) - 1):
            return []  # its writer could not go back to say how long it became
        starts = [0]
        while (at := _find(file, _FLAC, starts[-1] + 1)) >= 0:
            starts.append(at)
        return starts
    if head[:4] in (b"RIFF", b"RIFX", b"FORM") and len(head) >= 12:
        starts = [0]
        while True:
            order: Literal["little", "big"] = "little" if head[:4] == b"RIFF" else "big"
            length = int.from_bytes(_at(file, starts[-1] + 4, 4), order)
            following = starts[-1] + 8 + length + length % 2
            if _at(file, following, 4) != head[:4]:
                return starts
            starts.append(following)
    return [0] if head[:4] in (b"RF64", b"BW64", b"riff", b"caff", b".snd") else []


def _ogg_starts(file: BinaryIO) -> list[int]:
    """Where each of the chained streams begins: at a first page that follows on others."""
    starts, at, inside = [0], 0, False
    while at >= 0:
        page = _at(file, at, 27 + 255)
        first = len(page) > 5 and bool(page[5] & 2)
        if first and inside:
            starts.append(at)
        inside = not first
        table = page[27 : 27 + page[26]] if len(page) > 26 else b""
        at = _find(file, b"OggS", at + 27 + len(table) + sum(table))
    return starts


def _at(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)


def _find(file: BinaryIO, pattern: bytes, start: int) -> int:
    """The first place from ``start`` on where ``pattern`` stands; -1 where it does not."""
    size = max(len(pattern), 1 << 9)
    while len(part := _at(file, start, size)) >= len(pattern):
        if (found := part.find(pattern)) >= 0:
            return start + found
        start += len(part) - len(pattern) + 1
        size = 1 << 20  # mostly it stands right here; else it is far away
    return -1


def whole_riff(file: BinaryIO, size: int) -> soundfile.SoundFile:
    """A WAV that has outgrown its 32-bit lengths, to the end of the file.

    What its header says of the samples is true; their number is what is left of it after 4 GiB.
    """
    with soundfile.SoundFile(_Window(file, 0, size)) as header:
        rate, channels, subtype = header.samplerate, header.channels, header.subtype
    at = 12
    while (chunk := _at(file, at, 8))[:4] != b"data":
        at += 8 + int.from_bytes(chunk[4:], "little") + chunk[4] % 2
        if len(chunk) < 8 or at > size:
            raise AudioError("cannot be read as audio: a WAV without samples")
    samples = _Window(file, at + 8, size)
    return soundfile.SoundFile(samples, "r", rate, channels, subtype, "LITTLE", "RAW")


def _by_libsndfile(opened: soundfile.SoundFile) -> Iterator[Block]:
    with opened as file:
        order = _FROM_VORBIS.get(file.channels) if file.format == "OGG" else None
        while len(block := file.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
            rows = block.T if order is None else block.T[order]
            yield np.ascontiguousarray(rows, np.float32), file.samplerate


def _by_ffmpeg(file: BinaryIO, known: bool) -> Iterator[Block]:
    import av

    file.seek(0)
    try:
        with av.open(_Nameless(file), options={"format_whitelist": _FFMPEG_FORMATS}) as container:
            if not container.streams.audio:
                raise AudioError("has no audio stream")
            yield from _gathered(_frames(container))
    except av.FFmpegError as error:
        if known:
            return  # libsndfile knew it, and found nothing in it
        if error.errno == errno.EINVAL:  # FFmpeg knows it, and it is not among those above
            raise AudioError("is in no format of audio that is read here") from error
        raise AudioError(f"cannot be read as audio: {error.strerror}") from error


def _frames(container: Any) -> Iterator[Block]:
    import av

    format_, resampler = None, None
    stream = container.streams.audio[0]
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            if container.format.name in _RESYNCHRONIZING:
                continue
            raise
        for frame in frames:
            if format_ != (frame.format.name, frame.layout.name, frame.sample_rate):
                format_ = (frame.format.name, frame.layout.name, frame.sample_rate)
                # Interleaved: PyAV crashes on eight channels that are not.
                resampler = av.AudioResampler("flt", frame.layout, frame.sample_rate)
            assert resampler is not None
            for out in resampler.resample(frame):
                flat = out.to_ndarray().reshape(-1, out.layout.nb_channels)
                yield np.ascontiguousarray(flat.T, np.float32), int(out.sample_rate)


def _gathered(frames: Iterator[Block]) -> Iterator[Block]:
    """The same audio in larger blocks, each of one format."""
    waiting: list[NDArray[np.float32]] = []
    rate = samples = 0
    for part, its_rate in frames:
        new = waiting and (its_rate != rate or len(part) != len(waiting[0]))
        if new or samples >= BLOCK_SAMPLES:
            yield np.concatenate(waiting, axis=-1), rate
            waiting, samples = [], 0
        waiting.append(part)
        rate, samples = its_rate, samples + part.shape[-1]
    if waiting:
        yield np.concatenate(waiting, axis=-1), rate


class _Nameless:
    """An open file without its name, by whose ending FFmpeg would guess."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


class _Window(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, file: BinaryIO, begin: int, end: int) -> None:
        self._file, self._begin, self._end, self._place = file, begin, end, begin

    def readinto(self, buffer: Any) -> int:
        part = _at(self._file, self._place, min(len(buffer), self._end - self._place))
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: self._begin, os.SEEK_CUR: self._place, os.SEEK_END: self._end}[whence]
        self._place = min(max(self._begin, base + offset), self._end)
        return self.tell()

    def tell(self) -> int:
        return self._place - self._begin
