"""What the speed stage codes."""

from pathlib import Path

import pytest

from codec import audio
from pipeline.corpora import manifest
from pipeline.stages import speed
from tests.conftest import tone


@pytest.mark.parametrize(("clips", "rate", "seconds"), [(7, 44_100, 9.9), (6, 16_000, 10.0)])
def test_the_first_minute_of_all_clips_is_coded(
    clips: int, rate: int, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "TEST", tmp_path)
    rows = []
    for name in map(str, range(clips + 1)):  # one more than a minute holds
        audio.write(tmp_path / f"{name}.flac", tone(seconds, rate), rate)
        rows.append(
            manifest.Clip(
                file=f"{name}.flac", kind="music", source=name, language="", sample_rate=rate,
                channels=1, seconds=seconds, licence="", origin="",
            )
        )  # fmt: skip
    manifest.write(tmp_path, rows)
    wave, found = speed.one_minute()
    assert (wave.shape, found) == ((1, pytest.approx(60 * 24_000, abs=clips)), 24_000)
