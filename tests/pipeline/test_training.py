"""Training of every architecture, and the segments that it gets."""

from pathlib import Path

import numpy as np
import pytest
import torch

from codec import audio
from codec.config import PRESETS, CodecConfig
from codec.model import AudioCodec
from pipeline import params
from pipeline.corpora import manifest
from pipeline.training import loop
from pipeline.training.data import Segments
from tests.conftest import ROOT, tone


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips: a mono one at 16 kHz and a stereo one, with an edge, at 48 kHz."""
    folder = tmp_path_factory.mktemp("split")
    clips = []
    for name, rate, channels in (("mono", 16_000, 1), ("stereo", 48_000, 2)):
        audio.write(folder / f"{name}.flac", tone(1.5, rate, channels=channels), rate)
        clips.append(
            manifest.Clip(
                file=f"{name}.flac", kind="music", source=name, language="", sample_rate=rate,
                channels=channels, seconds=1.5, licence="", origin="",
            )
        )  # fmt: skip
    manifest.write(folder, clips)
    return folder


def test_segments_have_the_codec_s_channels(split: Path) -> None:
    one = Segments(split, 24_000, 1, 12_000, [0]).batch(40, gain_db=(0, 0))
    assert one.shape == (40, 1, 12_000)
    # A clip of two channels, an octave apart, is two clips for a codec of one.
    peaks = {int(np.abs(np.fft.rfft(segment[0])).argmax()) * 2 for segment in one}
    assert peaks == {440, 880}
    two = Segments(split, 24_000, 2, 12_000, [0]).batch(40)
    assert two.shape == (40, 2, 12_000)
    # The mono clip in both channels, but not at the same level; the stereo clip as it is.
    left, right = two[:, 0].numpy(), two[:, 1].numpy()
    alike = [abs(np.corrcoef(a, b)[0, 1]) > 0.999 for a, b in zip(left, right, strict=True)]
    assert 0 < sum(alike) < 40
    assert all(not np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def test_segments_follow_their_seed(split: Path) -> None:
    make = lambda seed: Segments(split, 8_000, 1, 4_000, [seed]).batch(4)  # noqa: E731
    assert torch.equal(make(1), make(1))
    assert not torch.equal(make(1), make(2))


@pytest.mark.slow
@pytest.mark.parametrize("quantizer", ["scalar", "residual"])
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains_compresses_and_decompresses(
    preset: str, quantizer: str, split: Path
) -> None:
    torch.manual_seed(0)
    fields = PRESETS[preset].model_dump() | {"quantizer": quantizer, "codebook_size": 64}
    codec = AudioCodec(CodecConfig.model_validate(fields))
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    settings = params.load(ROOT / "params.yaml")
    optimizer = settings.optimizer.model_copy(update={"batch_size": 2, "warmup_steps": 0})
    config = codec.config
    size = config.sample_rate // 8 // config.hop * config.hop
    segments = Segments(split, config.sample_rate, config.channels, size, [0])
    curve = loop.train(codec, loop.Objective(settings.loss, 0.01), optimizer, 2, segments, segments)
    assert np.isfinite(curve.total).all()
    assert curve.step.max() == 2
    moved = {name for name, value in codec.state_dict().items() if not value.equal(before[name])}
    assert {name.partition(".")[0] for name in moved} >= {"encoder", "prior", "decoder"}
    assert ("quantizer.vectors" in moved) == (quantizer == "residual")
    codec.freeze()
    wave = tone(0.3, 44_100, channels=2)
    back, rate = codec.decompress(codec.compress(wave, 44_100))
    assert (back.shape, rate) == (wave.shape, 44_100)
    assert np.isfinite(back).all()
