"""Readers: the content decides, every stream is read to its end, channels are where they belong."""

import io
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from codec import audio
from codec.errors import AudioError
from tests.conftest import tone

RATE = 48_000
WAVE = tone(1.0, RATE)
SUBTYPES = {"OGG VORBIS": 1e-6, "OGG OPUS": 1e-6, "MP3 MPEG_LAYER_III": 1e-5, "FLAC PCM_24": 0.0,
            "WAV PCM_16": 0.0, "WAV FLOAT": 0.0, "AIFF PCM_16": 0.0}  # fmt: skip


def made(what: str, wave: NDArray[np.float32] = WAVE, rate: int = RATE) -> bytes:
    """A file by libsndfile."""
    kind, subtype = what.split()
    file = io.BytesIO()
    soundfile.write(file, wave.T, rate, format=kind, subtype=subtype)
    return file.getvalue()


def muxed(container: str, codec: str, layout: str = "mono", channels: int = 1) -> bytes:
    """A file by FFmpeg, each channel another tone."""
    file = io.BytesIO()
    data = np.ascontiguousarray(tone(1.0, RATE, 300.0, channels).T.reshape(1, -1))
    with av.open(file, "w", format=container) as box:
        stream = box.add_stream(codec, rate=RATE, layout=layout)
        frame = av.AudioFrame.from_ndarray(data, "flt", layout)
        frame.sample_rate, frame.pts = RATE, 0
        size = stream.codec_context.frame_size
        to_codec = av.AudioResampler(stream.format, layout, RATE, frame_size=size)
        for part in [*to_codec.resample(frame), *to_codec.resample(None)]:
            box.mux(stream.encode(part))
        box.mux(stream.encode(None))
    return file.getvalue()


def ffmpeg(data: bytes) -> NDArray[np.float32]:
    """All that FFmpeg finds, (channels, samples)."""
    with av.open(io.BytesIO(data)) as box:
        parts, resampler = [], None
        for frame in box.decode(audio=0):
            resampler = resampler or av.AudioResampler("flt", frame.layout, frame.sample_rate)
            for out in resampler.resample(frame):
                parts.append(out.to_ndarray().reshape(-1, out.layout.nb_channels).T)
    return np.concatenate(parts, axis=1)


def read(folder: Path, data: bytes, name: str = "a.wav") -> NDArray[np.float32]:
    path = folder / name
    path.write_bytes(data)
    return audio.read(path)[0]


@pytest.mark.parametrize("what", SUBTYPES)
def test_the_samples_are_ffmpeg_s(tmp_path: Path, what: str) -> None:
    data = made(what)
    ours, theirs = read(tmp_path, data), ffmpeg(data)
    # libsndfile knows where Vorbis ends to the sample; FFmpeg ends with a packet.
    assert ours.shape == WAVE.shape
    length = min(ours.shape[1], theirs.shape[1])
    assert np.abs(ours[:, :length] - theirs[:, :length]).max() <= SUBTYPES[what]


@pytest.mark.parametrize("what", SUBTYPES)
def test_files_put_together_are_read_to_their_end(tmp_path: Path, what: str) -> None:
    one, three = read(tmp_path, made(what)), read(tmp_path, made(what) * 3)
    if what.startswith("MP3"):  # which has a frame more for each header that tells of a length
        assert three.shape[1] >= 3 * one.shape[1] - 3_000
    else:
        assert np.array_equal(three, np.tile(one, 3))


@pytest.mark.parametrize("what", ["OGG VORBIS", "OGG OPUS", "MP3 MPEG_LAYER_III", "WAV PCM_16"])
def test_a_change_on_the_way_is_refused_by_name(tmp_path: Path, what: str) -> None:
    with pytest.raises(AudioError, match=r"a\.wav: changes after 1.* 48000 Hz and 1 channels .* 2"):
        read(tmp_path, made(what) + made(what, np.concatenate([WAVE, WAVE])))


CONTAINERS = [
    ("ogg", "libopus", "5.1", 6), ("ogg", "libopus", "7.1", 8), ("flac", "flac", "5.1", 6),
    ("flac", "flac", "7.1", 8), ("wav", "pcm_s16le", "5.1", 6), ("ipod", "aac", "5.1", 6),
    ("ipod", "aac", "7.1", 8), ("ipod", "alac", "5.1", 6), ("aiff", "pcm_s16be", "5.1", 6),
    ("ogg", "libopus", "3.0", 3), ("ogg", "libopus", "5.0", 5), ("ogg", "libopus", "6.1", 7),
]  # fmt: skip


@pytest.mark.parametrize(("container", "codec", "layout", "channels"), CONTAINERS)
def test_channels_are_in_the_order_of_wav(
    tmp_path: Path, container: str, codec: str, layout: str, channels: int
) -> None:
    """Eight of them crash PyAV where they are not interleaved; Ogg has an order of its own."""
    data = muxed(container, codec, layout, channels)
    ours, theirs = read(tmp_path, data), ffmpeg(data)
    assert ours.shape[0] == channels
    length = min(ours.shape[1], theirs.shape[1])
    assert length > 0.9 * RATE
    assert np.abs(ours[:, :length] - theirs[:, :length]).max() < 1e-3


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000])
@pytest.mark.parametrize("both", [False, True])
def test_lengths_that_a_stream_s_writer_could_not_know(
    tmp_path: Path, size: int, both: bool
) -> None:
    data = made("WAV PCM_16")
    at = data.index(b"data") + 4
    data = data[:at] + struct.pack("<I", size) + data[at + 4 :]
    if both:
        data = data[:4] + struct.pack("<I", size) + data[8:]
    assert np.array_equal(read(tmp_path, data), read(tmp_path, made("WAV PCM_16")))


def test_a_flac_of_unknown_length(tmp_path: Path) -> None:
    data = bytearray(made("FLAC PCM_16"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    assert np.array_equal(read(tmp_path, bytes(data)), read(tmp_path, made("FLAC PCM_16")))


@pytest.mark.parametrize(
    ("name", "container", "codec"),
    [("a.mp3", "ipod", "aac"), ("a.wav", "ipod", "aac"), ("a.m4b", "ipod", "alac"),
     ("a.opus", "webm", "libopus"), ("a.flac", "adts", "aac"), ("a", "mp3", "mp3"),
     ("a.m4a", "wav", "pcm_s16le"), ("a.mp3", "ogg", "libopus"), ("a.wav", "mpegts", "aac"),
     ("a.mp4", "avi", "pcm_s16le"), ("a.wav", "eac3", "eac3"), ("a.flac", "tta", "tta")],
)  # fmt: skip
def test_the_content_decides(tmp_path: Path, name: str, container: str, codec: str) -> None:
    found = read(tmp_path, muxed(container, codec), name)
    assert found.shape[1] == pytest.approx(RATE, rel=0.08)
    assert np.abs(found).max() > 0.2


def test_mp3s_with_what_does_not_belong_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = made("MP3 MPEG_LAYER_III")
    noise = np.random.default_rng(0).bytes(3_000)
    for other in (
        bytes(70_000) + data, data + b"TAG" + bytes(125), data[:5_000] + noise + data[5_000:],
        data[: len(data) * 2 // 3],
    ):  # fmt: skip
        assert read(tmp_path, other, "a.mp3").shape[1] > 0.6 * RATE
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"hello world\n" * 100, "cannot be read as audio"),
        (b"RIFF", "cannot be read as audio"),
        (b"OggS", "cannot be read as audio"),
        (b"fLaC\0\0\0\x22", "cannot be read as audio"),
        (made("FLAC PCM_16")[:1_500], "cut off|cannot be read as audio"),
        (made("WAV PCM_16", WAVE[:, :0]), "holds no samples"),
        # FFmpeg would open the file that a playlist names.
        (
            b"#EXTM3U\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
            "cannot be read as audio",
        ),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is in no format of audio that is read here"),
    ],
)
def test_one_true_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(AudioError, match=rf"a\.wav: ({reason})") as error:
        read(tmp_path, data)
    assert "\n" not in str(error.value)
