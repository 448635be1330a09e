"""The arrows between rooms, and that each stage's dependencies have the code that it runs."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from codec import checkpoint
from pipeline import layout
from pipeline.training import resume
from tests.conftest import ROOT
from tests.imports import PACKAGES, closure, covered, imported, modules, needed

FILES = sorted(modules().values())
STAGES = {
    name: stage.get("do", stage)
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items()
}
# What a stage may run without depending on it.
EXCEPTIONS = {
    "codec/errors.py": "what is said when a stage fails",
    "codec/files.py": "how files are written, not what stands in them",
    "codec/process.py": "how a process ends",
    "pipeline/git.py": "what git says of a revision is no input",
    "pipeline/layout.py": "a path of a stage stands in dvc.yaml, too",
    "pipeline/params": "the values that a stage reads are its params",
    "pipeline/results/tables.py": "how a table is written and read back",
    "pipeline/stage.py": "how a stage starts and logs",
}
# The results of another revision are in DVC's cache.
READS_REVISIONS = {"pipeline/results/compare.py"}
# Data without behaviour, which trained and coding parts share.
PLAIN = {"codec/coding/tables.py"}


def room(path: str) -> str:
    """`codec/nn` of codec/nn/layers.py; a module that is in no room stands for itself."""
    parts = Path(path).parts
    return "/".join(parts[:2])


def edges(source: str, target: str) -> set[tuple[str, str]]:
    """Imports from a room, package or file into another."""
    return {
        (path, other)
        for path in FILES
        if covered(path, {source})
        for other in needed(path)
        if covered(other, {target})
    }


def test_the_codec_knows_no_bench() -> None:
    assert not edges("codec", "pipeline")


def test_the_codec_imports_what_its_group_of_dependencies_names() -> None:
    """The group is what `.ci/dist` installs; Python's own modules are in no group."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    imports = {
        name.partition(".")[0]
        for path in FILES
        if covered(path, {"codec"})
        for name in imported(path)
    }
    others = imports - sys.stdlib_module_names - set(PACKAGES)
    assert {name.replace("_", "-") for name in others} == set(project["dependency-groups"]["codec"])


def test_what_trains_and_what_makes_bytes_share_plain_data_alone() -> None:
    assert not edges("codec/coding", "codec/nn")
    assert {other for _, other in edges("codec/nn", "codec/coding")} <= PLAIN


@pytest.mark.parametrize("package", ["prefect", "dvc"])
def test_only_running_knows(package: str) -> None:
    found = {path for path in FILES for name in imported(path) if name.partition(".")[0] == package}
    if package == "dvc":
        found -= READS_REVISIONS
    assert found
    assert {room(path) for path in found} == {"pipeline/running"}


def test_stages_import_no_stage_and_parts_import_none_either() -> None:
    # The command `check` is the stage of that name, run by hand; `bench` runs some without DVC.
    stages = ("prepare", "code", "score", "anchors", "aggregate", "speed", "report")
    assert edges("pipeline", "pipeline/stages") == {
        ("pipeline/cli/results.py", "pipeline/stages/check.py"),
        *(("pipeline/cli/bench.py", f"pipeline/stages/{stage}.py") for stage in stages),
    }


def test_no_part_knows_who_runs_it() -> None:
    for top in ("pipeline/cli", "pipeline/running"):
        users = {room(path) for path, _ in edges("pipeline", top)}
        assert users <= {"pipeline/cli", "pipeline/running"}


def commands() -> dict[str, str]:
    """For each stage of dvc.yaml, the module that its command runs."""
    found = {}
    for name, stage in STAGES.items():
        shell, script, module, *_ = stage["cmd"].split()
        assert (shell, script) == ("sh", "pipeline/stage.sh")
        found[name] = f"pipeline/stages/{module}.py"
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_that_it_runs(stage: str) -> None:
    runs = closure(commands()[stage], set(EXCEPTIONS))
    missing = {path for path in runs if not covered(path, set(STAGES[stage]["deps"]))}
    assert not missing


def test_every_stage_module_is_run_by_a_stage() -> None:
    modules_of_stages = {
        path for path in FILES if path.startswith("pipeline/stages/") and "__init__" not in path
    }
    assert set(commands().values()) == modules_of_stages


def test_the_closure_follows_imports_inside_functions_and_entry_points() -> None:
    """The test above would say nothing if it saw too little."""
    runs = closure("pipeline/stages/code.py", set(EXCEPTIONS))
    assert {
        "pipeline/stages/code.py",
        "codec/checkpoint.py",  # imported by codec/model.py where it is needed
        "pipeline/coders/opus.py",  # named by an entry point
        "pipeline/metrics/delay.py",
    } <= runs
    assert "pipeline/metrics/__init__.py" not in runs  # passed through on the way to delay.py
    assert not runs & {"pipeline/params/sections.py", "codec/files.py"}


def test_exceptions_are_there_and_are_needed() -> None:
    used = {
        one
        for stage in STAGES
        for path in closure(commands()[stage], set())
        for one in EXCEPTIONS
        if covered(path, {one})
    }
    assert used == set(EXCEPTIONS)


def code(stage: str) -> set[str]:
    return {dep for dep in STAGES[stage]["deps"] if dep.split("/")[0] in PACKAGES}


def test_a_training_goes_on_where_the_code_of_its_stage_is_the_same() -> None:
    assert set(resume.SOURCES) == code("train") == code("pretrain") - {"codec/weights"}


def test_the_sources_of_a_training_are_found_at_any_depth(tmp_path: Path) -> None:
    for place in resume.SOURCES:
        path = tmp_path / place if place.endswith(".py") else tmp_path / place / "deep/er/one.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "codec/cli.py").touch()
    found = {path.relative_to(tmp_path).as_posix() for path in resume.sources(tmp_path)}
    assert found == {
        place if place.endswith(".py") else f"{place}/deep/er/one.py" for place in resume.SOURCES
    }


def test_paths_of_dvc_yaml_are_those_of_the_layout() -> None:
    outs = {
        str(out).replace("${key}", "x")
        for stage in STAGES.values()
        for kind in ("outs", "metrics")
        for out in stage.get(kind, [])
    }
    point, name = "x", layout.external("x")
    written = [
        layout.TRAIN, layout.VALID, layout.TEST, layout.SKIPPED,
        layout.weights("x", "last"), layout.weights("x", "best"), layout.training_facts("x"),
        layout.model_file("x"),
        *(layout.model_table("x", table)
          for table in ("training", "entropy", "codes", "histogram", "entropy_coders")),
        layout.CODED / point, layout.DECODED / point, layout.files_table(point),
        layout.scores_table(point), layout.files_table(name), layout.scores_table(name),
        layout.ANCHORS, layout.CURVE, layout.SUMMARY, layout.SPEED, layout.PAGE, layout.VERDICT,
    ]  # fmt: skip
    assert {str(path) for path in written} <= outs
    assert layout.model_file("x").name == checkpoint.FILE_NAME
    assert layout.model_table("x", "training").name == layout.TRAINING


def test_the_map_has_every_room_and_every_stage() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    rows = set(re.findall(r"^\| `((?:codec|pipeline)[\w/]*)` \|", page, re.MULTILINE))
    rooms = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).iterdir()
        if path.is_dir() and any(path.glob("*.[pysm]*"))
    }
    assert rows == rooms | {"codec"}
    way = page[page.index("## The way of the data") : page.index("## To add")]
    named = re.findall(r"^(\w+)(?:, (\w+))?  ", way, re.MULTILINE)
    assert {name for pair in named for name in pair if name} == set(STAGES)
