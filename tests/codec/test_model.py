import functools
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import codec as library
from codec import checkpoint
from codec.coding import bitstream
from codec.errors import AudioError, BitstreamError, UserError
from codec.model import AudioCodec
from tests.conftest import CONFIGS, SPECTRAL, tiny_codec, tone


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
    layers = 3 if codec.layered else 0
    assert header == bitstream.Header(
        b"test", codec.frozen_tables().digest(), 8_000, 2, 200_000, layers
    )
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


@given(
    rate=st.integers(8_000, 192_000),
    milliseconds=st.sampled_from([1, 7, 300]),
    channels=st.integers(1, 8),
    kind=st.sampled_from(["silence", "clipping", "constant", "noise", "denormal"]),
    which=st.sampled_from(sorted(CONFIGS)),
)
@settings(max_examples=40, deadline=None)
def test_any_audio_comes_back_finite(
    rate: int, milliseconds: int, channels: int, kind: str, which: str
) -> None:
    shape = (channels, max(1, rate * milliseconds // 1000))
    noise = np.random.default_rng(rate).standard_normal(shape)
    wave = {
        "silence": 0 * noise,
        "clipping": np.sign(noise) * 30,
        "constant": 0 * noise + 0.7,
        "noise": noise,
        "denormal": noise * 1e-40,
    }[kind].astype(np.float32)
    model = tiny_codec(CONFIGS[which])
    back, back_rate = model.decompress(model.compress(wave, rate))
    assert (back.shape, back_rate) == (shape, rate)
    assert np.isfinite(back).all()


@pytest.mark.parametrize(
    ("rate", "channels", "message"),
    [(7_999, 1, "sample rate 7999"), (192_001, 1, "192001"), (8_000, 9, "9 channels")],
)
def test_no_file_claims_a_format_that_no_encoder_takes(
    rate: int, channels: int, message: str
) -> None:
    model = tiny_codec()
    header = bitstream.Header(b"test", model.frozen_tables().digest(), rate, channels, 100)
    data = header.pack() + bitstream.pack_chunk(header, 0, b"")
    with pytest.raises(AudioError, match=message):
        model.decompress(data)


def test_a_small_file_cannot_claim_years_of_audio() -> None:
    """Neither as an error that takes long, nor as silence without end."""
    model = tiny_codec()
    header = bitstream.Header(b"test", model.frozen_tables().digest(), 8_000, 1, 2**40 - 1)
    with pytest.raises(BitstreamError, match="truncated: 13743896 chunks take 68719480 bytes"):
        model.decompress_parts(io.BytesIO(header.pack() + bytes(1000)), [])


def test_layers_must_be_the_model_s() -> None:
    for config, layers in ((SPECTRAL, 1), (CONFIGS["residual"], 0), (CONFIGS["residual"], 4)):
        model = tiny_codec(config)
        header = bitstream.Header(b"test", model.frozen_tables().digest(), 8_000, 1, 100, layers)
        data = header.pack() + bitstream.pack_chunk(header, 0, bytes(8))
        with pytest.raises(BitstreamError, match=f"has {layers} codebooks"):
            model.decompress(data)


def test_a_joint_model_gives_one_channel_and_three_back(rng: np.random.Generator) -> None:
    """Channels are coded in pairs; what is alone in its pair is coded as two of the same."""
    model = tiny_codec(CONFIGS["residual"])
    wave = rng.uniform(-0.5, 0.5, (3, 8_000)).astype(np.float32)
    assert model.symbols(wave).shape == (2, 3, 100)
    pair, _ = model.decompress(model.compress(wave[[2, 2]], 8_000))
    back, _ = model.decompress(model.compress(wave, 8_000))
    np.testing.assert_allclose(back[2], pair.mean(axis=0), atol=1e-6)
    alone, _ = model.decompress(model.compress(wave[2], 8_000))
    np.testing.assert_allclose(alone[0], pair.mean(axis=0), atol=1e-6)


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


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
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


def test_small_weights_make_another_model_that_still_fits_itself(tmp_path: Path) -> None:
    checkpoint.save(tiny_codec(), tmp_path / "full.safetensors")
    checkpoint.save(tiny_codec(), tmp_path / "small.safetensors", small=True)
    full, small = (library.load(tmp_path / f"{name}.safetensors") for name in ("full", "small"))
    assert full.model_hash != small.model_hash
    assert full.frozen_tables().digest() == small.frozen_tables().digest()
    data = small.compress(tone(0.5, 8_000), 8_000)
    with pytest.raises(BitstreamError, match="made with model"):
        full.decompress(data)


def test_rounded_weights_are_those_that_a_small_file_keeps(tmp_path: Path) -> None:
    rounded = tiny_codec()
    rounded.round_weights()
    for name, model in {"a": tiny_codec(), "b": rounded}.items():
        checkpoint.save(model, tmp_path / f"{name}.safetensors", small=True)
    kept = library.load(tmp_path / "a.safetensors").state_dict()
    assert all(torch.equal(kept[name], value) for name, value in rounded.state_dict().items())
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_changed_weight_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    checkpoint.save(tiny_codec(), path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.safetensors: damaged"):
        library.load(path)


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_text("no")
    with pytest.raises(UserError, match=r"a\.safetensors: cannot be read as a model"):
        library.load(tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="nothing-here: neither a released model"):
        library.load("nothing-here")


def test_models_of_other_programs_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`model.safetensors` is how Hugging Face's libraries call theirs."""
    monkeypatch.chdir(tmp_path)
    for name in ("a-foreign", "b-broken", "c-other", "d-ours"):
        (tmp_path / "models" / name).mkdir(parents=True)
    save_file({"weight": torch.zeros(2)}, tmp_path / "models/a-foreign/model.safetensors")
    (tmp_path / "models/b-broken/model.safetensors").write_text("no")
    save_file(
        {"weight": torch.zeros(2)}, tmp_path / "models/c-other/model.safetensors",
        metadata={"rdcodec": "not JSON"},
    )  # fmt: skip
    checkpoint.save(tiny_codec(), tmp_path / "models/d-ours/model.safetensors")
    ours = library.load("models/d-ours")
    assert checkpoint.is_at_hand(ours.model_hash)
    assert checkpoint.find_by_hash(ours.model_hash).model_hash == ours.model_hash
    assert not checkpoint.is_at_hand(b"none")
    for name in ("a-foreign", "c-other"):
        with pytest.raises(UserError, match="not a model of this rdcodec"):
            library.load(f"models/{name}")


def test_a_range_has_the_context_that_the_networks_see() -> None:
    """More than a second of it, here: 1.28 s."""
    config = SPECTRAL.model_copy(update={"kernel": 63, "encoder_blocks": 2, "decoder_blocks": 2})
    assert config.context_frames > 1.2 * config.frame_rate
    model = tiny_codec(config)
    data = model.compress(tone(22, 8_000), 8_000)
    whole, _ = model.decompress(data)
    for start, duration in ((11.05, 0.5), (8.0, 0.9)):
        part, _ = model.decompress_range(io.BytesIO(data), start, duration)
        first = round(start * 8_000)
        expected = whole[:, first : first + part.shape[-1]]
        np.testing.assert_allclose(part, expected, atol=1e-5)
