"""Files of a wanted rate."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec import audio, batch, checkpoint
from codec.config import PRESETS, CodecConfig
from codec.errors import UserError
from codec.model import AudioCodec
from codec.rate import MOST_PIECES, compress_near, excerpt
from tests.conftest import tiny_codec

RATE = 8_000
MANY = CodecConfig.model_validate(
    PRESETS["general-24k"].model_dump()
    | {"sample_rate": RATE, "strides": [160], "window": 480, "widths": [16], "latent_channels": 80}
    | {"encoder_blocks": 1, "decoder_blocks": 1, "gain_bands": 0}
)


@pytest.fixture(scope="module")
def codec() -> AudioCodec:
    """Untrained, so that its rates are high; its levels are those of a transform codec."""
    torch.manual_seed(0)
    return AudioCodec(MANY).freeze()


def noises(seconds: float, channels: int = 1, rate: int = RATE) -> np.ndarray:
    """Noise that grows louder and softer, so that no excerpt is like the whole."""
    rng = np.random.default_rng(0)
    count = round(seconds * rate)
    loud = 0.02 + 0.1 * np.sin(np.arange(count) / rate / 2) ** 2
    return (loud * rng.standard_normal((channels, count))).astype(np.float32)


def kbps_of(data: bytes, seconds: float) -> float:
    return len(data) * 8 / seconds / 1000


@pytest.mark.parametrize(("seconds", "rate", "channels"), [(12, RATE, 1), (25, 11_025, 2)])
def test_a_file_comes_within_three_percent_of_the_rate_asked_for(
    codec: AudioCodec, seconds: float, rate: int, channels: int
) -> None:
    wave = noises(seconds, channels, rate)
    low, high = (
        kbps_of(codec.compress(wave, rate, level=level), seconds) for level in (0, MANY.levels - 1)
    )
    assert low < high
    for share in (0.1, 0.5, 0.9):
        wanted = low ** (1 - share) * high**share
        data = codec.compress(wave, rate, kbps=wanted)
        assert kbps_of(data, seconds) == pytest.approx(wanted, rel=0.03)
        decoded, _ = codec.decompress(data)
        assert decoded.shape == wave.shape


@pytest.mark.parametrize("first", [0, 40, 127])
def test_an_excerpt_that_is_like_nothing_else_costs_time_alone(
    codec: AudioCodec, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    monkeypatch.setattr("codec.rate._estimated", lambda *_: first)
    wave = noises(10)
    for level in (20, 64, 110):
        wanted = kbps_of(codec.compress(wave, RATE, level=level), 10)
        data = codec.compress(wave, RATE, kbps=wanted)
        assert kbps_of(data, 10) == pytest.approx(wanted, rel=0.03)


def test_rates_that_no_level_has_give_the_nearest_and_the_whole_is_coded_twice_at_most(
    codec: AudioCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    wave, levels = noises(6), []
    plain = AudioCodec.compress_to

    def counted(self, *args, level=None, **rest):  # type: ignore[no-untyped-def]
        levels.append(level)
        return plain(self, *args, level=level, **rest)

    monkeypatch.setattr(AudioCodec, "compress_to", counted)
    for kbps, level in ((0.001, 0), (1e6, MANY.levels - 1)):
        levels.clear()
        _, header = compress_near(codec, lambda: [wave], RATE, kbps)
        assert header.level == level
        assert len(levels) <= 2


def test_a_file_and_an_array_get_the_same_bytes(
    codec: AudioCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wave = noises(9)
    audio.write(tmp_path / "a.wav", wave, RATE)
    back, _ = audio.read(tmp_path / "a.wav")
    checkpoint.save(codec, tmp_path / "model.safetensors")
    kbps = kbps_of(codec.compress(back, RATE, level=60), 9)
    said = batch.encode_file(
        tmp_path / "a.wav", tmp_path / "a.rdc", str(tmp_path / "model.safetensors"), kbps=kbps
    )
    data = (tmp_path / "a.rdc").read_bytes()
    assert data == codec.compress(back, RATE, kbps=kbps)
    assert f"{len(data)} bytes" in said


@pytest.mark.parametrize("kbps", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_rates_and_models_of_one_rate_are_refused(
    codec: AudioCodec, kbps: float
) -> None:
    with pytest.raises(UserError, match=r"--kbps .*: a rate above 0"):
        codec.compress(noises(1), RATE, kbps=kbps)
    with pytest.raises(UserError, match="this model has one rate"):
        tiny_codec().compress(noises(1), RATE, kbps=6.0)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 5_000), max_size=8), count=st.integers(1, 30_000))
def test_an_excerpt_does_not_depend_on_how_its_source_is_cut(cuts: list[int], count: int) -> None:
    rate = 1_000
    whole = np.arange(count, dtype=np.float32)[None]
    parts = np.split(whole, [cut for cut in np.cumsum(cuts) if cut < count], axis=-1)
    found = excerpt(parts, rate)
    np.testing.assert_array_equal(found, excerpt([whole], rate))
    if count < 4 * rate:
        np.testing.assert_array_equal(found, whole)
    else:
        assert found.shape[-1] == count // (4 * rate) * rate // 2


def test_an_excerpt_of_hours_is_short_and_spread_over_them() -> None:
    rate = 100
    hours = np.arange(5 * 3_600 * rate, dtype=np.float32)[None]
    found = excerpt(np.array_split(hours, 1_000, axis=-1), rate)
    assert found.shape[-1] <= (MOST_PIECES + 1) * rate / 2
    assert found[0, 0] < 3 * rate
    assert found[0, -1] > 0.9 * hours.shape[-1]
    gaps = np.diff(found[0])
    assert gaps.min() > 0
