"""Symbols to bytes and back with a context model: each symbol's table is chosen by those before it.

A small network in integers sees the two frames before, moving averages of magnitudes and, group
after group of channels, what is known of the frame itself. For each symbol it gives a mean in
sixteenths and one of 64 scales, and these choose one of 1,024 frozen tables. Groups of audio
channels, and payloads, know nothing of each other. A symbol beyond its table is written as the
table's escape, a bit for the side on which it lies, and its distance as an Elias gamma code.

``context_numba`` does the arithmetic where numba is installed, ``context_numpy`` elsewhere: the
same symbols and bytes. RDCODEC_NUMBA=0 in the environment leaves numba out.
"""

import os
from collections.abc import Iterable
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from codec.coding import ans, context_numpy, context_tables
from codec.coding.context_tables import CELL_BITS, CELLS, ContextTables, Ints, freeze

__all__ = [
    "ContextTables",
    "bits",
    "decode",
    "encode",
    "freeze",
    "recount",
    "symbol_bits",
]


def encode(symbols: Ints, level: int, tables: ContextTables) -> bytes:
    """(groups, channels, frames) symbols to bytes. Any int32 value can be coded."""
    groups = list(_found(symbols, level, tables))
    compiled = _numba()
    if compiled:
        return compiled.encode(tables, groups)
    events = [_events(tables, *group) for group in groups]
    return ans.encode(*(np.concatenate(parts) for parts in zip(*events, strict=True)))


def decode(data: bytes, groups: int, frames: int, level: int, tables: ContextTables) -> Ints:
    """The (groups, channels, frames) symbols of which ``encode`` made ``data``.

    Raises BitstreamError for most bytes that no encoder wrote; damage that cannot be seen here is
    the container's checksum to find.
    """
    _check_level(level, tables)
    arithmetic = _numba() or context_numpy
    coded = arithmetic.decode(tables, data, (groups, frames, tables.channels), level)
    symbols = np.empty((groups, tables.channels, frames), np.int32)
    symbols[:, tables.order] = coded.transpose(0, 2, 1)
    return symbols


def bits(symbols: Ints, level: int, tables: ContextTables) -> float:
    """−log2 of the probability of (groups, channels, frames) symbols: ``encode``'s ideal length."""
    return float(symbol_bits(symbols, level, tables).sum())


def symbol_bits(symbols: Ints, level: int, tables: ContextTables) -> NDArray[np.float64]:
    """The bits of each of (groups, channels, frames) symbols, escapes included."""
    found = np.empty(symbols.shape)
    for group, (coded, packed) in zip(found, _found(symbols, level, tables), strict=True):
        entries, distances = _entries(tables, coded, packed)
        cost = ans.PRECISION - np.log2(tables.frequencies[entries])
        outside = distances != 0
        cost[outside] += 2 + 2 * np.floor(np.log2(np.abs(distances[outside])))
        group[tables.order] = cost.T
    return found


def recount(tables: ContextTables, pieces: Iterable[tuple[Ints, int]]) -> ContextTables:
    """The same network with tables counted from (groups, channels, frames) symbols at levels.

    Each table's logistic distribution weighs as much as 200 symbols. This takes back what rounding
    the network to integers cost.
    """
    counts = context_tables.empty_counts()
    for symbols, level in pieces:
        for coded, packed in _found(symbols, level, tables):
            context_tables.count(counts, coded, packed)
    return context_tables.recount(tables, counts)


def _numba() -> ModuleType | None:
    """The compiled arithmetic, where numba is installed and RDCODEC_NUMBA=0 does not forbid it."""
    if os.environ.get("RDCODEC_NUMBA") == "0":
        return None
    try:
        from codec.coding import context_numba
    except ImportError:
        return None
    return context_numba


def _found(symbols: Ints, level: int, tables: ContextTables) -> Iterable[tuple[Ints, Ints]]:
    """(frames, channels) symbols, in coding order, and packed contexts of each group."""
    _check_level(level, tables)
    if symbols.shape[1] != tables.channels:
        raise ValueError(f"{symbols.shape[1]} channels of symbols, {tables.channels} of the tables")
    arithmetic = _numba() or context_numpy
    for group in symbols:
        coded = np.ascontiguousarray(group[tables.order].T, np.int32)
        yield coded, arithmetic.contexts(tables, coded, level)


def _check_level(level: int, tables: ContextTables) -> None:
    if not 0 <= level < tables.levels:
        raise ValueError(f"level {level} of a context model that has {tables.levels}")


def _entries(
    tables: ContextTables, coded: Ints, packed: Ints
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where in ``frequencies`` each symbol stands, and its distance from its table, if outside.

    A distance is negative below the table's lowest symbol, positive above its highest, else 0.
    """
    cells = packed & (CELLS - 1)
    starts = tables.starts.astype(np.int64)
    first, escape = starts[cells], (np.diff(starts) - 1)[cells]
    entries = coded.astype(np.int64) - (packed >> CELL_BITS) - tables.lowest[cells]
    distances = np.minimum(entries, 0) + np.maximum(entries - escape + 1, 0)
    return first + np.where(distances != 0, escape, entries), distances


def _events(tables: ContextTables, coded: Ints, packed: Ints) -> tuple[Ints, Ints]:
    """Starts and frequencies of all that is written for these symbols, in the decoder's order."""
    entries, distances = (found.ravel() for found in _entries(tables, coded, packed))
    frequencies = tables.frequencies[entries]
    cumulative = np.cumsum(tables.frequencies, dtype=np.int64) - tables.frequencies
    starts = (cumulative & (ans.TOTAL - 1))[entries].astype(np.int32)  # each table sums to TOTAL
    outside = np.flatnonzero(distances)
    codes = [_escaped(distance) for distance in distances[outside].tolist()]
    after = np.repeat(outside + 1, [len(code) for code in codes])
    half = ans.TOTAL // 2
    bits = np.array([bit * half for code in codes for bit in code], np.int32)
    return np.insert(starts, after, bits), np.insert(frequencies, after, half)


def _escaped(distance: int) -> list[int]:
    """The side, 1 for above, and the distance as an Elias gamma code: length in ones, then bits."""
    low = [int(digit) for digit in f"{abs(distance):b}"[1:]]
    return [int(distance > 0), *[1] * len(low), 0, *low]
