"""Quality metrics: one function each, all with keywords only, so that none is called swapped.

A metric takes ``reference`` and ``degraded``, (samples,) float64 at its own rate, and returns its
score, or raises Unscorable with the reason why there is none.
"""

import importlib.metadata
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from pipeline.metrics import pesq, signal, stoi, visqol
from pipeline.metrics.reason import Unscorable

__all__ = ["METRICS", "Metric", "Unscorable", "measure"]


class _Function(Protocol):
    def __call__(
        self, *, reference: NDArray[np.float64], degraded: NDArray[np.float64], sample_rate: int
    ) -> float: ...


@dataclass(frozen=True)
class Metric:
    """A metric and all that a table needs to say about it."""

    name: str
    title: str
    unit: str
    function: _Function
    sample_rate: int | None
    """Hz that it works at; None: the clip's own rate."""
    kinds: tuple[str, ...]
    """Kinds of clips that it is made for."""
    package: str
    mode: str
    ceiling: float | None
    """Its score of a clip against itself, where that is the most it can give."""
    any_rate: bool = False
    """Whether it takes other rates as well, as its published scores were made."""

    def provenance(self, sample_rate: int | None = None) -> str:
        """Package, version, mode and rate (its own, or the one given), as tables carry it."""
        version = importlib.metadata.version(self.package)
        rate = sample_rate or self.sample_rate
        return f"{self.package} {version}, {self.mode}, {f'{rate} Hz' if rate else 'clip rate'}"


_ALL = ("speech", "music", "general")
METRICS = {
    metric.name: metric
    for metric in (
        Metric("pesq_wb", "PESQ-WB", "MOS-LQO", pesq.wide_band, 16_000, ("speech",), "pesq",
               "wide band (P.862.2)", 4.644),
        Metric("stoi", "STOI", "", stoi.classic, 16_000, ("speech",), "pystoi", "classic", 1.0),
        Metric("visqol_speech", "ViSQOL speech", "MOS-LQO", visqol.speech, 16_000, ("speech",),
               "visqol-python", "speech, lattice mapper", 4.63, any_rate=True),
        Metric("visqol_audio", "ViSQOL audio", "MOS-LQO", visqol.audio, 48_000, _ALL,
               "visqol-python", "audio, SVR mapper", 4.73),
        Metric("si_sdr", "SI-SDR", "dB", signal.si_sdr, None, _ALL, "rdcodec", "scale-invariant",
               None),
    )
}  # fmt: skip


def measure(
    metric: Metric,
    *,
    reference: NDArray[np.float32],
    degraded: NDArray[np.float32],
    sample_rate: int,
    own_rate: bool = False,
) -> float:
    """The metric of two (channels, samples) waveforms of the same rate, channels averaged.

    They are resampled to the metric's rate; with ``own_rate`` they are not, where it takes any
    rate. Raises Unscorable with the reason where the metric has no answer.
    """
    pair = [np.asarray(wave, np.float64).mean(axis=0) for wave in (reference, degraded)]
    rate = metric.sample_rate or sample_rate
    if own_rate and metric.any_rate:
        rate = sample_rate
    if rate != sample_rate:
        pair = [soxr.resample(wave, sample_rate, rate, quality="VHQ") for wave in pair]
    if not np.any(np.abs(pair[0]) > 1e-5):
        raise Unscorable("silent reference")
    score = metric.function(reference=pair[0], degraded=pair[1], sample_rate=rate)
    if not np.isfinite(score):
        raise Unscorable(f"the metric gave {score}")
    return float(score)
