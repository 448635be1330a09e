"""One curve against another: BD-rates with intervals, and paired tests at equal rate."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.metrics import declared
from pipeline.params import Statistics
from pipeline.params.points import OPUS, is_opus
from pipeline.results.crossing import standing, sureness
from pipeline.results.curve import ALL
from pipeline.results.envelope import upper_envelope
from pipeline.results.statistics import (
    Curve,
    Paired,
    Sample,
    at_rate,
    bd_rate,
    bootstrap_bd_rate,
    holm,
    paired,
)
from pipeline.results.stretches import opinion, stretches
from pipeline.results.summary import BdRate, Crossing, Envelope, PairedTest, Stretch


@dataclass(frozen=True)
class Bench:
    """Everything that was measured, as tables.

    ``curve`` is rd.csv; ``scores`` has a row per point, clip and metric, ``files`` one per point
    and clip. ``anchor`` and ``tested`` are series of the curve (its column series); the anchor
    ``opus`` stands for all of Opus's series, at each rate the best of their points, as chosen on
    validation clips: ``validation`` is anchors.csv.
    """

    curve: pd.DataFrame
    scores: pd.DataFrame
    files: pd.DataFrame
    settings: Statistics
    seed: int
    anchor: str = OPUS
    tested: str = "neural"
    validation: pd.DataFrame | None = None

    def bd_rates(self) -> list[BdRate]:
        """BD-rate and BD-quality of the tested curve for every metric and kind, or why not."""
        found = []
        for metric, kind, anchor, tested in self._compared():
            curves = _curve(anchor, metric), _curve(tested, metric)
            names = (_title(self.anchor), self.tested)
            result = vars(
                bd_rate(*curves, self.settings.min_overlap, names, declared()[metric].least_range)
            )
            interval = None
            if result["percent"] is not None:
                theirs, ours, groups = self._samples(metric, kind, anchor, tested)
                interval = bootstrap_bd_rate(
                    theirs, ours, groups, self.settings.min_overlap,
                    self.settings.resamples, self.settings.confidence, self.seed,
                )  # fmt: skip
            low, high = interval or (None, None)
            scores = _common(anchor, tested)
            found.append(
                BdRate(metric=metric, kind=kind, **result, low=low, high=high, scores=scores)
            )
        return found

    def crossings(self) -> list[Crossing]:
        """On which side of the anchor's curve the tested one lies, for every metric and kind."""
        found = []
        for metric, kind, anchor, tested in self._compared():
            result = standing(_curve(anchor, metric), _curve(tested, metric))
            sure = None
            if result.side is not None:
                sure = sureness(
                    *self._samples(metric, kind, anchor, tested),
                    self.settings.resamples, self.settings.confidence, self.seed,
                )  # fmt: skip
            drawn = vars(sure) if sure else dict.fromkeys(("agreeing", "low", "high"))
            found.append(Crossing(metric=metric, kind=kind, **vars(result), **drawn))
        return found

    def stretches(self) -> list[Stretch]:
        """At which rates the tested curve is the better one, kind by kind."""
        opinions: dict[str, dict[str, NDArray[np.float64]]] = {}
        for metric, kind, anchor, tested in self._compared():
            opinions.setdefault(kind, {})[metric] = opinion(
                *self._samples(metric, kind, anchor, tested),
                self.settings.resamples, self.settings.confidence, self.seed,
            )  # fmt: skip
        return [one for kind, found in opinions.items() for one in stretches(kind, found)]

    def envelopes(self) -> list[Envelope]:
        """Which points make the curve of the anchor ``opus``, for every metric and kind."""
        return [
            self._envelope(metric, kind, part)
            for metric, kind, part in self._measured()
            if part.series.map(is_opus).any()
        ]

    def paired_tests(self) -> list[PairedTest]:
        """Every tested point against the anchor at the point's own measured rate, clip by clip.

        The anchor's scores of a clip are interpolated between its two points around that rate.
        p values are corrected together, for all of these tests.
        """
        found: list[dict[str, Any]] = []
        for metric, kind, anchor, tested in self._compared():
            theirs, ours, groups = self._samples(metric, kind, anchor, tested)
            rates = anchor.file_kbps.to_numpy(float)
            for point, kbps, own in zip(tested.point, tested.file_kbps, ours.scores, strict=True):
                others = at_rate(rates, theirs.scores, kbps)
                row = {"point": point, "metric": metric, "kind": kind, "kbps": round(kbps, 4)}
                if np.isnan(others).all():
                    reason = (
                        f"{_title(self.anchor)} was measured from {rates.min():.1f} to "
                        f"{rates.max():.1f} kbps"
                    )
                    result = Paired(None, None, None, None, 0, reason)
                else:
                    result = paired(
                        own, others, groups,
                        self.settings.resamples, self.settings.confidence, self.seed,
                    )  # fmt: skip
                found.append(row | vars(result))
        p = np.array([np.nan if row["p"] is None else row["p"] for row in found], float)
        for row, corrected in zip(found, holm(p), strict=True):
            row["p_holm"] = None if np.isnan(corrected) else float(corrected)
        return [PairedTest(**row) for row in found]

    def _compared(self) -> Iterator[tuple[str, str, pd.DataFrame, pd.DataFrame]]:
        """Metric, kind, and both curves' rows by rising rate, for all that can be compared."""
        for metric, kind, part in self._measured():
            anchor, tested = (part[part.series == one] for one in (self.anchor, self.tested))
            if self.anchor == OPUS:
                anchor = part[part.point.isin(self._envelope(metric, kind, part).points)]
            if len(anchor) and len(tested):
                yield metric, kind, anchor, tested

    def _measured(self) -> Iterator[tuple[str, str, pd.DataFrame]]:
        """Rows of the curve by rising rate, for each kind and metric that compares codecs."""
        rows = self.curve.dropna(subset=["mean"]).sort_values("file_kbps", kind="stable")
        for (metric, kind), part in rows.groupby(["metric", "kind"], sort=False):
            if metric in declared() and declared()[str(metric)].perceptual:
                yield str(metric), str(kind), part

    def _envelope(self, metric: str, kind: str, part: pd.DataFrame) -> Envelope:
        """Chosen on validation clips of that kind; of all kinds, where it has none.

        For want of any with a score, on the test clips themselves, which favours Opus. What Opus
        chooses by itself joins them, as test clips may have what validation clips had not.
        """
        rows, clips = part[part.series.map(is_opus)], 0
        if self.validation is not None:
            seen = self.validation[self.validation.metric == metric].dropna(subset=["mean"])
            for one in (kind, ALL):
                if len(known := seen[seen.kind == one]):
                    rows, clips = known, int(known.n_scored.max())
                    break
        chosen = upper_envelope(rows, _sign(metric))
        joined = part[part.point.isin(chosen) | (part.series == OPUS)]
        points = upper_envelope(joined, _sign(metric))
        return Envelope(metric=metric, kind=kind, points=points, validation_clips=clips)

    def _samples(
        self, metric: str, kind: str, anchor: pd.DataFrame, tested: pd.DataFrame
    ) -> tuple[Sample, Sample, NDArray[np.str_]]:
        """Both curves clip by clip, points in the order of their rows, and each clip's source.

        Scores of a metric whose lower scores are better have the other sign: more is better here.
        """
        of_kind = [
            table if kind == "all" else table[table.kind == kind]
            for table in (self.scores[self.scores.metric == metric], self.files)
        ]
        scores = of_kind[0].pivot(index="point", columns="clip", values="value")
        bits = 8 * of_kind[1].pivot(index="point", columns="clip", values="file_bytes")
        clips = scores.columns
        first = of_kind[1].drop_duplicates("clip").set_index("clip").loc[clips]
        theirs, ours = (
            Sample(
                bits.loc[list(rows.point), clips].to_numpy(float),
                first.seconds.to_numpy(float),
                _sign(metric) * scores.loc[list(rows.point)].to_numpy(float),
            )
            for rows in (anchor, tested)
        )
        return theirs, ours, first.source.to_numpy(str)


def _curve(rows: pd.DataFrame, metric: str) -> Curve:
    return rows.file_kbps.to_numpy(float), _sign(metric) * rows["mean"].to_numpy(float)


def _common(anchor: pd.DataFrame, tested: pd.DataFrame) -> tuple[float, float] | None:
    low = max(float(rows["mean"].min()) for rows in (anchor, tested))
    high = min(float(rows["mean"].max()) for rows in (anchor, tested))
    return (low, high) if low < high else None


def _sign(metric: str) -> int:
    return declared()[metric].sign


def _title(series: str) -> str:
    return f"{series[0].upper()}{series[1:]}"
