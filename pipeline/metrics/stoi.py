"""STOI (Taal et al., "An algorithm for intelligibility prediction", 2011)."""

import warnings

import numpy as np
import pystoi
from numpy.typing import NDArray

from pipeline.metrics.reason import Unscorable


def classic(
    *, reference: NDArray[np.float64], degraded: NDArray[np.float64], sample_rate: int
) -> float:
    """Intelligibility of (samples,) at 16 kHz in 0 to 1; higher is better."""
    with warnings.catch_warnings():
        # Where too few frames are left, pystoi warns and returns 1e-5: that is no score.
        warnings.filterwarnings("error", message="Not enough STFT frames")
        try:
            return float(pystoi.stoi(reference, degraded, sample_rate, extended=False))
        except RuntimeWarning as warning:
            raise Unscorable("too short") from warning
