"""MP3 and AAC as anchors: FFmpeg's encoders in PyAV's wheel, no other program."""

import io
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from codec import audio
from codec.errors import UserError
from pipeline.coders import Coder, Timeline


class FFmpegCoder(Coder):
    """A coder of FFmpeg's at one nominal bitrate in kbps, for the whole signal.

    Containers carry the encoder's delay, so that decoders trim it and audio stays in step.
    """

    codec = ""
    container = ""
    rates: tuple[int, ...] = ()
    """Sample rates that the format has, in Hz; audio of another one is resampled to the next."""

    def __init__(self, kbps: int) -> None:
        self.kbps = kbps

    def encode(self, waveform: NDArray[np.float32], sample_rate: int) -> bytes:
        channels = waveform.shape[0]
        if channels > 2:
            raise UserError(f"{channels} channels: {self.codec} codes one or two here")
        rate = min((one for one in self.rates if one >= sample_rate), default=max(self.rates))
        layout = "mono" if channels == 1 else "stereo"
        file = io.BytesIO()
        with av.open(file, "w", format=self.container) as container:
            stream = cast(AudioStream, container.add_stream(self.codec, rate=rate, layout=layout))
            stream.bit_rate = self.kbps * 1000
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(audio.resample(waveform, sample_rate, rate)), "fltp", layout
            )
            frame.sample_rate, frame.pts = rate, 0
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
        return file.getvalue()

    def decode(self, data: bytes) -> tuple[NDArray[np.float32], int]:
        with _opened(data) as container:
            parts = [frame.to_ndarray() for frame in container.decode(audio=0)]
            rate = container.streams.audio[0].rate
        return np.concatenate(parts, axis=-1).astype(np.float32), int(rate)

    def payload_bytes(self, data: bytes) -> int:
        with _opened(data) as container:
            return sum(packet.size for packet in container.demux(audio=0))

    def timeline(self, data: bytes) -> Timeline | None:
        with _opened(data) as container:
            packets = [packet for packet in container.demux(audio=0) if packet.size]
            starts = [float((packet.pts or 0) * packet.time_base) for packet in packets]
        return np.array(starts), np.array([8.0 * packet.size for packet in packets])

    def about(self) -> dict[str, object]:
        versions = ".".join(map(str, av.library_versions["libavcodec"]))
        return {"coder": f"{self.codec}, libavcodec {versions}", "nominal_kbps": self.kbps}


def _opened(data: bytes) -> InputContainer:
    return av.open(io.BytesIO(data), "r")


class Mp3Coder(FFmpegCoder):
    """MPEG-1, 2 and 2.5 layer III by LAME."""

    suffix = ".mp3"
    codec, container = "libmp3lame", "mp3"
    rates = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


class AacCoder(FFmpegCoder):
    """AAC-LC by FFmpeg's own encoder, in MP4."""

    suffix = ".m4a"
    codec, container = "aac", "ipod"
    rates = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 96_000)
