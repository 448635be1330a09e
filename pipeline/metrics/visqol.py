"""ViSQOL v3 (Chinen et al., "ViSQOL v3: an open source production ready metric", 2020)."""

import functools
import logging

import numpy as np
import visqol as package
from numpy.typing import NDArray

from pipeline.metrics.metric import Metric, Unscorable

SHORTEST_SECONDS = 0.5


@functools.cache
def _api(mode: str) -> package.VisqolApi:
    # The package reports each comparison at level INFO.
    logging.getLogger("visqol").setLevel(logging.WARNING)
    api = package.VisqolApi()
    # Without the lattice mapper speech scores differ by more than one MOS: never fall back to it.
    api.create(mode=mode, use_lattice_model=True if mode == "speech" else None)
    return api


def audio(
    *, reference: NDArray[np.float64], degraded: NDArray[np.float64], sample_rate: int
) -> float:
    """Audio-mode MOS-LQO of (samples,) at 48 kHz; higher is better, 4.73 for identical signals."""
    return _measure("audio", reference, degraded, sample_rate)


def speech(
    *, reference: NDArray[np.float64], degraded: NDArray[np.float64], sample_rate: int
) -> float:
    """Speech-mode MOS-LQO of (samples,) at 16 kHz, lattice mapper; 4.63 for identical signals."""
    return _measure("speech", reference, degraded, sample_rate)


def _measure(
    mode: str, reference: NDArray[np.float64], degraded: NDArray[np.float64], sample_rate: int
) -> float:
    if len(reference) < SHORTEST_SECONDS * sample_rate:
        raise Unscorable("too short")
    if not np.any(degraded):
        raise Unscorable("silent degraded signal")
    try:
        return float(_api(mode).measure_from_arrays(reference, degraded, sample_rate).moslqo)
    except (ValueError, IndexError) as error:
        # Speech mode wants signal activity as well as length; it says so in these two ways.
        raise Unscorable(f"ViSQOL: {error}") from error


SPEECH = Metric(
    name="visqol_speech",
    title="ViSQOL speech",
    unit="MOS-LQO",
    function=speech,
    kinds=("speech",),
    sample_rate=16_000,
    any_rate=True,
    bounds=(1.0, 5.0),
    useful=(1.5, 4.6),
    tolerance=0.2,
    copy=4.63,
    self_test=(4.0969, 1.4463),
    family="ViSQOL",
    package="visqol-python",
    mode="speech, lattice mapper",
)
AUDIO = Metric(
    name="visqol_audio",
    title="ViSQOL audio",
    unit="MOS-LQO",
    function=audio,
    sample_rate=48_000,
    bounds=(1.0, 5.0),
    useful=(2.0, 4.7),
    tolerance=0.2,
    copy=4.73,
    self_test=(4.7321, 2.2286),
    judged="rewards bandwidth: a full-band coder that garbles speech can score high",
    family="ViSQOL",
    package="visqol-python",
    mode="audio, SVR mapper",
)
