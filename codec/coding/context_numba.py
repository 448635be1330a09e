"""The context model's arithmetic compiled by numba: what ``context_numpy`` does, many times faster.

Inputs that are zero, most of them, cost nothing. Numba widens int32 · int32 to int64; the casts
keep sums in 32 bits, which hold them (``context_tables.check``). Indices come from clipped numbers
and checked tables alone, and words are read while there are any: no bytes lead out of bounds.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from codec.coding import ans
from codec.coding.context_tables import (
    ACTIVATION_BITS,
    ACTIVATION_MAX,
    AVERAGE_BITS,
    BAND,
    CELL_BITS,
    CELLS,
    CLIP,
    FAST,
    MEAN_MAX,
    SCALES,
    SLOW,
    ContextTables,
    Ints,
)
from codec.errors import BitstreamError

_AVERAGE_SHIFT = AVERAGE_BITS - ACTIVATION_BITS
_BAND_UNIT = (1 << AVERAGE_BITS) // BAND
_SLOWER, _SLOWEST = SLOW
_DONE, _ESCAPED_TOO_FAR = 0, 1


def _compiled(function: Any) -> Any:
    """Compile at the first call; kept on disk for later processes where a folder can be written."""
    try:
        return numba.njit(function, cache=True, error_model="numpy")
    except RuntimeError:  # numba found no folder that it can write
        return numba.njit(function, error_model="numpy")


def contexts(tables: ContextTables, symbols: Ints, level: int) -> Ints:
    """The packed context of each of (frames, channels) symbols, in coding order."""
    found = np.empty_like(symbols)
    nothing, coder = np.zeros(0, np.uint32), np.zeros(2, np.uint64)
    _run(False, symbols, found, nothing, coder, *_network(tables, level), *_cells(tables))
    return found


def decode(tables: ContextTables, data: bytes, shape: tuple[int, int, int], level: int) -> Ints:
    """(groups, frames, channels) symbols, in coding order, from the bytes of a payload."""
    state, words = ans.split(data)
    coder = np.array([state, 0], np.uint64)  # and how many words were taken
    symbols = np.zeros(shape, np.int32)
    network, cells = _network(tables, level), _cells(tables)
    for group in symbols:
        if _run(True, group, group, words, coder, *network, *cells) != _DONE:
            raise BitstreamError("payload cannot be decoded: a symbol is beyond 32 bits")
    if coder[0] or coder[1] < len(words):
        raise BitstreamError("payload cannot be decoded: it does not end with its symbols")
    return symbols


def encode_events(starts: Ints, frequencies: Ints) -> bytes:
    """What ``ans.encode`` does."""
    words = np.empty(len(starts), np.uint32)
    state, count = _push(starts, frequencies, words)
    return ans.join(int(state), words[:count][::-1])


def _network(tables: ContextTables, level: int) -> tuple[Any, ...]:
    t = tables
    return (
        np.ascontiguousarray(t.past.transpose(0, 2, 1, 3)).astype(np.int16),
        t.averages.astype(np.int16),
        t.shared_bias[level],
        np.ascontiguousarray(t.shared.T).astype(np.int16),
        np.ascontiguousarray(t.inside.transpose(1, 0, 2)).astype(np.int16),
        t.group_bias[level],
        t.out.astype(np.int16),
        t.out_bias,
        t.shifts,
        t.order // BAND,
        t.start[level],
    )


def _cells(tables: ContextTables) -> tuple[Any, ...]:
    sums = np.cumsum(tables.frequencies, dtype=np.int64) - tables.frequencies
    cumulative = (sums & (ans.TOTAL - 1)).astype(np.int32)  # each table sums to TOTAL
    likely = np.array([np.argmax(p) for p in np.split(tables.frequencies, tables.starts[1:-1])])
    return tables.lowest, tables.starts, cumulative, tables.frequencies, likely.astype(np.int32)


@_compiled
def _run(
    decoding, symbols, found, words, coder,
    past, averages, shared_bias, shared, inside, group_bias, out, out_bias, shifts, band, start,
    lowest, starts, cumulative, frequencies, likely,
):  # fmt: skip
    """Find the contexts of (frames, channels) symbols, or decode them: ``found`` is then unused."""
    frames, channels = symbols.shape
    groups, units, width = out.shape
    hidden, size, bands = len(shared_bias), width // 2, len(start)
    point = max(shifts[0], shifts[1] + ACTIVATION_BITS)
    past_shift, average_shift = point - shifts[0], point - shifts[1] - ACTIVATION_BITS
    hidden_shift = point - ACTIVATION_BITS
    point = max(shifts[3], shifts[2] + ACTIVATION_BITS)
    inside_shift, shared_shift = point - shifts[3], point - shifts[2] - ACTIVATION_BITS
    group_shift = point - ACTIVATION_BITS
    mean_shift, scale_shift = shifts[4], shifts[5] + ACTIVATION_BITS

    fast, band_sums = np.zeros(channels, np.int32), np.zeros(bands, np.int32)
    slower, slowest = start.copy(), start.copy()
    from_past, from_averages = np.empty(hidden, np.int32), np.empty(hidden, np.int32)
    layer, inner = np.empty(hidden, np.int16), np.empty(groups * units, np.int32)
    from_inside = np.empty(groups * units, np.int32)
    sums = np.empty(width, np.int32)

    for frame in range(frames):
        from_past[:] = 0
        from_averages[:] = 0
        for age in range(min(frame, 2)):
            for channel in range(channels):
                symbol = symbols[frame - 1 - age, channel]
                if symbol != 0:
                    _add_symbol(from_past, past[age, channel], symbol)
        for channel in range(channels):
            _add_row(from_averages, averages[channel], fast[channel] >> _AVERAGE_SHIFT)
        for index in range(bands):
            row = channels + index
            _add_row(from_averages, averages[row], slower[index] >> _AVERAGE_SHIFT)
            _add_row(from_averages, averages[row + bands], slowest[index] >> _AVERAGE_SHIFT)
        for unit in range(hidden):
            total = (from_past[unit] << past_shift) + (from_averages[unit] << average_shift)
            layer[unit] = _activation(total + shared_bias[unit], hidden_shift)
        for unit in range(groups * units):
            inner[unit] = (_dot(layer, shared[unit]) << shared_shift) + group_bias[unit]
        from_inside[:] = 0

        for group in range(groups):
            first, later = group * size, (group + 1) * units
            sums[:] = out_bias[group]
            for unit in range(units):
                index = group * units + unit
                total = inner[index] + (from_inside[index] << inside_shift)
                _add_row(sums, out[group, unit], _activation(total, group_shift))
            for index in range(size):
                mean = _round(sums[index], mean_shift)
                mean = min(max(mean, -MEAN_MAX), MEAN_MAX)
                scale = _round(sums[size + index], scale_shift)
                scale = min(max(scale, 0), SCALES - 1)
                whole, part = mean >> ACTIVATION_BITS, mean & ((1 << ACTIVATION_BITS) - 1)
                cell = scale << ACTIVATION_BITS | part
                if not decoding:
                    found[frame, first + index] = whole << CELL_BITS | cell
                    continue
                entry = _take(
                    words, coder, cumulative, frequencies, starts[cell], starts[cell + 1],
                    likely[cell],
                )  # fmt: skip
                symbol = whole + lowest[cell] + entry
                if symbol < -(1 << 31) or symbol >= 1 << 31:
                    return _ESCAPED_TOO_FAR
                symbols[frame, first + index] = symbol
            if group + 1 < groups:
                for channel in range(first, first + size):
                    symbol = symbols[frame, channel]
                    if symbol != 0:
                        _add_symbol(from_inside[later:], inside[channel, :, later:], symbol)

        band_sums[:] = 0
        for channel in range(channels):
            magnitude = abs(min(max(symbols[frame, channel], -CLIP), CLIP))
            fast[channel] += ((magnitude << AVERAGE_BITS) - fast[channel]) >> FAST
            band_sums[band[channel]] += magnitude
        for index in range(bands):
            mean = band_sums[index] * _BAND_UNIT
            slower[index] += (mean - slower[index]) >> _SLOWER
            slowest[index] += (mean - slowest[index]) >> _SLOWEST
    return _DONE


@_compiled
def _add_symbol(sums, rows, symbol):
    """Add what a symbol's three features bring: cut to ±8, magnitude to 1, magnitude to 8."""
    symbol = np.int32(min(max(symbol, -CLIP), CLIP))
    magnitude = np.int32(abs(symbol))
    signed, once, sized = rows[0], rows[1], rows[2]
    for unit in range(len(sums)):
        total = np.int32(np.int32(signed[unit]) * symbol)
        total = np.int32(total + np.int32(once[unit]))
        total = np.int32(total + np.int32(np.int32(sized[unit]) * magnitude))
        sums[unit] += total


@_compiled
def _add_row(sums, row, value):
    if value != 0:
        value = np.int32(value)
        for unit in range(len(sums)):
            sums[unit] += np.int32(np.int32(row[unit]) * value)


@_compiled
def _dot(values, row):
    total = np.int32(0)
    for index in range(len(values)):
        total += np.int32(np.int32(values[index]) * np.int32(row[index]))
    return total


@_compiled
def _round(total, shift):
    return (total + (1 << shift >> 1)) >> shift


@_compiled
def _activation(total, shift):
    return min(max(_round(total, shift), 0), ACTIVATION_MAX)


@_compiled
def _take(words, coder, cumulative, frequencies, first, end, likely):
    """The next entry of the table from ``first`` to ``end``; out of it where it was escaped."""
    slot = np.int32(coder[0] & np.uint64(ans.TOTAL - 1))
    low, high = first, end - 1
    start = cumulative[first + likely]
    if start <= slot < start + frequencies[first + likely]:
        low = first + likely
    else:
        while low < high:
            middle = (low + high + 1) >> 1
            if cumulative[middle] <= slot:
                low = middle
            else:
                high = middle - 1
    _advance(words, coder, cumulative[low], frequencies[low])
    escape = end - 1 - first
    entry = np.int64(low - first)
    if entry < escape:
        return entry
    above = _bit(words, coder)
    length = 0
    while _bit(words, coder):
        length += 1
        if length == 32:
            return np.int64(1) << 40
    distance = np.int64(1)
    for _ in range(length):
        distance = distance << 1 | _bit(words, coder)
    return escape - 1 + distance if above else -distance


@_compiled
def _bit(words, coder):
    bit = np.int64((coder[0] >> np.uint64(ans.PRECISION - 1)) & np.uint64(1))
    _advance(words, coder, bit << (ans.PRECISION - 1), 1 << (ans.PRECISION - 1))
    return bit


@_compiled
def _advance(words, coder, start, frequency):
    """Take an event out of the state, and a word in where it has become small."""
    state, position = coder[0], coder[1]
    slot = state & np.uint64(ans.TOTAL - 1)
    state = np.uint64(frequency) * (state >> np.uint64(ans.PRECISION)) + slot - np.uint64(start)
    if state < np.uint64(ans.LEAST) and position < np.uint64(len(words)):
        state = state << np.uint64(ans.WORD) | np.uint64(words[position])
        coder[1] = position + np.uint64(1)
    coder[0] = state


@_compiled
def _push(starts, frequencies, words):
    """Fold all events into a state, from the last one on; gives it and how many words moved out."""
    state, count = np.uint64(0), 0
    for index in range(len(starts) - 1, -1, -1):
        frequency = np.uint64(frequencies[index])
        if state >= frequency << np.uint64(2 * ans.WORD - ans.PRECISION):
            words[count] = np.uint32(state & np.uint64(ans.LEAST - 1))
            count += 1
            state >>= np.uint64(ans.WORD)
        whole = state // frequency
        rest = state - whole * frequency
        state = (whole << np.uint64(ans.PRECISION)) + rest + np.uint64(starts[index])
    return state, count
