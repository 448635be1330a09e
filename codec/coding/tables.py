"""Frozen tables: the integer probabilities that decide the bits."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PRECISION = 24
"""Bits of a frozen probability; the range coder's own precision."""

TOTAL = 1 << PRECISION
MAX_SYMBOL = 2047
"""No table reaches further than this; symbols beyond take the escape."""


@dataclass(frozen=True)
class FrozenTables:
    """Integer frequencies, a row per latent channel or codebook: what decides the bits.

    Each row sums to 2^24. ``lowest[r]`` is the symbol of the row's first entry; entries follow in
    steps of one; the last entry is the escape, for all symbols outside. ``starts`` has rows + 1
    offsets into ``frequencies``.
    """

    lowest: NDArray[np.int32]
    starts: NDArray[np.int32]
    frequencies: NDArray[np.int32]

    @classmethod
    def from_masses(cls, masses: NDArray[np.float64], lowest: int) -> "FrozenTables":
        """Quantize (rows, symbols) masses, the first column being symbol ``lowest``.

        A row keeps the symbols from its first to its last of at least 2^-22; what lies
        outside goes to the escape. Every entry gets a frequency of at least one, so that any
        symbol can be coded.
        """
        lows, starts, columns = [], [0], []
        for row in masses:
            kept = np.flatnonzero(row >= 2.0**-22)
            if not len(kept):
                raise ValueError("a row's prior has no symbol of measurable probability")
            first, last = int(kept[0]), int(kept[-1])
            inside = row[first : last + 1]
            entries = np.append(inside, max(0.0, 1.0 - float(inside.sum())))
            frequencies = 1 + np.floor(entries / entries.sum() * (TOTAL - len(entries)))
            frequencies = frequencies.astype(np.int64)
            frequencies[int(np.argmax(frequencies))] += TOTAL - int(frequencies.sum())
            lows.append(lowest + first)
            columns.append(frequencies)
            starts.append(starts[-1] + len(frequencies))
        return cls(
            np.array(lows, np.int32),
            np.array(starts, np.int32),
            np.concatenate(columns).astype(np.int32),
        )

    def arrays(self) -> dict[str, NDArray[np.int32]]:
        """All parts by name."""
        return {"lowest": self.lowest, "starts": self.starts, "frequencies": self.frequencies}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.int32]]) -> "FrozenTables":
        """What ``arrays`` gave."""
        return cls(arrays["lowest"], arrays["starts"], arrays["frequencies"])

    @property
    def rows(self) -> int:
        return len(self.lowest)

    def row(self, index: int) -> tuple[int, NDArray[np.int32]]:
        """Lowest symbol and frequencies (the last one is the escape's) of one row."""
        return int(self.lowest[index]), self.frequencies[
            self.starts[index] : self.starts[index + 1]
        ]

    def select(self, rows: list[int]) -> "FrozenTables":
        """Tables of these rows, in this order; a row may stand there more than once."""
        found = [self.row(index) for index in rows]
        sizes = [len(frequencies) for _, frequencies in found]
        return FrozenTables(
            np.array([lowest for lowest, _ in found], np.int32),
            np.cumsum([0, *sizes]).astype(np.int32),
            np.concatenate([frequencies for _, frequencies in found]),
        )

    def bits(self, symbols: NDArray[np.int32]) -> float:
        """−log2 of the probability of (rows, frames) symbols: the coder's ideal length."""
        return float(self.symbol_bits(symbols).sum())

    def symbol_bits(self, symbols: NDArray[np.int32]) -> NDArray[np.float64]:
        """−log2 of the probability of each of (rows, frames) symbols.

        An escaped symbol costs its escape and 32 raw bits.
        """
        found = np.empty(symbols.shape)
        for index, row in enumerate(symbols):
            lowest, frequencies = self.row(index)
            escape = len(frequencies) - 1
            entries = row.astype(np.int64) - lowest
            outside = (entries < 0) | (entries >= escape)
            entries[outside] = escape
            found[index] = PRECISION - np.log2(frequencies[entries]) + 32.0 * outside
        return found

    def digest(self) -> bytes:
        """Four bytes that name these tables."""
        sha = hashlib.sha256()
        for part in (self.lowest, self.starts, self.frequencies):
            sha.update(part.astype("<i4").tobytes())
        return sha.digest()[:4]
