"""Answers of the blind listening test, counted: how many heard no difference, and what they rate.

ABX: a listener's right answers for a system are tested against guessing (one-sided exact binomial
test). Who cannot be told from guessing counts as having heard no difference; the share of such
listeners has an exact binomial interval (Clopper and Pearson, 1934). Ratings: hidden reference,
anchor and screening of listeners after ITU-R BS.1534-3, sections 4.1.2 and 5.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy import stats

from codec.errors import UserError
from pipeline.results.statistics import bootstrap_mean

LEVEL = 0.05
"""Right answers that guessing gives this rarely are taken for hearing."""
LEAST_TRIALS = 5
"""Below, all answers right are still no evidence: 0.5^4 is above ``LEVEL``."""
REFERENCE_LEAST, REFERENCE_SHARE = 90, 0.15
"""A listener who rates the hidden reference below this in more than this share is left out."""


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class AbxTrial(_Row):
    """One question: X was the original (A) or the coded clip (B)."""

    clip: str
    kind: str
    system: str
    x: Literal["A", "B"]
    answer: Literal["A", "B"]


class MushraTrial(_Row):
    """One clip: a rating for every version, 0 to 100."""

    clip: str
    kind: str
    ratings: dict[str, Annotated[float, Field(ge=0, le=100)]]


class Tested(_Row):
    """Which run the listener heard: clips of another one are not to be counted together."""

    test: str
    revision: str


class Session(_Row):
    """One file of the test page."""

    format: Literal["rdcodec listening 1"]
    listener: Annotated[str, Field(min_length=1)]
    session: str
    run: Tested


class Abx(Session):
    """An ABX session."""

    test: Literal["abx"]
    trials: Annotated[list[AbxTrial], Field(min_length=1)]


class Mushra(Session):
    """A session of ratings."""

    test: Literal["mushra"]
    trials: Annotated[list[MushraTrial], Field(min_length=1)]


@dataclass(frozen=True)
class Heard:
    """ABX results of one system over all listeners.

    ``share`` is that of the listeners of whom no difference could be shown, with its interval;
    ``right`` the share of all answers that were right, with its own.
    """

    system: str
    listeners: int
    unheard: int
    share: float
    low: float
    high: float
    trials: int
    right: float
    right_low: float
    right_high: float


@dataclass(frozen=True)
class Rated:
    """Mean rating of one system over clips and listeners, with an interval over listeners."""

    system: str
    mean: float
    low: float | None
    high: float | None
    listeners: int
    ratings: int


@dataclass(frozen=True)
class Result:
    """Everything that the files say; ``notes`` tells what was left out and why."""

    heard: list[Heard]
    rated: list[Rated]
    notes: list[str]


def read(paths: list[Path]) -> list[Abx | Mushra]:
    """The sessions of the files, each once; UserError names a file that is none."""
    found: dict[str, tuple[Path, Abx | Mushra]] = {}
    for path in paths:
        session = _session(path)
        if session.session in found:
            raise UserError(
                f"{path}: the same session as {found[session.session][0]}; name it once"
            )
        found[session.session] = (path, session)
    (first_path, first), *others = found.values()
    for path, session in others:
        if session.run.test != first.run.test:
            raise UserError(
                f"{path}: its listener heard other clips than that of {first_path}; count the "
                "files of one run at a time"
            )
    return [session for _, session in found.values()]


def of_run(paths: list[Path], test: str) -> Result | None:
    """What listeners said of the clips whose fingerprint is ``test``; None where nobody did.

    Raises UserError where a file is of other clips.
    """
    sessions = read(paths) if paths else []
    if sessions and sessions[0].run.test != test:
        raise UserError(
            f"{paths[0]}: its listener heard other clips than this run's; take it out of "
            "report.listening"
        )
    result = evaluate(sessions)
    return result if result.heard or result.rated else None


def _session(path: Path) -> Abx | Mushra:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a file of the listening test: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    return parse(tree, str(path))


def parse(tree: object, name: str) -> Abx | Mushra:
    """A session from what JSON holds; UserError, which begins with ``name``, where it is none."""
    kind: type[Abx | Mushra] = (
        Mushra if isinstance(tree, dict) and tree.get("test") == "mushra" else Abx
    )
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        raise UserError(
            f"{name}: not a file of the listening test: {where}: {problem['msg']}"
        ) from error


def evaluate(
    sessions: list[Abx | Mushra], confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Result:
    """Count the sessions; several of one listener are taken together."""
    notes: list[str] = []
    heard = _abx([session for session in sessions if isinstance(session, Abx)], confidence, notes)
    ratings = [session for session in sessions if isinstance(session, Mushra)]
    rated = _mushra(ratings, confidence, resamples, seed, notes)
    return Result(heard, rated, notes)


def _abx(sessions: list[Abx], confidence: float, notes: list[str]) -> list[Heard]:
    answers: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for session in sessions:
        for trial in session.trials:
            answers[trial.system][session.listener].append(trial.x == trial.answer)
    found = []
    for system, listeners in answers.items():
        few = sorted(name for name, right in listeners.items() if len(right) < LEAST_TRIALS)
        if few:
            notes.append(f"{system}: left out {', '.join(few)}: fewer than {LEAST_TRIALS} answers")
        counted = [right for name, right in listeners.items() if name not in few]
        if not counted:
            continue
        unheard = sum(
            bool(stats.binomtest(sum(right), len(right), 0.5, "greater").pvalue >= LEVEL)
            for right in counted
        )
        share = stats.binomtest(unheard, len(counted)).proportion_ci(confidence, "exact")
        trials, correct = sum(map(len, counted)), sum(map(sum, counted))
        right = stats.binomtest(correct, trials).proportion_ci(confidence, "exact")
        found.append(
            Heard(
                system, len(counted), unheard, unheard / len(counted), share.low, share.high,
                trials, correct / trials, right.low, right.high,
            )
        )  # fmt: skip
    return found


def _mushra(
    sessions: list[Mushra], confidence: float, resamples: int, seed: int, notes: list[str]
) -> list[Rated]:
    by_listener: dict[str, list[MushraTrial]] = defaultdict(list)
    for session in sessions:
        by_listener[session.listener].extend(session.trials)
    for listener, trials in list(by_listener.items()):
        missed = sum(trial.ratings.get("reference", 0) < REFERENCE_LEAST for trial in trials)
        if missed > REFERENCE_SHARE * len(trials):
            notes.append(
                f"ratings of {listener} left out: the hidden reference got less than "
                f"{REFERENCE_LEAST} in {missed} of {len(trials)} clips"
            )
            del by_listener[listener]
    ratings: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for listener, trials in by_listener.items():
        for trial in trials:
            for system, rating in trial.ratings.items():
                ratings[system].append((listener, rating))
    found = []
    for system, rows in ratings.items():
        names, values = np.array([name for name, _ in rows]), np.array([value for _, value in rows])
        low, high = bootstrap_mean(values, names, resamples, confidence, seed)
        known = not np.isnan(low)  # one listener alone has no interval
        found.append(
            Rated(
                system, float(values.mean()), low if known else None, high if known else None,
                len(set(names)), len(values),
            )
        )  # fmt: skip
    return sorted(found, key=lambda one: -one.mean)


def table(result: Result) -> str:
    """The result in lines for a terminal."""
    lines = []
    for one in result.heard:
        lines.append(
            f"{one.system}: {one.unheard} of {one.listeners} listeners heard no difference: "
            f"{one.share:.0%} ({one.low:.0%} to {one.high:.0%}); {one.right:.0%} of {one.trials} "
            f"answers right ({one.right_low:.0%} to {one.right_high:.0%}; guessing: 50%)"
        )
    for rating in result.rated:
        interval = (
            f" ({rating.low:.1f} to {rating.high:.1f})"
            if rating.low is not None and rating.high is not None
            else ""
        )
        lines.append(
            f"{rating.system}: rated {rating.mean:.1f}{interval}, {rating.ratings} ratings of "
            f"{rating.listeners} listeners"
        )
    lines += [f"note: {note}" for note in result.notes]
    return "\n".join(lines) or "nothing was answered"
