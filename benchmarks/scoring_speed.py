"""Speed of scoring: one core against two, processes against Dask, memory against the clips' number.

Prints Markdown. Each measurement scores from nothing, in a folder and a process of its own.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from codec import audio
from pipeline import params
from pipeline.corpora import synthetic
from pipeline.metrics import scoring

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "pipeline" / "corpora" / "recipes" / "test.yaml"
CLIPS, SECONDS = 52, 5.0
SHORT_CLIPS, SHORT_SECONDS = 2000, 0.5
RUNS = 3


def corpus(folder: Path) -> list[scoring.Pair]:
    """Clips of the synthetic corpus, each beside itself with noise 15 dB below."""
    rng = np.random.default_rng(0)
    pairs = []
    for clip, waveform in synthetic.make(RECIPE, 0, CLIPS, SECONDS):
        noise = rng.standard_normal(waveform.shape) * waveform.std() * 10 ** (-15 / 20)
        pairs.append(_pair(folder, clip.name, clip.kind, waveform, noise, clip.sample_rate))
    return pairs


def short_corpus(folder: Path) -> list[scoring.Pair]:
    """General clips of half a second: the work is small, what is around it is not."""
    rng = np.random.default_rng(0)
    shape = (1, round(SHORT_SECONDS * 48_000))
    pairs = []
    for index in range(SHORT_CLIPS):
        waveform, noise = 0.1 * rng.standard_normal(shape), 0.02 * rng.standard_normal(shape)
        pairs.append(_pair(folder, f"{index:04d}", "general", waveform, noise, 48_000))
    return pairs


def _pair(
    folder: Path, name: str, kind: str, waveform: np.ndarray, noise: np.ndarray, rate: int
) -> scoring.Pair:
    reference, degraded = folder / f"{name}-ref.flac", folder / f"{name}-deg.flac"
    audio.write(reference, waveform.astype(np.float32), rate)
    audio.write(degraded, (waveform + noise).astype(np.float32), rate)
    return scoring.Pair(name, kind, str(reference), str(degraded))


def measured(pairs: list[scoring.Pair], executor: str, jobs: int) -> tuple[float, float]:
    """Seconds of wall time and peak memory in MB of a process that scores ``pairs``."""
    with tempfile.TemporaryDirectory() as folder:
        words = [executor, str(jobs), *(json.dumps(vars(pair)) for pair in pairs)]
        (Path(folder) / "work.json").write_text(json.dumps(words))
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.scoring_speed", "work.json"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def score(work: Path) -> None:
    """Score what ``work`` names; print seconds, and the peak memory of the largest process."""
    executor, jobs, *pairs = json.loads(work.read_text())
    began = time.perf_counter()
    named = [scoring.Pair(**json.loads(pair)) for pair in pairs]
    asked = {"executor": executor, "jobs": int(jobs)}
    settings = params.load(ROOT / "params.yaml").score.model_copy(update=asked)
    found = dict(scoring.score(named, settings))
    seconds = time.perf_counter() - began
    if len(found) != len(named):
        raise RuntimeError(f"{len(found)} of {len(named)} clips were scored")
    largest = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(json.dumps([seconds, largest / 1024]))


def main() -> None:
    """Measure and print."""
    if len(sys.argv) > 1:
        score(Path(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as name:
        pairs = corpus(Path(name))
        total = CLIPS * SECONDS
        # Side by side, so that a busy moment of the machine hits both.
        times = np.array(
            [[measured(pairs, "processes", jobs)[0] for jobs in (1, 2)] for _ in range(RUNS)]
        )
    one, two = np.median(times, axis=0)
    print("| scoring, all metrics | s | s per s of audio |\n| --- | ---: | ---: |")
    print(f"| {CLIPS} clips of {SECONDS:.0f} s, one process | {one:.1f} | {one / total:.2f} |")
    print(f"| {CLIPS} clips of {SECONDS:.0f} s, two processes | {two:.1f} | {two / total:.2f} |")
    with tempfile.TemporaryDirectory() as name:
        pairs = short_corpus(Path(name))
        runs = [[measured(pairs, executor, 2) for executor in ("processes", "dask")]
                for _ in range(RUNS)]  # fmt: skip
        _, few = measured(pairs[: SHORT_CLIPS // 10], "processes", 2)
    pool, dask = np.median([[seconds for seconds, _ in pair] for pair in runs], axis=0)
    many = float(np.median([pair[0][1] for pair in runs]))
    total = SHORT_CLIPS * SHORT_SECONDS
    for title, seconds in (("two processes", pool), ("a Dask cluster of two workers", dask)):
        print(
            f"| {SHORT_CLIPS} clips of {SHORT_SECONDS} s, {title} "
            f"| {seconds:.1f} | {seconds / total:.2f} |"
        )
    print(
        f"\nTwo processes: {np.median(times[:, 0] / times[:, 1]):.2f} times one; "
        f"Dask takes {dask / pool:.2f} times the processes' time. "
        f"Peak memory of a process: {few:.0f} MB with {SHORT_CLIPS // 10} clips, "
        f"{many:.0f} MB with {SHORT_CLIPS}."
    )


if __name__ == "__main__":
    main()
