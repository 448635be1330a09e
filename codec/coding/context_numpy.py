"""The context model's arithmetic in numpy: works everywhere, slower than numba's.

Products of integer matrices are taken as floats of ``PRODUCTS``: every sum stays below 2^24
(``context_tables.check`` sees to it), so they are exact in any order.
"""

from bisect import bisect_right
from collections.abc import Callable

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

PRODUCTS: type[np.floating] = np.float32

Floats = NDArray[np.floating]


def contexts(tables: ContextTables, symbols: Ints, level: int) -> Ints:
    """The packed context of each of (frames, channels) symbols, in coding order."""
    found = np.empty_like(symbols)
    clipped = np.clip(symbols, -CLIP, CLIP)
    averages = _Averages(tables, level)
    seen = np.empty((len(symbols), len(tables.averages)), np.int32)
    for frame, row in enumerate(clipped):
        seen[frame] = averages.inputs()
        averages.update(np.abs(row))
    before = np.concatenate((np.zeros((2, clipped.shape[1]), np.int32), clipped))

    def known(channels: slice, packed: Ints) -> Ints:
        found[:, channels] = packed
        return clipped[:, channels]

    layers = _Layers(tables, level)
    layers.run(before[1:-1], before[:-2], seen, known)
    return found


def decode(tables: ContextTables, data: bytes, shape: tuple[int, int, int], level: int) -> Ints:
    """(groups, frames, channels) symbols, in coding order, from the bytes of a payload."""
    decoder, symbols = ans.Decoder(data), np.zeros(shape, np.int32)
    layers, cells = _Layers(tables, level), _Cells(tables)
    for group in symbols:
        averages = _Averages(tables, level)
        clipped = np.zeros((2 + len(group), shape[2]), np.int32)
        for frame, row in enumerate(group):

            def decoded(channels: slice, packed: Ints, row: Ints = row) -> Ints:
                row[channels] = [cells.take(decoder, context) for context in packed[0].tolist()]
                return np.clip(row[None, channels], -CLIP, CLIP)

            past = clipped[frame : frame + 2]
            layers.run(past[1:], past[:1], averages.inputs()[None], decoded)
            clipped[frame + 2] = np.clip(row, -CLIP, CLIP)
            averages.update(np.abs(clipped[frame + 2]))
    decoder.finish()
    return symbols


class _Averages:
    """Moving averages of magnitudes before a frame."""

    def __init__(self, tables: ContextTables, level: int) -> None:
        self.fast = np.zeros(tables.channels, np.int32)
        self.slow = np.repeat(tables.start[level][None], len(SLOW), axis=0)
        self.shifts = np.array(SLOW)[:, None]
        self.place = np.argsort(tables.order)

    def inputs(self) -> Ints:
        """(C + 2 · bands,) averages as the shared layer takes them."""
        return np.concatenate((self.fast, self.slow.ravel())) >> (AVERAGE_BITS - ACTIVATION_BITS)

    def update(self, magnitudes: Ints) -> None:
        """Take in (C,) magnitudes of a frame, cut to ``CLIP``, in coding order."""
        self.fast += ((magnitudes << AVERAGE_BITS) - self.fast) >> FAST
        means = magnitudes[self.place].reshape(-1, BAND).sum(axis=1) * ((1 << AVERAGE_BITS) // BAND)
        self.slow += ((means - self.slow) >> self.shifts).astype(np.int32)


class _Layers:
    """The network at one level."""

    def __init__(self, tables: ContextTables, level: int) -> None:
        self.tables = tables
        self.past = tables.past.reshape(2, -1, tables.past.shape[3]).astype(PRODUCTS)
        self.averages = tables.averages.astype(PRODUCTS)
        self.shared = tables.shared.astype(PRODUCTS)
        self.out = tables.out.astype(PRODUCTS)
        self.shared_bias, self.group_bias = tables.shared_bias[level], tables.group_bias[level]
        size, units = tables.channels // tables.groups, tables.out.shape[1]
        self.channels = [slice(g * size, (g + 1) * size) for g in range(tables.groups)]
        self.units = [slice(g * units, (g + 1) * units) for g in range(tables.groups)]
        self.inside = [
            tables.inside[:, channels, units.stop :].reshape(3 * size, -1).astype(PRODUCTS)
            for channels, units in zip(self.channels, self.units, strict=True)
        ]

    def run(
        self, last: Ints, second: Ints, averages: Ints, known: Callable[[slice, Ints], Ints]
    ) -> None:
        """Go through the groups of (n, C) frames, each seen as (n, C) two before and averages.

        ``known`` is told a group's channels and their (n, C/G) packed contexts, and gives their
        symbols cut to ``CLIP``.
        """
        past, average, shared, inside, means, scales = self.tables.shifts.tolist()
        point = max(past, average + ACTIVATION_BITS)
        sums = _product(_features(last), self.past[0]) + _product(_features(second), self.past[1])
        sums <<= point - past
        sums += _product(averages, self.averages) << (point - average - ACTIVATION_BITS)
        hidden = _activation(sums + self.shared_bias, point)
        point = max(inside, shared + ACTIVATION_BITS)
        sums = _product(hidden, self.shared) << (point - shared - ACTIVATION_BITS)
        sums += self.group_bias
        for group, (channels, units) in enumerate(zip(self.channels, self.units, strict=True)):
            out = _product(_activation(sums[:, units], point), self.out[group])
            mean, scale = np.split(out + self.tables.out_bias[group], 2, axis=1)
            mean = _round(mean, means).clip(-MEAN_MAX, MEAN_MAX)
            scale = _round(scale, scales + ACTIVATION_BITS).clip(0, SCALES - 1)
            whole, part = mean >> ACTIVATION_BITS, mean & ((1 << ACTIVATION_BITS) - 1)
            symbols = known(channels, whole << CELL_BITS | scale << ACTIVATION_BITS | part)
            later = _product(_features(symbols), self.inside[group])
            sums[:, units.stop :] += later << (point - inside)


def _features(symbols: Ints) -> Ints:
    magnitudes = np.abs(symbols)
    return np.concatenate((symbols, np.minimum(magnitudes, 1), magnitudes), axis=1)


def _product(inputs: Ints, weights: Floats) -> Ints:
    if len(inputs) == 1:  # decoding goes frame by frame, and most inputs of a frame are zero
        some = np.flatnonzero(inputs[0])
        inputs, weights = inputs[:, some], weights[some]
    return (inputs.astype(PRODUCTS) @ weights).astype(np.int32)


def _round(sums: Ints, shift: int) -> Ints:
    return (sums + (1 << shift >> 1)) >> shift


def _activation(sums: Ints, point: int) -> Ints:
    return _round(sums, point - ACTIVATION_BITS).clip(0, ACTIVATION_MAX)


class _Cells:
    """The tables as the decoder looks symbols up."""

    def __init__(self, tables: ContextTables) -> None:
        self.lowest = tables.lowest.tolist()
        parts = np.split(tables.frequencies, tables.starts[1:-1])
        self.cumulative = [[0, *np.cumsum(part).tolist()] for part in parts]

    def take(self, decoder: ans.Decoder, context: int) -> int:
        """The next symbol, in this packed context."""
        cell = context & (CELLS - 1)
        cumulative = self.cumulative[cell]
        entry = bisect_right(cumulative, decoder.slot) - 1
        start = cumulative[entry]
        decoder.take(start, cumulative[entry + 1] - start)
        escape = len(cumulative) - 2
        if entry == escape:
            entry = self._escaped(decoder, escape)
        symbol = (context >> CELL_BITS) + self.lowest[cell] + entry
        if not -(1 << 31) <= symbol < 1 << 31:
            raise BitstreamError("payload cannot be decoded: a symbol is beyond 32 bits")
        return symbol

    def _escaped(self, decoder: ans.Decoder, escape: int) -> int:
        """An entry before or behind the table: side, then distance as an Elias gamma code."""
        above = decoder.bit()
        length = 0
        while decoder.bit():
            length += 1
            if length == 32:
                raise BitstreamError("payload cannot be decoded: a symbol is beyond 32 bits")
        distance = 1
        for _ in range(length):
            distance = distance << 1 | decoder.bit()
        return escape - 1 + distance if above else -distance
