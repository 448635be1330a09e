from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from codec import audio
from codec.errors import AudioError
from tests.conftest import tone


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_what_is_written_is_read_to_the_last_bit(tmp_path: Path, suffix: str) -> None:
    wave = tone(0.1, 16_000, channels=2)
    path = tmp_path / f"a{suffix}"
    audio.write(path, wave, 16_000)
    back, rate = audio.read(path)
    assert rate == 16_000
    assert back.shape == wave.shape
    assert np.array_equal(audio.to_int16(back), audio.to_int16(wave))


@pytest.mark.parametrize(("suffix", "kind"), [(".ogg", "VORBIS"), (".mp3", "MPEG_LAYER_III")])
def test_lossy_files_are_read(tmp_path: Path, suffix: str, kind: str) -> None:
    wave = tone(0.5, 44_100)
    soundfile.write(tmp_path / f"a{suffix}", wave.T, 44_100, subtype=kind)
    back, rate = audio.read(tmp_path / f"a{suffix}")
    assert rate == 44_100
    assert back.shape[0] == 1
    assert back.shape[1] == pytest.approx(wave.shape[1], abs=2500)


def test_m4a_is_read(tmp_path: Path) -> None:
    wave = tone(0.5, 44_100, channels=2)
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44_100, layout="stereo")
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="stereo")
        frame.sample_rate = 44_100
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    back, rate = audio.read(path)
    assert rate == 44_100
    assert back.shape[0] == 2
    assert back.shape[1] == pytest.approx(wave.shape[1], abs=2100)


def test_reasons_name_the_file(tmp_path: Path) -> None:
    empty, text, none = tmp_path / "empty.wav", tmp_path / "text.flac", tmp_path / "none.wav"
    empty.touch()
    text.write_text("not audio")
    soundfile.write(none, np.zeros((0, 1)), 16_000)
    for path, reason in [
        (empty, "is empty"),
        (text, "cannot be read"),
        (none, "holds no samples"),
        (tmp_path / "absent.wav", "no such file"),
        (tmp_path, "is a folder"),
    ]:
        with pytest.raises(AudioError, match=f"{path.name}.*{reason}"):
            audio.read(path)
    (tmp_path / "text.m4a").write_text("not audio")
    with pytest.raises(AudioError, match=r"text.m4a.*cannot be read"):
        audio.read(tmp_path / "text.m4a")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    audio.write(path, tone(0.1, 8_000), 8_000)
    before = path.read_bytes()
    with pytest.raises(soundfile.LibsndfileError):
        audio.write(path, tone(0.1, 8_000), -1)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@given(
    length=st.integers(1, 3_000),
    source=st.sampled_from([8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000]),
    target=st.sampled_from([8_000, 16_000, 24_000, 48_000]),
)
@settings(max_examples=150, deadline=None)
def test_resampled_lengths_are_exact(length: int, source: int, target: int) -> None:
    wave = np.zeros((2, length), np.float32)
    found = audio.resample(wave, source, target)
    assert found.shape == (2, -(-length * target // source))


def test_resampling_there_and_back_keeps_time() -> None:
    wave = tone(0.5, 44_100)
    back = audio.resample(audio.resample(wave, 44_100, 48_000), 48_000, 44_100)
    inner = slice(2_000, 20_000)
    assert np.abs(back[:, inner] - wave[:, inner]).max() < 1e-3


@pytest.mark.parametrize(
    ("wave", "rate", "message"),
    [
        (np.zeros((1, 0)), 16_000, "no samples"),
        (np.zeros((9, 10)), 16_000, "9 channels"),
        (np.zeros((1, 10)), 4_000, "4000 Hz"),
        (np.array([[0.0, np.nan]]), 16_000, "sample 1 is NaN"),
        (np.array([[np.inf, 0.0]]), 16_000, "sample 0 is NaN or infinite"),
    ],
)
def test_what_cannot_be_coded_is_refused(wave: np.ndarray, rate: int, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        audio.check(wave.astype(np.float32), rate)


def test_clipping_is_at_full_scale() -> None:
    assert audio.to_int16(np.array([-2.0, -1.0, 0.0, 1.0, 2.0])).tolist() == [
        -32768, -32768, 0, 32767, 32767,
    ]  # fmt: skip
