"""Files of a wanted rate, of a model that has many.

The level is found on an excerpt, half a second of every four. Then the whole is coded, mostly once
or twice: where that rate is off by more than ``NEAR``, again at the level that the miss leads to,
and further where even that is off by more than ``ASKED``.
"""

import functools
import io
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codec import audio
from codec.coding import bitstream
from codec.errors import UserError

if TYPE_CHECKING:
    from codec.model import AudioCodec

CURVE = 3.7
"""ln of the rate of the highest level over that of the lowest one, as models usually have it."""
NEAR = 0.02
"""As near as ln of two rates need to be: levels are about this far apart."""
ASKED, MOST_CODINGS = 0.029, 6
"""Within 3 %, as is promised; a recording whose rates rise steeply may have no such level."""
PIECE_SECONDS, PIECE_EVERY = 0.5, 4.0
MOST_PIECES = 64


def compress_near(
    codec: "AudioCodec",
    waveform: Callable[[], Iterable[NDArray[np.float32]]],
    sample_rate: int,
    kbps: float,
) -> tuple[bytes, bitstream.Header]:
    """An .rdc file of about ``kbps``, all its bytes counted, and its header.

    ``waveform`` gives the (channels, samples) parts, again at each call: two or three times in
    all, seldom more. Where no level is as near, the file is of the highest or lowest one. Raises
    UserError for a model of one rate.
    """
    if codec.config.levels == 1:
        raise UserError("--kbps: this model has one rate")
    if not 0 < kbps < math.inf:
        raise UserError(f"--kbps {kbps:g}: a rate above 0")

    top = codec.config.levels - 1
    level = _estimated(codec, excerpt(waveform(), sample_rate), sample_rate, kbps)
    misses: dict[int, float] = {}
    while level not in misses and len(misses) < MOST_CODINGS:
        file = io.BytesIO()
        header = codec.compress_to(file, waveform(), sample_rate, level=level)
        data = file.getvalue()
        misses[level] = math.log(len(data) * 8 / 1000 / header.seconds / kbps)
        # Of all codings the best one alone is kept.
        if _by_miss(misses)[0] == level:
            best = data, header
        if abs(misses[level]) <= (ASKED if len(misses) > 1 else NEAR):
            break
        level = _next(misses, top)
    return best


def _by_miss(misses: dict[int, float]) -> list[int]:
    """Levels, the one that misses least first."""
    return sorted(misses, key=lambda level: abs(misses[level]))


def _next(misses: dict[int, float], top: int) -> int:
    """The level to try after levels that missed a rate by so much, in ln; one of them at the end.

    Between two that enclose the rate, or beyond the nearest one, along the line through both.
    """
    nearest, *others = _by_miss(misses)
    below = max((level for level, miss in misses.items() if miss < 0), default=-1)
    above = min((level for level, miss in misses.items() if miss > 0), default=top + 1)
    if 0 <= below < above <= top:
        share = misses[below] / (misses[below] - misses[above])
        inside = round(below + share * (above - below))
        return max(below + 1, min(inside, above - 1)) if above - below > 1 else nearest
    slope = CURVE / top
    if others:
        found = (misses[nearest] - misses[others[0]]) / (nearest - others[0])
        slope = min(max(found, slope / 8), slope)
    return min(max(round(nearest - misses[nearest] / slope), 0), top)


def excerpt(parts: Iterable[NDArray[np.float32]], sample_rate: int) -> NDArray[np.float32]:
    """(channels, samples): the middle half second of every four; of long audio fewer, not more.

    What is shorter than four seconds is given whole.
    """
    length, every = round(PIECE_SECONDS * sample_rate), round(PIECE_EVERY * sample_rate)
    pieces: list[NDArray[np.float32]] = []
    rest: NDArray[np.float32] | None = None
    for part in map(audio.as_waveform, parts):
        rest = part if rest is None else np.concatenate((rest, part), axis=-1)
        while rest.shape[-1] >= every:
            begin = (every - length) // 2
            pieces.append(rest[:, begin : begin + length].copy())
            rest = rest[:, every:]
            if len(pieces) > MOST_PIECES:
                # Every second one, from now on as far apart again.
                pieces, every = pieces[::2], 2 * every
    if pieces:
        return np.concatenate(pieces, axis=-1)
    return np.zeros((1, 0), np.float32) if rest is None else rest


def _estimated(
    codec: "AudioCodec", waveform: NDArray[np.float32], sample_rate: int, kbps: float
) -> int:
    """The level at which a waveform's ideal length is nearest to ``kbps``."""
    low, high, place = 0, codec.config.levels - 1, codec.rate_level()
    if not waveform.size:
        return place
    audio.check(waveform, sample_rate)
    resampled = audio.resample(waveform, sample_rate, codec.config.sample_rate)
    seconds = resampled.shape[-1] / codec.config.sample_rate

    @functools.cache
    def distance(level: int) -> float:
        bits = float(codec.bits(codec.symbols(resampled, level), level).sum())
        return math.log(max(bits, 1.0) / 1000 / seconds / kbps)

    # False position in ln kbps, which is nearly straight in the level.
    while abs(distance(place)) > NEAR and low < high:
        if distance(place) > 0:
            high = max(low, place - 1)
        else:
            low = min(high, place + 1)
        place = round(place - distance(place) * (codec.config.levels - 1) / CURVE)
        place = min(max(place, low), high)
    return place
