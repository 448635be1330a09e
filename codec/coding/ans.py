"""Events of known probability to bytes, and back: asymmetric numeral systems.

An event is an interval [start, start + frequency) of ``TOTAL``. The coder's state is one big number
into which events are folded and from which they are taken in reverse order (so the encoder goes
through them backwards); its low 32 bits move out to the bytes whenever it reaches 64. It starts at
one, and the decoder must end there, with no bytes left: most damage is seen for free.
Source: Duda, "Asymmetric numeral systems", 2013; the range variant (rANS).

Bytes of a payload: the state without leading zero bytes, big-endian; then the moved 32-bit words,
little-endian, in the order in which the decoder takes them. After the first word has moved the
state has 5 to 8 bytes, so the length tells how many.
"""

import numpy as np
from numpy.typing import NDArray

from codec.errors import BitstreamError

PRECISION = 16
TOTAL = 1 << PRECISION
WORD = 32
FIRST = 1
"""The state before all events. (Zero would be the state after any bytes that end too early.)"""
LEAST = 1 << WORD
"""The state stays at least here while there are words."""


def join(state: int, words: NDArray[np.uint32]) -> bytes:
    """Last state and words, in the decoder's order, to the bytes of a payload."""
    return state.to_bytes((state.bit_length() + 7) // 8, "big") + words.astype("<u4").tobytes()


def split(data: bytes) -> tuple[int, NDArray[np.uint32]]:
    """What ``join`` put together."""
    size = len(data) if len(data) <= 8 else 5 + (len(data) - 5) % 4
    if size and not data[0]:
        raise BitstreamError("payload cannot be decoded: it begins with a zero byte")
    words = np.frombuffer(data, "<u4", offset=size).astype(np.uint32)
    return int.from_bytes(data[:size], "big"), words


def encode(starts: NDArray[np.int32], frequencies: NDArray[np.int32]) -> bytes:
    """Events, given by their intervals, to bytes."""
    state = FIRST
    words = []
    for start, frequency in zip(starts[::-1].tolist(), frequencies[::-1].tolist(), strict=True):
        if state >= frequency << (2 * WORD - PRECISION):
            words.append(state & (LEAST - 1))
            state >>= WORD
        state = (state // frequency << PRECISION) + state % frequency + start
    return join(state, np.array(words[::-1], np.uint32))


class Decoder:
    """Takes events from a payload: look at ``slot``, then ``take`` the event that it lies in."""

    def __init__(self, data: bytes) -> None:
        self.state, words = split(data)
        self.words = words[::-1].tolist()

    @property
    def slot(self) -> int:
        return self.state & (TOTAL - 1)

    def take(self, start: int, frequency: int) -> None:
        state = frequency * (self.state >> PRECISION) + (self.state & (TOTAL - 1)) - start
        if state < LEAST and self.words:
            state = state << WORD | self.words.pop()
        self.state = state

    def bit(self) -> int:
        """One of two equally likely events."""
        half = TOTAL // 2
        bit = int(self.slot >= half)
        self.take(bit * half, half)
        return bit

    def finish(self) -> None:
        """Raise BitstreamError unless everything was taken."""
        if self.state != FIRST or self.words:
            raise BitstreamError("payload cannot be decoded: it does not end with its symbols")
