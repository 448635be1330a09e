"""LC3, Codec 2 and AMR-WB as anchors: frames of fixed size, one channel after the other.

LC3 and Codec 2 come as wheels with their libraries in them (``pip install 'rdcodec[anchors]'``),
AMR-WB's encoder as a library of the system's (Debian's libvo-amrwbenc0).
"""

import ctypes
import struct
from abc import abstractmethod
from importlib.metadata import version
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray

from codec import audio
from codec.errors import UserError
from pipeline.coders import Coder, Cost, Timeline, Unavailable

_HEADER = struct.Struct("<BI")
_DELAYS = {700: 260, 1200: 172, 1300: 172, 1400: 172, 1600: 172, 2400: 164, 3200: 164}
"""Samples by Codec 2's bit/s: the median lag of the levels of six voices; it keeps no waveform."""
_AMR_WB_MODES = (6.6, 8.85, 12.65, 14.25, 15.85, 18.25, 19.85, 23.05, 23.85)
"""kbps, in the order of AMR-WB's modes; a frame of 20 ms has as many bits as that makes."""
_AMR_WB_LIBRARY, _AMR_WB_APT = "libvo-amrwbenc.so.0", "libvo-amrwbenc0"


class FrameCoder(Coder):
    """A coder whose every frame has as many samples and bits as any other.

    A file is channels and samples at the coder's rate (5 bytes), then the frames of each channel.
    ``delay`` samples are what encoder and decoder lose at the beginning; they are trimmed.
    """

    rate = 0
    frame_samples = 0
    delay = 0

    @abstractmethod
    def encode_channel(self, frames: NDArray[np.float32], channels: int) -> bytes:
        """(frames, samples) of one of so many channels to their bytes."""

    @abstractmethod
    def decode_channel(self, data: bytes, count: int) -> NDArray[np.float32]:
        """The bytes of ``count`` frames to (samples,)."""

    def encode(self, waveform: NDArray[np.float32], sample_rate: int) -> bytes:
        full = audio.resample(waveform, sample_rate, self.rate)
        channels, length = full.shape
        count = self._frames(length)
        padded = np.pad(full, ((0, 0), (0, count * self.frame_samples - length)))
        frames = padded.reshape(channels, count, self.frame_samples)
        coded = b"".join(self.encode_channel(channel, channels) for channel in frames)
        return _HEADER.pack(channels, length) + coded

    def decode(self, data: bytes) -> tuple[NDArray[np.float32], int]:
        channels, length = _HEADER.unpack_from(data)
        coded = data[_HEADER.size :]
        size = len(coded) // channels
        decoded = [
            self.decode_channel(coded[at * size : (at + 1) * size], self._frames(length))
            for at in range(channels)
        ]
        return np.stack(decoded)[:, self.delay : self.delay + length].astype(np.float32), self.rate

    def _frames(self, length: int) -> int:
        """Frames of a channel: the last ones carry the delay out of the coder as well."""
        return -(-(length + self.delay) // self.frame_samples)

    def payload_bytes(self, data: bytes) -> int:
        return len(data) - _HEADER.size

    def timeline(self, data: bytes) -> Timeline | None:
        count = self._frames(_HEADER.unpack_from(data)[1])
        starts = (np.arange(count) * self.frame_samples - self.delay) / self.rate
        return starts, np.full(count, 8 * self.payload_bytes(data) / count)


class Lc3Coder(FrameCoder):
    """LC3 (Bluetooth LE Audio) in frames of 10 ms, at ``kbps`` for the whole signal.

    From 16 kbps of each channel on: frames have 20 bytes at least.
    """

    suffix = ".lc3"

    def __init__(self, kbps: float, sample_rate: int = 16_000) -> None:
        import lc3

        self.lc3, self.kbps, self.rate = lc3, kbps, sample_rate
        try:
            encoder = lc3.Encoder(10_000, sample_rate, 1)
        except lc3.InvalidArgumentError as error:
            raise UserError(f"coders: lc3: {error}") from error
        self.frame_samples, self.delay = encoder.get_frame_samples(), encoder.get_delay_samples()

    def encode_channel(self, frames: NDArray[np.float32], channels: int) -> bytes:
        encoder = self.lc3.Encoder(10_000, self.rate, 1)
        size = round(1000 * self.kbps / channels / 800)  # 100 frames a second
        if not 20 <= size <= 400:
            raise UserError(
                f"coders: lc3: {self.kbps:g} kbps for {channels} channels: each needs 16 to 320"
            )
        return b"".join(encoder.encode(np.ascontiguousarray(frame), size) for frame in frames)

    def decode_channel(self, data: bytes, count: int) -> NDArray[np.float32]:
        decoder = self.lc3.Decoder(10_000, self.rate, 1)
        size = len(data) // count
        parts = [decoder.decode(data[at : at + size]) for at in range(0, len(data), size)]
        return np.concatenate([np.frombuffer(part, np.float32) for part in parts])

    def cost(self, channels: int) -> Cost:
        return Cost(lookahead_ms=1000 * (self.frame_samples + self.delay) / self.rate)

    def about(self) -> dict[str, object]:
        return {
            "coder": f"liblc3 of lc3py {version('lc3py')}",
            "nominal_kbps": self.kbps,
            "frame_ms": 10,
            "sample_rate": self.rate,
        }


class Codec2Coder(FrameCoder):
    """Codec 2 at 700 to 3200 bit/s: a vocoder for speech at 8 kHz, one channel at a time."""

    suffix = ".c2"
    rate = 8_000

    def __init__(self, bits_per_second: int) -> None:
        import pycodec2

        if bits_per_second not in _DELAYS:
            listed = ", ".join(map(str, _DELAYS))
            raise UserError(f"coders: codec2: {bits_per_second} bit/s is none of {listed}")
        self.pycodec2, self.bits_per_second = pycodec2, bits_per_second
        self.delay = _DELAYS[bits_per_second]
        coder = pycodec2.Codec2(bits_per_second)
        self.frame_samples, self.frame_bits = coder.samples_per_frame(), coder.bits_per_frame()

    def encode_channel(self, frames: NDArray[np.float32], channels: int) -> bytes:
        coder = self.pycodec2.Codec2(self.bits_per_second)
        return _packed([coder.encode(audio.to_int16(frame)) for frame in frames], self.frame_bits)

    def decode_channel(self, data: bytes, count: int) -> NDArray[np.float32]:
        coder = self.pycodec2.Codec2(self.bits_per_second)
        parts = [coder.decode(frame) for frame in _unpacked(data, count, self.frame_bits)]
        decoded: NDArray[np.float32] = np.concatenate(parts).astype(np.float32) / np.float32(32768)
        return decoded

    def about(self) -> dict[str, object]:
        return {
            "coder": f"Codec 2 of pycodec2 {version('pycodec2')}",
            "nominal_kbps": self.bits_per_second / 1000,
        }


class AmrWbCoder(FrameCoder):
    """AMR-WB (ITU-T G.722.2), for speech at 16 kHz, each channel at ``kbps`` on its own.

    VisualOn's encoder without discontinuous transmission, FFmpeg's decoder. The RFC 4867 bytes that
    both speak have a byte before each frame, which says the mode; it is the same for all here, and
    not in the file.
    """

    suffix = ".amrwb"
    rate = 16_000
    frame_samples = 320
    delay = 94
    """5 ms that the encoder looks ahead, and the filters' part: the median lag of six voices."""

    def __init__(self, kbps: float) -> None:
        if kbps not in _AMR_WB_MODES:
            listed = ", ".join(map(str, _AMR_WB_MODES))
            raise UserError(f"coders: amr-wb: {kbps} kbps is none of {listed}")
        self.kbps, self.mode = kbps, _AMR_WB_MODES.index(kbps)
        self.frame_bits = round(20 * kbps)
        try:
            self.library = ctypes.CDLL(_AMR_WB_LIBRARY)
        except OSError as error:
            raise Unavailable(
                f"coders: amr-wb: this system has no {_AMR_WB_LIBRARY}; "
                f"apt-get install {_AMR_WB_APT}",
                _AMR_WB_APT,
            ) from error
        self.library.E_IF_init.restype = ctypes.c_void_p

    def encode_channel(self, frames: NDArray[np.float32], channels: int) -> bytes:
        state = ctypes.c_void_p(self.library.E_IF_init())
        coded = ctypes.create_string_buffer(64)
        parts = []
        for frame in frames:
            samples = audio.to_int16(frame).ctypes.data_as(ctypes.c_void_p)
            size = self.library.E_IF_encode(state, self.mode, samples, coded, 0)
            parts.append(coded.raw[1:size])
        self.library.E_IF_exit(state)
        return _packed(parts, self.frame_bits)

    def decode_channel(self, data: bytes, count: int) -> NDArray[np.float32]:
        decoder = cast(AudioCodecContext, av.CodecContext.create("amrwb", "r"))
        decoder.sample_rate, decoder.layout = self.rate, "mono"
        first = bytes([self.mode << 3 | 4])  # and a flag that the frame is whole
        parts = [
            decoded.to_ndarray()[0]
            for frame in _unpacked(data, count, self.frame_bits)
            for decoded in decoder.decode(av.Packet(first + frame))
        ]
        return np.concatenate(parts)

    def about(self) -> dict[str, object]:
        decoder = ".".join(map(str, av.library_versions["libavcodec"]))
        return {
            "coder": f"{_loaded_file(_AMR_WB_LIBRARY)}, decoded by libavcodec {decoder}",
            "nominal_kbps": self.kbps,
        }


def _packed(frames: list[bytes], bits: int) -> bytes:
    """Frames of so many bits, without the empty ones that fill up the last byte of each."""
    padded = np.unpackbits(np.frombuffer(b"".join(frames), np.uint8)).reshape(len(frames), -1)
    return np.packbits(padded[:, :bits]).tobytes()


def _unpacked(data: bytes, count: int, bits: int) -> list[bytes]:
    """What ``_packed`` was given."""
    whole = np.unpackbits(np.frombuffer(data, np.uint8))[: count * bits]
    return [frame.tobytes() for frame in np.packbits(whole.reshape(count, bits), axis=1)]


def _loaded_file(library: str) -> str:
    """The name of the file behind a loaded library, which has its version; Linux tells it."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text(errors="replace").splitlines() if maps.is_file() else []
    return next((line.rpartition("/")[2] for line in lines if library in line), library)
