"""PESQ, ITU-T P.862.2."""

import numpy as np
import pesq as package
from numpy.typing import NDArray

from pipeline.metrics.reason import Unscorable


def wide_band(
    *, reference: NDArray[np.float64], degraded: NDArray[np.float64], sample_rate: int
) -> float:
    """Wide-band MOS-LQO of (samples,) at 16 kHz; higher is better, 4.644 for identical signals."""
    if not np.any(degraded):
        raise Unscorable("silent degraded signal")
    try:
        return float(package.pesq(sample_rate, reference, degraded, "wb"))
    except package.NoUtterancesError as error:
        raise Unscorable("no utterance") from error
    except package.BufferTooShortError as error:
        raise Unscorable("too short") from error
