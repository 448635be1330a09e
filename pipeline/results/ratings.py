"""Metrics against listeners: scores of stimuli that were rated, beside their ratings.

The ratings are a table that people write (docs/metrics.md): a row for each rating, or for each mean
of ratings, with the files of the stimulus and of its reference.
"""

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from codec import audio
from codec.errors import AudioError, UserError, reason
from codec.process import Died, each
from pipeline.corpora import spreadsheet
from pipeline.corpora.manifest import KINDS
from pipeline.metrics import installed, scoring, selftest
from pipeline.metrics.delay import delay_ms
from pipeline.metrics.executor import jobs
from pipeline.params import Score
from pipeline.results.worth import Worth
from pipeline.stage import progress

FILE_NAME = "ratings.csv"
NEEDED = ("reference", "stimulus", "system", "rating")
LEAST = 3
"""Values below which a correlation says nothing."""
LATE_MS = 1.0


def read(path: Path, folder: Path) -> pd.DataFrame:
    """A row for each stimulus: ``stimulus, reference, system, codec, kind, rating``.

    Files are named from ``folder``. Ratings of one stimulus are averaged. Raises UserError, with
    the line and the column, for a file that is not there, for a rating that is no number, and for
    rows that contradict each other.
    """
    found: dict[str, dict[str, str]] = {}
    codecs: dict[str, str] = {}
    ratings: dict[str, list[float]] = defaultdict(list)
    for line, row in spreadsheet.rows(path, NEEDED):

        def wrong(column: str, what: str, line: int = line) -> UserError:
            return UserError(f"{path}: line {line}, column {column}: {what}")

        for column in ("reference", "stimulus"):
            if not (folder / row[column]).is_file():
                raise wrong(column, f"{folder / row[column]}: no such file")
        stimulus, system = row["stimulus"], row["system"]
        if stimulus == row["reference"]:
            raise wrong("stimulus", "is its own reference; every metric knows a copy: leave it out")
        about = {
            "reference": row["reference"],
            "system": system,
            "codec": row.get("codec") or system,
            "kind": row.get("kind", "").lower() or "general",
        }
        if about["kind"] not in KINDS:
            raise wrong("kind", f"{about['kind']!r}; use {', '.join(KINDS)}")
        if about["codec"] != codecs.setdefault(system, about["codec"]):
            raise wrong("codec", f"{about['codec']!r}, and {system} had {codecs[system]!r} above")
        first = found.setdefault(stimulus, about)
        for column, value in about.items():
            if value != first[column]:
                raise wrong(column, f"{value!r}, and {stimulus} had {first[column]!r} above")
        if not math.isfinite(rating := _number(row["rating"])):
            raise wrong("rating", f"{row['rating']!r} is no number")
        ratings[stimulus].append(rating)
    return pd.DataFrame([
        {"stimulus": stimulus, **about, "rating": float(np.mean(ratings[stimulus]))}
        for stimulus, about in found.items()
    ])  # fmt: skip


def _number(text: str) -> float:
    """What a field says; NaN where that is no number."""
    return float(pd.to_numeric(text, errors="coerce"))


def score(stimuli: pd.DataFrame, folder: Path, settings: Score) -> pd.DataFrame:
    """The stimuli's rows, each with ``metric, value, reason, provenance``, and with ``delay_ms``.

    Each stimulus has a row for every metric that is made for its kind. One that cannot be compared
    with its reference has the reason in all of them.
    """
    selftest.require()
    pairs = [
        scoring.Pair(
            row["stimulus"],
            row["kind"],
            str(folder / row["reference"]),
            str(folder / row["stimulus"]),
        )
        for row in stimuli.to_dict("records")
    ]
    looked = each(_look, pairs, min(jobs(settings), len(pairs)))
    seen = {
        pair.name: Look(found.reason, None) if isinstance(found, Died) else found
        for pair, found in progress(looked, len(pairs), "read")
    }
    fit = [pair for pair in pairs if not seen[pair.name].obstacle]
    rows = [
        {"stimulus": name, **row}
        for name, found in progress(scoring.score(fit, settings), len(fit), "scored")
        for row in found
    ]
    rows += [
        {"stimulus": pair.name, "metric": metric.name, "value": None,
         "reason": obstacle, "provenance": metric.provenance()}
        for pair in pairs if (obstacle := seen[pair.name].obstacle)
        for metric in installed().values() if pair.kind in metric.kinds
    ]  # fmt: skip
    scores = pd.DataFrame(rows).astype({"value": float})
    scores["delay_ms"] = [seen[name].delay_ms for name in scores["stimulus"]]
    table = stimuli.merge(scores, on="stimulus").sort_values(["stimulus", "metric"])
    return table.astype({"delay_ms": float}).reset_index(drop=True)


@dataclass(frozen=True)
class Look:
    """Why a stimulus cannot be compared with its reference (empty: it can), and how late it is."""

    obstacle: str
    delay_ms: float | None


def _look(pair: scoring.Pair) -> Look:
    read = {}
    for path in (pair.reference, pair.degraded):
        try:
            read[path] = waveform, rate = audio.read(path)
            audio.check(waveform, rate)
        except AudioError as error:
            return Look(reason(Path(path), error), None)
    (ours, rate), (theirs, their_rate) = read.values()
    if rate != their_rate:
        return Look(f"at {their_rate} Hz, its reference at {rate}: resample one of them", None)
    if ours.shape != theirs.shape:
        (channels, samples), (their_channels, their_samples) = ours.shape, theirs.shape
        return Look(
            f"{their_channels} × {their_samples} samples, its reference {channels} × {samples}: "
            "cut one of them", None,
        )  # fmt: skip
    return Look("", delay_ms(reference=ours, degraded=theirs, sample_rate=rate))


def worth(scores: pd.DataFrame, apart: float) -> list[Worth]:
    """How far each metric agrees with listeners, from the rows of ``score``.

    Listeners order two stimuli of one reference whose mean ratings are ``apart`` or more apart.
    """
    return [
        _worth(scores[scores.metric == name], installed()[name].sign, apart)
        for name in installed()
        if name in set(scores.metric)
    ]


def _worth(rows: pd.DataFrame, sign: int, apart: float) -> Worth:
    known = rows.dropna(subset=["value"])
    known = known.assign(score=sign * known["value"])
    systems = known.groupby("system")[["score", "rating"]].mean()
    over_stimuli, over_systems = _correlations(known), _correlations(systems)
    pairs = known.merge(known, on="reference", suffixes=("", "_of_other"))
    pairs = pairs[pairs.rating - pairs.rating_of_other >= apart]  # so each pair is there once
    alike = pairs.score > pairs.score_of_other
    one_codec = pairs.codec == pairs.codec_of_other
    return Worth(
        metric=rows.metric.iloc[0],
        n_scored=len(known),
        n_total=len(rows),
        pearson=over_stimuli.pearson,
        spearman=over_stimuli.spearman,
        systems=len(systems),
        systems_pearson=over_systems.pearson,
        systems_low=over_systems.low,
        systems_high=over_systems.high,
        systems_spearman=over_systems.spearman,
        one_codec_pairs=int(one_codec.sum()),
        one_codec_alike=_share(alike[one_codec]),
        codecs_pairs=int((~one_codec).sum()),
        codecs_alike=_share(alike[~one_codec]),
    )


@dataclass(frozen=True)
class Correlations:
    """Of scores with ratings, the first with Fisher's interval; None where nothing can be told."""

    pearson: float | None = None
    low: float | None = None
    high: float | None = None
    spearman: float | None = None


def _correlations(rows: pd.DataFrame) -> Correlations:
    if len(rows) < LEAST or rows.score.nunique() < 2 or rows.rating.nunique() < 2:
        return Correlations()
    pearson = stats.pearsonr(rows.score, rows.rating)
    interval = pearson.confidence_interval(0.95) if len(rows) > LEAST else None
    return Correlations(
        float(pearson.statistic),
        float(interval.low) if interval else None,
        float(interval.high) if interval else None,
        float(stats.spearmanr(rows.score, rows.rating).statistic),
    )


def _share(alike: "pd.Series[bool]") -> float | None:
    return float(alike.mean()) if len(alike) else None


def notes(scores: pd.DataFrame) -> list[str]:
    """What a reader of the table must know: what has no score and why, which systems are late."""
    found = []
    for name, rows in scores[scores.value.isna()].groupby("metric"):
        for why, count in rows.reason.value_counts().items():
            found.append(f"{installed()[str(name)].title}: {count} without a score: {why}")
    found += [
        f"{metric.title}: made for {', '.join(metric.kinds)}, and no stimulus is of that kind"
        for metric in installed().values()
        if metric.name not in set(scores.metric)
    ]
    for system, rows in scores.drop_duplicates("stimulus").groupby("system"):
        delay, known = rows.delay_ms.median(), rows.delay_ms.count()
        if abs(delay) > LATE_MS:
            found.append(
                f"{system} is {delay:+.1f} ms late (median of {known} of its {len(rows)} stimuli, "
                "of which it can be told), and was left so"
            )
    return found
