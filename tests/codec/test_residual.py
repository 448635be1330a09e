"""The residual vector quantizer, and the layers that its files have."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.coding import bitstream
from codec.config import CodecConfig
from codec.errors import BitstreamError, UserError
from codec.nn.priors import CategoricalPrior
from codec.nn.quantizer import ResidualVectorQuantizer
from pipeline import params
from pipeline.layout import TRAIN, VALID
from pipeline.stages import fit_entropy
from pipeline.training import entropy
from tests.conftest import INDICES, RESIDUAL, ROOT, SPECTRAL, tiny_codec, tone, wandering


def clustered(count: int, seed: int = 0) -> torch.Tensor:
    """(1, 4, count) latent around eight centres."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 3, (8, 4))
    points = centres[rng.integers(8, size=count)] + rng.normal(0, 0.2, (count, 4))
    return torch.from_numpy(points.T[None].astype(np.float32))


def residual(codebooks: int, size: int) -> ResidualVectorQuantizer:
    fields = {"latent_channels": 4, "codebooks": codebooks, "codebook_size": size}
    return ResidualVectorQuantizer(RESIDUAL.model_copy(update=fields))


def trained(codebooks: int = 3, size: int = 32, steps: int = 50) -> ResidualVectorQuantizer:
    torch.manual_seed(0)
    quantizer = residual(codebooks, size).train()
    for seed in range(steps):
        quantizer(clustered(400, seed))
    return quantizer.eval()


def test_more_codebooks_are_better_approximations() -> None:
    quantizer, latent = trained(), clustered(1_000, seed=1_000)
    symbols = quantizer.quantize(latent)
    errors = [
        float((quantizer.dequantize(symbols[:, :count]) - latent).square().mean())
        for count in (1, 2, 3)
    ]
    # The first codebook finds the centres at the least, around which the variance is 0.04.
    assert errors[0] < 0.045
    assert errors[2] < 0.8 * errors[1] < 0.8 * 0.8 * errors[0]


def test_use_and_training_agree_on_the_codes() -> None:
    quantizer, latent = trained(), clustered(100, seed=1_001)
    quantized = quantizer(latent)
    symbols = quantizer.quantize(latent)
    assert torch.equal(quantized.rated.int(), symbols)
    torch.testing.assert_close(quantized.codes, quantizer.dequantize(symbols))


def test_kmeans_starts_and_averages_follow() -> None:
    torch.manual_seed(0)
    quantizer = residual(1, 8).train()
    latent = clustered(400)
    quantizer(latent)
    started = quantizer.vectors.clone()
    assert float((quantizer(latent).codes - latent).square().mean()) < 2.0
    for _ in range(700):
        quantizer(latent + 1)  # everything moves by one; so must the entries, after a while
    moved = quantizer.vectors[0][quantizer.counts[0] > 5]
    distances = torch.cdist(moved, started[0] + 1).min(dim=1).values
    assert float(distances.median()) < 0.5


def test_dead_entries_come_back_to_life() -> None:
    quantizer = trained(codebooks=1)
    quantizer.train()
    with torch.no_grad():
        quantizer.vectors[0, 3] = 1e3
    for seed in range(600):
        quantizer(clustered(400, seed))
    used = torch.unique(quantizer.eval().quantize(clustered(2_000, 5_000)))
    assert quantizer.vectors.abs().max() < 100
    assert len(used) >= 30


def test_dropout_leaves_later_codebooks_out_in_training_alone() -> None:
    quantizer, latent = trained(), clustered(50, seed=3).repeat(64, 1, 1)
    in_use = quantizer(latent).codes
    assert torch.equal(in_use[0], in_use[1])
    quantizer.train()
    different = torch.unique(quantizer(latent).codes.flatten(1), dim=0)
    assert len(different) == 3  # one for each number of codebooks


def test_an_index_that_no_codebook_has_is_an_error() -> None:
    with pytest.raises(BitstreamError, match="no index"):
        trained().dequantize(torch.full((1, 3, 5), 32))


def test_prior_of_indices_learns_their_histogram() -> None:
    rng = np.random.default_rng(0)
    shares = np.array([0.7, 0.2, 0.1, 0.0])
    draw = lambda: rng.choice(4, size=(2, 5_000), p=shares).astype(np.int32)  # noqa: E731
    prior, held_out = CategoricalPrior(2, 4), draw()
    before, after = entropy.refine(prior, draw(), held_out, 300, learning_rate=0.05, seed=0)
    assert before == pytest.approx(2 * held_out.size, rel=1e-3)
    ideal = -(shares[:3] * np.log2(shares[:3])).sum() * held_out.size
    assert after == pytest.approx(ideal, rel=0.01)
    # The last symbol never came, and can be coded all the same.
    assert prior.freeze().bits(np.full((2, 1), 3, np.int32)) < 2 * 60


@pytest.mark.parametrize("asked", [True, False])
def test_neighbours_are_asked_where_they_tell_more_than_noise(
    monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    heard = {TRAIN: wandering(3, 16, 4_000), VALID: wandering(3, 16, 500, seed=7)}
    if not asked:
        noise = np.random.default_rng(0)
        heard = {split: noise.integers(0, 16, (3, 500), np.int32) for split in heard}
    monkeypatch.setattr(entropy, "draw_pieces", lambda _, split, *__: [(heard[split], 0)])
    model = tiny_codec(INDICES)
    before, after = fit_entropy.fit_indices(model, model.prior, params.load(ROOT / params.FILE))
    assert (after < 0.8 * before) == asked
    assert (model.frozen_tables().frequencies.shape[1] > 1) == asked
    assert after <= before


@given(
    config=st.sampled_from([RESIDUAL, INDICES]), kept=st.integers(1, 3), seconds=st.floats(0.1, 22),
    channels=st.integers(1, 3),
)  # fmt: skip
@settings(max_examples=20, deadline=None)
def test_trimming_is_compressing_with_fewer_codebooks(
    config: CodecConfig, kept: int, seconds: float, channels: int
) -> None:
    model = tiny_codec(config)
    wave = tone(seconds, 8_000, channels=channels)
    whole, trimmed = io.BytesIO(model.compress(wave, 8_000)), io.BytesIO()
    header = bitstream.trim(whole, trimmed, kept)
    assert header.layers == kept
    assert trimmed.getvalue() == model.compress(wave, 8_000, codebooks=kept)
    back, _ = model.decompress(trimmed.getvalue())
    assert back.shape == wave.shape
    trimmed.seek(0)
    assert np.array_equal(model.read_symbols(trimmed)[1], model.symbols(wave)[:, :kept])


def test_what_cannot_be_trimmed_is_refused() -> None:
    scalar = io.BytesIO(tiny_codec(SPECTRAL).compress(tone(0.5, 8_000), 8_000))
    with pytest.raises(BitstreamError, match="scalar quantizer"):
        bitstream.trim(scalar, io.BytesIO(), 1)
    model = tiny_codec(RESIDUAL)
    data = model.compress(tone(0.5, 8_000), 8_000, codebooks=2)
    for count in (0, 3):
        with pytest.raises(BitstreamError, match="has 2 codebooks"):
            bitstream.trim(io.BytesIO(data), io.BytesIO(), count)
    with pytest.raises(UserError, match="1 to 3"):
        model.compress(tone(0.5, 8_000), 8_000, codebooks=4)
    with pytest.raises(UserError, match="scalar quantizer"):
        tiny_codec(SPECTRAL).compress(tone(0.5, 8_000), 8_000, codebooks=1)


def test_layers_are_counted_as_payload_and_their_sizes_as_overhead() -> None:
    model = tiny_codec(RESIDUAL)
    data = model.compress(tone(0.5, 8_000, channels=2), 8_000)
    found = bitstream.describe(io.BytesIO(data), model.count_symbols)
    assert found.codebooks == 3
    assert found.overhead_bytes == 24 + 5 + 3
    assert found.symbols == 3 * 50
    assert found.bits_per_symbol == pytest.approx(8 * found.payload_bytes / 150)


def test_a_payload_that_does_not_split_is_refused() -> None:
    header = bitstream.Header(b"test", b"test", 8_000, 1, 80_000, layers=2)
    assert bitstream.split_layers(bitstream.pack_layers([b"a", b""]), header) == [b"a", b""]
    for payload in (b"\1a", b"\1a\2b", b"\1a\1bc", b"\xff\xff\xff\xff\xff"):
        with pytest.raises(BitstreamError, match="2 layers"):
            bitstream.split_layers(payload, header)
