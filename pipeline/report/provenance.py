"""What was run: revision, versions and machine."""

import importlib.metadata
import os
import platform
from pathlib import Path

from codec.errors import UserError
from pipeline.git import git
from pipeline.metrics import installed

PACKAGES = ("rdcodec", "torch", "constriction", "av", "opuslib", "soxr", "soundfile", "bjontegaard",
            "dvc", "prefect", "numpy")  # fmt: skip
"""Of all that decides the results, beside the metrics' own."""


def revision() -> str:
    """The commit, its date, and whether files were changed since; or why that is not known."""
    try:
        commit = git("log", "-1", "--format=%h of %cs")
        # Untracked files count too: a stage may well read one.
        changed = git("status", "--porcelain")
    except UserError as error:
        return str(error)
    return f"{commit}{', with uncommitted changes' if changed else ''}"


def versions() -> dict[str, str]:
    """Installed versions of the packages that decide the results."""
    names = dict.fromkeys([*PACKAGES, *(metric.package for metric in installed().values())])
    return {"Python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in names
    }


def machine() -> str:
    """Processor, cores and system, in words."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
