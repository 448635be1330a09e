"""`rdcodec bench`, as docs/own-coder.md shows it: ten lines of a stranger's code to a page."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from codec import audio
from codec.errors import UserError
from pipeline.cli import bench as command
from pipeline.metrics import selftest
from pipeline.results import tables
from tests.conftest import ROOT

PAGE = (ROOT / "docs/own-coder.md").read_text()
CODE = re.search(r"`my_coder\.py`.*?```python\n(.*?)```", PAGE, re.DOTALL)[1]
COMMAND = re.search(r"^(rdcodec bench .*)$", PAGE, re.MULTILINE)[1]
FAST = "--opus 8 --opus 24 --set score.jobs=1 --set speed.rounds=1 --set statistics.resamples=100"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A stranger's folder: a coder in one file, and two recordings."""
    (tmp_path / "my_coder.py").write_text(CODE)
    waves = selftest.signals()
    for name, wave in zip(("speech-a", "speech-b"), waves, strict=True):
        audio.write(tmp_path / f"recordings/{name}.wav", wave, selftest.RATE)
    return tmp_path


@pytest.mark.slow
def test_the_example_of_the_docs_makes_a_page(folder: Path) -> None:
    assert len([line for line in CODE.splitlines() if line.strip()]) <= 13
    words = shlex.split(f"{COMMAND} {FAST}")[1:]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pipeline.cli", *words], cwd=folder, check=False, text=True,
        capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"The page is {folder / 'bench/index.html'}" in done.stdout
    curve = tables.read(folder / "bench/rd.csv")
    assert set(curve.point) == {"roots-bits-4", "roots-bits-6", "opus-8", "opus-24"}
    scores = curve[(curve.metric == "pesq_wb") & (curve.kind == "speech")].set_index("point")
    assert scores["mean"]["roots-bits-6"] > scores["mean"]["roots-bits-4"] > 1
    summary = json.loads((folder / "bench/summary.json").read_text())
    assert "roots" in summary["headline"][0]
    assert "neural" not in " ".join(summary["headline"])
    page = (folder / "bench/index.html").read_text()
    assert "a point of roots and the Opus point" in page
    assert list((folder / "bench/assets/audio").iterdir())
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == {
        "bench", "my_coder.py", "recordings"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("coder", "clips", "options", "said"),
    [
        ("my_coder:Missing", "recordings", [], "my_coder:Missing: module 'my_coder' has no"),
        ("no_such:Coder", "recordings", [], "no_such:Coder: No module named 'no_such'"),
        ("my_coder:np", "recordings", [], "my_coder:np: is no class made of"),
        ("my_coder:Roots", "absent", [], "--clips absent: no such folder"),
        ("my_coder:Roots", "recordings", ["4"], "--options 4: write it as"),
        (
            "my_coder:Roots",
            "recordings",
            ["{bits: 4}"] * 2,
            "there is a point roots-bits-4 already",
        ),
    ],
)
def test_what_cannot_be_benched_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch,
    coder: str, clips: str, options: list[str], said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    # The command changes both; they are as before when the test is over.
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(UserError, match=said):
        command.bench(coder, Path(clips), options)


def test_the_action_and_the_hook_call_the_command() -> None:
    hook = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())[0]
    assert (hook["id"], hook["entry"]) == ("rdcodec-bench", "rdcodec bench")
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    steps = action["runs"]["steps"]
    scripts = [step["run"] for step in steps if "run" in step]
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert 'rdcodec" bench "$CODER" --clips "$CLIPS"' in scripts[1]
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/ci.md").read_text(), re.DOTALL)
    used, configured = map(yaml.safe_load, blocks)
    assert set(used["steps"][1]["with"]) <= set(action["inputs"])
    assert configured["repos"][0]["hooks"][0]["id"] == hook["id"]
