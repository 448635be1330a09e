"""What is killed: a small graph of slow stages, or the real pipeline made tiny."""

import fnmatch
import hashlib
import shutil
from pathlib import Path

import yaml

from tests.project import TINY, Project

HERE = Path(__file__).parent
# What a clock writes, or the machine's load.
VOLATILE = (
    "models/*/training.json",
    "reports/check.md",
    "reports/index.html",
    "reports/speed.csv",
)


NEEDS = {
    "first": ["input.txt"],
    "a": ["out/first"],
    "b": ["out/first"],
    "pool": ["out/first"],
    "pair": ["out/a", "out/b"],
    "last": ["tables"],  # a folder that others write into
}


def synthetic(folder: Path, seconds: float = 0.6) -> Project:
    """A project of six stages of ``work.py``: one, three side by side, one on two, one on all."""
    project = Project(folder)
    shutil.copy(HERE / "work.py", folder / "pipeline" / "stages")
    (folder / "input.txt").write_text("input\n")
    stages = {
        name: {
            "cmd": f"sh pipeline/stage.sh work {name} {seconds} {table(name)} {' '.join(deps)}",
            "deps": deps,
            "outs": [f"out/{name}", table(name)],
        }
        for name, deps in NEEDS.items()
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    (folder / "params.yaml").write_text("{}\n")
    (folder / ".gitignore").write_text("/out\n/tables\n/end\n/.prefect\n__pycache__/\n")
    return project


def table(name: str) -> str:
    """The single file that a stage writes beside its folder."""
    return f"end/{name}.csv" if name == "last" else f"tables/{name}.csv"


# A stage of each kind is enough.
FEW = [
    "models={low: {beta: 1.0}}",
    "points={neural-low: {coder: rdcodec, from: models/low/model.safetensors, series: neural}, "
    "opus-6: {coder: opus, from: data/test, options: {kbps: 6}, series: opus}, "
    "opus-24: {coder: opus, from: data/test, options: {kbps: 24}, series: opus}}",
    "corpus.synthetic.test_clips=4",
]


def tiny(folder: Path) -> Project:
    """The real pipeline with the parameters of the end-to-end test, and fewer points."""
    project = Project(folder)
    project.set(*TINY, *FEW)
    return project


def outputs(folder: Path) -> dict[str, str]:
    """SHA-256 of every finished file in the folders where stages write, by path.

    Files that are being written and those of ``VOLATILE`` are left out.
    """
    stages = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"].values()
    outs = [out for stage in stages for key in ("outs", "metrics")
            for out in stage.get("do", stage).get(key, [])]  # fmt: skip
    names = {
        path.relative_to(folder).as_posix(): path
        for top in {Path(out).parts[0] for out in outs}
        for path in (folder / top).rglob("*")
        if path.is_file() and ".part" not in path.name and path.name != ".gitignore"
    }
    return {
        name: hashlib.sha256(names[name].read_bytes()).hexdigest()
        for name in sorted(names)
        if not any(fnmatch.fnmatch(name, pattern) for pattern in VOLATILE)
    }
