"""What other entropy codes would make of the same symbols.

Each is fitted to symbols of the training audio and measured in whole bits on symbols of
the test clips:

- *fixed length*: as many bits as the alphabet needs, the same for every symbol of a row;
- *Huffman*: the best whole number of bits for each symbol of a row's histogram;
- *static histogram*: the same histogram through the range coder;
- *factorized prior* or *context model*: what the model's own files are coded with.

Rows are latent channels or codebooks. What the training audio never had takes an escape and 32
bits. Every clip is coded on its own, so the range coder's last bytes are counted too.
"""

import math

import constriction
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codec.coding import payloads, range_coder
from codec.coding.tables import FrozenTables

Symbols = NDArray[np.int32]
"""(rows, frames)."""

ESCAPE_BITS = 32


def measure(
    training: Symbols,
    clips: list[tuple[Symbols, int]],
    frozen: payloads.Tables,
    size: int | None,
) -> pd.DataFrame:
    """Columns coder, bits and bits_per_symbol, of all clips, each with its level, together.

    ``size`` is that of the alphabet 0 to size - 1; None: the range of the training symbols, and
    an escape.
    """
    histogram = fit_histogram(training, size)
    alone = [symbols for symbols, _ in clips]
    count = sum(symbols.size for symbols in alone)
    bits = {
        "fixed length": _prefix_bits(alone, histogram, fixed_lengths(histogram, size)),
        "Huffman": _prefix_bits(alone, histogram, huffman_lengths(histogram, size)),
        "static histogram": _range_coded_bits(alone, histogram),
    }
    own = "factorized prior" if isinstance(frozen, FrozenTables) else "context model"
    bits[own] = sum(
        8 * len(piece)
        for symbols, level in clips
        for piece in payloads.encode(symbols[None], level, frozen, layered=False)
    )
    return pd.DataFrame(
        {"coder": coder, "bits": found, "bits_per_symbol": found / count}
        for coder, found in bits.items()
    )


def fit_histogram(symbols: Symbols, size: int | None) -> FrozenTables:
    """Tables of how often each row had each symbol; what it never had counts as once."""
    tables = []
    for row in symbols:
        low, high = (int(row.min()), int(row.max())) if size is None else (0, size - 1)
        counts = 1 + np.bincount(row - low, minlength=high - low + 1)
        escape = 1 if size is None else 0
        masses = counts / (counts.sum() + escape)
        tables.append(FrozenTables.from_masses(masses[None], low))
    return FrozenTables(
        np.concatenate([table.lowest for table in tables]),
        np.cumsum([0, *(len(table.frequencies) for table in tables)]).astype(np.int32),
        np.concatenate([table.frequencies for table in tables]),
    )


def fixed_lengths(tables: FrozenTables, size: int | None) -> list[NDArray[np.int64]]:
    """For each row, the bits of each of its entries: what the alphabet needs."""
    found = []
    for row in range(tables.rows):
        count = len(tables.row(row)[1])
        bits = math.ceil(math.log2(count if size is None else size))
        found.append(np.full(count, bits, np.int64))
    return found


def huffman_lengths(tables: FrozenTables, size: int | None) -> list[NDArray[np.int64]]:
    """For each row, the bits of each of its entries in the Huffman code of its frequencies."""
    found = []
    for row in range(tables.rows):
        # A known alphabet has no use for the escape, which is the last entry of all tables.
        frequencies = tables.row(row)[1][:size]
        tree = constriction.symbol.huffman.EncoderHuffmanTree(frequencies.astype(np.float64))
        lengths = []
        for entry in range(len(frequencies)):
            encoder = constriction.symbol.QueueEncoder()
            encoder.encode_symbol(entry, tree)
            lengths.append(encoder.get_compressed()[1])
        found.append(np.array(lengths, np.int64))
    return found


def _range_coded_bits(clips: list[Symbols], tables: FrozenTables) -> int:
    return sum(8 * len(range_coder.encode(clip, tables)) for clip in clips)


def _prefix_bits(
    clips: list[Symbols], tables: FrozenTables, lengths: list[NDArray[np.int64]]
) -> int:
    """Bits of a code that gives each entry of a row a whole number of them."""
    bits = 0
    for row in range(tables.rows):
        lowest, frequencies = tables.row(row)
        escape = len(frequencies) - 1
        for clip in clips:
            entries = clip[row].astype(np.int64) - lowest
            outside = (entries < 0) | (entries >= escape)
            entries[outside] = escape
            bits += int(lengths[row][entries].sum()) + ESCAPE_BITS * int(outside.sum())
    return bits
