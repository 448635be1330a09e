"""Distill-MOS (Stahl and Gamper, "Distillation and Pruning for Scalable Self-Supervised
Representation-Based Speech Quality Assessment", 2025): a network that hears speech alone.
"""

import functools
import io
import math
import sys
from contextlib import redirect_stdout
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.metric import Metric, Unscorable

SHORTEST_SECONDS = 0.5
WINDOW, LONGEST_HOP = 122_880, 16_000
"""Samples at 16 kHz, as the package has them: 7.68 s at a time, at most 1 s further each."""


def mos(
    *, reference: NDArray[np.float64], degraded: NDArray[np.float64], sample_rate: int
) -> float:
    """Mean opinion score, 1 to 5, of (samples,) at 16 kHz; the reference is not listened to.

    The mean over windows, as the package takes it, but one window after the other: it would hold
    all of a long recording's at once.
    """
    import torch

    if len(degraded) < SHORTEST_SECONDS * sample_rate:
        raise Unscorable("too short")
    if not np.any(degraded):
        raise Unscorable("silent degraded signal")
    wave = torch.from_numpy(degraded.astype(np.float32))[None]
    beyond = max(0, len(degraded) - WINDOW)
    starts = np.linspace(0, 1, math.ceil(beyond / LONGEST_HOP) + 1) * beyond
    with torch.inference_mode():
        scores = [float(_network()(wave[:, int(at) : int(at) + WINDOW])) for at in starts]
    return float(np.mean(scores))


@functools.cache
def _network() -> Any:
    """The network with its weights, which the package carries."""
    # The package reads files by torchaudio, which we need not, and which fails to load beside a
    # torch of another build.
    kept = sys.modules.get("torchaudio")
    sys.modules["torchaudio"] = kept or ModuleType("torchaudio")
    try:
        from distillmos import ConvTransformerSQAModel
    finally:
        if kept is None:
            del sys.modules["torchaudio"]
    with redirect_stdout(io.StringIO()):  # it says where its weights are from
        return ConvTransformerSQAModel().eval()


DISTILL_MOS = Metric(
    name="distill_mos",
    title="Distill-MOS",
    function=mos,
    kinds=("speech",),
    sample_rate=16_000,
    bounds=(1.0, 5.0),
    useful=(1.5, 4.2),
    tolerance=0.2,
    copy=None,
    self_test=(1.17788, 1.18298),
    self_test_tolerance=0.001,
    judged="Pearson 0.24 with listeners over 112 rated stimuli, 0.68 over their 7 systems; made "
    "for recorded voices: it prefers a synthetic one with some noise to one without",
    package="distillmos",
    mode="weights v7, no reference",
    extra="judges",
)
