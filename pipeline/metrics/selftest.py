"""Are the metrics themselves? Checked before anything is scored with them.

A wrong version, a missing mapper, two arguments in the wrong order, or a resampler left out all
change the scores below. They are those of a signal that is computed here, against itself and
against a version of it with noise and a lower level.
"""

import numpy as np
from numpy.typing import NDArray

from codec.errors import UserError
from pipeline.metrics import METRICS, Metric, Unscorable, measure

RATE, SECONDS = 24_000, 2.0
EXPECTED: dict[str, tuple[float, float]] = {
    "pesq_wb": (4.6439, 1.3160),
    "stoi": (1.0, 0.9325),
    "visqol_speech": (4.0969, 1.4463),
    "visqol_audio": (4.7321, 2.2286),
    "si_sdr": (100.0, 6.4102),
}
"""Of each metric the score of a copy, and of the degraded signal."""
TOLERANCE = 0.02


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


def check() -> None:
    """Raise UserError where a metric does not give the scores that it must."""
    reference, degraded = signals()
    for metric in METRICS.values():
        for what, other, expected in zip(
            ("a copy", "a degraded signal"),
            (reference, degraded),
            EXPECTED[metric.name],
            strict=True,
        ):
            found = measure(metric, reference=reference, degraded=other, sample_rate=RATE)
            if not abs(found - expected) <= TOLERANCE:
                raise UserError(
                    f"{metric.name} ({metric.provenance()}) is not itself: it gives {what} of the "
                    f"self-test {found:.4f}, not {expected:.4f}; install the versions of "
                    "constraints.txt"
                )
        for what, wave in (("silence", 0 * reference), ("0.1 s", reference[:, : RATE // 10])):
            if _scores(metric, wave):
                raise UserError(f"{metric.name} is not itself: it gives {what} a score")


def _scores(metric: Metric, wave: NDArray[np.float32]) -> bool:
    if metric.name == "si_sdr" and wave.any():
        return False  # it has no shortest signal
    try:
        measure(metric, reference=wave, degraded=wave, sample_rate=RATE)
    except Unscorable:
        return False
    return True
