"""What the speed stage codes."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from codec import audio
from codec.errors import UserError
from pipeline import params
from pipeline.corpora import manifest
from pipeline.stages import speed
from tests.conftest import ROOT, tone


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


CODER = """
import logging, sys
from pipeline.coders import Coder, Unavailable

class Loud(Coder):
    def __init__(self, broken):
        self.broken = broken
        if broken is None:
            raise Unavailable("it is not here")

    def encode(self, waveform, sample_rate):
        logging.getLogger("other").info("encodes now")
        print("and prints")
        if self.broken:
            sys.exit(3)
        return bytes(10)

    def decode(self, data):
        import numpy as np
        return np.zeros((1, 100), np.float32), 8000
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of one point, whose coder comes from elsewhere and logs and prints."""
    info = tmp_path / "site/loud-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[rdcodec.coders]\nloud = loud:Loud\n")
    (tmp_path / "site/loud.py").write_text(CODER)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), str(ROOT)]))
    audio.write(tmp_path / "data/test/a.flac", tone(1.0, 8_000), 8_000)
    clip = manifest.Clip(
        file="a.flac", kind="music", source="a", language="", sample_rate=8_000, channels=1,
        seconds=1.0, licence="", origin="",
    )  # fmt: skip
    manifest.write(tmp_path / "data/test", [clip])
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(params.Params, "series", lambda self: {"loud": "loud"})
    return tmp_path


def declare(broken: bool | None) -> None:
    options = f"{{broken: {json.dumps(broken)}}}"
    point = f"{{coder: loud, from: data/test, options: {options}, series: loud}}"
    params.change([f"points.loud={point}"])


def test_a_coder_may_log_and_print(project: Path) -> None:
    declare(broken=False)
    speed.main()
    table = pd.read_csv(speed.SPEED)
    assert table.point.tolist() == ["loud"]
    assert table.encode_x[0] > 0


def test_a_coder_that_fails_is_one_line(project: Path) -> None:
    declare(broken=True)
    with pytest.raises(UserError, match="speed: loud failed with exit status 3"):
        speed.main()
    assert not speed.SPEED.exists()


def test_a_coder_that_is_not_here_is_left_out(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    declare(broken=None)
    assert speed.in_its_own("loud") is None
    assert "loud is skipped: it is not here" in capfd.readouterr().out
