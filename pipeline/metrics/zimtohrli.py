"""Zimtohrli (Alakuijala et al., "Zimtohrli: An efficient psychoacoustic metric", 2025)."""

import numpy as np
import zimtohrli as package
from numpy.typing import NDArray

from pipeline.metrics.metric import Metric, Unscorable

SHORTEST_SECONDS = 0.5
"""A tenth of a second gets a small distance whatever it is, and some samples a crash."""


def distance(
    *, reference: NDArray[np.float64], degraded: NDArray[np.float64], sample_rate: int
) -> float:
    """Psychoacoustic distance of (samples,) at 48 kHz, full scale at 80 dB SPL; lower is better.

    0 for identical signals, some hundredths for what hardly resembles the original.
    """
    if len(reference) < SHORTEST_SECONDS * sample_rate:
        raise Unscorable("too short")
    if not np.any(degraded):
        raise Unscorable("silent degraded signal")
    return float(package.Pyohrli().distance(reference, degraded))


ZIMTOHRLI = Metric(
    name="zimtohrli",
    title="Zimtohrli",
    function=distance,
    sample_rate=48_000,
    higher_is_better=False,
    bounds=(0.0, 1.0),
    useful=(0.025, 0.003),
    tolerance=0.002,
    copy=0.0,
    self_test=(0.0, 0.016792),
    self_test_tolerance=0.0002,
    digits=4,
    judged="mean Spearman 0.77 with listening tests by its authors, against 0.71 of ViSQOL",
    package="zimtohrli",
    mode="distance at 80 dB SPL",
)
