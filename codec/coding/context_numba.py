"""The context model's arithmetic compiled by numba: what ``context_numpy`` does, many times faster.

Inputs that are zero, most of them, cost nothing. Numba widens int32 · int32 to int64; the casts
keep sums in 32 bits, which hold them (``context_tables.check``). Indices come from clipped numbers
and checked tables alone, and words are read while there are any: no bytes lead out of bounds.
"""

import functools
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
    Weights,
)
from codec.errors import BitstreamError

_AVERAGE_SHIFT = AVERAGE_BITS - ACTIVATION_BITS
_BAND_UNIT = (1 << AVERAGE_BITS) // BAND
_SLOWER, _SLOWEST = SLOW
_DONE, _ESCAPED_TOO_FAR = 0, 1
_MOST_WORDS = 3
"""Words that one symbol can move out: 16 bits of the escape and 64 of side and distance."""


def _compiled(function: Any, **options: Any) -> Any:
    """Compile at the first call; kept on disk for later processes where a folder can be written."""
    try:
        return numba.njit(function, cache=True, error_model="numpy", **options)
    except RuntimeError:  # numba found no folder that it can write
        return numba.njit(function, error_model="numpy", **options)


def _inner(function: Any) -> Any:
    """Compile what is called by compiled code alone: half of the work."""
    return _compiled(function, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def contexts(tables: ContextTables, symbols: Ints, level: int) -> Ints:
    """The packed context of each of (frames, channels) symbols, in coding order."""
    found = np.empty_like(symbols)
    nothing, coder = np.zeros(0, np.uint32), np.zeros(2, np.uint64)
    network = *_layers(tables), *_level(tables, level)
    _run(False, symbols, found, nothing, coder, *network, *_cells(tables))
    return found


def decode(tables: ContextTables, data: bytes, shape: tuple[int, int, int], level: int) -> Ints:
    """(groups, frames, channels) symbols, in coding order, from the bytes of a payload."""
    state, words = ans.split(data)
    coder = np.array([state, 0], np.uint64)  # and how many words were taken
    symbols = np.zeros(shape, np.int32)
    network = *_layers(tables), *_level(tables, level)
    for group in symbols:
        if _run(True, group, group, words, coder, *network, *_cells(tables)) != _DONE:
            raise BitstreamError("payload cannot be decoded: a symbol is beyond 32 bits")
    if coder[0] != ans.FIRST or coder[1] < len(words):
        raise BitstreamError("payload cannot be decoded: it does not end with its symbols")
    return symbols


def encode(tables: ContextTables, groups: list[tuple[Ints, Ints]]) -> bytes:
    """Bytes of (frames, channels) symbols and their packed contexts, one group after the other."""
    size = sum(symbols.size for symbols, _ in groups)
    words = np.empty(_MOST_WORDS * size, np.uint32)
    coder = np.array([ans.FIRST, 0], np.uint64)
    for symbols, packed in reversed(groups):
        _push_all(symbols.ravel(), packed.ravel(), words, coder, *_cells(tables)[:-1])
    return ans.join(int(coder[0]), words[: int(coder[1])][::-1])


@functools.lru_cache(maxsize=8)
def _layers(tables: ContextTables) -> tuple[Any, ...]:
    """Weights as ``_run`` takes them, brought to the binary points of the sums they are part of."""
    t = tables
    past, averages, shared, inside, means, scales = t.shifts.tolist()
    first = max(past, averages + ACTIVATION_BITS)
    second = max(inside, shared + ACTIVATION_BITS)

    def scaled(weights: Weights, shift: int) -> NDArray[np.int16]:
        return np.ascontiguousarray(weights.astype(np.int16) << shift)

    return (
        scaled(t.past[0].transpose(1, 0, 2), first - past),
        scaled(t.past[1].transpose(1, 0, 2), first - past),
        scaled(t.averages, first - averages - ACTIVATION_BITS),
        scaled(t.shared.T, second - shared - ACTIVATION_BITS),
        scaled(t.inside.transpose(1, 0, 2), second - inside),
        scaled(t.out, 0),
        t.out_bias,
        t.order // BAND,
        first - ACTIVATION_BITS,
        second - ACTIVATION_BITS,
        means,
        scales + ACTIVATION_BITS,
    )


def _level(tables: ContextTables, level: int) -> tuple[Ints, Ints, Ints]:
    return tables.shared_bias[level], tables.group_bias[level], tables.start[level]


@functools.lru_cache(maxsize=8)
def _cells(tables: ContextTables) -> tuple[Ints, ...]:
    sums = np.cumsum(tables.frequencies, dtype=np.int64) - tables.frequencies
    cumulative = (sums & (ans.TOTAL - 1)).astype(np.int32)  # each table sums to TOTAL
    likely = np.array([np.argmax(p) for p in np.split(tables.frequencies, tables.starts[1:-1])])
    return tables.lowest, tables.starts, cumulative, tables.frequencies, likely.astype(np.int32)


@_compiled
def _run(
    decoding, symbols, found, words, coder,
    last, second, averages, shared, inside, out, out_bias, band,
    hidden_shift, group_shift, mean_shift, scale_shift, shared_bias, group_bias, start,
    lowest, starts, cumulative, frequencies, likely,
):  # fmt: skip
    """Find the contexts of (frames, channels) symbols, or decode them: ``found`` is then unused."""
    frames, channels = symbols.shape
    groups, units, width = out.shape
    size, bands = width // 2, len(start)
    memory, inputs = np.zeros(len(averages), np.int32), np.empty(len(averages), np.int32)
    for index in range(bands):
        memory[channels + index] = memory[channels + bands + index] = start[index]
    shared_sums, shared_units = (
        np.empty(len(shared_bias), np.int32),
        np.empty(len(shared_bias), np.int16),
    )
    group_sums, group_units = np.empty(groups * units, np.int32), np.empty(units, np.int16)
    sums, packed = np.empty(width, np.int32), np.empty(size, np.int32)
    for frame in range(frames):
        _copy(shared_bias, shared_sums)
        if frame > 0:
            _add_symbols(shared_sums, last, 0, symbols[frame - 1])
        if frame > 1:
            _add_symbols(shared_sums, second, 0, symbols[frame - 2])
        for index in range(len(memory)):
            inputs[index] = memory[index] >> _AVERAGE_SHIFT
        _add_rows(shared_sums, averages, inputs)
        _activate(shared_sums, 0, hidden_shift, shared_units)
        _copy(group_bias, group_sums)
        _add_products(group_sums, shared, shared_units)
        for group in range(groups):
            first = group * size
            row = symbols[frame, first : first + size]
            _activate(group_sums, group * units, group_shift, group_units)
            _copy(out_bias[group], sums)
            _add_rows(sums, out[group], group_units)
            _pack(sums, mean_shift, scale_shift, packed)
            if not decoding:
                _copy(packed, found[frame, first : first + size])
            elif not _take_all(
                row, packed, words, coder, lowest, starts, cumulative, frequencies, likely
            ):
                return _ESCAPED_TOO_FAR
            _add_symbols(group_sums, inside, first, row)
        _average(symbols[frame], band, memory)
    return _DONE


@_inner
def _copy(source, target):
    for index in range(len(source)):
        target[index] = source[index]


@_inner
def _add_symbols(sums, weights, first, symbols):
    """Add what symbols' three features bring: cut to ±8, magnitudes cut to 1, magnitudes to 8."""
    for channel in range(len(symbols)):
        if symbols[channel] != 0:
            rows = weights[first + channel]
            signed, once, sized = rows[0], rows[1], rows[2]
            symbol = np.int32(min(max(symbols[channel], -CLIP), CLIP))
            magnitude = np.int32(abs(symbol))
            for unit in range(len(sums)):
                total = np.int32(np.int32(signed[unit]) * symbol)
                total = np.int32(total + np.int32(once[unit]))
                total = np.int32(total + np.int32(np.int32(sized[unit]) * magnitude))
                sums[unit] += total


@_inner
def _add_rows(sums, weights, values):
    for index in range(len(values)):
        if values[index] != 0:
            row, value = weights[index], np.int32(values[index])
            for unit in range(len(sums)):
                sums[unit] += np.int32(np.int32(row[unit]) * value)


@_inner
def _add_products(sums, weights, values):
    for unit in range(len(sums)):
        row, total = weights[unit], np.int32(0)
        for index in range(len(values)):
            total += np.int32(np.int32(row[index]) * np.int32(values[index]))
        sums[unit] += total


@_inner
def _activate(sums, first, shift, units):
    half = 1 << shift >> 1
    for unit in range(len(units)):
        total = (sums[first + unit] + half) >> shift
        units[unit] = min(max(total, 0), ACTIVATION_MAX)


@_inner
def _pack(sums, mean_shift, scale_shift, packed):
    """Packed contexts from sums that give means, then scales."""
    size = len(packed)
    mean_half, scale_half = 1 << mean_shift >> 1, 1 << scale_shift >> 1
    for index in range(size):
        mean = (sums[index] + mean_half) >> mean_shift
        scale = (sums[size + index] + scale_half) >> scale_shift
        mean = min(max(mean, -MEAN_MAX), MEAN_MAX)
        scale = min(max(scale, 0), SCALES - 1)
        whole, part = mean >> ACTIVATION_BITS, mean & ((1 << ACTIVATION_BITS) - 1)
        packed[index] = whole << CELL_BITS | scale << ACTIVATION_BITS | part


@_inner
def _average(symbols, band, memory):
    """Take a frame into the moving averages: of channels, then both of bands."""
    channels = len(symbols)
    bands = (len(memory) - channels) // 2
    means = np.zeros(bands, np.int32)
    for channel in range(channels):
        magnitude = abs(min(max(symbols[channel], -CLIP), CLIP))
        memory[channel] += ((magnitude << AVERAGE_BITS) - memory[channel]) >> FAST
        means[band[channel]] += magnitude * _BAND_UNIT
    for index in range(bands):
        slower, slowest = channels + index, channels + bands + index
        memory[slower] += (means[index] - memory[slower]) >> _SLOWER
        memory[slowest] += (means[index] - memory[slowest]) >> _SLOWEST


@_inner
def _take_all(symbols, packed, words, coder, lowest, starts, cumulative, frequencies, likely):
    """Decode symbols in their packed contexts; False where one cannot be in 32 bits."""
    for index in range(len(symbols)):
        cell = packed[index] & (CELLS - 1)
        first, end, guess = starts[cell], starts[cell + 1], starts[cell] + likely[cell]
        # Most symbols are the likeliest of their table.
        slot = np.int64(coder[0] & np.uint64(ans.TOTAL - 1))
        if slot < cumulative[guess] or slot >= cumulative[guess] + frequencies[guess]:
            guess, high = first, end - 1
            while guess < high:
                middle = (guess + high + 1) >> 1
                if cumulative[middle] <= slot:
                    guess = middle
                else:
                    high = middle - 1
        _advance(words, coder, cumulative[guess], frequencies[guess])
        entry = np.int64(guess - first)
        if guess == end - 1:
            entry = _escaped(words, coder, entry)
        symbol = (packed[index] >> CELL_BITS) + lowest[cell] + entry
        if symbol < -(1 << 31) or symbol >= 1 << 31:
            return False
        symbols[index] = symbol
    return True


@_inner
def _escaped(words, coder, escape):
    """An entry before or behind the table: side, then distance as an Elias gamma code."""
    above = _bit(words, coder)
    distance, length = np.int64(1), 0
    while _bit(words, coder):
        length += 1
        if length == 32:
            return np.int64(1) << 40  # is refused
    for _ in range(length):
        distance = distance << 1 | _bit(words, coder)
    return escape - 1 + distance if above else -distance


@_inner
def _bit(words, coder):
    bit = np.int64((coder[0] >> np.uint64(ans.PRECISION - 1)) & np.uint64(1))
    _advance(words, coder, bit << (ans.PRECISION - 1), 1 << (ans.PRECISION - 1))
    return bit


@_inner
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
def _push_all(symbols, packed, words, coder, lowest, starts, cumulative, frequencies):
    """Fold symbols into the state, the last one first; words that move out are counted, too."""
    half = ans.TOTAL // 2
    for index in range(len(symbols) - 1, -1, -1):
        cell = packed[index] & (CELLS - 1)
        first, escape = starts[cell], starts[cell + 1] - starts[cell] - 1
        entry = np.int64(symbols[index]) - (packed[index] >> CELL_BITS) - lowest[cell]
        if entry < 0 or entry >= escape:
            # What the decoder takes after the escape, in reverse: low bits, length, side.
            distance = abs(entry) if entry < 0 else entry - escape + 1
            length, rest = 0, distance
            while rest > 1:
                _push(words, coder, (rest & 1) * half, half)
                rest >>= 1
                length += 1
            _push(words, coder, 0, half)
            for _ in range(length):
                _push(words, coder, half, half)
            _push(words, coder, half if entry > 0 else 0, half)
            entry = escape
        _push(words, coder, cumulative[first + entry], frequencies[first + entry])


@_inner
def _push(words, coder, start, frequency):
    """Fold an event into the state, after a word moved out where it would outgrow 64 bits."""
    state, divisor = coder[0], np.uint64(frequency)
    if state >= divisor << np.uint64(2 * ans.WORD - ans.PRECISION):
        words[coder[1]] = np.uint32(state & np.uint64(ans.LEAST - 1))
        coder[1] += np.uint64(1)
        state >>= np.uint64(ans.WORD)
    whole = state // divisor
    rest = state - whole * divisor
    coder[0] = (whole << np.uint64(ans.PRECISION)) + rest + np.uint64(start)
