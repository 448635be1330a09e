"""Opus as an anchor: opuslib on libopus, in Ogg files."""

import ctypes
import ctypes.util
import functools
import importlib
import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import av
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from codec import audio
from codec.errors import UserError
from pipeline.coders import Coder, Cost, Timeline, Unavailable, ogg

RATE = ogg.SAMPLE_RATE
_APT = "libopus0"


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
            raise Unavailable(
                f"opus: library: this system has no libopus; use av, or apt-get install {_APT}",
                _APT,
            )
        return name
    if not Path(library).is_file():
        raise UserError(f"opus: library: {library}: no such file; use av or system")
    return library


def load_opuslib(library: str) -> ModuleType:
    """Import opuslib on that library; it looks for one by ``ctypes.util.find_library`` only."""
    return _opuslib_on(library_path(library))


@functools.cache
def _opuslib_on(path: str) -> ModuleType:
    """An opuslib of its own for each library: it binds to one when it is imported."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "opuslib"]:
        del sys.modules[name]
    search = ctypes.util.find_library
    ctypes.util.find_library = lambda name: path if name == "opus" else search(name)
    try:
        return importlib.import_module("opuslib")
    finally:
        ctypes.util.find_library = search


_BANDWIDTHS = {"narrow": 1101, "medium": 1102, "wide": 1103, "superwide": 1104, "full": 1105}
_SET_COMPLEXITY = 4010  # of a decoder, from libopus 1.5 on
LACE = 6
"""The complexity from which a decoder enhances speech, where its library has the models."""


def enhances(library: str) -> bool:
    """Whether that libopus has the models of speech enhancement.

    Others accept a decoder's complexity as well, and do nothing with it; so the same packets are
    decoded without and with it.
    """
    opuslib: Any = load_opuslib(library)
    rng = np.random.default_rng(0)
    time = np.arange(RATE // 2) / RATE
    voice = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 30))
    wave = (0.1 * voice + 0.01 * rng.standard_normal(len(time))).astype(np.float32)
    encoder = opuslib.Encoder(RATE, 1, "voip")
    encoder.bitrate, encoder.bandwidth = 9000, _BANDWIDTHS["wide"]
    frame = RATE // 50
    packets = [
        encoder.encode_float(wave[at : at + frame].tobytes(), frame)
        for at in range(0, len(wave), frame)
    ]
    heard = []
    for complexity in (0, LACE):
        decoder = _decoder(opuslib, 1, complexity)
        heard.append(b"".join(decoder.decode_float(packet, frame) for packet in packets))
    return heard[0] != heard[1]


def _decoder(opuslib: Any, channels: int, complexity: int) -> Any:
    decoder = opuslib.Decoder(RATE, channels)
    if complexity:
        control = opuslib.api.decoder.libopus_ctl
        control(decoder.decoder_state, _SET_COMPLEXITY, ctypes.c_int(complexity))
    return decoder


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
    bandwidth: Literal["auto", "narrow", "medium", "wide", "superwide", "full"] = "auto"
    """Audio bandwidth, held for the whole file; auto: libopus's own choice, packet by packet."""
    decoder_complexity: Annotated[int, Field(ge=0, le=10)] = 0
    """``LACE`` or more: enhanced speech."""


_ADDED = ("bandwidth", "decoder_complexity")


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
        if self.settings.decoder_complexity >= LACE and not enhances(self.settings.library):
            raise Unavailable(
                f"opus: decoder_complexity: {self.version} of {library_path(self.settings.library)}"
                " has no models of speech enhancement (LACE); give `library` one that has, as "
                f"Debian's {_APT} from 1.5 on (Debian 13)",
                _APT,
            )

    def encode(self, waveform: NDArray[np.float32], sample_rate: int) -> bytes:
        full = audio.resample(waveform, sample_rate, RATE)
        channels, length = full.shape
        if channels > 2:
            raise UserError(f"{channels} channels: the Opus anchor codes one or two")
        encoder = self.opuslib.Encoder(RATE, channels, self.settings.application)
        encoder.bitrate = self.kbps * 1000
        encoder.complexity = self.settings.complexity
        if self.settings.bandwidth != "auto":
            encoder.bandwidth = _BANDWIDTHS[self.settings.bandwidth]
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
        decoder = _decoder(self.opuslib, channels, self.settings.decoder_complexity)
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

    def cost(self, channels: int) -> Cost:
        """A frame, and what the library says of its encoder; decoders add nothing, nor does LACE.

        Source: Büthe et al., "LACE: A light-weight, causal model for enhancing coded speech through
        adaptive convolutions", 2023.
        """
        encoder = self.opuslib.Encoder(RATE, min(channels, 2), self.settings.application)
        return Cost(lookahead_ms=self.settings.frame_ms + 1000 * encoder.lookahead / RATE)

    def about(self) -> dict[str, object]:
        return {
            "coder": self.version,
            "nominal_kbps": self.kbps,
            **self.settings.model_dump(exclude={"library"} | set(_ADDED)),
            # Only where they are used: tables of points without them stay as they were.
            **self.settings.model_dump(include=set(_ADDED), exclude_defaults=True),
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
