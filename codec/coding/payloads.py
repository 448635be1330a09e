"""Payloads of chunks: which entropy code it is that a model's frozen tables are for."""

import numpy as np
from numpy.typing import NDArray

from codec.coding import context, index_context, range_coder
from codec.coding.context import ContextTables
from codec.coding.index_context import IndexTables
from codec.coding.tables import FrozenTables

Tables = FrozenTables | ContextTables | IndexTables
"""The integers that decide a model's bits."""


def encode(symbols: NDArray[np.int32], level: int, tables: Tables, layered: bool) -> list[bytes]:
    """(groups, rows, frames) symbols to bytes: one piece for each row of a ``layered`` model."""
    count, rows, frames = symbols.shape
    if isinstance(tables, ContextTables):
        return [context.encode(symbols, level, tables)]
    if isinstance(tables, IndexTables):
        return index_context.encode(symbols, tables)
    parts = np.split(symbols, rows, axis=1) if layered else [symbols]
    return [
        range_coder.encode(part.reshape(-1, frames), selected)
        for part, selected in zip(parts, _selected(tables, count, rows, layered), strict=True)
    ]


def decode(
    pieces: list[bytes],
    shape: tuple[int, int, int],
    level: int,
    tables: Tables,
    layered: bool,
) -> NDArray[np.int32]:
    """The (groups, rows, frames) symbols of which ``encode`` made the pieces.

    Raises BitstreamError where no encoder could have made them.
    """
    count, rows, frames = shape
    if isinstance(tables, ContextTables):
        return context.decode(pieces[0], count, frames, level, tables)
    if isinstance(tables, IndexTables):
        return index_context.decode(pieces, count, frames, tables)
    found = [
        range_coder.decode(data, frames, selected).reshape(count, -1, frames)
        for data, selected in zip(pieces, _selected(tables, count, rows, layered), strict=True)
    ]
    return np.concatenate(found, axis=1)


def symbol_bits(symbols: NDArray[np.int32], level: int, tables: Tables) -> NDArray[np.float64]:
    """−log2 of the probability of each of (groups, rows, frames) symbols of one payload."""
    if isinstance(tables, ContextTables):
        return context.symbol_bits(symbols, level, tables)
    if isinstance(tables, IndexTables):
        return index_context.symbol_bits(symbols, tables)
    return np.stack([tables.symbol_bits(group) for group in symbols])


def _selected(tables: FrozenTables, count: int, rows: int, layered: bool) -> list[FrozenTables]:
    """Tables of each piece of a payload: a row of all groups, or all rows, group after group."""
    if layered:
        return [tables.select([row] * count) for row in range(rows)]
    return [tables.select(list(range(rows)) * count)]
