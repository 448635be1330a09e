"""Metrics of the waveform itself."""

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.metric import Metric, Unscorable


def si_sdr(
    *, reference: NDArray[np.float64], degraded: NDArray[np.float64], sample_rate: int
) -> float:
    """Scale-invariant signal-to-distortion ratio of (samples,) in dB; higher is better.

    Not a perceptual measure: it falls with any change of phase. Source: Le Roux et al., "SDR –
    half-baked or well done?", 2019, equation 2. A perfect copy gives +100 dB at most.
    """
    if not np.any(degraded):
        raise Unscorable("silent degraded signal")
    scale = float(reference @ degraded) / float(reference @ reference)
    target = scale * reference
    noise = degraded - target
    ratio = (float(target @ target) + 1e-20) / (
        float(noise @ noise) + 1e-10 * float(target @ target) + 1e-20
    )
    return 10 * float(np.log10(ratio))


SI_SDR = Metric(
    name="si_sdr",
    title="SI-SDR",
    unit="dB",
    function=si_sdr,
    sample_rate=None,
    useful=(-10.0, 30.0),
    tolerance=2.0,
    copy=100.0,
    self_test=(100.0, 6.4102),
    any_length=True,
    perceptual=False,  # parametric coders leave the waveform, and nobody hears that
    package="rdcodec",
    mode="scale-invariant",
)
