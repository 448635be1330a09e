"""PESQ, ITU-T P.862.2."""

import functools
import os
import pickle
import subprocess
import sys

import numpy as np
import pesq as package
from numpy.typing import NDArray

from codec.process import die_with_parent
from pipeline.metrics.metric import Metric, Unscorable

SAFE_SECONDS = 15.0
"""Of a signal that cannot have more utterances than PESQ's C code has room for: 50, each of which
takes 0.2 s, and 0.2 s of silence before the next one; with a margin."""
_CHILD = """
import pickle, sys, pesq
try:
    answer = float(pesq.pesq(*pickle.load(sys.stdin.buffer), "wb"))
except (pesq.NoUtterancesError, pesq.BufferTooShortError) as error:
    answer = type(error).__name__
pickle.dump(answer, sys.stdout.buffer)
"""


def wide_band(
    *, reference: NDArray[np.float64], degraded: NDArray[np.float64], sample_rate: int
) -> float:
    """Wide-band MOS-LQO of (samples,) at 16 kHz; higher is better, 4.644 for identical signals."""
    if not np.any(degraded):
        raise Unscorable("silent degraded signal")
    try:
        if len(reference) > SAFE_SECONDS * sample_rate:
            return _isolated(sample_rate, reference, degraded)
        return float(package.pesq(sample_rate, reference, degraded, "wb"))
    except package.NoUtterancesError as error:
        raise Unscorable("no utterance") from error
    except package.BufferTooShortError as error:
        raise Unscorable("too short") from error


def _isolated(
    sample_rate: int, reference: NDArray[np.float64], degraded: NDArray[np.float64]
) -> float:
    """PESQ in a process of its own, which its C code ends where there are too many utterances."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=pickle.dumps((sample_rate, reference, degraded)),
        capture_output=True,
        check=False,
        preexec_fn=functools.partial(die_with_parent, os.getpid()),
    )
    if done.returncode < 0:
        seconds = len(reference) / sample_rate
        raise Unscorable(f"more utterances in {seconds:.0f} s than PESQ has room for")
    if done.returncode:
        raise RuntimeError(f"PESQ: {done.stderr.decode(errors='replace')}")
    answer = pickle.loads(done.stdout)
    if isinstance(answer, str):
        raise getattr(package, answer)
    return float(answer)


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
