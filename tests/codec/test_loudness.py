"""Gains of bands: measured on decoded audio, applied to it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.coding.chunks import BLOCK_FRAMES
from codec.nn.loudness import (
    BLOCK,
    FOLDED,
    LIMIT_DB,
    PER_STEP,
    BandLoudness,
    band_members,
    change_cost,
    folding,
    rounded,
    step_db,
)

RATE, HOP, BANDS, FRAMES = 8_000, 80, 10, 30


@pytest.fixture(params=[1, 2], ids=["mono", "stereo"])
def loudness(request: pytest.FixtureRequest) -> BandLoudness:
    return BandLoudness(request.param, RATE, HOP, BANDS)


def noise(loudness: BandLoudness, seed: int = 0) -> torch.Tensor:
    channels = len(loudness.rotation.matrix)
    values = np.random.default_rng(seed).normal(0, 0.1, (2, channels, FRAMES * HOP))
    return torch.from_numpy(values.astype(np.float32))


@pytest.mark.parametrize(("rate", "size", "bands"), [(24_000, 960, 32), (48_000, 1_920, 40)])
def test_every_bin_has_one_band_and_bands_grow_with_frequency(
    rate: int, size: int, bands: int
) -> None:
    members = band_members(rate, size, bands)
    assert members.shape == (bands, size // 2 + 1)
    assert (members.sum(dim=0) == 1).all()
    widths = members.sum(dim=1)
    assert (widths >= 1).all()
    assert (widths.diff() >= -1).all()  # of whole bins
    assert widths[-1] > 10 * widths[0]
    assert (members.argmax(dim=0).diff() >= 0).all()
    with pytest.raises(ValueError, match="too many"):
        band_members(8_000, 32, 20)


def test_gains_of_zero_change_nothing_up_to_the_last_sample(loudness: BandLoudness) -> None:
    wave = noise(loudness)
    gains = torch.zeros(2, wave.shape[1] * BANDS, FRAMES)
    torch.testing.assert_close(loudness.adjust(wave, gains), wave, atol=1e-6, rtol=1e-5)


def test_what_is_softer_everywhere_comes_back(loudness: BandLoudness) -> None:
    wave = noise(loudness)
    gains = loudness.measure(loudness.energies(wave), 0.25 * wave)
    assert gains.shape == (2, wave.shape[1] * BANDS, FRAMES)
    expected = 20 * math.log10(4)
    # A band near what is masked gets less, as it should.
    assert gains.max() <= expected + 1e-3
    assert gains.median() == pytest.approx(expected, abs=0.05)
    torch.testing.assert_close(loudness.adjust(0.25 * wave, gains), wave, atol=0.01, rtol=0)


def test_rounded_gains_bring_each_band_near_to_what_it_should_be(loudness: BandLoudness) -> None:
    wave, other = noise(loudness), noise(loudness, seed=1)
    # Other noise, much softer in some bands and for some time.
    scale = torch.zeros(2, wave.shape[1] * BANDS, FRAMES)
    scale[:, 2::3], scale[:, :, 10:15] = -12.5, -7.5
    decoded = loudness.adjust(other, scale)
    before = loudness.measure(loudness.energies(wave), decoded)
    gains = 5 * torch.round(before / 5)
    after = loudness.measure(loudness.energies(wave), loudness.adjust(decoded, gains))
    assert after.abs().mean() < 0.4 * before.abs().mean()


def test_silence_and_what_is_masked_get_no_gain_and_none_is_beyond_its_limit(
    loudness: BandLoudness,
) -> None:
    wave = noise(loudness)
    silence = torch.zeros_like(wave)
    assert not loudness.measure(loudness.energies(silence), silence).any()
    assert loudness.measure(loudness.energies(wave), silence).max() <= LIMIT_DB
    assert loudness.measure(loudness.energies(1e-6 * wave), silence).abs().max() < 2.5
    # A loud tone masks noise 80 dB below it, wherever in frequency.
    time = torch.arange(FRAMES * HOP) / RATE
    tone = torch.sin(2 * math.pi * 1_000 * time).expand_as(wave)
    inner = loudness.measure(loudness.energies(tone + 1e-3 * wave), tone)[..., 2:-2]
    assert inner.abs().max() < 2.5


def test_gradients_pass(loudness: BandLoudness) -> None:
    wave = noise(loudness).requires_grad_()
    gains = torch.zeros(2, wave.shape[1] * BANDS, FRAMES, requires_grad=True)
    loudness.adjust(wave, gains).square().sum().backward()
    assert wave.grad is not None
    assert wave.grad.abs().sum() > 0
    assert gains.grad is not None
    assert (gains.grad[..., 1:-1] > 0).all()


@pytest.mark.parametrize("channels", [1, 2])
def test_a_band_in_which_nothing_was_coded_gets_its_loudness(channels: int) -> None:
    """Noise 34 dB softer above half of the band, and decoded with nothing there."""
    loudness = BandLoudness(channels, 24_000, 480, 24)
    values = np.random.default_rng(0).normal(0, 0.1, (2, channels, FRAMES * 480))
    wave = torch.from_numpy(values.astype(np.float32))
    spectrum = torch.fft.rfft(wave)
    spectrum[..., spectrum.shape[-1] // 2 :] *= 0.02
    wave = torch.fft.irfft(spectrum)
    spectrum[..., spectrum.shape[-1] // 2 :] = 0
    decoded = torch.fft.irfft(spectrum)
    gains = 5 * torch.round(loudness.measure(loudness.energies(wave), decoded) / 5)
    filled = loudness.adjust(decoded, gains)

    def upper(waveform: torch.Tensor) -> torch.Tensor:
        power = torch.fft.rfft(waveform).abs().square()
        return 10 * torch.log10(power[..., int(0.55 * power.shape[-1]) :].sum())

    assert upper(decoded) < upper(wave) - 25
    assert upper(filled) == pytest.approx(upper(wave), abs=3)
    # What was decoded stays what it was, up to its gains.
    lower = slice(0, int(0.4 * spectrum.shape[-1]))
    there, before = (torch.fft.rfft(one)[..., lower] for one in (filled, decoded))
    assert (there - before).abs().square().sum() < 0.05 * before.abs().square().sum()


def test_what_is_near_empty_hangs_on_no_last_digit(loudness: BandLoudness) -> None:
    wave = noise(loudness)
    gains = torch.full((2, wave.shape[1] * BANDS, FRAMES), 15.0)
    for scale in (1e-4, 1e-3, 1e-2):
        spectrum = torch.fft.rfft(wave)
        spectrum[..., spectrum.shape[-1] // 2 :] *= scale
        decoded = torch.fft.irfft(spectrum)
        near = decoded + 1e-6 * noise(loudness, seed=2)
        change = loudness.adjust(near, gains) - loudness.adjust(decoded, gains)
        assert change.abs().max() < 1e-3


def test_folding_moves_bins_by_even_numbers_from_below() -> None:
    for sample_rate, hop in ((8_000, 40), (24_000, 480), (48_000, 960)):
        source, signs = folding(sample_rate, hop)
        moved = torch.arange(hop + 1) - source
        assert (moved >= 0).all()
        assert (moved % 2 == 0).all()
        hertz = source[moved > 0] * sample_rate / 2 / hop
        assert hertz.min() >= 0.85 * FOLDED[0]
        assert hertz.max() < 1.05 * FOLDED[1]
        assert abs(float(signs.mean())) < 0.1


def price(gains: torch.Tensor, whole: torch.Tensor, cost: float) -> torch.Tensor:
    """What ``rounded`` keeps small, of (frames,) gains and each row of (n, frames) whole ones."""
    steps = whole.diff(dim=1).abs()
    changes = (steps > 0) + PER_STEP * steps
    return (gains - whole).square().sum(dim=1) + cost * changes.sum(dim=1)


@settings(deadline=None)
@given(
    gains=st.lists(st.floats(-4.5, 4.5, width=32), min_size=1, max_size=4),
    cost=st.floats(0.015625, 2, width=32),
)
def test_no_other_whole_gains_cost_less(gains: list[float], cost: float) -> None:
    wanted, limit = torch.tensor(gains), 5
    found = rounded(wanted[None, None], torch.tensor([cost]))[0]
    every = torch.cartesian_prod(*[torch.arange(-limit, limit + 1)] * len(gains))
    least = price(wanted, every.view(-1, len(gains)), cost).min()
    torch.testing.assert_close(price(wanted, found, cost)[0], least, rtol=1e-4, atol=1e-4)


def test_steps_are_finer_the_higher_the_rate() -> None:
    levels = torch.arange(128)
    steps = step_db([5.0, 2.5], levels, 128)
    assert steps[0] == 5.0
    assert steps[102:].tolist() == [2.5] * 26
    assert (steps[:103].diff() < 0).all()
    assert step_db([5.0, 2.5], torch.tensor([0]), 1).tolist() == [2.5]
    assert step_db([5.0, 5.0], levels, 128).tolist() == [5.0] * 128


def test_gains_are_steadier_the_lower_the_rate_and_blocks_stand_alone() -> None:
    levels = torch.tensor([0, 40, 127])
    cost = change_cost(0.9, levels, 128)
    assert cost.tolist() == sorted(cost.tolist(), reverse=True)
    assert cost[-1] == 0
    assert (change_cost(0.9, torch.tensor([0]), 1) == 0).all()
    values = np.random.default_rng(0).normal(0, 1.5, (1, 4, 2 * BLOCK + 7))
    gains = torch.from_numpy(values.astype(np.float32)).clamp(-4, 4).expand(3, -1, -1)
    found = rounded(gains, cost)
    changes = (found.diff(dim=-1) != 0).sum(dim=(1, 2))
    assert changes[0] < changes[1] < changes[2]
    torch.testing.assert_close(found[2], gains[2].round())
    pieces = torch.cat([rounded(part, cost) for part in gains.split(BLOCK, dim=-1)], dim=-1)
    torch.testing.assert_close(found, pieces)
    assert found.isfinite().all()
    assert BLOCK_FRAMES % BLOCK == 0  # windows of long audio are cut between blocks


def test_bands_are_audible_where_the_original_is_not_far_below_its_loudest(
    loudness: BandLoudness,
) -> None:
    channels = len(loudness.rotation.matrix)
    wave = noise(loudness)
    assert loudness.audible(loudness.energies(wave), HOP).shape == (2, channels * HOP, FRAMES)
    assert loudness.audible(loudness.energies(wave), HOP).all()
    assert loudness.audible(loudness.energies(1e-3 * wave), HOP).all()  # soft as it is
    assert not loudness.audible(loudness.energies(torch.zeros_like(wave)), HOP).any()
    # A tone of 500 Hz, bin 5 of 80, and from the middle on one of 2,000 Hz, bin 40, 30 dB below.
    time = torch.arange(FRAMES * HOP) / RATE
    late = 0.01 * torch.sin(2 * math.pi * 2_000 * time) * (time > 0.15)
    tones = 0.3 * torch.sin(2 * math.pi * 500 * time) + late
    energies = loudness.energies(tones.expand(1, channels, -1))
    heard = loudness.audible(energies, HOP)[0].unflatten(0, (channels, HOP))
    assert heard[0, 5].all()
    assert not heard[0, 40, 2:13].any()
    assert heard[0, 40, 15:].all()
    assert not heard[0, 65, 17:].any()  # a tone makes others where it begins
    assert not heard[1:].any()  # sides of equal channels
