"""Training and encoding beside other programs: threads that spin against ones that sleep.

Prints Markdown: seconds of a training step and of encoding ten seconds of audio, on all cores, on
an idle machine and beside one busy process for each core. Commands and stages have OpenMP's threads
sleep (codec/process.py): an idle machine loses nothing by it, and a busy one keeps its share.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

POLICIES = {"spin (OpenMP's default)": {}, "sleep (as we run)": {"GOMP_SPINCOUNT": "0"}}
BUSY = "while True: pass"
STEPS = 5


def median(work: Callable[[], object]) -> float:
    """Seconds of the middle one of some runs, after one to warm up."""
    work()
    found = []
    for _ in range(STEPS):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return sorted(found)[STEPS // 2]


def measure() -> dict[str, float]:
    """What one process takes: s of a training step, s of encoding 10 s."""
    import numpy as np
    import torch

    import codec
    from codec import checkpoint

    model = codec.load(checkpoint.DEFAULT)
    config = model.config
    waveform = 0.1 * torch.randn(4, config.channels, 75 * config.hop)

    def step() -> None:
        model.train()
        found = model(waveform)
        (found.waveform.square().mean() + found.kbps.mean()).backward()

    training = median(step)
    model.eval()
    audio = np.random.default_rng(0).standard_normal((1, 10 * config.sample_rate))
    wave = (0.1 * audio).astype(np.float32)
    return {"step": training, "encode": median(lambda: model.compress(wave, config.sample_rate))}


def child(policy: dict[str, str]) -> dict[str, float]:
    """``measure`` in a process whose OpenMP is told so before torch is loaded."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")
    }
    command = [sys.executable, "-m", "benchmarks.busy_machine", "--child"]
    done = subprocess.run(command, env=inherited | policy, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure and print."""
    cores = len(os.sched_getaffinity(0))
    print(f"| {cores} cores | threads that wait | training step | encoding 10 s |")
    print("| --- | --- | ---: | ---: |")
    for where, others in (("idle", 0), (f"{cores} busy processes", cores)):
        busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(others)]
        try:
            for name, policy in POLICIES.items():
                found = child(policy)
                print(
                    f"| {where} | {name} | {found['step']:.2f} s | {found['encode']:.2f} s |",
                    flush=True,
                )
        finally:
            for process in busy:
                process.kill()
                process.wait()


if __name__ == "__main__":
    if "--child" in sys.argv:
        print(json.dumps(measure()))
    else:
        main()
