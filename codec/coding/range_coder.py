"""Symbols and frozen tables to bytes, and back.

The coder is constriction's range coder. Whole rows (latent channels, codebooks) are coded at a
time, one after the other; symbols outside a row's table are written as its escape, and their values
follow after the last row as 32 raw bits each. The coder's 32-bit words are stored big-endian, and
zero bytes at the end are left out.
"""

import constriction
import numpy as np
from numpy.typing import NDArray

from codec.coding.tables import FrozenTables
from codec.errors import BitstreamError

_models = constriction.stream.model
_HALF = _models.Uniform(1 << 16)


def _categorical(frequencies: NDArray[np.int32]) -> object:
    """The coder's model with exactly these frequencies.

    Constriction gives each of n symbols 1 + floor(scale · cumulated weight) of 2^24, with
    scale = (2^24 − n) / Σ weights. Weights of frequency − 1 make the scale 1 and the result exact.
    """
    return _models.Categorical((frequencies - 1).astype(np.float64), perfect=False)


def encode(symbols: NDArray[np.int32], tables: FrozenTables) -> bytes:
    """(rows, frames) int32 symbols to bytes. Any int32 value can be coded."""
    encoder = constriction.stream.queue.RangeEncoder()
    escaped = []
    for index, row in enumerate(symbols):
        lowest, frequencies = tables.row(index)
        escape = len(frequencies) - 1
        entries = row.astype(np.int64) - lowest
        outside = (entries < 0) | (entries >= escape)
        if outside.any():
            entries[outside] = escape
            escaped.append(row[outside])
        encoder.encode(entries.astype(np.int32), _categorical(frequencies))
    if escaped:
        raw = np.concatenate(escaped).astype(np.int32).view(np.uint32)
        encoder.encode((raw >> 16).astype(np.int32), _HALF)
        encoder.encode((raw & 0xFFFF).astype(np.int32), _HALF)
    return _shortest(encoder)


def _shortest(encoder: object) -> bytes:
    """The bytes of an encoder, as few as its last state allows.

    All numbers in the last interval mean the same symbols, and the decoder reads zeros past the
    end: so the number with the most zero bytes at its end is taken, and these are not written.
    """
    words = encoder.get_compressed()  # type: ignore[attr-defined]
    written, (lower, size) = encoder.pos()  # type: ignore[attr-defined]
    # An interval across 2^64 would carry into the words before; the coder's own end does then.
    if lower + size <= 1 << 64:
        for zeros in range(8, -1, -1):
            step = 1 << 8 * zeros
            last = -(-lower // step) * step
            if last < min(lower + size, 1 << 64):
                words = np.append(words[:written], [last >> 32, last & 0xFFFFFFFF])
                break
    return bytes(words.astype(">u4").tobytes().rstrip(b"\0"))


def decode(data: bytes, frames: int, tables: FrozenTables) -> NDArray[np.int32]:
    """The (rows, frames) symbols of which ``encode`` made ``data``.

    Raises BitstreamError where the coder finds bytes that no encoder writes; damage that it
    cannot see is the container's checksum to find.
    """
    words = np.frombuffer(data + bytes(-len(data) % 4), ">u4").astype(np.uint32)
    decoder = constriction.stream.queue.RangeDecoder(words)
    symbols = np.empty((tables.rows, frames), np.int32)
    try:
        for index in range(tables.rows):
            lowest, frequencies = tables.row(index)
            symbols[index] = decoder.decode(_categorical(frequencies), frames)
            symbols[index] += lowest
        escapes = (tables.lowest + np.diff(tables.starts) - 1)[:, None]
        outside = symbols == escapes
        count = int(outside.sum())
        if count:
            high = decoder.decode(_HALF, count).astype(np.uint32)
            low = decoder.decode(_HALF, count).astype(np.uint32)
            symbols[outside] = (high << 16 | low).view(np.int32)
    except (AssertionError, ValueError) as error:
        raise BitstreamError(f"payload cannot be decoded: {error}") from error
    return symbols
