"""Throughput of training: seconds of audio per second of wall time.

Prints Markdown: on all cores, and on the GPU where there is one, with the share of its peak.
"""

import tempfile
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.module_tracker import ModuleTracker

from benchmarks.codec_speed import signal
from codec import audio
from codec.model import AudioCodec
from pipeline import params
from pipeline.corpora import manifest
from pipeline.stages.train import adversary, device_name, processes
from pipeline.training import loop
from pipeline.training.balancer import MEASURED_FIRST
from pipeline.training.data import Segments, recordings
from pipeline.training.objective import Objective
from pipeline.training.watch import Watcher

PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "L4": 121.0, "4090": 165.0}
"""Dense 16-bit tensor operations, from the makers' data sheets."""
WARM_UP, STEPS = MEASURED_FIRST + 2, 24
"""The first steps measure each loss's gradient by itself, which later ones seldom do."""


class Timer(Watcher):
    """Nothing but the moment at which training begins."""

    def begin(self, rows: list[dict[str, object]]) -> None:
        self.began = time.perf_counter()


class Whole(ModuleTracker):
    """Operations of all modules together: telling them apart fails in ``torch.autograd.grad``."""

    def __enter__(self) -> "Whole":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def split(folder: Path, rate: int) -> Path:
    """A prepared split of one clip of noise."""
    audio.write(folder / "noise.flac", signal(20, rate), rate)
    clip = manifest.Clip(
        file="noise.flac", kind="general", source="noise", language="", sample_rate=rate,
        channels=1, seconds=20.0, licence="", origin="",
    )  # fmt: skip
    manifest.write(folder, [clip])
    return folder


def steps_per_second(
    settings: params.Params, accelerator: str, precision: str, batch: int, adversarial: bool
) -> tuple[float, float, str]:
    """Steps per second of a training, floating-point operations of a step, and the device."""
    optimizer = settings.optimizer.model_copy(
        update={
            "accelerator": accelerator, "precision": precision, "batch_size": batch,
            "save_seconds": 1e9,
        }
    )  # fmt: skip
    config = settings.codec.config()
    fabric = processes(optimizer)
    samples = round(optimizer.segment_seconds * config.frame_rate) * config.hop
    size = (config.sample_rate, config.channels, samples)

    def run(steps: int) -> float:
        with tempfile.TemporaryDirectory() as name:
            folder, timer = Path(name), Timer()
            data = split(folder, config.sample_rate)
            plan = loop.Plan(
                codec=AudioCodec(config),
                objective=Objective(settings.loss, 1e-5, config.sample_rate, config.levels),
                adversary=adversary(
                    settings.adversarial.model_copy(update={"enabled": adversarial}),
                    config.sample_rate,
                ),
                balanced=settings.loss.balanced,
                settings=optimizer,
                steps=steps,
                training=Segments(
                    recordings(data, *size[:2]), *size, [0], settings.augment, fabric.device
                ),
                validation=Segments(recordings(data, *size[:2]), *size, [1]),
                folder=folder / "state",
                fingerprint="",
                watcher=timer,
                validations=0,
            )
            loop.train(plan, fabric)
            if fabric.device.type == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter() - timer.began

    counter = FlopCounterMode(display=False)
    counter.mod_tracker = Whole()
    with counter:
        run(1)
    operations = float(counter.get_total_flops())
    # Two lengths, so that what happens once falls out.
    seconds = run(WARM_UP + STEPS) - run(WARM_UP)
    return STEPS / seconds, operations, device_name(fabric)


def main() -> None:
    """Measure and print."""
    settings = params.load()
    seconds = settings.optimizer.segment_seconds
    cases = [
        ("cpu", "32-true", 8, False),
        ("cpu", "bf16-mixed", 8, False),
        ("cpu", "bf16-mixed", 8, True),
    ]
    if torch.cuda.is_available():
        cases += [
            ("cuda", "32-true", 64, False),
            ("cuda", "bf16-mixed", 64, False),
            ("cuda", "bf16-mixed", 64, True),
        ]
    print(
        f"| training of {settings.codec.preset} on | precision | segments a step | discriminator ",
        end="",
    )
    print(
        "| audio s per s | share of the device's peak |\n| --- | --- | ---: | --- | ---: | ---: |"
    )
    for accelerator, precision, batch, adversarial in cases:
        rate, operations, device = steps_per_second(
            settings, accelerator, precision, batch, adversarial
        )
        peak = next((value for name, value in PEAK_TFLOPS.items() if name in device), None)
        share = f"{100 * rate * operations / peak / 1e12:.1f} %" if peak else "not known"
        print(
            f"| {device} | {precision} | {batch} | {'yes' if adversarial else 'no'} "
            f"| {rate * batch * seconds:.1f} | {share} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
