"""speed: how fast each series codes on one core, and how much memory that takes.

One point of each series, the one in its middle, in a process of its own: loading its coder, then
the median of several rounds over the same audio. Writes reports/speed.csv.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from codec import audio
from codec.errors import UserError
from codec.files import write_text
from pipeline import params
from pipeline.coders import Unavailable, build
from pipeline.corpora import manifest
from pipeline.layout import SPEED, TEST
from pipeline.results import tables
from pipeline.stage import enter, log, progress

ONE_CORE = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}


def main(point: str | None = None, answer: str | None = None) -> None:
    settings = params.load()
    if point is not None and answer is not None:
        found = None
        try:
            found = measure(settings, point)
        except Unavailable as missing:
            log.warning("%s is skipped: %s", point, missing)
        write_text(answer, json.dumps(found))
        return
    series: dict[str, list[str]] = {}
    for name, title in settings.series().items():
        series.setdefault(title, []).append(name)
    chosen = [points[len(points) // 2] for title, points in series.items() if title != "ablation"]
    rows = []
    for name in progress(chosen, len(chosen), "speed"):
        if measured := in_its_own(name):
            rows.append({"point": name, "series": settings.series()[name], **measured})
    table = pd.DataFrame(rows)
    tables.write(SPEED, table, "%.4g")
    log.info("%s", table.to_string(index=False))


def in_its_own(point: str) -> dict[str, float] | None:
    """What ``measure`` finds in a process of its own; UserError where that one fails.

    None where this machine lacks what the coder needs. The process answers by a file: its output is
    the log's, and what coders and libraries print there.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "pipeline.stages.speed", point, str(answer)]
        done = subprocess.run(command, env={**os.environ, **ONE_CORE}, check=False)
        if done.returncode:
            raise UserError(
                f"speed: {point} failed with exit status {done.returncode}; what it said of it "
                "stands above"
            )
        found: dict[str, float] | None = json.loads(answer.read_text(encoding="utf-8"))
        return found


def measure(settings: params.Params, point: str) -> dict[str, float]:
    """× real time of encoding and decoding the test clips' first minute, and peak memory in MB."""
    import torch

    torch.set_num_threads(1)
    coder = build(*settings.coder_of(point))
    wave, rate = one_minute()
    seconds = wave.shape[-1] / rate
    data = coder.encode(wave, rate)
    coder.decode(data)
    encoding = _median(lambda: coder.encode(wave, rate), settings.speed.rounds)
    decoding = _median(lambda: coder.decode(data), settings.speed.rounds)
    status = Path("/proc/self/status")
    peak = float("nan")
    if status.is_file():
        # Not ru_maxrss, which a process inherits from the one that started it.
        (line,) = [line for line in status.read_text().splitlines() if "VmHWM" in line]
        peak = int(line.split()[1]) / 1024
    return {
        "seconds": seconds,
        "encode_x": seconds / encoding,
        "decode_x": seconds / decoding,
        "peak_mb": peak,
    }


def one_minute() -> tuple[np.ndarray, int]:
    """(1, samples) of the test clips one after the other, at 24 kHz, and that rate."""
    rate, parts, missing = 24_000, [], 60.0
    for clip in manifest.read(TEST):
        if missing < 1 / rate:
            break
        wave, own = audio.read(TEST / clip.file)
        mono = wave.mean(axis=0, keepdims=True)[:, : round(missing * own)]
        parts.append(audio.resample(mono, own, rate))
        missing -= mono.shape[-1] / own
    return np.concatenate(parts, axis=-1), rate


def _median(work: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


if __name__ == "__main__":
    enter(main)
