"""The real pipeline, copied and made tiny."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from pipeline import params
from tests.conftest import ROOT

TINY = [
    "corpus.synthetic.train_minutes=0.5",
    "corpus.synthetic.train_seconds=2.0",
    "corpus.synthetic.test_clips=8",
    "corpus.synthetic.test_seconds=1.5",
    "codec.widths=[24]",
    "codec.encoder_blocks=1",
    "codec.decoder_blocks=1",
    "codec.latent_channels=8",
    "optimizer.batch_size=2",
    "optimizer.segment_seconds=0.5",
    "optimizer.warmup_steps=2",
    "loss.stft_scales=[512, 1024]",
    "pretrain.init=scratch",
    "pretrain.steps=12",
    "train.steps=8",
    "models={low: {beta: 1.0}, high: {beta: 0.0}, "
    "rvq: {beta: 0.0, loss: {gamma: 0.25}, "
    "codec: {quantizer: residual, codebooks: 3, codebook_size: 16}}, "
    "mse: {beta: 0.0, ablates: high, loss: {log_magnitude: 0.0, phase: 0.0, mse: 1000.0}}}",
    "points={neural-low: {coder: rdcodec, from: models/low/model.safetensors, series: neural}, "
    "neural-high: {coder: rdcodec, from: models/high/model.safetensors, series: neural}, "
    "neural-rvq: {coder: rdcodec, from: models/rvq/model.safetensors, series: rvq}, "
    "neural-mse: {coder: rdcodec, from: models/mse/model.safetensors, series: ablation}, "
    "neural-rvq-q1: {coder: rdcodec, from: models/rvq/model.safetensors, "
    "options: {codebooks: 1}, series: rvq}, "
    "opus-6: {coder: opus, from: data/test, options: {kbps: 6}, series: opus}, "
    "opus-24: {coder: opus, from: data/test, options: {kbps: 24}, series: opus}, "
    "mp3-32: {coder: mp3, from: data/test, options: {kbps: 32}, series: mp3}}",
    "entropy.steps=20",
    "entropy.seconds=4.0",
    "speed.rounds=1",
    "score.jobs=1",  # a second process takes longer to start than it saves
    "statistics.resamples=200",
]


class Project:
    """A copy of the project's tracked files, under its own git and DVC."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("codec", "pipeline", ".dvc"):
            shutil.copytree(
                ROOT / name,
                folder / name,
                ignore=shutil.ignore_patterns("__pycache__", "tmp", "cache", "config.local"),
            )
        (folder / "reports").mkdir()
        (folder / "reports" / "baseline.json").write_text("{}\n")
        for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore", "pyproject.toml"):
            shutil.copy(ROOT / name, folder / name)
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        # The same revision in every copy: reports name it.
        when = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2026-01-01T00:00:00Z")
        subprocess.run(
            ["git", *who, "commit", "-q", "--allow-empty", "-m", "start"],
            cwd=folder, check=True, env={**os.environ, **when},
        )  # fmt: skip

    @classmethod
    def of(cls, folder: Path) -> "Project":
        """A project that is there already."""
        found = cls.__new__(cls)
        found.folder = folder
        return found

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": sys.prefix,
            "PREFECT_HOME": str(self.folder / ".prefect"),
            # A dashboard that happens to run must not see the tests' runs.
            "PREFECT_API_URL": "",
        }
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def rdcodec(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return self.run("pipeline.cli", *words)

    def dvc(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return self.run("dvc", *words)

    def set(self, *assignments: str) -> None:
        params.change(list(assignments), self.folder / "params.yaml")

    def summary(self) -> dict[str, dict]:
        return json.loads((self.folder / "reports" / "summary.json").read_text())
