"""reports/summary.json, and a baseline, which keeps some of it, as typed models."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from codec.errors import UserError
from codec.files import write_text

VERSION = 2
"""Of a summary's form; a file of another one is refused."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Score(_Part):
    """A point's mean by one metric of one kind, its interval, and how many clips have a score."""

    mean: float | None
    low: float | None = None
    high: float | None = None
    worst: float | None = None
    """The mean of each clip's worst channel; None where all clips have one channel."""
    n_scored: int
    n_total: int = 0


class Rate(_Part):
    """A point's three rates in kbps, and how far payload is from estimate."""

    file_kbps: float
    payload_kbps: float | None = None
    estimated_kbps: float | None = None
    estimate_gap_percent: float | None = None


class Measured(_Part):
    """What the gate compares of a point: scores by metric and kind, rates by kind."""

    metrics: dict[str, dict[str, Score]]
    rates: dict[str, Rate]


class Cost(_Part):
    """What a point takes beside bits; None where its coder does not know.

    Look-ahead has the frame in it; multiply-accumulates are for a second of the test clips, all
    channels together.
    """

    lookahead_ms: float | None = None
    encoder_macs: float | None = None
    decoder_macs: float | None = None
    parameters: float | None = None


class Point(Measured):
    """All of a point. ``about`` is what its coder says of itself."""

    about: dict[str, Any]
    series: str
    delay_ms: float | None
    bandwidth_khz: float | None = None
    """The median over the clips; docs/bench.md says of what."""
    cost: Cost = Cost()
    chosen: str
    compression: float


class BdRate(_Part):
    """A BD-rate with its interval and a BD-quality, positive where better, or the reason."""

    metric: str
    kind: str
    percent: float | None
    quality: float | None
    overlap: tuple[float, float] | None
    """Shares of the anchor's and of the tested curve's scores that both reach."""
    reason: str
    low: float | None
    high: float | None
    scores: tuple[float, float] | None = None
    """The lowest and the highest mean that both curves reach, in the metric's own unit."""


class Crossing(_Part):
    """Where our curve lies against the anchor's by one metric of one kind.

    ``side``: ahead or behind at every rate from ``lowest`` to ``highest`` kbps, ahead only below or
    above ``kbps`` (with its interval), or mixed; None where the curves share no rate.
    ``agreeing`` is the share of resamples of the clips that find the same side.
    """

    metric: str
    kind: str
    side: Literal["ahead", "behind", "below", "above", "mixed"] | None
    kbps: float | None
    low: float | None
    high: float | None
    lowest: float | None
    highest: float | None
    agreeing: float | None


Judgement = Literal["better", "worse", "level", "disagree"]


class Stretch(_Part):
    """Rates in kbps at which the judges say one thing of our curve against the anchor's.

    ``better`` and ``worse``: two metrics that work differently say so and none the contrary;
    ``level``: no two of them show a difference; ``disagree``: some say better and some worse.
    """

    kind: str
    judgement: Judgement
    lowest: float
    highest: float


class Envelope(_Part):
    """The points that make Opus's curve by one metric of one kind, by rising rate.

    They were chosen on that many ``validation_clips``; on the test clips themselves where there
    was none with a score.
    """

    metric: str
    kind: str
    points: list[str]
    validation_clips: int


class PairedTest(_Part):
    """A point against the anchor at the point's rate; a positive difference is better."""

    point: str
    metric: str
    kind: str
    kbps: float
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    groups: int
    reason: str
    p_holm: float | None


class Ablation(_Part):
    """A point, the one that it differs from, and in what."""

    point: str
    of: str
    change: dict[str, dict[str, Any]]


class Unscored(_Part):
    """A clip without a score."""

    point: str
    clip: str
    metric: str
    reason: str


class Tested(_Part):
    """The test clips: how many, how long, which (by ``fingerprint``), and the settings they had."""

    clips: int
    seconds: float
    fingerprint: str
    corpus: dict[str, Any]


class Summary(_Part):
    """All of summary.json."""

    version: Literal[2] = 2
    headline: list[str]
    verdicts: dict[str, str]
    points: dict[str, Point]
    bd_rate: list[BdRate]
    crossings: list[Crossing] = []
    stretches: list[Stretch] = []
    envelopes: list[Envelope] = []
    paired: list[PairedTest]
    ablations: list[Ablation]
    unscored: list[Unscored]
    skipped: dict[str, str] = {}
    """Points that were not coded, and why: this machine lacks what their coders need."""
    test: Tested


class Reason(_Part):
    """Why, on what and when a baseline was made."""

    reason: str
    revision: str
    date: str


class Baseline(_Part):
    """What a later run is compared with; the newest reason comes first."""

    version: Literal[1] = 1
    history: list[Reason]
    points: dict[str, Measured]
    speed: dict[str, dict[str, float]]
    test: Tested


def write(path: Path, content: Summary | Baseline) -> None:
    """Write either as JSON that is the same for the same content."""
    write_text(path, json.dumps(content.model_dump(), indent=1, sort_keys=True) + "\n")


def read(path: Path) -> Summary:
    """A summary; UserError where there is none, or one of another version."""
    tree = _tree(path)
    version = tree.get("version", 0)
    if version != VERSION:
        raise UserError(
            f"{path}: version {version} of a summary, and this rdcodec reads {VERSION}; "
            "`dvc repro aggregate` makes it anew"
        )
    try:
        return Summary.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{path}: {_first(error)}; `dvc repro aggregate` makes it anew") from error


def read_baseline(path: Path) -> Baseline | None:
    """A baseline; None where none was made yet and the file holds ``{}``."""
    tree = _tree(path)
    if not tree:
        return None
    try:
        return Baseline.model_validate(tree)
    except ValidationError as error:
        raise UserError(
            f"{path}: not a baseline of this version ({_first(error)}); "
            "`rdcodec check --update --reason WHY` writes a new one"
        ) from error


def read_history(path: Path) -> list[Reason]:
    """The reasons of a baseline, of an older form too; none where there is no file."""
    return (
        [Reason.model_validate(one) for one in _tree(path).get("history", [])]
        if path.is_file()
        else []
    )


def _tree(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; `dvc repro` makes it") from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: not a JSON object; `dvc repro` makes it anew")
    return found


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
