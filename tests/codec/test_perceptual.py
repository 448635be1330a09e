"""The second decoder of the same files."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from typer.testing import CliRunner

from codec import audio, checkpoint
from codec.cli import COMMANDS, application
from codec.config import CodecConfig
from codec.errors import UserError
from codec.model import AudioCodec
from codec.nn.perceptual import CROSSOVER, SLOPE, high_pass, noise
from pipeline.coders.neural import NeuralCoder
from pipeline.stages.train import started
from tests.conftest import TRANSFORM, tone

APP = application(*COMMANDS)
WITH_NOISE = TRANSFORM.model_copy(update={"perceptual_noise": 6})


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released model of one decoder."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("plain") / "model.safetensors"
    codec = AudioCodec(TRANSFORM)
    codec.round_weights()
    checkpoint.save(codec.freeze(), path, small=True)
    return path


@pytest.fixture(scope="module")
def both(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a perceptual decoder, which says things of its own."""
    codec = started(WITH_NOISE, str(plain), plain)
    assert codec.perceptual is not None
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in codec.perceptual.decoder.correction.head.parameters():
            parameter.normal_(std=0.3)
        codec.perceptual.texture.weight.normal_()
    path = tmp_path_factory.mktemp("both") / "model.safetensors"
    checkpoint.save(codec, path, small=True)
    return path


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    rng = np.random.default_rng(0)
    found = tone(12.3, TRANSFORM.sample_rate, 300.0, TRANSFORM.channels)
    return found + rng.normal(0, 0.02, found.shape).astype(np.float32)


def test_noise_is_the_symbols_own() -> None:
    symbols = torch.from_numpy(np.random.default_rng(0).integers(-3, 4, (2, 40, 500))).float()
    found = noise(symbols, 5)
    assert found.shape == (2, 5, 500)
    assert found.abs().max() <= 3**0.5
    assert float(found.mean()) == pytest.approx(0, abs=0.05)
    assert float(found.var()) == pytest.approx(1, abs=0.05)
    # Neither channels nor frames nor items tell of each other.
    rows = found.transpose(0, 1).flatten(1)
    assert float((torch.corrcoef(rows) - torch.eye(5)).abs().max()) < 0.12
    after = (found[..., 1:] * found[..., :-1]).mean(dim=(0, 2))
    assert float(after.abs().max()) < 0.12
    # Frames are heard each by itself: pieces of a file, in any order, have the same noise.
    assert torch.equal(noise(symbols[..., 100:200].flip(-1), 5), found[..., 100:200].flip(-1))


@given(st.integers(0, 39), st.integers(-40_000, 40_000).filter(bool))
@settings(max_examples=30, deadline=None)
def test_every_symbol_has_a_say_in_its_frame_s_noise(row: int, change: int) -> None:
    symbols = torch.zeros(1, 40, 3)
    other = symbols.clone()
    other[0, row, 1] = change
    before, after = noise(symbols, 8)[0], noise(other, 8)[0]
    assert torch.equal(before[:, [0, 2]], after[:, [0, 2]])
    assert not torch.isclose(before[:, 1], after[:, 1]).all()


def test_noise_is_the_same_on_every_machine() -> None:
    symbols = torch.arange(-6, 6).reshape(1, 4, 3)
    expected = [[-0.47568, -1.61334, -0.18992], [-0.29979, -1.70153, -1.35403]]
    np.testing.assert_allclose(noise(symbols, 2)[0].numpy(), expected, atol=1e-5)


def test_files_of_the_first_decoder_s_model_are_the_second_one_s(
    plain: Path, both: Path, wave: np.ndarray
) -> None:
    before, after = checkpoint.load(plain), checkpoint.load(both)
    assert before.model_hash == after.model_hash
    data = before.compress(wave, TRANSFORM.sample_rate, level=2)
    assert after.compress(wave, TRANSFORM.sample_rate, level=2) == data
    decoded, _ = before.decompress(data)
    np.testing.assert_array_equal(after.decompress(data)[0], decoded)
    heard, rate = after.decompress(data, perceptual=True)
    assert (heard.shape, rate) == (decoded.shape, TRANSFORM.sample_rate)
    assert np.isfinite(heard).all()
    assert np.abs(heard - decoded).max() > 0.01
    np.testing.assert_array_equal(after.decompress(data, perceptual=True)[0], heard)
    # From wherever it is decoded.
    part, _ = after.decompress_range(io.BytesIO(data), 8.0, 3.0, perceptual=True)
    first = 8 * TRANSFORM.sample_rate
    np.testing.assert_allclose(part, heard[:, first : first + part.shape[1]], atol=1e-5)


def test_both_decoders_are_as_loud_in_every_band(both: Path, wave: np.ndarray) -> None:
    codec = checkpoint.load(both)
    level = torch.tensor([3])
    symbols = torch.from_numpy(codec.symbols(wave, 3)).float()
    with torch.inference_mode():
        first, second = codec.decoder(symbols, level), codec.perceived(symbols, level)
        loudness = codec.decoder.loudness
        expected, found = (loudness.energies(one)[:, :, 2:-2] for one in (first, second))
    # Frames overlap, and what is in one is not all in the other.
    off = (10 * torch.log10((found + 1e-7) / (expected + 1e-7))).abs()
    assert float(off.median()) < 1.0


@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
def test_below_the_crossover_the_first_decoder_is_heard(rate: int) -> None:
    response = torch.fft.rfft(high_pass(rate), 8_192).abs()
    hertz = torch.linspace(0, rate / 2, len(response))
    assert response[hertz < CROSSOVER - SLOPE].max() < 0.02
    assert (response[hertz > CROSSOVER + SLOPE] - 1).abs().max() < 0.02
    assert float(response[(hertz - CROSSOVER).abs().argmin()]) == pytest.approx(0.5, abs=0.05)


def test_an_untrained_one_sounds_like_the_first(plain: Path, wave: np.ndarray) -> None:
    codec = started(WITH_NOISE, str(plain), plain)
    assert codec.perceptual is not None
    torch.nn.init.zeros_(codec.perceptual.texture.weight)
    data = codec.eval().compress(wave, TRANSFORM.sample_rate, level=3)
    first = codec.decompress(data)[0]
    off = codec.decompress(data, perceptual=True)[0] - first
    assert float((off**2).mean()) < 0.01 * float((first**2).mean())


def test_a_model_without_one_says_so(plain: Path, wave: np.ndarray, tmp_path: Path) -> None:
    data = checkpoint.load(plain).compress(wave, TRANSFORM.sample_rate)
    coded, out = tmp_path / "a.rdc", tmp_path / "a.wav"
    coded.write_bytes(data)
    arguments = ["decode", str(coded), str(out), "--model", str(plain), "--perceptual"]
    result = CliRunner().invoke(APP, arguments)
    assert isinstance(result.exception, UserError)
    assert "this model has no perceptual decoder" in str(result.exception)
    assert not out.exists()
    with pytest.raises(UserError, match="has no perceptual decoder"):
        NeuralCoder(str(plain), perceptual=True)
    with pytest.raises(ValueError, match=r"perceptual_noise: .* give gain_bands"):
        CodecConfig.model_validate(WITH_NOISE.model_dump() | {"gain_bands": 0})


def test_the_command_decodes_files_folders_and_ranges(
    both: Path, wave: np.ndarray, tmp_path: Path
) -> None:
    codec = checkpoint.load(both)
    folder = tmp_path / "coded"
    folder.mkdir()
    data = codec.compress(wave, TRANSFORM.sample_rate)
    (folder / "a.rdc").write_bytes(data)
    expected, _ = codec.decompress(data, perceptual=True)
    for extra, target, start in (
        ([], "one.wav", 0),
        (["--start", "2", "--duration", "1"], "part.wav", 2 * TRANSFORM.sample_rate),
    ):
        arguments = ["decode", str(folder / "a.rdc"), str(tmp_path / target), "--model", str(both)]
        result = CliRunner().invoke(APP, [*arguments, "--perceptual", *extra])
        assert result.exit_code == 0, result.output
        found, _ = audio.read(tmp_path / target)
        wanted = expected[:, start : start + found.shape[1]].clip(-1, 1)
        np.testing.assert_allclose(found, wanted, atol=1e-4)
    arguments = ["decode", str(folder), str(tmp_path / "all"), "--model", str(both), "--perceptual"]
    assert CliRunner().invoke(APP, arguments).exit_code == 0
    np.testing.assert_array_equal(
        audio.read(tmp_path / "all" / "a.wav")[0], audio.read(tmp_path / "one.wav")[0]
    )


def test_a_damaged_one_is_found(both: Path, tmp_path: Path) -> None:
    with safe_open(both, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = json.loads(file.metadata()["rdcodec"])
    name = "weights.perceptual.texture.weight"
    tensors[name] = tensors[name].flip(0)
    path = tmp_path / "model.safetensors"
    save_file(tensors, path, metadata={"rdcodec": json.dumps(about)})
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(path)
