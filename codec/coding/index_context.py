"""Indices of a residual quantizer to bytes and back: each index's table is chosen by two others.

They are the index of the same codebook one frame before, and the index of the codebook before in
the same frame. Frozen maps sort each of these into classes, and both classes together choose one of
the codebook's frozen tables. Nothing is computed but sums of two integers, so all machines agree. A
codebook is coded after the ones before it, each on its own (``ans``): files can still be cut after
any of them, and groups of audio channels, and payloads, know nothing of each other.
"""

import functools
import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from codec.coding import ans
from codec.coding.ans import TOTAL

MOST_TABLES, ENTRIES = 128, 1 << 17
"""Tables of a codebook, and entries of all of them, at most."""
ROUNDS = 15
_INDEPENDENT, _APART, _TOGETHER = 1.0, 100.0, 400.0
"""What is known without it weighs as many symbols as this against those counted: without either
class, with one of them, with both."""

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class IndexTables:
    """Maps and tables for K codebooks of V entries, T tables each."""

    before: Ints
    """(K, V + 1): for each index one frame before, and at the end for none, a table's number …"""
    above: Ints
    """(K, V + 1): … which this is added to, for each index of the codebook before."""
    frequencies: Ints
    """(K, T, V): of 2^16 in all."""

    @property
    def size(self) -> int:
        return self.frequencies.shape[2]

    @functools.cached_property
    def cumulative(self) -> Ints:
        """(K, T, V): where each entry's interval begins."""
        return np.cumsum(self.frequencies, axis=2, dtype=np.int32) - self.frequencies

    def digest(self) -> bytes:
        """Four bytes that name these tables."""
        sha = hashlib.sha256()
        for part in (self.before, self.above, self.frequencies):
            sha.update(f"{part.shape}".encode())
            sha.update(part.astype("<i4").tobytes())
        return sha.digest()[:4]

    def arrays(self) -> dict[str, NDArray[np.integer]]:
        """All parts by name, as they are kept: no frequency needs more than 16 bits."""
        kept = {field.name: getattr(self, field.name) for field in fields(self)}
        return kept | {"frequencies": self.frequencies.astype(np.uint16)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.integer]]) -> "IndexTables":
        """What ``arrays`` gave; ValueError where these cannot be tables of indices."""
        names = {field.name for field in fields(cls)}
        if set(arrays) != names:
            raise ValueError(f"tables of indices have {sorted(names)}, not {sorted(arrays)}")
        found = cls(**{name: part.astype(np.int32) for name, part in arrays.items()})
        found._check()
        return found

    def _check(self) -> None:
        if self.frequencies.ndim != 3:
            raise ValueError(f"tables of indices have 3 dimensions, not {self.frequencies.ndim}")
        codebooks, tables, size = self.frequencies.shape
        for part in (self.before, self.above):
            if part.shape != (codebooks, size + 1):
                raise ValueError(f"a map of classes is {part.shape}, not {(codebooks, size + 1)}")
        highest = self.before.max(axis=1) + self.above.max(axis=1)
        if min(self.before.min(), self.above.min()) < 0 or highest.max() >= tables:
            raise ValueError(f"maps of classes choose tables outside 0 to {tables - 1}")
        if self.frequencies.min() < 1 or (self.frequencies.sum(axis=2) != TOTAL).any():
            raise ValueError(f"frequencies of indices are not positive, with a sum of {TOTAL}")


def independent(masses: Floats) -> IndexTables:
    """Tables that ask for no neighbour: (codebooks, size) probabilities."""
    nothing = np.zeros((masses.shape[0], masses.shape[1] + 1), np.int32)
    return IndexTables(nothing, nothing, _frequencies(masses[:, None]))


def fit(pieces: Iterable[Ints], size: int) -> IndexTables:
    """Maps and tables from (codebooks, frames) indices of codebooks of ``size`` entries.

    A table is that of its two classes, as if they told different things, corrected by what
    was counted where they meet.
    """
    neighbours = [_neighbours(piece[None], size) for piece in pieces]
    symbols, before, above = (
        np.concatenate([part[0] for part in parts], axis=1)
        for parts in zip(*neighbours, strict=True)
    )
    found = [_fit(*rows, size) for rows in zip(symbols, before, above, strict=True)]
    tables = max(len(masses) for _, _, masses in found)
    # Codebooks with fewer classes have tables that nothing chooses.
    filled = [
        np.concatenate((masses, np.full((tables - len(masses), size), 1 / size)))
        for _, _, masses in found
    ]
    return IndexTables(
        np.stack([before for before, _, _ in found]),
        np.stack([above for _, above, _ in found]),
        _frequencies(np.stack(filled)),
    )


def encode(symbols: Ints, tables: IndexTables) -> list[bytes]:
    """(groups, rows, frames) indices, of the first codebooks or all, to the bytes of each row."""
    chosen = _chosen(symbols, tables)
    layers = []
    for row, numbers in enumerate(chosen.transpose(1, 0, 2)):
        place = numbers, symbols[:, row]
        starts, frequencies = (
            part[row][place].ravel() for part in (tables.cumulative, tables.frequencies)
        )
        layers.append(ans.encode(starts, frequencies))
    return layers


def decode(layers: list[bytes], groups: int, frames: int, tables: IndexTables) -> Ints:
    """The (groups, rows, frames) indices of which ``encode`` made the rows' bytes.

    Raises BitstreamError for most bytes that no encoder wrote; damage that cannot be seen here is
    the container's checksum to find.
    """
    symbols = np.empty((groups, len(layers), frames), np.int32)
    above = np.full((groups, frames), tables.size, np.int32)
    for row, data in enumerate(layers):
        decoder = ans.Decoder(data)
        cumulative, frequencies = tables.cumulative[row], tables.frequencies[row]
        before = tables.before[row].tolist()
        for group, offsets in enumerate(tables.above[row][above].tolist()):
            last = tables.size
            for frame, offset in enumerate(offsets):
                table = before[last] + offset
                last = bisect_right(cumulative[table], decoder.slot) - 1
                decoder.take(int(cumulative[table, last]), int(frequencies[table, last]))
                symbols[group, row, frame] = last
        decoder.finish()
        above = symbols[:, row]
    return symbols


def symbol_bits(symbols: Ints, tables: IndexTables) -> Floats:
    """−log2 of the probability of each of (groups, rows, frames) indices."""
    rows = np.arange(symbols.shape[1])[:, None]
    frequencies = tables.frequencies[rows, _chosen(symbols, tables), symbols]
    return np.asarray(ans.PRECISION - np.log2(frequencies), np.float64)


def _neighbours(symbols: Ints, size: int) -> tuple[Ints, Ints, Ints]:
    """(groups, rows, frames) indices, those one frame before, and those of the row before."""
    before, above = (np.full_like(symbols, size) for _ in range(2))
    before[:, :, 1:] = symbols[:, :, :-1]
    above[:, 1:] = symbols[:, :-1]
    return symbols, before, above


def _chosen(symbols: Ints, tables: IndexTables) -> Ints:
    """(groups, rows, frames): the number of each index's table."""
    rows = np.arange(symbols.shape[1])[:, None]
    _, before, above = _neighbours(symbols, tables.size)
    return tables.before[rows, before] + tables.above[rows, above]


def _fit(symbols: Ints, before: Ints, above: Ints, size: int) -> tuple[Ints, Ints, Floats]:
    """A codebook's maps, and the (tables, size) probabilities of its tables."""
    alone = _shares(np.bincount(symbols, minlength=size)[None], np.full(size, 1 / size), size)[0]
    most = max(1, min(MOST_TABLES, ENTRIES // size))
    by_above = 1 if (above == size).all() else min(size + 1, 1 << (most.bit_length() - 1) // 2)
    by_before = min(size + 1, most // by_above)
    # A class for each index before, or for indices that are followed by much the same ones.
    sorted_by = [
        _classes(_counts(neighbour, symbols, size + 1, size), number, alone)
        for neighbour, number in ((before, by_before), (above, by_above))
    ]
    apart = [
        _shares(_counts(classes[neighbour], symbols, number, size), alone, _APART)
        for classes, neighbour, number in zip(
            sorted_by, (before, above), (by_before, by_above), strict=True
        )
    ]
    together = (apart[0][:, None] * apart[1][None] / alone).reshape(-1, size)
    together /= together.sum(axis=1, keepdims=True)
    maps = sorted_by[0] * by_above, sorted_by[1]
    numbers = maps[0][before] + maps[1][above]
    counts = _counts(numbers, symbols, by_before * by_above, size)
    return *maps, _shares(counts, together, _TOGETHER)


def _counts(numbers: Ints, symbols: Ints, rows: int, size: int) -> Floats:
    """(rows, size): how often each number comes with each symbol."""
    places = numbers.astype(np.int64) * size + symbols
    return np.bincount(places, minlength=rows * size).reshape(rows, size).astype(np.float64)


def _shares(counts: NDArray[np.number], known: Floats, weight: float) -> Floats:
    """(rows, size) counts to probabilities, of which ``known`` weighs as many symbols."""
    return np.asarray((counts + weight * known) / (counts.sum(axis=1, keepdims=True) + weight))


def _classes(counts: Floats, number: int, alone: Floats) -> Ints:
    """Of (neighbours, size) counts, the class of each neighbour: like ones are in one.

    K-means by the Kullback-Leibler divergence, from the neighbours that are most frequent; source:
    Banerjee et al., "Clustering with Bregman divergences", 2005.
    """
    if number >= len(counts):
        return np.arange(len(counts), dtype=np.int32)
    shares = _shares(counts, alone, _INDEPENDENT)
    frequent = np.argsort(-counts.sum(axis=1), kind="stable")[:number]
    centres = _shares(counts[frequent], alone, 10 * _INDEPENDENT)
    for _ in range(ROUNDS):
        classes = (shares @ np.log(centres).T).argmax(axis=1)
        members = np.zeros((number, counts.shape[1]))
        np.add.at(members, classes, counts)
        centres = _shares(members, alone, 10 * _INDEPENDENT)
    return classes.astype(np.int32)


def _frequencies(masses: Floats) -> Ints:
    """(…, size) probabilities to frequencies of 2^16 in all, none of them zero."""
    size = masses.shape[-1]
    found = 1 + np.floor(masses / masses.sum(axis=-1, keepdims=True) * (TOTAL - size))
    found = found.astype(np.int32)
    largest = np.expand_dims(found.argmax(axis=-1), -1)
    rest = TOTAL - found.sum(axis=-1, keepdims=True, dtype=np.int32)
    np.put_along_axis(found, largest, np.take_along_axis(found, largest, -1) + rest, -1)
    return found
