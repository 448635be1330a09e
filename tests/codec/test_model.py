import functools
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import codec as library
from codec import bitstream, checkpoint
from codec.errors import AudioError, BitstreamError, UserError
from codec.model import AudioCodec
from tests.conftest import SPECTRAL, WAVEFORM, tiny_codec, tone


@given(
    rate=st.sampled_from([8_000, 16_000, 22_050, 44_100, 96_000]),
    samples=st.integers(1, 20_000),
    channels=st.integers(1, 3),
)
@settings(max_examples=25, deadline=None)
def test_any_rate_and_length_comes_back(rate: int, samples: int, channels: int) -> None:
    model = tiny_codec()
    wave = np.random.default_rng(samples).uniform(-1, 1, (channels, samples)).astype(np.float32)
    back, back_rate = model.decompress(model.compress(wave, rate))
    assert back_rate == rate
    assert back.shape == wave.shape
    assert np.isfinite(back).all()


def test_decoder_gets_the_encoder_s_symbols(codec: AudioCodec) -> None:
    wave = tone(25, 8_000, channels=2)
    data = codec.compress(wave, 8_000)
    header, symbols = codec.read_symbols(io.BytesIO(data))
    assert np.array_equal(symbols, codec.symbols(wave))
    assert header == bitstream.Header(b"test", codec.frozen_tables().digest(), 8_000, 2, 200_000)
    # 25 s are two whole chunks and a half.
    assert bitstream.describe(io.BytesIO(data)).chunks == 3


@given(cuts=st.lists(st.integers(1, 150_000), min_size=1, max_size=4))
@settings(max_examples=10, deadline=None)
def test_bytes_and_samples_do_not_depend_on_the_parts(cuts: list[int]) -> None:
    model, rate = tiny_codec(), 11_025
    wave = np.random.default_rng(0).uniform(-1, 1, (2, 14 * rate)).astype(np.float32)
    parts = np.split(wave, sorted({cut for cut in cuts if cut < wave.shape[-1]}), axis=-1)
    file = io.BytesIO()
    header = model.compress_to(file, parts, rate)
    assert file.getvalue() == model.compress(wave, rate)
    assert (header.length, header.channels) == (14 * rate, 2)
    file.seek(0)
    _, decoded = model.decompress_parts(file)
    assert np.array_equal(
        np.concatenate(list(decoded), axis=-1), model.decompress(file.getvalue())[0]
    )


@given(start=st.floats(0, 33), duration=st.floats(0.01, 30))
@settings(max_examples=15, deadline=None)
def test_a_range_is_what_the_whole_has_there(start: float, duration: float) -> None:
    model, rate = tiny_codec(), 11_025
    data = _long(rate)
    whole, _ = model.decompress(data)
    part, _ = model.decompress_range(io.BytesIO(data), start, duration)
    first, last = round(start * rate), round((start + duration) * rate)
    assert part.shape == whole[:, first:last].shape
    np.testing.assert_allclose(part, whole[:, first:last], atol=1e-4)


@functools.cache
def _long(rate: int) -> bytes:
    return tiny_codec().compress(tone(34, rate), rate)


def test_one_dimension_is_one_channel() -> None:
    model, wave = tiny_codec(), tone(0.5, 8_000)
    assert model.compress(wave[0], 8_000) == model.compress(wave, 8_000)


def test_payload_is_within_a_percent_of_the_estimate() -> None:
    model, wave = tiny_codec(), tone(10, 8_000)
    data = model.compress(wave, 8_000)
    _, symbols = model.read_symbols(io.BytesIO(data))
    payload_bits = 8 * bitstream.describe(io.BytesIO(data)).payload_bytes
    assert payload_bits == pytest.approx(model.frozen_tables().bits(symbols[0]), rel=0.01)


def test_a_file_of_another_model_is_refused() -> None:
    model, other = tiny_codec(), tiny_codec(seed=1)
    data = model.compress(tone(0.5, 8_000), 8_000)
    with pytest.raises(BitstreamError, match="made with tables"):
        other.decompress(data)
    other.model_hash = b"else"
    with pytest.raises(BitstreamError, match="made with model"):
        other.decompress(data)


def test_damage_in_a_payload_names_the_chunk() -> None:
    model = tiny_codec()
    data = bytearray(model.compress(tone(15, 8_000), 8_000))
    data[-3] ^= 4
    with pytest.raises(BitstreamError, match="chunk 1"):
        model.decompress(bytes(data))


def test_what_is_not_finite_is_refused() -> None:
    wave = tone(0.5, 8_000)
    wave[0, 100] = np.nan
    with pytest.raises(AudioError, match="sample 100"):
        tiny_codec().compress(wave, 8_000)


def test_a_model_without_tables_says_so() -> None:
    with pytest.raises(UserError, match="no frozen tables"):
        AudioCodec(SPECTRAL).compress(tone(0.1, 8_000), 8_000)


@pytest.mark.parametrize("config", [SPECTRAL, WAVEFORM], ids=["spectral", "waveform"])
def test_a_checkpoint_rebuilds_its_model_alone(tmp_path: Path, config) -> None:
    model = tiny_codec(config)
    path = tmp_path / "model.safetensors"
    checkpoint.save(model, path)
    first = path.read_bytes()
    loaded = library.load(tmp_path)
    assert loaded.config == config
    wave = tone(1, 8_000)
    assert np.array_equal(loaded.symbols(wave), model.symbols(wave))
    assert len(loaded.model_hash) == 4
    back, _ = loaded.decompress(loaded.compress(wave, 8_000))
    assert back.shape == wave.shape
    checkpoint.save(loaded, path)
    assert path.read_bytes() == first


def test_half_precision_weights_make_another_model_that_still_fits_itself(tmp_path: Path) -> None:
    checkpoint.save(tiny_codec(), tmp_path / "full.safetensors")
    checkpoint.save(tiny_codec(), tmp_path / "half.safetensors", half=True)
    full, half = (library.load(tmp_path / f"{name}.safetensors") for name in ("full", "half"))
    assert full.model_hash != half.model_hash
    assert full.frozen_tables().digest() == half.frozen_tables().digest()
    data = half.compress(tone(0.5, 8_000), 8_000)
    with pytest.raises(BitstreamError, match="made with model"):
        full.decompress(data)


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_text("no")
    with pytest.raises(UserError, match=r"a\.safetensors: cannot be read as a model"):
        library.load(tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="nothing-here: neither a released model"):
        library.load("nothing-here")
