import pytest
from pydantic import ValidationError

from codec.config import PRESETS, CodecConfig


def test_seed_preset_makes_six_thousand_frames_of_48000_samples() -> None:
    config = PRESETS["seed-48k"]
    assert config.hop == 8
    assert config.frame_rate == 6_000
    assert config.latent_channels == 64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strides": [0]}, "stride is at least 1"),
        ({"kernel": 6}, "even"),
        ({"window": 1000}, "does not divide"),
        ({"window": 320}, "at least two parts"),
        ({"widths": [64, 64]}, "one of each"),
        ({"sample_rate": 100}, "greater than or equal to 8000"),
        ({"gain_steps": [5.0]}, "at least 2 items"),
        ({"gain_steps": [5.0, 0.0]}, "0.5 to 20 dB"),
        ({"colour": "red"}, "Extra inputs"),
        ({"latent_channels": "many"}, "valid integer"),
    ],
)
def test_impossible_architectures_are_refused(change: dict[str, object], message: str) -> None:
    fields = PRESETS["spectral-24k"].model_dump() | change
    with pytest.raises(ValidationError, match=message):
        CodecConfig.model_validate(fields)
