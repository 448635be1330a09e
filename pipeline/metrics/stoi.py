"""STOI (Taal et al., "An algorithm for intelligibility prediction", 2011)."""

import warnings

import numpy as np
import pystoi
from numpy.typing import NDArray

from pipeline.metrics.metric import Metric, Unscorable

SEGMENT_SECONDS = 0.384
"""What it correlates at a time (Taal et al., section II): of less there is no score."""


def classic(
    *, reference: NDArray[np.float64], degraded: NDArray[np.float64], sample_rate: int
) -> float:
    """Intelligibility of (samples,) at 16 kHz in 0 to 1; higher is better."""
    if len(reference) < SEGMENT_SECONDS * sample_rate:
        raise Unscorable("too short")
    with warnings.catch_warnings():
        # Where too few frames are left, pystoi warns and returns 1e-5: that is no score.
        warnings.filterwarnings("error", message="Not enough STFT frames")
        try:
            return float(pystoi.stoi(reference, degraded, sample_rate, extended=False))
        except RuntimeWarning as warning:
            raise Unscorable("too short") from warning


STOI = Metric(
    name="stoi",
    title="STOI",
    function=classic,
    kinds=("speech",),
    sample_rate=16_000,
    bounds=(-1.0, 1.0001),
    useful=(0.6, 1.0),
    tolerance=0.02,
    copy=1.0,
    self_test=(1.0, 0.9325),
    judged="of intelligibility, and not of how speech sounds",
    package="pystoi",
    mode="classic",
)
