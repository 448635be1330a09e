import numpy as np
import pytest
import torch

from codec import audio
from codec.coding.chunks import BLOCK_FRAMES
from codec.config import PRESETS, CodecConfig
from codec.nn.layers import ByLevel
from codec.nn.network import CodecNetwork
from codec.nn.transform import MDCT, ChannelRotation, PowerLaw
from tests.conftest import TRANSFORM as SMALL
from tests.conftest import recorded, tone

TRANSFORM = {name: one for name, one in PRESETS.items() if one.architecture == "transform"}
# Small, and with two channels that fall short of all coefficients: 30 of 40.
TINY = SMALL.model_copy(
    update={"widths": [16], "levels": 16, "gain_bands": 0, "entropy": "factorized"}
)
WITH_GAINS = TINY.model_copy(update={"gain_bands": 4, "gain_steps": [5.0, 2.0], "gain_change": 0.9})


def untrained(config: CodecConfig, seed: int = 0) -> CodecNetwork:
    torch.manual_seed(seed)
    return CodecNetwork(config).eval()


def trained_a_little(config: CodecConfig) -> CodecNetwork:
    """A network whose corrections and levels are not zero."""
    network = untrained(config)
    with torch.no_grad():
        network.encoder.correction.head.weight.normal_()
        network.encoder.correction.head.bias.normal_()
        for module in network.modules():
            if isinstance(module, ByLevel):
                module.knots.add_(0.1 * torch.randn_like(module.knots))
    return network


def noise(channels: int, samples: int, seed: int = 0) -> torch.Tensor:
    values = np.random.default_rng(seed).uniform(-0.5, 0.5, (1, channels, samples))
    return torch.from_numpy(values.astype(np.float32))


def snr_db(reference: torch.Tensor, decoded: torch.Tensor) -> float:
    return float(10 * torch.log10(reference.square().sum() / (reference - decoded).square().sum()))


@torch.inference_mode()
def coded(network: CodecNetwork, wave: torch.Tensor, level: int) -> torch.Tensor:
    levels = torch.tensor([level])
    return network.decoder(torch.round(network.encode(wave, levels)), levels)


@pytest.mark.parametrize("config", TRANSFORM.values(), ids=TRANSFORM)
def test_mdct_gives_back_every_sample_that_two_frames_cover(config: CodecConfig) -> None:
    mdct = MDCT(config.hop, config.hop)
    wave = noise(config.channels, 20 * config.hop)
    coefficients = mdct.analyse(wave)
    assert coefficients.shape == (1, config.channels, config.hop, 20)
    back = mdct.synthesize(coefficients)
    assert back.shape == wave.shape
    half = config.hop // 2
    inner = slice(half, -half)
    torch.testing.assert_close(back[..., inner], wave[..., inner], atol=1e-5, rtol=0)
    assert (back - wave)[..., :half].abs().max() > 1e-2  # what one frame alone covers


def test_mdct_is_the_sum_of_cosines_that_defines_it() -> None:
    hop, bins = 16, 10
    wave = noise(1, 6 * hop)
    padded = np.pad(wave[0, 0].double().numpy(), hop // 2)
    n = np.arange(2 * hop)
    k = np.arange(bins)[:, None]
    cosines = np.cos(np.pi / hop * (n + 0.5 + hop / 2) * (k + 0.5))
    window = np.sqrt(2 / hop) * np.sin(np.pi * (n + 0.5) / (2 * hop))
    expected = [cosines @ (window * padded[m * hop :][: 2 * hop]) for m in range(6)]
    found = MDCT(hop, bins).analyse(wave)[0, 0].numpy()
    np.testing.assert_allclose(found, np.stack(expected, axis=1), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_identical_channels_leave_all_but_the_first_zero(channels: int) -> None:
    rotation = ChannelRotation(channels)
    one = noise(1, 500)
    rotated = rotation(one.expand(-1, channels, -1))
    torch.testing.assert_close(rotated[:, :1], one * channels**0.5)
    assert rotated[:, 1:].abs().max() < 1e-6 if channels > 1 else rotated.shape[1] == 1
    several = noise(channels, 500)
    torch.testing.assert_close(rotation.inverse(rotation(several)), several, atol=1e-6, rtol=0)
    energies = rotation(several).square().sum(), several.square().sum()
    torch.testing.assert_close(*energies)


def test_power_law_is_undone_and_bends_both_signs_alike() -> None:
    law = PowerLaw(0.6)
    x = torch.cat((torch.logspace(-1.5, 2, 50), -torch.logspace(-1.5, 2, 50)))
    torch.testing.assert_close(law(x), x.sign() * x.abs() ** 0.6, rtol=1e-3, atol=0)
    torch.testing.assert_close(law.inverse(law(x)), x, rtol=1e-3, atol=0)
    assert law(torch.zeros(1)) == law.inverse(torch.zeros(1)) == 0


@pytest.mark.parametrize("source", ["tone", "speech"])
def test_an_untrained_codec_is_a_transform_codec(source: str) -> None:
    config = PRESETS["general-24k"]
    network = untrained(config)
    frames = 150
    if source == "speech":
        files = sorted(recorded("audio/test").glob("speech_*.flac"))
        wave = audio.resample(*audio.read(files[0]), config.sample_rate)
    else:
        wave = tone(frames * config.hop / config.sample_rate, config.sample_rate, pitch=150)
    samples = min(frames, wave.shape[-1] // config.hop) * config.hop
    piece = torch.from_numpy(wave[:1, :samples])[None]
    decoded = coded(network, piece, config.levels - 1)
    assert decoded.shape == piece.shape
    assert decoded.dtype == torch.float32
    # The last half hop is in the frame after the end, which this piece has none of.
    inner = slice(None, -config.hop)
    best = snr_db(piece[..., inner], decoded[..., inner])
    least = snr_db(piece[..., inner], coded(network, piece, 0)[..., inner])
    assert best > 10
    assert best > least + 3


@pytest.mark.parametrize("config", [*TRANSFORM.values(), TINY], ids=[*TRANSFORM, "tiny"])
def test_shapes_and_rates_of_levels(config: CodecConfig) -> None:
    network = untrained(config)
    wave = noise(config.channels, 10 * config.hop).expand(2, -1, -1)
    levels = torch.tensor([0, config.levels - 1])
    with torch.no_grad():
        latent = network.encode(wave, levels)
        assert latent.shape == (2, config.values, 10)
        assert network.decoder(torch.round(latent), levels).shape == wave.shape
    symbols = torch.round(latent)[:, : config.latent_channels]
    assert symbols[0].abs().sum() < symbols[1].abs().sum() / 2


@pytest.mark.parametrize("config", [TINY, WITH_GAINS], ids=["tiny", "with gains"])
def test_windows_give_what_one_piece_gives_at_every_level(config: CodecConfig) -> None:
    """A frame, and its samples, depend on ``context_frames`` frames on either side and no more."""
    network = trained_a_little(config)
    around, context, kept = config.encoder_context_frames, config.context_frames, BLOCK_FRAMES // 6
    wave = noise(config.channels, (4 * around + 3 * kept) * config.hop)
    first = around + kept
    hop = config.hop
    for number in (0, 6, config.levels - 1):
        level = torch.tensor([number])
        with torch.inference_mode():
            whole = network.encode(wave, level)
            window = slice((first - around) * hop, (first + kept + around) * hop)
            cut = network.encode(wave[..., window], level)[..., around : around + kept]
            inner, latents = whole[..., first : first + kept], config.latent_channels
            torch.testing.assert_close(cut[:, :latents], inner[:, :latents], atol=1e-4, rtol=1e-4)
            # Gains are logarithms, of bands that may be nearly silent.
            torch.testing.assert_close(cut[:, latents:], inner[:, latents:], atol=1e-3, rtol=1e-3)
            symbols = torch.round(whole)
            decoded = network.decoder(symbols, level)
            window = slice(first - context, first + kept + context)
            part = network.decoder(symbols[..., window], level)
            torch.testing.assert_close(
                part[..., context * hop : (context + kept) * hop],
                decoded[..., first * hop : (first + kept) * hop],
                atol=1e-4,
                rtol=1e-4,
            )


@pytest.mark.parametrize("config", [TINY, WITH_GAINS], ids=["tiny", "with gains"])
def test_every_part_of_a_transform_codec_learns(config: CodecConfig) -> None:
    network = trained_a_little(config).train()
    wave = torch.from_numpy(tone(0.5, 8_000, channels=2))[None]
    out = network(wave, torch.tensor([6]))
    ((out.waveform - wave).square().sum() + out.kbps.sum()).backward()
    for name, parameter in network.named_parameters():
        if name.startswith("prior.gates"):
            continue  # they start at zero, where their own gradient is small or none
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    # Level 6 of 16 lies between two of eight knots, and moves no other one.
    moved = network.encoder.gain.knots.grad.abs().sum(dim=1).nonzero()[:, 0].tolist()
    assert moved == [2, 3]


def test_vectors_by_level_lie_on_lines_between_knots() -> None:
    by_level = ByLevel(64, 3)
    assert by_level.knots.shape == (ByLevel.KNOTS, 3)
    first, last = torch.tensor([1.0, -2.0, 0.0]), torch.tensor([3.0, 5.0, 0.5])
    by_level.spread(first, last)
    found = by_level(torch.arange(64))
    assert found.shape == (64, 3)
    share = torch.arange(64)[:, None] / 63
    torch.testing.assert_close(found, first + share * (last - first))
    torch.testing.assert_close(found[0], first)
    torch.testing.assert_close(found[63], last)


def test_levels_at_knots_have_the_knots_own_vectors() -> None:
    by_level = ByLevel(15, 2)  # two levels for each step of eight knots
    with torch.no_grad():
        by_level.knots.normal_()
    torch.testing.assert_close(by_level(torch.arange(0, 15, 2)), by_level.knots)
    middle = (by_level.knots[:-1] + by_level.knots[1:]) / 2
    torch.testing.assert_close(by_level(torch.arange(1, 15, 2)), middle)


@pytest.mark.parametrize("levels", [1, 2, 3, 8])
def test_few_levels_have_a_vector_each(levels: int) -> None:
    by_level = ByLevel(levels, 4)
    with torch.no_grad():
        by_level.knots.normal_()
    torch.testing.assert_close(by_level(torch.arange(levels)), by_level.knots)


@pytest.mark.parametrize("level_number", [2, 15])
def test_gains_of_bands_make_decoded_bands_as_loud_as_they_should_be(level_number: int) -> None:
    torch.manual_seed(0)
    config = WITH_GAINS
    network = trained_a_little(config)
    wave, level = noise(config.channels, 60 * config.hop), torch.tensor([level_number])
    with torch.inference_mode():
        symbols = torch.round(network.encode(wave, level))
        plain = network.decoder.unadjusted(symbols[:, : config.latent_channels], level)
        loudness = network.decoder.loudness
        wanted = loudness.energies(wave)
        before = loudness.measure(wanted, plain).abs().mean()
        after = loudness.measure(wanted, network.decoder(symbols, level)).abs().mean()
    assert symbols.shape[1] == config.latent_channels + 2 * config.gain_bands
    assert after < 0.5 * before
