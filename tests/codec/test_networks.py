import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.coding.chunks import BLOCK_FRAMES
from codec.config import PRESETS
from codec.model import AudioCodec
from codec.nn.decoder import build_decoder
from codec.nn.encoder import build_encoder
from codec.nn.layers import Spectrum, real_fft
from codec.nn.losses import SpectralDistances
from codec.nn.network import spared
from codec.nn.quantizer import ScalarQuantizer, commitment_loss, straight_through
from tests.conftest import CONFIGS, SPECTRAL, TRANSFORM, tiny_codec, tone


def test_one_stride_halves_48000_samples_by_the_length_formula() -> None:
    conv = torch.nn.Conv1d(1, 1, 7, stride=2, padding=3)
    assert conv(torch.zeros(1, 1, 48_000)).shape[-1] == (48_000 + 2 * 3 - 7) // 2 + 1 == 24_000


def test_seed_preset_shapes() -> None:
    config = PRESETS["seed-48k"]
    with torch.no_grad():
        latent = build_encoder(config)(torch.zeros(1, 1, 48_000))
        assert latent.shape == (1, 64, 6_000)
        assert build_decoder(config)(latent).shape == (1, 1, 48_000)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@given(frames=st.integers(1, 40))
@settings(max_examples=15, deadline=None)
def test_decoder_gives_back_every_length(config, frames) -> None:
    with torch.no_grad():
        latent = build_encoder(config)(torch.zeros(2, config.channels, frames * config.hop))
        assert latent.shape == (2, config.latent_channels, frames)
        assert build_decoder(config)(latent).shape == (2, config.channels, frames * config.hop)


@pytest.mark.parametrize(("window", "hop"), [(1280, 320), (320, 80), (256, 64)])
def test_spectrum_is_inverted_exactly(window: int, hop: int) -> None:
    spectrum = Spectrum(window, hop)
    wave = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 1, 40 * hop))).float()
    same = torch.nn.Identity()
    back = spectrum.synthesize(spectrum.analyse(wave, same), same)
    inner = slice(window, -window)
    assert back.shape == wave.shape
    torch.testing.assert_close(back[..., inner], wave[..., inner], atol=2e-4, rtol=0)


def test_no_weight_is_left_without_a_gradient() -> None:
    for config in CONFIGS.values():
        # Louder latents than at the start of training: the decoder learns nothing from zeros.
        model = tiny_codec(config).train()
        wave = torch.from_numpy(tone(1, 8_000, channels=config.channels))[None]
        out = model(wave)
        distances = SpectralDistances([256, 512], 8_000, ["log_magnitude", "phase"])
        terms = distances(wave, out.waveform)
        (sum(terms.values()) + out.kbps + commitment_loss(out.latent, out.codes)).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            # The gates of the prior start at zero, where their own gradient need not be zero.
            assert parameter.grad.abs().sum() > 0, name


def test_straight_through_passes_the_gradient_on() -> None:
    latent = torch.tensor([0.2, 1.7, -2.6], requires_grad=True)
    quantized = ScalarQuantizer(SPECTRAL)(latent)
    codes, noisy = quantized.codes, quantized.rated
    assert codes.tolist() == [0.0, 2.0, -3.0]
    assert ((noisy - latent).abs() <= 0.5).all()
    (straight_through(latent, codes) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert latent.grad is not None
    assert latent.grad.tolist() == [1.0, 2.0, 3.0]


def test_commitment_pulls_the_latent_to_its_codes() -> None:
    latent = torch.tensor([0.2, 1.7], requires_grad=True)
    commitment_loss(latent, torch.round(latent)).backward()
    assert latent.grad is not None
    torch.testing.assert_close(latent.grad, torch.tensor([0.2, -0.3]))


def test_losses_of_a_perfect_copy_are_zero_and_phase_knows_a_flip() -> None:
    wave = torch.from_numpy(tone(1, 8_000))[None]
    distances = SpectralDistances([256, 512], 8_000, ["log_magnitude", "phase", "mel"])
    same, flipped = distances(wave, wave), distances(wave, -wave)
    for terms in (same, flipped):
        assert set(terms) == {"log_magnitude", "phase", "mel"}
        assert float(terms["log_magnitude"]) == pytest.approx(0, abs=1e-6)
        assert float(terms["mel"]) == pytest.approx(0, abs=1e-6)
    assert float(same["phase"]) == pytest.approx(0, abs=5e-3)
    assert float(flipped["phase"]) == pytest.approx(2, abs=1e-2)


def test_a_copy_that_is_too_quiet_is_as_far_as_a_logarithm_says() -> None:
    wave = torch.from_numpy(tone(1, 24_000))[None]
    found = SpectralDistances([512], 24_000, ["mel"])
    near, far = (float(found(wave, gain * wave)["mel"]) for gain in (0.9, 0.5))
    assert 0 < near < far < np.log10((1 + found.MISSED) / (0.5 + found.MISSED)) + 1e-4


def test_sizes_are_those_of_the_terms_asked_for_and_half_of_them_are_drawn() -> None:
    wave = torch.from_numpy(tone(0.5, 24_000))[None]
    by_bin = SpectralDistances([512, 1024], 24_000, ["phase"])
    assert by_bin.sizes == [512, 1024]
    mel = SpectralDistances([512, 1024], 48_000, ["mel"])
    assert mel.sizes == [2 * size for size in SpectralDistances.MEL_BANDS]
    assert set(mel(torch.zeros(1, 1, 8_192), torch.zeros(1, 1, 8_192))) == {"mel"}
    draw = np.random.default_rng(0)
    seen = [mel.draw(draw) for _ in range(40)]
    assert all(len(sizes) == 3 for sizes in seen)
    assert {size for sizes in seen for size in sizes} == set(mel.sizes)
    every = by_bin(wave, 0.5 * wave, drawn=[512])
    assert set(every) == {"log_magnitude", "phase"}


def test_symbols_do_not_depend_on_what_lies_beyond_the_context(codec: AudioCodec) -> None:
    """The frames of a long signal's first block are those of the signal cut short."""
    hop, context = codec.config.hop, codec.config.context_frames
    shape = (codec.config.channels, (2 * BLOCK_FRAMES + 50) * hop)
    whole = np.random.default_rng(1).uniform(-0.5, 0.5, shape).astype(np.float32)
    symbols = codec.symbols(whole)
    frames = BLOCK_FRAMES + 30
    short = codec.symbols(whole[:, : (frames + context) * hop])
    assert np.array_equal(symbols[..., :frames], short[..., :frames])


def test_windows_give_what_one_piece_gives(codec: AudioCodec) -> None:
    """Cutting into windows changes nothing but the last bits of floats."""
    hop = codec.config.hop
    shape = (codec.config.channels, (2 * BLOCK_FRAMES) * hop)
    wave = np.random.default_rng(2).uniform(-0.5, 0.5, shape)
    padding = codec.config.context_frames * hop
    padded = torch.from_numpy(np.pad(wave, ((0, 0), (padding, padding))).astype(np.float32))
    with torch.inference_mode():
        in_one_piece = codec.encoder(padded[None])
    context = codec.config.context_frames
    inner = codec.quantizer.quantize(in_one_piece[..., context:-context])[0].numpy()
    in_windows = codec.symbols(wave.astype(np.float32))[0]
    # A value that lies on the edge of two symbols may fall either way; such are rare.
    assert np.mean(inner != in_windows) < 1e-3


def test_random_weights_make_more_than_zeros() -> None:
    assert np.any(tiny_codec().symbols(tone(1, 8_000)))


def test_small_latents_of_low_frequencies_are_left_out() -> None:
    config = PRESETS["general-48k"]
    latent = torch.tensor([0.0, 0.04, -0.55, 0.57, -1.9]).expand(1, config.latent_channels, -1)
    low, high = (spared(latent, config)[0, at] for at in (0, config.bins - 1))
    torch.testing.assert_close(low, torch.tensor([0.0, 0.0, -0.49, 0.51, -1.84]))
    torch.testing.assert_close(high, latent[0, 0])
    sides = spared(latent, config).unflatten(1, (2, -1))
    torch.testing.assert_close(sides[:, 0], sides[:, 1])


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_real_transform_s_gradient_is_that_of_torch_s_own(half: int, seed: int) -> None:
    frames = torch.randn(2, 3, 2 * half, generator=torch.Generator().manual_seed(seed))
    weights = torch.randn(2, 2, 3, half + 1, generator=torch.Generator().manual_seed(seed + 1))
    found = []
    for transform in (torch.fft.rfft, real_fft):
        wave = frames.double().requires_grad_()
        spectrum = transform(wave)
        (weights[0] * spectrum.real + weights[1] * spectrum.imag).sum().backward()
        found.append((spectrum.detach(), wave.grad))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1])


def test_what_trains_is_decoded_without_gains_of_bands() -> None:
    """Networks learn to do without them, and the gains are still measured and rated."""
    codec = tiny_codec(TRANSFORM)
    out = codec(torch.from_numpy(tone(0.4, 8_000, channels=2))[None], torch.tensor([1]))
    latents = codec.config.latent_channels
    plain = codec.decoder.unadjusted(out.symbols[:, :latents], out.level)
    torch.testing.assert_close(out.waveform, plain)
    assert out.symbols[:, latents:].any()
    assert not torch.allclose(codec.decoder(out.symbols, out.level), plain)
