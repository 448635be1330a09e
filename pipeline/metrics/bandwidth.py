"""How much of the clips' spectrum a coder keeps: its audio bandwidth."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import welch

BAND_HZ = 250.0
FALL_DB = 10.0
"""As of a loudspeaker's effective frequency range (IEC 60268-5)."""
RANGE_DB = 60.0
"""Below an original's strongest band there is nothing to keep but the rounding of its samples."""


def bandwidth_khz(
    *, reference: NDArray[np.float32], degraded: NDArray[np.float32], sample_rate: int
) -> float | None:
    """Up to which frequency ``degraded`` has what ``reference`` has; (channels, samples), in kHz.

    The power of all channels over the whole clip, in bands of ``BAND_HZ``: a band is kept that has
    fallen by less than ``FALL_DB``. The bandwidth is the frequency that parts kept bands from lost
    ones best, so that neither a hole below it nor a stray band above it moves it. Bands in which
    the original has next to nothing say nothing: a copy has the bandwidth of the original. None
    for silence.
    """
    ours, theirs = (_bands(wave, sample_rate) for wave in (reference, degraded))
    if not ours.max(initial=0.0) > 0:
        return None
    there = ours > ours.max() * 10 ** (-RANGE_DB / 10)
    kept = theirs > ours * 10 ** (-FALL_DB / 10)
    votes = np.where(there, np.where(kept, 1, -1), 0)
    # The first cut of the best ones: above it nothing was there, or as much kept as lost.
    cut = int(np.argmax(np.concatenate(([0], np.cumsum(votes)))))
    return min(cut * BAND_HZ, sample_rate / 2) / 1000


def _bands(wave: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """(bands,) power of (channels, samples)."""
    size = min(wave.shape[-1], sample_rate // 25)  # 40 ms: ten bins a band
    if size < 2:
        return np.zeros(0)
    hertz, power = welch(np.asarray(wave, np.float64), sample_rate, nperseg=size)
    return np.bincount((hertz / BAND_HZ).astype(int), power.sum(axis=0)).astype(np.float64)
