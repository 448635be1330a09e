"""What points take and give beside rate and quality: bandwidth, look-ahead, work, parameters."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.signal import butter, sosfiltfilt

from codec.config import PRESETS, CodecConfig
from codec.model import AudioCodec
from pipeline.coders import Coder, Cost, networks
from pipeline.coders.opus import OpusCoder
from pipeline.metrics.bandwidth import bandwidth_khz
from pipeline.report import page
from tests.conftest import RESIDUAL, SPECTRAL, TRANSFORM, WAVEFORM, tiny_codec

DEEPER = TRANSFORM.model_copy(
    update={"gain_bands": 8, "decoder_blocks": 2, "levels": 1, "entropy": "factorized"}
)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("edge", [3_400.0, 7_000.0])
def test_bandwidth_is_where_the_spectrum_falls(rate: int, edge: float) -> None:
    rng = np.random.default_rng(0)
    wave = rng.standard_normal((2, rate))
    wave[1] *= 0.01
    low = sosfiltfilt(butter(12, edge, fs=rate, output="sos"), wave)
    found = bandwidth_khz(reference=wave, degraded=low, sample_rate=rate)
    assert found == pytest.approx(edge / 1000, abs=0.5)
    # Neither a hole nor a tone above it moves it.
    time = np.arange(rate) / rate
    holes = sosfiltfilt(butter(6, [900, 1400], "bandstop", fs=rate, output="sos"), low)
    stray = holes + 0.2 * np.sin(2 * np.pi * (rate / 2 - 700) * time)
    assert bandwidth_khz(reference=wave, degraded=stray, sample_rate=rate) == found
    assert bandwidth_khz(reference=wave, degraded=wave, sample_rate=rate) == rate / 2000
    # Nothing can be kept of what is not there, be it rounding noise alone.
    rounded = low + 1e-6 * rng.standard_normal(low.shape)
    assert bandwidth_khz(reference=rounded, degraded=wave, sample_rate=rate) <= 1.34 * edge / 1000
    assert bandwidth_khz(reference=0 * wave, degraded=wave, sample_rate=rate) is None


@pytest.mark.parametrize(("kbps", "bandwidth", "khz"), [(16, "narrow", 4), (24, "wide", 8)])
def test_bandwidth_of_opus_is_the_one_that_it_was_held_at(
    kbps: int, bandwidth: str, khz: int
) -> None:
    wave = 0.1 * np.random.default_rng(0).standard_normal((1, 48_000)).astype(np.float32)
    coder = OpusCoder(kbps, bandwidth=bandwidth)
    decoded, rate = coder.decode(coder.encode(wave, 48_000))
    found = bandwidth_khz(reference=wave, degraded=decoded, sample_rate=rate)
    assert found == pytest.approx(khz, abs=0.5)


@pytest.mark.parametrize("config", [SPECTRAL, WAVEFORM, RESIDUAL, DEEPER])
def test_lookahead_is_as_far_as_decoded_audio_depends_on_what_comes(config: CodecConfig) -> None:
    ahead, first, level = networks.lookahead(config), 40 * config.hop, torch.tensor([0])
    furthest = 0
    # How much comes through from the ends of windows hangs on the weights.
    for seed in range(4):
        torch.manual_seed(seed)
        codec = AudioCodec(config).eval()
        wave = torch.randn(1, config.channels, 60 * config.hop)
        with torch.no_grad():
            for parameter in [*codec.encoder.parameters(), *codec.decoder.parameters()]:
                parameter.normal_(0, 0.3)  # new networks hardly look to the side
            before = codec.decoder(codec.encode(wave, level), level)
            for place in range(first, first + config.hop, max(1, config.hop // 20)):
                changed = wave.clone()
                changed[..., place:] = torch.randn(changed[..., place:].shape)
                after = codec.decoder(codec.encode(changed, level), level)
                differs = (after != before).any(dim=1)[0]
                furthest = max(furthest, place - int(differs.int().argmax()))
    # The ends of windows weigh less than a last digit, and gains have a limit.
    assert ahead - 3 * config.hop < furthest <= ahead


def test_lookahead_of_a_preset_is_its_frames_and_its_window() -> None:
    config = PRESETS["spectral-24k"]
    frames = 3 * (config.encoder_blocks + 1 + config.decoder_blocks)
    assert networks.lookahead(config) == frames * config.hop + config.window - 1


@pytest.mark.parametrize("config", [SPECTRAL, RESIDUAL])
def test_every_weight_of_a_layer_is_used_once_a_frame(config: CodecConfig) -> None:
    codec = tiny_codec(config)
    weights = [
        sum(p.numel() for name, p in part.named_parameters() if name.endswith("weight")
            and p.dim() > 1)
        for part in (codec.encoder, codec.decoder)
    ]  # fmt: skip
    expected = [config.frame_rate * count for count in weights]
    assert networks.macs(codec) == pytest.approx(tuple(expected))
    # As many times as the codec takes the channels in groups.
    times = 4 // config.channels
    cost = networks.cost_of(codec, 4)
    assert (cost.encoder_macs, cost.decoder_macs) == pytest.approx([times * e for e in expected])
    assert cost.parameters == sum(p.numel() for p in codec.parameters())


def test_a_perceptual_decoder_costs_what_it_takes_and_no_one_else() -> None:
    one, two = (
        tiny_codec(c) for c in (TRANSFORM, TRANSFORM.model_copy(update={"perceptual_noise": 4}))
    )
    assert networks.cost_of(two, 1) == networks.cost_of(one, 1)
    plain, heard = networks.cost_of(one, 1), networks.cost_of(two, 1, perceptual=True)
    assert heard.encoder_macs == plain.encoder_macs
    # It has the first decoder beside it, of the same size.
    weights = sum(p.numel() for p in two.perceptual.parameters() if p.dim() > 2)
    assert heard.decoder_macs - plain.decoder_macs > TRANSFORM.frame_rate * weights
    assert heard.parameters == sum(p.numel() for p in two.parameters())
    assert heard.lookahead_ms >= plain.lookahead_ms


def test_a_context_model_s_work_is_in_that_of_both_sides() -> None:
    plain, context = (
        networks.macs(AudioCodec(DEEPER.model_copy(update={"entropy": entropy})))
        for entropy in ("factorized", "context")
    )
    more = [with_it - without for with_it, without in zip(context, plain, strict=True)]
    assert more[0] == more[1] > 0


class Silent(Coder):
    def encode(self, waveform, sample_rate):
        return b""

    def decode(self, data):
        return np.zeros((1, 0), np.float32), 8_000


def test_who_does_not_know_says_nothing() -> None:
    assert Silent().cost(2) == Cost(None, None, None, None)
    assert OpusCoder(12).cost(1) == Cost(lookahead_ms=26.5)
    quick = OpusCoder(64, application="restricted_lowdelay", frame_ms=10)
    assert quick.cost(2) == Cost(lookahead_ms=12.5)


def test_lc3_knows_its_delay() -> None:
    pytest.importorskip("lc3")
    from pipeline.coders.frames import Lc3Coder

    assert Lc3Coder(kbps=32).cost(1).lookahead_ms == 12.5


def test_the_table_of_points_has_all_of_it() -> None:
    row = {
        "point": "ours", "series": "neural", "metric": "si_sdr", "kind": "music", "mean": 9.0,
        "low": 8.0, "high": 10.0, "worst": 7.654, "n_scored": 3, "n_total": 3, "file_kbps": 6.0,
        "payload_kbps": 5.9, "estimated_kbps": 5.8, "estimate_gap_percent": 0.1, "chosen": "",
        "bandwidth_khz": 11.75, "lookahead_ms": 769.96, "encoder_macs": 372e6,
        "decoder_macs": 269e6, "parameters": 7_494_186.0,
    }  # fmt: skip
    other = row | {"point": "anchor", "series": "opus", "worst": None, "lookahead_ms": 26.5}
    other |= dict.fromkeys(["bandwidth_khz", "encoder_macs", "decoder_macs", "parameters"])
    html = (
        page.environment()
        .get_template("curves.html.j2")
        .render(
            **page.curves([], [], [], pd.DataFrame([row, other])),
            summary={"bd_rate": [], "paired": []}, tested="ours", anchor="theirs",
        )
    )  # fmt: skip
    table = html[html.index("All points") :]
    ours, theirs = table[table.index("<tbody>") :].split("</tr>")[:2]
    for cell in ("<td>11.8</td>", "<td>770.0</td>", "<td>372, 269</td>", "<td>7.49</td>"):
        assert cell in ours
    assert "worst 7.654" in ours
    assert theirs.count("<td>–</td>") == 3
    assert "<td>26.5</td>" in theirs
    assert "worst" not in theirs
