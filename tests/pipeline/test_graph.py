import json
import os
import re
import subprocess
import sys
import time

import psutil
import pytest

from codec.errors import UserError
from pipeline import params
from pipeline.running.graph import Stage, stages
from tests.conftest import ROOT
from tests.pipeline import toy


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


def test_there_is_a_stage_per_model_and_per_point(graph: list[Stage]) -> None:
    found = params.load(ROOT / "params.yaml")
    assert {stage.name for stage in graph} == {
        "prepare", "pretrain", "anchors", "aggregate", "speed", "report", "check",
        *(f"{group}@{model}" for model in found.models
          for group in ("train", "fit_entropy", "symbols")),
        *(f"{group}@{point}" for point in found.points for group in ("code", "score")),
    }  # fmt: skip


def test_a_point_waits_for_its_model_and_for_nothing_else(graph: list[Stage]) -> None:
    needs = {stage.name: stage.needs for stage in graph}
    assert needs["code@neural-rvq-q2"] == ("fit_entropy@rvq", "prepare")
    assert needs["code@opus-6"] == ("prepare",)
    assert needs["score@opus-6"] == ("code@opus-6", "prepare")


def test_a_broken_dvc_yaml_is_one_line(tmp_path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "dvc.yaml").write_text("stages: {a: {comand: x}}\n")
    with pytest.raises(UserError, match=r"dvc\.yaml: ") as raised:
        stages(str(tmp_path))
    assert "\n" not in str(raised.value)


def test_the_dead_hold_no_locks(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a process that nobody has collected yet, nor one whose number another has now."""
    toy.make(tmp_path, "stages: {a: {cmd: echo > a.txt, deps: [curve.csv], outs: [a.txt]}}\n")
    table = tmp_path / ".dvc" / "tmp" / "rwlock"
    killed = subprocess.Popen(["sleep", "60"])
    killed.kill()
    while psutil.Process(killed.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    heir = os.getpid()
    out, dep = str(tmp_path / "a.txt"), str(tmp_path / "curve.csv")
    held = {
        "write": {out: {"pid": killed.pid, "cmd": "dvc repro"}},
        "read": {dep: [{"pid": heir, "cmd": "dvc repro"}]},
    }
    table.write_text(json.dumps(held))
    began = psutil.Process(heir).create_time() - 10
    os.utime(table, (began, began))
    monkeypatch.chdir(tmp_path)
    assert [stage.name for stage in stages()] == ["a"]
    killed.wait()


def test_the_living_keep_their_locks(tmp_path) -> None:
    toy.make(tmp_path, "stages: {a: {cmd: echo > a.txt, outs: [a.txt]}}\n")
    holder = {"pid": os.getppid(), "cmd": "dvc repro"}
    table = tmp_path / ".dvc" / "tmp" / "rwlock"
    table.write_text(json.dumps({"write": {str(tmp_path / "a.txt"): holder}}))
    with pytest.raises(UserError, match="is busy, it is being blocked by"):
        stages(str(tmp_path))
