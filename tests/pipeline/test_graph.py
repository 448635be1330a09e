import re
import subprocess
import sys

import pytest

from codec.errors import UserError
from pipeline import params
from pipeline.graph import Stage, stages
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def graph() -> list[Stage]:
    return stages(str(ROOT))


def test_graph_is_dvc_s_own(graph: list[Stage]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "dag", "--dot"],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    drawn = set(re.findall(r'"([^"]+)" -> "([^"]+)"', done.stdout))
    assert {(need, stage.name) for stage in graph for need in stage.needs} == drawn


def test_every_stage_comes_after_what_it_needs(graph: list[Stage]) -> None:
    names = [stage.name for stage in graph]
    for index, stage in enumerate(graph):
        assert set(stage.needs) <= set(names[:index])


def test_there_is_a_stage_per_model_and_per_anchor(graph: list[Stage]) -> None:
    names = {stage.name for stage in graph}
    found = params.load(ROOT / "params.yaml")
    for model in found.models:
        for group in ("train", "fit_entropy", "compress", "score"):
            assert f"{group}@{model}" in names
    for kbps in found.opus.bitrates:
        assert {f"anchor@{kbps}", f"score_anchor@{kbps}"} <= names
    assert {"prepare", "pretrain", "aggregate", "report", "check"} <= names


def test_a_broken_dvc_yaml_is_one_line(tmp_path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "dvc.yaml").write_text("stages: {a: {comand: x}}\n")
    with pytest.raises(UserError, match=r"dvc\.yaml: ") as raised:
        stages(str(tmp_path))
    assert "\n" not in str(raised.value)
