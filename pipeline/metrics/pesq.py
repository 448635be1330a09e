"""PESQ, ITU-T P.862.2."""

import numpy as np
import pesq as package
from numpy.typing import NDArray

from pipeline.metrics.metric import Metric, Unscorable


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


PESQ_WB = Metric(
    name="pesq_wb",
    title="PESQ-WB",
    unit="MOS-LQO",
    function=wide_band,
    kinds=("speech",),
    sample_rate=16_000,
    bounds=(1.0, 4.65),
    useful=(1.2, 4.5),
    tolerance=0.1,
    copy=4.644,
    self_test=(4.6439, 1.3160),
    judged="made for telephone codecs; its order of other kinds of codecs is not reliable",
    package="pesq",
    mode="wide band (P.862.2)",
)
