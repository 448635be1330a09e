"""Quality metrics behind one interface: gate, statistics, pages and self-test see nothing else.

A metric is a ``Metric`` in the entry-point group ``rdcodec.metrics``. Whoever has one of their own
writes it in one module and names it in their pyproject.toml; docs/own-metric.md shows it all.
"""

import functools
import re
from importlib.metadata import entry_points

import numpy as np
import soxr
from numpy.typing import NDArray

from codec.errors import UserError
from pipeline.metrics.metric import ALL_KINDS, Metric, Unscorable

__all__ = [
    "ALL_KINDS",
    "GROUP",
    "OWN",
    "Metric",
    "Unscorable",
    "declared",
    "installed",
    "measure",
    "measure_channels",
    "skipped",
]

GROUP = "rdcodec.metrics"
OWN = frozenset({
    "distill_mos", "pesq_wb", "si_sdr", "stoi", "visqol_audio", "visqol_speech", "zimtohrli",
})  # fmt: skip
"""Metrics that come with rdcodec itself, as pyproject.toml names them."""


def installed() -> dict[str, Metric]:
    """All metrics that can score here, by name."""
    return {name: metric for name, metric in declared().items() if not metric.missing}


def skipped() -> dict[str, str]:
    """Optional metrics that cannot be used here, and why."""
    return {name: metric.missing for name, metric in declared().items() if metric.missing}


@functools.cache
def declared() -> dict[str, Metric]:
    """All metrics of the installed packages, by name; those that do not judge by ear come last.

    One that lacks its own package cannot score here, but scores from elsewhere can be shown.
    """
    found: dict[str, Metric] = {}
    for point in entry_points(group=GROUP):
        metric = point.load()
        if not isinstance(metric, Metric) or metric.name != point.name:
            raise UserError(f"metrics: {point.name}: {point.value} is no Metric of that name")
        if not re.fullmatch(r"\w+", metric.name):
            raise UserError(f"metrics: {metric.name!r}: use letters, digits and _")
        if metric.name in found and found[metric.name] is not metric:
            raise UserError(f"metrics: two packages have a metric {metric.name}; remove one")
        if metric.missing and not metric.extra:
            raise UserError(f"metrics: {metric.name} needs {metric.package}; install rdcodec again")
        found[metric.name] = metric
    if absent := sorted(OWN - set(found)):
        raise UserError(
            f"metrics: of rdcodec's own, {', '.join(absent)} are missing: its installation is "
            "older than its code; install rdcodec again (make install)"
        )
    ordered = sorted(found.values(), key=lambda metric: (not metric.perceptual, metric.name))
    return {metric.name: metric for metric in ordered}


def measure(
    metric: Metric,
    *,
    reference: NDArray[np.float32],
    degraded: NDArray[np.float32],
    sample_rate: int,
    own_rate: bool = False,
) -> float:
    """The mean of ``measure_channels``."""
    scores = measure_channels(
        metric, reference=reference, degraded=degraded, sample_rate=sample_rate, own_rate=own_rate
    )
    return float(np.mean(scores))


def measure_channels(
    metric: Metric,
    *,
    reference: NDArray[np.float32],
    degraded: NDArray[np.float32],
    sample_rate: int,
    own_rate: bool = False,
) -> list[float]:
    """The metric of each channel of two (channels, samples) waveforms of the same rate.

    Never of their average: what joint coding does to the difference of channels is not in it.
    They are resampled to the metric's rate; with ``own_rate`` they are not, where it takes any
    rate. Raises Unscorable with the reason where the metric has no answer for one of the channels.
    """
    count, scores = len(reference), []
    for number, pair in enumerate(zip(reference, degraded, strict=True), start=1):
        try:
            scores.append(_measure(metric, *pair, sample_rate, own_rate))
        except Unscorable as error:
            where = f"channel {number} of {count}: " if count > 1 else ""
            raise Unscorable(f"{where}{error}") from error
    return scores


def _measure(
    metric: Metric,
    reference: NDArray[np.float32],
    degraded: NDArray[np.float32],
    sample_rate: int,
    own_rate: bool,
) -> float:
    """The metric of two (samples,) waveforms."""
    pair = [np.asarray(wave, np.float64) for wave in (reference, degraded)]
    if not all(np.isfinite(wave).all() for wave in pair):  # on which some metrics never end
        raise Unscorable("samples that are no numbers")
    rate = metric.sample_rate or sample_rate
    if own_rate and metric.any_rate:
        rate = sample_rate
    if rate != sample_rate:
        pair = [soxr.resample(wave, sample_rate, rate, quality="VHQ") for wave in pair]
    if not np.any(np.abs(pair[0]) > 1e-5):
        raise Unscorable("silent reference")
    score = metric.function(reference=pair[0], degraded=pair[1], sample_rate=rate)
    low, high = metric.bounds
    if not (np.isfinite(score) and low <= score <= high):
        raise Unscorable(f"the metric gave {score}")
    return float(score)
