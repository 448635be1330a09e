"""A point whose coder needs what is not on this machine: it is named, and all else runs."""

import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from codec import audio
from codec.errors import UserError
from pipeline import layout, metrics, params
from pipeline.cli import results
from pipeline.coders import frames, opus
from pipeline.corpora import manifest
from pipeline.metrics import scoring
from pipeline.report import page
from pipeline.results import summary, tables
from pipeline.running import skipped
from pipeline.running.graph import Meta, Stage
from pipeline.stages import aggregate, anchors, code, score
from tests.conftest import ROOT, WITHOUT_RELEASED, tone

REASON = "coders: amr-wb: this system has no libnowhere.so.0; apt-get install libvo-amrwbenc0"
LIBOPUS = opus.library_path("av")
AMR = "{coder: amr-wb, from: data/test, options: {kbps: 6.6}, series: amr-wb}"
STAGES = [
    Stage(name, "", (), (), Meta(), ()) for name in ("code@amr-wb-6", "code@opus-12", "speed")
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One clip, Opus, and AMR-WB, whose library is missing and which was coded here before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(frames, "_AMR_WB_LIBRARY", "libnowhere.so.0")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    params.change([*WITHOUT_RELEASED, f"points.amr-wb-6={AMR}"])
    audio.write(layout.TEST / "a.flac", tone(1.0, 16_000), 16_000)
    clip = manifest.Clip(
        file="a.flac", kind="music", source="a", language="", sample_rate=16_000, channels=1,
        seconds=1.0, licence="", origin="",
    )  # fmt: skip
    manifest.write(layout.TEST, [clip])
    for path in (
        layout.coded_file("amr-wb-6", "a", ".amrwb"),
        layout.decoded_file("amr-wb-6", "a"),
    ):
        path.parent.mkdir(parents=True)
        path.write_text("of an earlier run")
    return tmp_path


def test_it_is_noted_and_all_else_runs(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(
        params.Params, "series", lambda self: {"amr-wb-6": "amr-wb", "opus-12": "opus"}
    )
    for point in ("amr-wb-6", "opus-12"):
        code.main(point)
    assert f"amr-wb-6 is skipped: {REASON}" in caplog.text
    assert [path.name for path in Path("coded/amr-wb-6").iterdir()] == ["SKIPPED"]
    assert [path.name for path in Path("decoded/amr-wb-6").iterdir()] == ["SKIPPED"]
    score.main("amr-wb-6")
    pair = scoring.Pair("a", "music", "data/test/a.flac", str(layout.decoded_file("opus-12", "a")))
    rows = [
        {"point": "opus-12", "clip": "a", "kind": "music", "source": "a", **row}
        for row in scoring.score_pair(pair)
    ]
    tables.write(layout.scores_table("opus-12"), pd.DataFrame(rows, columns=scoring.COLUMNS))
    anchors.without_clips()
    aggregate.main()
    found = summary.read(layout.SUMMARY)
    assert list(found.points) == ["opus-12"]
    assert found.skipped == {"amr-wb-6": REASON}
    assert found.test.clips == 1
    assert set(tables.read(layout.CURVE).point) == {"opus-12"}
    monkeypatch.setattr(metrics, "skipped", lambda: {"other": "needs more"})
    assert page.skipped(found) == {REASON: "amr-wb-6", "needs more": "other"}


def test_a_run_that_skips_all_of_its_points_says_so(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(params.Params, "series", lambda self: {"amr-wb-6": "amr-wb"})
    code.main("amr-wb-6")
    with pytest.raises(UserError, match=f"every point was skipped: {REASON}"):
        aggregate.main()


def test_a_run_codes_it_when_its_library_is_there(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code.main("amr-wb-6")
    assert skipped.reconsidered(STAGES) == STAGES
    monkeypatch.setattr(skipped, "build", lambda name, options: None)
    found = skipped.reconsidered(STAGES)
    assert skipped.named(found) == {"code@amr-wb-6", "speed"}
    assert found[1] == STAGES[1]
    params.FILE.write_text(params.FILE.read_text().replace("  amr-wb-6:", "  another:"))
    assert skipped.reconsidered(STAGES) == STAGES


def test_what_was_never_skipped_is_left_to_dvc(project: Path) -> None:
    code.main("opus-12")
    assert skipped.reconsidered(STAGES) == STAGES


def test_the_command_says_what_installs_the_missing_anchors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(frames, "_AMR_WB_LIBRARY", "libnowhere.so.0")
    monkeypatch.setitem(sys.modules, "lc3", None)
    monkeypatch.setattr(opus, "enhances", lambda library: True)
    monkeypatch.setattr(opus, "library_path", lambda library: LIBOPUS)
    results.anchors()
    lines = capsys.readouterr().out.splitlines()
    assert f"amr-wb           missing    {REASON}" in lines
    assert "opus-lace        installed  libopus 1.6.1" in lines
    assert lines[-2:] == ["apt-get install libvo-amrwbenc0", "pip install 'rdcodec[anchors]'"]
