"""The codec without the bench: its commands need nothing that only the pipeline uses."""

import os
import subprocess
import sys
from pathlib import Path

from codec import audio
from tests.conftest import ROOT, tone

BENCH = (
    "pipeline bjontegaard dvc dvclive espeakng_loader fastapi jinja2 lightning_fabric opuslib "
    "pandas pesq plotly prefect psutil pystoi ruamel scipy transformers visqol yaml zimtohrli "
    "distributed httpx networkx"
)
HIDING = f"""
import runpy, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BENCH.split()!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
sys.argv[0] = "codec"
runpy.run_module("codec", run_name="__main__", alter_sys=True)
"""


def test_its_commands_work_where_the_bench_is_not_installed(tmp_path: Path) -> None:
    def codec(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", HIDING, *words], cwd=tmp_path, check=False, text=True,
            capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    model = ("--model", str(ROOT / "tests/golden/spectral.safetensors"))
    audio.write(tmp_path / "a.wav", tone(0.5, 8_000), 8_000)
    assert "kbps" in codec("encode", "a.wav", "a.rdc", *model)
    assert "0.50 s at 8000 Hz" in codec("decode", "a.rdc", "b.wav", *model)
    assert "general-24k" in codec("models")
    # A released model, which is found by its name and by the hash in the file.
    assert "kbps" in codec("encode", "a.wav", "b.rdc", "--kbps", "6")
    assert "0.50 s at 8000 Hz" in codec("decode", "b.rdc", "c.wav")


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, codec, codec.cli; from codec import PRESETS;"
        "print([name for name in ('torch', 'numpy', 'soundfile', 'av') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"
