"""What a metric is: a function, and all that gate, statistics, page and self-test ask of it."""

import importlib.metadata
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

ALL_KINDS = ("speech", "music", "general")


class Unscorable(Exception):
    """A metric has no answer for a clip; the message is the reason that tables show."""


class Function(Protocol):
    """(samples,) float64 of both signals at one rate to a score, or Unscorable."""

    def __call__(
        self, *, reference: NDArray[np.float64], degraded: NDArray[np.float64], sample_rate: int
    ) -> float: ...


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric. Whatever the bench does with scores follows from what stands here."""

    name: str
    """In tables; letters, digits and underscores."""
    title: str
    """On pages."""
    unit: str = ""
    function: Function
    """With keywords only, so that none is called swapped."""
    kinds: tuple[str, ...] = ALL_KINDS
    """Kinds of clips that it is made for."""
    sample_rate: int | None
    """Hz that it works at: both signals are resampled to it. None: the clip's own rate."""
    any_rate: bool = False
    """Whether it takes other rates than ``sample_rate`` too, as its published scores were made."""
    higher_is_better: bool = True
    bounds: tuple[float, float] = (float("-inf"), float("inf"))
    """The lowest and the highest score that there is; another one is an error, and no score."""
    useful: tuple[float, float]
    """From what a bad codec gets to what a clip gets that nobody can tell from the original."""
    tolerance: float
    """How much worse a mean may get before the gate says so."""
    digits: int = 3
    """Of a mean after the point, on pages."""
    copy: float | None
    """What a copy of a clip scores; None where that depends on the clip."""
    self_test: tuple[float, float]
    """What the copy and the degraded signal of the self-test score."""
    self_test_tolerance: float = 0.02
    any_length: bool = False
    """Whether it has a score for a tenth of a second, too."""
    perceptual: bool = True
    """Whether it says how a clip sounds: only then it compares codecs."""
    family: str = ""
    """Metrics of one family work alike, and count as one judge; empty: no other works like it."""
    judged: str = ""
    """How well it agrees with listeners, by whom that was measured."""
    package: str
    """The distribution whose version decides the scores."""
    mode: str
    """Of the package, for provenance."""
    extra: str = ""
    """Of the extra of rdcodec that installs the package; empty where rdcodec needs it anyway."""

    @property
    def sign(self) -> int:
        """1 where higher is better, −1 where lower is: scores times it rise with quality."""
        return 1 if self.higher_is_better else -1

    @property
    def least_range(self) -> float:
        """A fifth of the useful span: curves that share less of it are not compared by BD-rate."""
        return abs(self.useful[1] - self.useful[0]) / 5

    @property
    def missing(self) -> str:
        """Why an optional metric cannot be used here; empty where it can."""
        try:
            importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return f"{self.package} is not installed: pip install 'rdcodec[{self.extra}]'"
        return ""

    def provenance(self, sample_rate: int | None = None) -> str:
        """Package, version, mode and rate (its own, or the one given), as tables carry it."""
        version = importlib.metadata.version(self.package)
        rate = sample_rate or self.sample_rate
        return f"{self.package} {version}, {self.mode}, {f'{rate} Hz' if rate else 'clip rate'}"
