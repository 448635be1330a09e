"""Scores of pairs of files: measured once, kept by what was measured with what."""

import functools
import hashlib
import inspect
import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec import audio
from codec.errors import UserError
from codec.files import write_text
from pipeline.corpora.manifest import Clip
from pipeline.metrics import Unscorable, installed, measure_channels
from pipeline.metrics.delay import delay_ms
from pipeline.metrics.executor import executor, jobs
from pipeline.params import Score

CACHE = Path(".cache/scores")
COLUMNS = ["point", "clip", "kind", "source", "metric", "value", "worst", "reason", "provenance"]
"""Of a table of scores."""
PIECES_PER_JOB = 16
# ViSQOL's numba aborts a process where two threads use it; a Dask worker may have many.
_TURN = threading.Lock()

Row = dict[str, object]
"""metric, value, reason, provenance; of a clip of several channels also worst"""


@dataclass(frozen=True)
class Pair:
    """An original and what a coder made of it."""

    name: str
    kind: str
    reference: str
    degraded: str

    def absolute(self) -> "Pair":
        """The same, for workers in other folders."""
        ours, theirs = Path(self.reference).absolute(), Path(self.degraded).absolute()
        return replace(self, reference=str(ours), degraded=str(theirs))


def labels(point: str, clip: Clip) -> Row:
    """What a row of scores is of: the first columns of a table."""
    return {"point": point, "clip": clip.name, "kind": clip.kind, "source": clip.source}


def score(
    pairs: Sequence[Pair], settings: Score, again: bool = False
) -> Iterator[tuple[str, list[Row]]]:
    """Name and rows of each pair, in the order in which they get done.

    What was scored before comes from the cache: a run that was killed goes on with the pairs that
    it had not finished, and audio that has not changed is not scored again, unless ``again`` asks
    for that.
    """
    waiting = []
    for pair in pairs:
        kept = CACHE / f"{key(pair)}.json"
        if kept.is_file() and not again:
            yield pair.name, json.loads(kept.read_text(encoding="utf-8"))
        else:
            waiting.append((pair.absolute(), kept))
    # Pieces small enough that all processes end at much the same time, the longest pairs first.
    waiting.sort(key=lambda job: -Path(job[0].reference).stat().st_size)
    size = max(1, min(settings.chunk, len(waiting) // (PIECES_PER_JOB * jobs(settings))))
    pieces = [waiting[at : at + size] for at in range(0, len(waiting), size)]
    if not pieces:
        return
    with executor(settings, len(pieces)) as pool:
        futures = {pool.submit(score_piece, [pair for pair, _ in piece]): piece for piece in pieces}
        for future in as_completed(futures):
            # Popped, so that what is done does not pile up in memory.
            for (pair, kept), rows in zip(futures.pop(future), future.result(), strict=True):
                write_text(kept, json.dumps(rows))
                yield pair.name, rows


def score_piece(pairs: list[Pair]) -> list[list[Row]]:
    """The rows of some pairs: what a worker does, in one of its threads at a time."""
    with _TURN:
        return [score_pair(pair) for pair in pairs]


def score_pair(pair: Pair) -> list[Row]:
    """A row for each metric that is made for the pair's kind."""
    reference, rate = audio.read(pair.reference)
    degraded, degraded_rate = audio.read(pair.degraded)
    if (rate, reference.shape) != (degraded_rate, degraded.shape):
        raise RuntimeError(
            f"{pair.degraded}: decoded audio is {degraded.shape} at {degraded_rate} Hz, "
            f"the original {reference.shape} at {rate} Hz"
        )
    return scores_of(pair.kind, reference, degraded, rate)


def scores_of(
    kind: str,
    reference: NDArray[np.float32],
    degraded: NDArray[np.float32],
    sample_rate: int,
    own_rate: bool = False,
) -> list[Row]:
    """A row for each metric that is made for the kind, of two (channels, samples) waveforms.

    Several channels are scored one by one: value is their mean, and worst that of the worst one.
    ``own_rate`` is ``measure_channels``'s, and then provenance says the rate that was used.
    """
    rows: list[Row] = []
    for metric in installed().values():
        if kind not in metric.kinds:
            continue
        used = sample_rate if metric.any_rate else metric.sample_rate or sample_rate
        row: Row = {"metric": metric.name, "value": None, "reason": ""}
        row["provenance"] = metric.provenance(used if own_rate else None)
        try:
            scores = measure_channels(
                metric,
                reference=reference,
                degraded=degraded,
                sample_rate=sample_rate,
                own_rate=own_rate,
            )
            row["value"] = float(np.mean(scores))
            if len(scores) > 1:
                row["worst"] = min(scores, key=lambda score: metric.sign * score)
        except Unscorable as error:
            row["reason"] = str(error)
        if len(reference) > 1:
            every = "left and right" if len(reference) == 2 else f"all {len(reference)}"
            row["provenance"] = f"{row['provenance']}, channels: mean of {every}"
        rows.append(row)
    return rows


def score_files(reference: Path, degraded: Path, kind: str) -> dict[str, Any]:
    """Every metric of any two files of one recording, at the reference's rate.

    ``notes`` say what had to be done to compare them. Metrics that take any rate get the
    reference's own, as their published conformance scores do. Raises UserError for files that do
    not belong together.
    """
    (ours, rate), (theirs, their_rate) = audio.read(reference), audio.read(degraded)
    for path, waveform in ((reference, ours), (degraded, theirs)):
        if len(bad := np.flatnonzero(~np.isfinite(waveform).all(axis=0))):
            raise UserError(f"{path}: sample {bad[0]} is NaN or infinite; mend the audio first")
    notes = []
    if ours.shape[0] != theirs.shape[0]:
        raise UserError(
            f"{degraded}: has {theirs.shape[0]} channels and {reference} {ours.shape[0]}; "
            "give both the same"
        )
    if rate != their_rate:
        theirs = audio.resample(theirs, their_rate, rate)
        notes.append(f"degraded was resampled from {their_rate} to {rate} Hz")
    if ours.shape != theirs.shape:
        length = min(ours.shape[-1], theirs.shape[-1])
        longer = "reference" if ours.shape[-1] > length else "degraded"
        cut = max(ours.shape[-1], theirs.shape[-1]) - length
        ours, theirs = ours[:, :length], theirs[:, :length]
        notes.append(f"{longer} was cut by {cut / rate:.4f} s at its end")
    delay = delay_ms(reference=ours, degraded=theirs, sample_rate=rate)
    if delay:
        notes.append(f"degraded is {delay:+.2f} ms late, and was left so")
    return {
        "reference": str(reference),
        "degraded": str(degraded),
        "kind": kind,
        "delay_ms": delay,
        "notes": notes,
        "scores": scores_of(kind, ours, theirs, rate, own_rate=True),
    }


def key(pair: Pair) -> str:
    """Names a pair's bytes, its kind, the metrics' versions, and the code that calls them."""
    sha = hashlib.sha256(metrics_version())
    sha.update(pair.kind.encode())
    for path in (pair.reference, pair.degraded):
        sha.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return sha.hexdigest()[:32]


@functools.cache
def metrics_version() -> bytes:
    """A hash of the metrics' versions and of the code that calls them."""
    found = installed().values()
    versions = [metric.provenance() for metric in found] + [f"soxr {version('soxr')}"]
    sha = hashlib.sha256(" ".join(versions).encode())
    ours = Path(__file__).parent.glob("*.py")
    # Metrics of other packages may change without a new version while somebody works on them.
    theirs = (Path(inspect.getfile(inspect.unwrap(metric.function))) for metric in found)
    for path in sorted({*ours, *theirs}):
        sha.update(path.read_bytes())
    return sha.digest()
