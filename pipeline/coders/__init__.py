"""Coders behind one interface: the bench sees nothing else of them.

A coder is a class in the entry-point group ``rdcodec.coders``. Whoever has one of their own writes
its two methods and names the class in their pyproject.toml; docs/own-coder.md shows it all.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

import numpy as np
from numpy.typing import NDArray

from codec.errors import UserError

GROUP = "rdcodec.coders"
OWN = frozenset({"aac", "amr-wb", "codec2", "dac", "encodec", "lc3", "mp3", "opus", "rdcodec"})
"""Coders that come with rdcodec itself, as pyproject.toml names them."""


class Unavailable(UserError):
    """What a coder needs is not on this machine: its points are skipped, and all else runs.

    The message says what is missing and what installs it; ``apt`` is Debian's package, where it is
    one.
    """

    def __init__(self, message: str, apt: str = "") -> None:
        super().__init__(message)
        self.apt = apt


Timeline = tuple[NDArray[np.float64], NDArray[np.float64]]
"""When each frame or packet begins, in s of audio, and its bits."""


@dataclass(frozen=True)
class Cost:
    """What a coder takes beside bits; None where it does not know: nobody guesses."""

    lookahead_ms: float | None = None
    """How much audio has to come after a sample before that can be decoded, the sample's frame
    included: the algorithmic delay."""
    encoder_macs: float | None = None
    """Multiply-accumulates for a second of audio, all channels together."""
    decoder_macs: float | None = None
    parameters: int | None = None
    """Of networks, of both sides and of the entropy model."""


class Coder(ABC):
    """A codec at one setting, as the bench sees it.

    Its constructor's keywords are the options of a point in params.yaml, and those that all points
    of the coder share (``coders``); ``weights`` is where a point says that it is made from.
    """

    suffix = ".bin"
    """Ending of its files."""

    @abstractmethod
    def encode(self, waveform: NDArray[np.float32], sample_rate: int) -> bytes:
        """(channels, samples) at any rate to a whole file."""

    @abstractmethod
    def decode(self, data: bytes) -> tuple[NDArray[np.float32], int]:
        """A whole file to (channels, samples) of the original's length, and its rate.

        A coder that works at one rate only may give that rate; the bench resamples.
        """

    def payload_bytes(self, data: bytes) -> int:
        """Bytes of the coded audio in a file, without container and framing."""
        return len(data)

    def estimated_bits(self, data: bytes) -> float | None:
        """Bits that the coder's own probability model gives; None where there is no such model."""
        return None

    def timeline(self, data: bytes) -> Timeline | None:
        """Where in time a file's payload goes; None where the coder cannot tell."""
        return None

    def details(self, data: bytes) -> dict[str, float]:
        """What the coder chose for this file, as shares or numbers that can be averaged."""
        return {}

    def cost(self, channels: int) -> Cost:
        """What coding so many channels takes."""
        return Cost()

    def about(self) -> dict[str, object]:
        """Version and options: whatever another person needs to make the same files."""
        return {}


def known() -> list[str]:
    """Names of all coders that are installed."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def exists(name: str) -> bool:
    """Whether a coder is rdcodec's own, installed, or said to be somewhere, as ``module:Class``.

    The first two are told without a search, or without loading it.
    """
    return name in OWN or ":" in name or name in known()


def load(path: str) -> type[Coder]:
    """The class at ``module:Class``; UserError where there is none such, or it is no Coder."""
    try:
        found = EntryPoint(path, path, GROUP).load()
    except (AttributeError, ImportError) as error:
        raise UserError(f"{path}: {error}; name a coder as module:Class") from error
    if not (isinstance(found, type) and issubclass(found, Coder)):
        raise UserError(f"{path}: is no class made of pipeline.coders.Coder")
    return found


def build(name: str, options: dict[str, object]) -> Coder:
    """The coder of that name, or at ``module:Class``, with these options.

    Raises UserError where there is none such, Unavailable where this machine lacks what it needs.
    """
    found = [point for point in entry_points(group=GROUP) if point.name == name]
    if not found and ":" not in name:
        raise UserError(f"coders: {missing(name)}")
    try:
        kind = found[0].load() if found else load(name)
        coder: Coder = kind(**options)
    except TypeError as error:
        raise UserError(f"coders: {name} with options {options}: {error}") from error
    except ImportError as error:
        extra = "peers" if name in ("dac", "encodec") else "anchors"
        raise Unavailable(f"coders: {name}: {error}; pip install 'rdcodec[{extra}]'") from error
    return coder


def missing(name: str) -> str:
    """What to say of a coder that is not there: it may be rdcodec's own, newer than the install."""
    installed = known()
    message = f"there is no coder {name!r}; installed are {', '.join(installed) or 'none'}"
    absent = sorted(OWN - set(installed))
    if absent:
        message += (
            f". Of rdcodec's own, {', '.join(absent)} are missing: its installation is older than "
            "its code; install rdcodec again (make install)"
        )
    return message
