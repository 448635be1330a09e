"""What the metrics are worth by listening tests: what was measured here, and what others published.

worth.yaml has both; docs/metrics.md and the page of a run show it. Its numbers are those that
``rdcodec metrics`` wrote to metrics.csv, rounded.
"""

from collections.abc import Iterable
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from pipeline.metrics import declared

FILE = Path(__file__).with_name("worth.yaml")
COLUMNS = (
    "metric", "scored", "r, stimuli", "ρ, stimuli", "r, systems", "ρ, systems",
    "same order: one codec, two rates", "same order: different codecs",
)  # fmt: skip
"""Of the table that people read."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Worth(_Part):
    """How far a metric agrees with ratings; None where too few stimuli or pairs say anything.

    Correlations and shares are of scores turned so that more is better, whichever way a metric
    counts: 1 is full agreement.
    """

    metric: str
    n_scored: int
    n_total: int
    """Stimuli that have ratings."""
    pearson: float | None = None
    spearman: float | None = None
    systems: int
    systems_pearson: float | None = None
    """Of the systems' mean scores with their mean ratings."""
    systems_low: float | None = None
    systems_high: float | None = None
    """Fisher's interval of it at 95 %."""
    systems_spearman: float | None = None
    one_codec_pairs: int
    """Pairs of stimuli of one reference that listeners order, both of one codec."""
    one_codec_alike: float | None = None
    """The share of them that the metric orders in the same way."""
    codecs_pairs: int
    """The same of different codecs."""
    codecs_alike: float | None = None


class Rated(_Part):
    """A set of rated stimuli, and what it says of the metrics."""

    stimuli: str
    source: str
    note: str
    metrics: list[Worth]


class Published(_Part):
    """A figure of somebody else's."""

    metric: str
    figure: str
    measured_on: str
    source: str


class Known(_Part):
    """All of worth.yaml."""

    rated: Rated
    published: list[Published]


def read() -> Known:
    """What comes with rdcodec."""
    return Known.model_validate(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def cells(found: Worth) -> list[str]:
    """A row below ``COLUMNS``."""
    metric = declared().get(found.metric)
    return [
        metric.title if metric else found.metric,
        f"{found.n_scored} of {found.n_total}",
        _number(found.pearson),
        _number(found.spearman),
        _number(found.systems_pearson) + _interval(found),
        _number(found.systems_spearman),
        _share(found.one_codec_alike, found.one_codec_pairs),
        _share(found.codecs_alike, found.codecs_pairs),
    ]


def markdown(metrics: Iterable[Worth]) -> str:
    """The table that people read."""
    return _markdown(COLUMNS, map(cells, metrics))


def published_markdown(figures: Iterable[Published]) -> str:
    """The same of what others published."""
    rows = ([one.metric, one.figure, one.measured_on, one.source] for one in figures)
    return _markdown(("metric", "figure", "measured on", "source"), rows)


def _markdown(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(columns)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


def _interval(found: Worth) -> str:
    if found.systems_low is None or found.systems_high is None:
        return ""
    return f" ({_number(found.systems_low)} to {_number(found.systems_high)})"


def _share(value: float | None, pairs: int) -> str:
    return "–" if value is None else f"{value:.0%} of {pairs}"
