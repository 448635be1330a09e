"""The context model once frozen: everything about it that decides a bit, as integers."""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from codec.coding.ans import TOTAL

CLIP = 8
"""Symbols are inputs of the network as −8 to 8."""
BAND = 8
"""Neighbouring latent channels whose magnitudes are averaged together."""
FAST = 3
"""Each channel's moving average forgets 2^-3 of itself a frame."""
SLOW = (4, 6)
"""Each band has two moving averages."""
AVERAGE_BITS = 16
"""Binary point of a moving average."""
ACTIVATION_BITS = 4
"""Binary point of activations, of averages as inputs, and of means."""
ACTIVATION_MAX = 127
FRACTIONS = 1 << ACTIVATION_BITS
SCALES = 64
LOG_SCALES = (-3.25, 4.0)
"""Natural logarithms of the first and last scale of the tables."""
CELLS = SCALES * FRACTIONS
"""Tables in all: one for each scale and sixteenth of the mean."""
CELL_BITS = 10
MEAN_MAX = (1 << 15) - 1
"""Means are held within ± this many sixteenths."""

_WEIGHT_MAX = 127
_SUM_LIMIT = 1 << 24
"""Sums of products below it are exact in float32, in any order."""
_MAX_SHIFT = 10
_MAX_APART = 8
"""Weights, shifted so far to the point of the layer that they are summed with, fit 16 bits."""
_REACH = 1024
"""No table goes further from its mean; symbols beyond take the escape."""
_PRIOR_COUNTS = 200.0
"""What the logistic distribution weighs against counted symbols, in each table."""

Ints = NDArray[np.int32]
Weights = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class ContextTables:
    """Weights and tables of the context model for C latent channels, G groups, H and K units.

    Wherever channels are counted they are in coding order, ``order``; only bands are of neighbours
    in the latent's own order. A weight w of a layer stands for w · 2^-shift, with one of ``shifts``
    for each layer; biases are in units of the sums that they are added to.
    """

    order: Ints
    """(C,): the latent channel that is coded as the i-th of a frame."""
    start: Ints
    """(levels, bands): where the slow averages start, Q16."""
    past: Weights
    """(2, 3, C, H): the two frames before; of each symbol, its three features."""
    averages: Weights
    """(C + 2 · bands, H): fast averages, then slow ones."""
    shared_bias: Ints
    """(levels, H)."""
    shared: Weights
    """(H, G · K): the shared layer's units to the groups'."""
    inside: Weights
    """(3, C, G · K): the frame's own symbols to the units of later groups; zero for others."""
    group_bias: Ints
    """(levels, G · K)."""
    out: Weights
    """(G, K, 2 · C/G): units of a group to means, then scales, of its channels."""
    out_bias: Ints
    """(G, 2 · C/G)."""
    shifts: Ints
    """(6,): binary points of ``past, averages, shared, inside`` and of ``out``: means, scales."""
    lowest: Ints
    """(1024,): first symbol of each table, from the whole part of the mean."""
    starts: Ints
    """(1025,): where each table begins in ``frequencies``."""
    frequencies: Ints
    """Frequencies of each table, of 2^16 in all; the last one of a table is the escape's."""

    @property
    def channels(self) -> int:
        return len(self.order)

    @property
    def groups(self) -> int:
        return len(self.out)

    @property
    def levels(self) -> int:
        return len(self.start)

    def digest(self) -> bytes:
        """Four bytes that name these tables."""
        sha = hashlib.sha256()
        for name, part in self.arrays().items():
            sha.update(f"{name} {part.shape}".encode())
            sha.update(part.astype(part.dtype.newbyteorder("<")).tobytes())
        return sha.digest()[:4]

    def arrays(self) -> dict[str, NDArray[np.integer]]:
        """All parts by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.integer]]) -> Self:
        """What ``arrays`` gave; ValueError where these cannot be tables of a context model."""
        names = {field.name for field in fields(cls)}
        if set(arrays) != names:
            raise ValueError(f"a context model has {sorted(names)}, not {sorted(arrays)}")
        parts: dict[str, Any] = {
            name: np.ascontiguousarray(part, np.int8 if name in _LAYERS else np.int32)
            for name, part in arrays.items()
        }
        tables = cls(**parts)
        check(tables)
        return tables


_LAYERS = ("past", "averages", "shared", "inside", "out")


def freeze(weights: Mapping[str, NDArray[np.floating]]) -> ContextTables:
    """A trained context model in integers, with tables of the logistic distribution.

    ``weights`` are, for C channels in G groups, B = C / 8 bands, H shared units, K of each group:

    ========  =============  =====================================================================
    order     (C,)           channels in the order of coding; groups follow one another
    W1        (H, 7C + 2B)   shared layer: for each of the two frames before, all channels' symbols
                             cut to ±8, magnitudes cut to 1, magnitudes cut to 8; then fast and
                             slow averages
    B1        (levels, H)    its biases
    start     (levels, B)    where slow averages start
    U         (G, K, H)      shared units to those of each group
    V         (G, K, 3C)     the frame's own symbols to them, features as in W1, zero where unknown
    b         (levels, G, K) their biases
    O         (G, 2C/G, K)   units of a group to means, then ln scales, of its channels
    o         (G, 2C/G)      their biases
    ========  =============  =====================================================================

    Raises ValueError where a sum could overflow 32 bits, or 24 in a product of matrices, and where
    weights are not finite.
    """
    if not all(np.isfinite(part).all() for part in weights.values()):
        raise ValueError("a context model whose weights are not finite cannot be frozen")
    order = weights["order"].astype(np.int32)
    channels = len(order)
    levels, hidden = weights["B1"].shape
    groups, units, _ = weights["U"].shape
    first = weights["W1"].astype(np.float64).T
    past = first[: 6 * channels].reshape(2, 3, channels, hidden)[:, :, order]
    averages = first[6 * channels :]
    averages = np.concatenate((averages[:channels][order], averages[channels:]))
    shared = weights["U"].astype(np.float64).reshape(groups * units, hidden).T
    inside = weights["V"].astype(np.float64).reshape(groups * units, 3, channels)
    inside = inside.transpose(1, 2, 0)[:, order]
    # Scales as steps of their grid, counted from its start.
    step = (LOG_SCALES[1] - LOG_SCALES[0]) / (SCALES - 1)
    out = weights["O"].astype(np.float64).transpose(0, 2, 1)
    means, scales = np.split(out, 2, axis=2)
    mean_bias, scale_bias = np.split(weights["o"].astype(np.float64), 2, axis=1)
    scales, scale_bias = scales / step, (scale_bias - LOG_SCALES[0]) / step

    past_w, past_s = _quantize(past, np.array([CLIP, 1, CLIP])[:, None, None])
    averages_w, averages_s = _quantize(averages, CLIP << ACTIVATION_BITS, _highest(past_s))
    inside_w, inside_s = _quantize(inside, np.array([CLIP, 1, CLIP])[:, None, None])
    shared_w, shared_s = _quantize(shared, ACTIVATION_MAX, _highest(inside_s))
    means_w, means_s = _quantize(means, ACTIVATION_MAX, axes=(1,))
    scales_w, scales_s = _quantize(scales, ACTIVATION_MAX, axes=(1,))
    shared_point = max(past_s, averages_s + ACTIVATION_BITS)
    group_point = max(inside_s, shared_s + ACTIVATION_BITS)
    out_bias = np.concatenate(
        (
            _fixed(mean_bias, means_s + ACTIVATION_BITS),
            _fixed(scale_bias, scales_s + ACTIVATION_BITS),
        ),
        axis=1,
    )
    lowest, starts, frequencies = _logistic_tables()
    tables = ContextTables(
        order=order,
        start=_fixed(weights["start"].astype(np.float64).clip(0, CLIP), AVERAGE_BITS),
        past=past_w,
        averages=averages_w,
        shared_bias=_fixed(weights["B1"].astype(np.float64), shared_point),
        shared=shared_w,
        inside=inside_w,
        group_bias=_fixed(weights["b"].astype(np.float64).reshape(levels, -1), group_point),
        out=np.concatenate((means_w, scales_w), axis=2),
        out_bias=out_bias,
        shifts=np.array([past_s, averages_s, shared_s, inside_s, means_s, scales_s], np.int32),
        lowest=lowest,
        starts=starts,
        frequencies=frequencies,
    )
    check(tables)
    return tables


def recount(tables: ContextTables, counts: NDArray[np.int64]) -> ContextTables:
    """Tables made anew of (1024, reach) counts, which ``empty_counts`` and ``count`` gather."""
    lowest, starts, frequencies = _tables(counts)
    return replace(tables, lowest=lowest, starts=starts, frequencies=frequencies)


def empty_counts() -> NDArray[np.int64]:
    """For each table, how often each symbol came, counted from the mean's whole part."""
    return np.zeros((CELLS, 2 * _REACH), np.int64)


def count(counts: NDArray[np.int64], symbols: Ints, contexts: Ints) -> None:
    """Add symbols with their packed contexts; those out of reach are the escape's anyway."""
    column = symbols.astype(np.int64) - (contexts >> CELL_BITS) + _REACH
    near = (column >= 0) & (column < 2 * _REACH)
    np.add.at(counts, (contexts[near] & (CELLS - 1), column[near]), 1)


def check(tables: ContextTables) -> None:
    """Raise ValueError where arithmetic on these tables could overflow or leave their bounds."""
    t = tables
    channels, (levels, bands) = t.channels, t.start.shape
    groups, units, width = t.out.shape
    hidden = t.shared_bias.shape[1]
    expected = {
        "order": (channels,),
        "start": (levels, bands),
        "past": (2, 3, channels, hidden),
        "averages": (channels + len(SLOW) * bands, hidden),
        "shared_bias": (levels, hidden),
        "shared": (hidden, groups * units),
        "inside": (3, channels, groups * units),
        "group_bias": (levels, groups * units),
        "out": (groups, units, width),
        "out_bias": (groups, width),
        "shifts": (6,),
        "lowest": (CELLS,),
        "starts": (CELLS + 1,),
        "frequencies": (int(t.starts[-1]),),
    }
    for name, part in t.arrays().items():
        if part.shape != expected[name]:
            raise ValueError(f"a context model's {name} is {part.shape}, not {expected[name]}")
    if bands * BAND != channels or groups * width != 2 * channels or not channels * levels:
        raise ValueError(
            f"{channels} channels are no whole number of {groups} groups and of bands of {BAND}"
        )
    if not np.array_equal(np.sort(t.order), np.arange(channels)):
        raise ValueError("a context model's order is not a permutation of its channels")
    if t.start.min() < 0 or t.start.max() > CLIP << AVERAGE_BITS:
        raise ValueError(f"a context model's averages start outside 0 to {CLIP}")
    if t.shifts.min() < 0 or t.shifts.max() > _MAX_SHIFT:
        raise ValueError(f"a context model's shifts are outside 0 to {_MAX_SHIFT}")
    _check_frequencies(t)
    past, averages, shared, inside, *_ = t.shifts.tolist()
    for one, other in ((past, averages), (inside, shared)):
        if not -_MAX_APART <= other + ACTIVATION_BITS - one <= _MAX_APART:
            raise ValueError(f"a context model's shifts are further apart than {_MAX_APART}")
    point = max(past, averages + ACTIVATION_BITS)
    _check_sums(
        "shared layer",
        t.shared_bias,
        (_symbol_sums(t.past.reshape(6, channels, hidden)), point - past),
        (_sums(t.averages, CLIP << ACTIVATION_BITS), point - averages - ACTIVATION_BITS),
    )
    point = max(inside, shared + ACTIVATION_BITS)
    _check_sums(
        "group layers",
        t.group_bias,
        (_symbol_sums(t.inside), point - inside),
        (_sums(t.shared, ACTIVATION_MAX), point - shared - ACTIVATION_BITS),
    )
    for weights, bias in zip(t.out, t.out_bias, strict=True):
        _check_sums("outputs", bias, (_sums(weights, ACTIVATION_MAX), 0))


def _sums(weights: NDArray[np.integer], largest: int) -> NDArray[np.int64]:
    """The largest sum of products that a column's unit can meet, in magnitude."""
    return np.abs(weights.astype(np.int64)).sum(axis=0) * largest


def _symbol_sums(weights: NDArray[np.integer]) -> NDArray[np.int64]:
    """The same for (3 · n, channels, units): cut symbols and two magnitudes of each."""
    largest = np.resize([CLIP, 1, CLIP], len(weights))
    return (np.abs(weights.astype(np.int64)).sum(axis=1) * largest[:, None]).sum(axis=0)


def _check_sums(what: str, bias: Ints, *products: tuple[NDArray[np.int64], int]) -> None:
    total = np.abs(bias.astype(np.int64)) + (1 << 2 * _MAX_SHIFT)
    for sums, shift in products:
        if sums.max(initial=0) >= _SUM_LIMIT:
            raise ValueError(f"a context model's {what} could meet sums beyond 24 bits")
        total = total + (sums << shift)
    if total.max() >= 1 << 31:
        raise ValueError(f"a context model's {what} could meet sums beyond 32 bits")


def _check_frequencies(t: ContextTables) -> None:
    sizes = np.diff(t.starts.astype(np.int64))
    if t.starts[0] or sizes.min() < 2 or t.frequencies.min() < 1:
        raise ValueError("a context model's tables have an entry and an escape at least")
    if (np.add.reduceat(t.frequencies.astype(np.int64), t.starts[:-1]) != TOTAL).any():
        raise ValueError(f"frequencies of a context model's tables do not sum to {TOTAL}")
    if np.abs(t.lowest.astype(np.int64)).max() > _REACH:
        raise ValueError(f"a context model's tables begin further than {_REACH} from the mean")


def _quantize(
    weights: NDArray[np.float64],
    largest: int | NDArray[np.int64],
    highest: int = _MAX_SHIFT,
    axes: tuple[int, ...] | None = None,
) -> tuple[Weights, int]:
    """(…, units) weights as bytes and their binary point, ``highest`` at most.

    It is the highest for which no weight exceeds a byte and no unit's sum of products, over
    ``axes`` or all but the last, exceeds 24 bits with inputs of at most ``largest``.
    """
    axes = axes or tuple(range(weights.ndim - 1))
    for shift in range(highest, -1, -1):
        scaled = np.rint(weights * 2.0**shift)
        sums = (np.abs(scaled) * largest).sum(axis=axes)
        if np.abs(scaled).max() <= _WEIGHT_MAX and sums.max() < _SUM_LIMIT:
            return np.ascontiguousarray(scaled.astype(np.int8)), shift
    raise ValueError(
        f"a context model's weights are too large to freeze: up to {np.abs(weights).max():g}"
    )


def _highest(other: int) -> int:
    """Highest binary point beside another layer's, so that both can be brought to one."""
    return min(_MAX_SHIFT, other + _MAX_APART - ACTIVATION_BITS)


def _fixed(values: NDArray[np.float64], point: int) -> Ints:
    scaled = np.rint(values * 2.0**point)
    if np.abs(scaled).max(initial=0) >= 1 << 31:
        raise ValueError(f"biases of a context model are too large to freeze: {values.max():g}")
    return scaled.astype(np.int32)


@functools.cache
def _logistic_tables() -> tuple[Ints, Ints, Ints]:
    return _tables(empty_counts())


def _tables(counts: NDArray[np.int64]) -> tuple[Ints, Ints, Ints]:
    """Lowest symbols, starts and frequencies of all tables, from counts and a logistic prior."""
    symbols = np.arange(-_REACH, _REACH)
    log_scales = np.linspace(*LOG_SCALES, SCALES)
    lowest, sizes, parts = [], [0], []
    for cell, counted in enumerate(counts):
        scale = float(np.exp(log_scales[cell // FRACTIONS]))
        distance = symbols - cell % FRACTIONS / FRACTIONS
        # A hundredth of a wider one, so that what is rare does not cost without bound.
        prior = 0.99 * _logistic(distance, scale)
        prior += 0.01 * _logistic(distance, max(3 * scale, 0.3))
        masses = counted + _PRIOR_COUNTS * prior
        masses /= masses.sum()
        kept = np.flatnonzero(masses >= 2.0 / TOTAL)
        inside = masses[kept[0] : kept[-1] + 1]
        entries = np.append(inside, max(2.0 / TOTAL, 1.0 - float(inside.sum())))
        found = 1 + np.floor(entries / entries.sum() * (TOTAL - len(entries))).astype(np.int64)
        found[int(np.argmax(found))] += TOTAL - int(found.sum())
        lowest.append(int(symbols[kept[0]]))
        sizes.append(len(found))
        parts.append(found)
    return (
        np.array(lowest, np.int32),
        np.cumsum(sizes).astype(np.int32),
        np.concatenate(parts).astype(np.int32),
    )


def _logistic(distance: NDArray[np.floating], scale: float) -> NDArray[np.floating]:
    """Masses within half a step of each distance from the mean."""
    # Both edges on the side of the lower tail, where the difference keeps its precision.
    near, far = (0.5 - np.abs(distance)) / scale, (-0.5 - np.abs(distance)) / scale
    return np.exp(-np.logaddexp(0, -near)) - np.exp(-np.logaddexp(0, -far))
