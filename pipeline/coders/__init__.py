"""Coders behind one interface: the bench sees nothing else of them."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Coder(Protocol):
    """A codec at one setting, as the bench sees it."""

    name: str
    """Of the operating point, such as ``neural-b070`` or ``opus-12``."""
    suffix: str
    """Ending of its files, such as ``.rdc``."""

    def encode(self, waveform: NDArray[np.float32], sample_rate: int) -> bytes:
        """(channels, samples) at any rate to a whole file."""

    def decode(self, data: bytes) -> tuple[NDArray[np.float32], int]:
        """A whole file to (channels, samples) of the original's length, and its rate.

        A coder that works at one rate only may give that rate; the bench resamples.
        """

    def payload_bytes(self, data: bytes) -> int:
        """Bytes of the coded audio in a file, without container and framing."""

    def estimated_bits(self, data: bytes) -> float | None:
        """Bits that the coder's own probability model gives; None where there is no such model."""

    def about(self) -> dict[str, object]:
        """Version and options: whatever another person needs to make the same files."""
