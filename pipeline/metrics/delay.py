"""How late a coder is: what no coder here may be."""

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.signal import correlate, find_peaks

LONGEST_MS = 200
WORKING_RATE = 16_000
SURE = 0.5
AS_GOOD = 0.98
"""Share of the best correlation that takes a lag nearer to zero: tones fit at each period."""


def delay_ms(
    *, reference: NDArray[np.float32], degraded: NDArray[np.float32], sample_rate: int
) -> float | None:
    """Delay of ``degraded`` against ``reference``, (channels, samples), in ms; positive: late.

    The lag at which the waveforms correlate best, or, where a parametric coder has left the
    waveform, their levels in steps of 1 ms; of several channels that of the one furthest off. None
    where neither correlates by half: then nothing can be told.
    """
    found = [_delay_ms(*pair, sample_rate) for pair in zip(reference, degraded, strict=True)]
    known = [delay for delay in found if delay is not None]
    return max(known, key=abs, default=None)


def _delay_ms(
    reference: NDArray[np.float32], degraded: NDArray[np.float32], sample_rate: int
) -> float | None:
    """The same of (samples,)."""
    ours, theirs = (
        soxr.resample(np.asarray(wave, np.float64), sample_rate, WORKING_RATE)
        for wave in (reference, degraded)
    )
    for step, transform in ((1, _waveform), (WORKING_RATE // 1000, _level)):
        lag, likeness = _best_lag(
            transform(ours), transform(theirs), LONGEST_MS * WORKING_RATE // 1000 // step
        )
        if likeness > SURE:
            return 1000 * lag * step / WORKING_RATE
    return None


def _waveform(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    return wave


def _level(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """Changes of the logarithmic level of 1 ms, smoothed over 4 ms."""
    size = WORKING_RATE // 1000
    if len(wave) < size:
        return np.zeros(0)
    power = np.square(wave[: len(wave) // size * size]).reshape(-1, size).mean(axis=1)
    smooth = np.convolve(power, np.hanning(6)[1:-1] / np.hanning(6).sum(), mode="same")
    return np.diff(np.log10(smooth + 1e-7))


def _best_lag(
    reference: NDArray[np.float64], degraded: NDArray[np.float64], longest: int
) -> tuple[int, float]:
    """The lag in samples, and the correlation coefficient there."""
    count = min(len(reference), len(degraded))
    scale = float(np.linalg.norm(reference) * np.linalg.norm(degraded))
    if count < 2 or scale == 0:
        return 0, 0.0
    products = correlate(degraded, reference, mode="full", method="fft")
    zero = len(reference) - 1
    longest = min(longest, zero, len(products) - zero - 1)
    near = products[zero - longest : zero + longest + 1]
    if not near.max() > 0:  # opposite at every lag
        return 0, 0.0
    # Ripples upon one peak are not peaks of their own.
    peaks = np.union1d(find_peaks(near, prominence=0.1 * near.max())[0], np.argmax(near))
    good = peaks[near[peaks] >= AS_GOOD * near.max()]
    best = int(good[np.argmin(np.abs(good - longest))])
    return best - longest, float(near[best]) / scale
