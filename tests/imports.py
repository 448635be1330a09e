"""Which modules of this repository import which, as their source says."""

import ast
import tomllib
from functools import cache

from tests.conftest import ROOT

PACKAGES = ("codec", "pipeline")
# A room that builds what an entry point names may run any of these modules.
PLUGINS = {"rdcodec.coders": "pipeline/coders", "rdcodec.metrics": "pipeline/metrics",
           "rdcodec.corpora": "pipeline/corpora"}  # fmt: skip


@cache
def modules() -> dict[str, str]:
    """Every module's dotted name, and its path from the root."""
    return {
        ".".join(path.with_suffix("").parts).removesuffix(".__init__"): path.as_posix()
        for package in PACKAGES
        for path in (file.relative_to(ROOT) for file in sorted((ROOT / package).rglob("*.py")))
    }


@cache
def imported(path: str) -> frozenset[str]:
    """The dotted names that a file imports anywhere in it, others' packages among them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute here"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import module` wants nothing of the package itself.
            names |= {name if name in modules() else str(node.module) for name in whole}
    return frozenset(names)


def needed(path: str) -> set[str]:
    """The files of this repository that a file imports.

    Not the packages that are only passed through on the way to a module.
    """
    return {modules()[name] for name in imported(path) if name in modules()} - {path}


@cache
def plugins() -> dict[str, frozenset[str]]:
    """For each room with entry points, the files that they name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {
        f"{room}/__init__.py": frozenset(
            modules()[entry.partition(":")[0]]
            for entry in project["entry-points"].get(group, {}).values()
        )
        for group, room in PLUGINS.items()
    }


def closure(path: str, cut: set[str]) -> set[str]:
    """The files that run when a file does; those in ``cut`` are neither named nor followed.

    ``cut`` has files, and folders for all that is in them.
    """
    found: set[str] = set()
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file in found or covered(file, cut):
            continue
        found.add(file)
        waiting += [*needed(file), *plugins().get(file, ())]
    return found


def covered(path: str, by: set[str]) -> bool:
    """Whether a file is one of these, or in one of these folders."""
    return any(path == one or path.startswith(f"{one}/") for one in by)
