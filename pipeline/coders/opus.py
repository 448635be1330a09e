"""Opus as an anchor: opuslib on libopus, in Ogg files."""

import ctypes
import ctypes.util
import importlib
import io
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import av
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from codec import audio
from codec.errors import UserError
from pipeline.coders import Coder, Timeline, ogg

RATE = ogg.SAMPLE_RATE


def library_path(library: str) -> str:
    """The libopus that the params name: ``av`` (in PyAV's wheel), ``system``, or a path."""
    if library == "av":
        folder = Path(av.__file__).parent
        places = [folder.parent / "av.libs", folder / ".dylibs"]
        found = [path for place in places for path in sorted(place.glob("libopus*"))]
        if not found:
            raise UserError("opus: library: this PyAV carries no libopus; use system")
        return str(found[0])
    if library == "system":
        name = ctypes.util.find_library("opus")
        if name is None:
            raise UserError("opus: library: this system has no libopus; use av")
        return name
    if not Path(library).is_file():
        raise UserError(f"opus: library: {library}: no such file; use av or system")
    return library


def load_opuslib(library: str) -> ModuleType:
    """Import opuslib on that library; it looks for one by ``ctypes.util.find_library`` only."""
    path, search = library_path(library), ctypes.util.find_library
    ctypes.util.find_library = lambda name: path if name == "opus" else search(name)
    try:
        return importlib.import_module("opuslib")
    finally:
        ctypes.util.find_library = search


_MODES = ("silk",) * 12 + ("hybrid",) * 4 + ("celt",) * 16
_KHZ = (
    (4,) * 4
    + (6,) * 4
    + (8,) * 4
    + (12,) * 2
    + (20,) * 2
    + (4,) * 4
    + (8,) * 4
    + (12,) * 4
    + (20,) * 4
)
"""Mode and audio bandwidth of each configuration number (RFC 6716, table 2)."""


class OpusSettings(BaseModel):
    """libopus's options; what is not given is the best that it can do."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    application: Literal["audio", "voip", "restricted_lowdelay"] = "audio"
    complexity: Annotated[int, Field(ge=0, le=10)] = 10
    vbr: bool = True
    constrained_vbr: bool = False
    """As opusenc by default: hard clips may take more than the nominal rate."""
    frame_ms: Literal[10, 20, 40, 60] = 20
    library: str = "av"
    """``av``: libopus of the PyAV wheel; ``system``: the machine's own; or a path."""


class OpusCoder(Coder):
    """Opus at one nominal bitrate in kbps, 6 to 510, for the whole signal (not per channel).

    ``settings`` are those of ``OpusSettings``.

    Input is resampled to 48 kHz, Opus's own rate; the encoder's delay (pre-skip) is trimmed and
    the exact length restored, so that decoded and original audio are in step.
    """

    suffix = ".opus"

    def __init__(self, kbps: int, **settings: object) -> None:
        if not isinstance(kbps, int) or not 6 <= kbps <= 510:
            raise UserError(f"opus: kbps: {kbps!r} is no whole number from 6 to 510")
        self.kbps = kbps
        try:
            self.settings = OpusSettings.model_validate(settings)
        except ValidationError as error:
            problem = error.errors()[0]
            raise UserError(f"opus: {problem['loc'][0]}: {problem['msg']}") from error
        self.opuslib: Any = load_opuslib(self.settings.library)
        version = self.opuslib.api.libopus.opus_get_version_string
        version.restype = ctypes.c_char_p
        self.version = version().decode()

    def encode(self, waveform: NDArray[np.float32], sample_rate: int) -> bytes:
        full = audio.resample(waveform, sample_rate, RATE)
        channels, length = full.shape
        if channels > 2:
            raise UserError(f"{channels} channels: the Opus anchor codes one or two")
        encoder = self.opuslib.Encoder(RATE, channels, self.settings.application)
        encoder.bitrate = self.kbps * 1000
        encoder.complexity = self.settings.complexity
        encoder.vbr = int(self.settings.vbr)
        encoder.vbr_constraint = int(self.settings.constrained_vbr)
        frame = RATE * self.settings.frame_ms // 1000
        pre_skip = encoder.lookahead
        # The last frames must carry the encoder's delay out of it as well.
        count = -(-(length + pre_skip) // frame)
        padded = np.pad(full, ((0, 0), (0, count * frame - length)))
        packets = [
            encoder.encode_float(
                np.ascontiguousarray(padded[:, start : start + frame].T).tobytes(), frame
            )
            for start in range(0, count * frame, frame)
        ]
        return ogg.pack_opus(packets, frame, pre_skip, length, channels, sample_rate)

    def decode(self, data: bytes) -> tuple[NDArray[np.float32], int]:
        channels, pre_skip, end, packets = _unpack(data)
        decoder = self.opuslib.Decoder(RATE, channels)
        longest = RATE * 120 // 1000
        parts = [
            np.frombuffer(decoder.decode_float(packet, longest), np.float32).reshape(-1, channels)
            for packet in packets
        ]
        return np.concatenate(parts)[pre_skip:end].T.copy(), RATE

    def payload_bytes(self, data: bytes) -> int:
        return sum(map(len, _unpack(data)[3]))

    def timeline(self, data: bytes) -> Timeline | None:
        _, pre_skip, _, packets = _unpack(data)
        frame_seconds = self.settings.frame_ms / 1000
        starts = np.arange(len(packets), dtype=np.float64) * frame_seconds - pre_skip / RATE
        return starts, np.array([8.0 * len(packet) for packet in packets])

    def details(self, data: bytes) -> dict[str, float]:
        """Shares of packets by mode and by audio bandwidth, which libopus chose."""
        numbers = [packet[0] >> 3 for packet in _unpack(data)[3]]
        found = {f"mode {mode}": 0.0 for mode in ("silk", "hybrid", "celt")}
        found |= {f"bandwidth {khz} kHz": 0.0 for khz in (4, 6, 8, 12, 20)}
        for number in numbers:
            found[f"mode {_MODES[number]}"] += 1 / len(numbers)
            found[f"bandwidth {_KHZ[number]} kHz"] += 1 / len(numbers)
        return found

    def about(self) -> dict[str, object]:
        return {
            "coder": self.version,
            "nominal_kbps": self.kbps,
            **self.settings.model_dump(exclude={"library"}),
        }


def _unpack(data: bytes) -> tuple[int, int, int, list[bytes]]:
    """Channels, pre-skip, end (samples at 48 kHz) and packets, read by FFmpeg's demuxer."""
    with av.open(io.BytesIO(data), mode="r", format="ogg") as container:
        stream = container.streams.audio[0]
        head = stream.codec_context.extradata
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
    if head is None or head[:8] != b"OpusHead":
        raise UserError("not an Ogg Opus file")
    last_page = data.rindex(b"OggS")
    end = int.from_bytes(data[last_page + 6 : last_page + 14], "little")
    return head[9], int.from_bytes(head[10:12], "little"), end, packets
