"""Are the metrics themselves? Checked before anything is scored with them.

A wrong version, a missing mapper, two arguments in the wrong order, or a resampler left out all
change the scores below. They are those of a signal that is computed here, against itself and
against a version of it with noise and a lower level.
"""

import hashlib
import platform
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codec.errors import UserError
from codec.files import write_text
from pipeline.metrics import Metric, Unscorable, installed, measure, scoring

RATE, SECONDS = 24_000, 2.0
PASSED = Path(".cache/selftest")


def signals() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(1, samples) twice: syllables of harmonics, and the same degraded."""
    rng = np.random.default_rng(0)
    time = np.arange(round(RATE * SECONDS)) / RATE
    pitch = 140 + 30 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = sum(np.sin(phase * number) / number for number in range(1, 40))
    syllables = np.clip(np.sin(2 * np.pi * 3 * time), 0, None) ** 0.5
    wave = 0.1 * syllables * voice + 1e-3 * rng.standard_normal(len(time))
    noise = 0.02 * rng.standard_normal(len(time)) * (0.3 + syllables)
    muffled = np.convolve(wave, np.hanning(9) / np.hanning(9).sum(), mode="same")
    return wave[None].astype(np.float32), (0.7 * muffled + noise)[None].astype(np.float32)


def require() -> None:
    """Raise UserError where a metric does not give the scores that it must.

    What passed is not asked again while the machine's kind, Python, every installed package and
    the code of the metrics stay as they were.
    """
    passed = PASSED / _environment()
    if passed.is_file():
        return
    for metric in installed().values():
        require_one(metric)
    write_text(passed, "")


def _environment() -> str:
    """Names all that a score hangs on besides the audio."""
    packages = {f"{one.name} {one.version}" for one in distributions()}
    sha = hashlib.sha256(repr((platform.machine(), platform.python_version())).encode())
    sha.update("\n".join(sorted(packages)).encode())
    sha.update(scoring.metrics_version())
    return sha.hexdigest()[:32]


def require_one(metric: Metric) -> None:
    """The same for one metric."""
    reference, degraded = signals()
    for what, other, expected in zip(
        ("a copy", "a degraded signal"), (reference, degraded), metric.self_test, strict=True
    ):
        found = _score(metric, reference, other)
        if found is None or not abs(found - expected) <= metric.self_test_tolerance:
            given = "no score" if found is None else f"{found:.4f}"
            raise UserError(
                f"{metric.name} ({metric.provenance()}) is not itself: it gives {what} of the "
                f"self-test {given}, not {expected:.4f}; install the versions of constraints.txt"
            )
    wrong = {"silence": 0 * reference}
    if not metric.any_length:
        wrong["0.1 s"] = reference[:, : RATE // 10]
    for what, wave in wrong.items():
        if _score(metric, wave, wave) is not None:
            raise UserError(f"{metric.name} is not itself: it gives {what} a score")


def _score(
    metric: Metric, reference: NDArray[np.float32], degraded: NDArray[np.float32]
) -> float | None:
    try:
        return measure(metric, reference=reference, degraded=degraded, sample_rate=RATE)
    except Unscorable:
        return None
