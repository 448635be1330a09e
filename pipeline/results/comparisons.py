"""One curve against another: BD-rates with intervals, and paired tests at equal rate."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.metrics import installed
from pipeline.params import Statistics
from pipeline.results.crossing import crossing_interval, standing
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
from pipeline.results.summary import BdRate, Crossing, PairedTest

OPUS = "opus"


@dataclass(frozen=True)
class Bench:
    """Everything that was measured, as tables.

    ``curve`` is rd.csv; ``scores`` has a row per point, clip and metric, ``files`` one per point
    and clip. ``anchor`` and ``tested`` are series of the curve (its column series).
    """

    curve: pd.DataFrame
    scores: pd.DataFrame
    files: pd.DataFrame
    settings: Statistics
    seed: int
    anchor: str = OPUS
    tested: str = "neural"

    def bd_rates(self) -> list[BdRate]:
        """BD-rate and BD-quality of the tested curve for every metric and kind, or why not."""
        found = []
        for metric, kind, anchor, tested in self._compared():
            curves = _curve(anchor, metric), _curve(tested, metric)
            names = (_title(self.anchor), self.tested)
            result = vars(
                bd_rate(*curves, self.settings.min_overlap, names, installed()[metric].least_range)
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
            interval = None
            if result.kbps is not None:
                interval = crossing_interval(
                    *self._samples(metric, kind, anchor, tested),
                    self.settings.resamples, self.settings.confidence, self.seed,
                )  # fmt: skip
            low, high = interval or (None, None)
            found.append(Crossing(metric=metric, kind=kind, **vars(result), low=low, high=high))
        return found

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
        rows = self.curve.dropna(subset=["mean"]).sort_values("file_kbps", kind="stable")
        compared = {name for name, metric in installed().items() if metric.perceptual}
        for (metric, kind), part in rows.groupby(["metric", "kind"], sort=False):
            anchor = best_of(part[part.series.isin(self.anchors)], str(metric))
            tested = part[part.series == self.tested]
            if str(metric) in compared and len(anchor) and len(tested):
                yield str(metric), str(kind), anchor, tested

    @property
    def anchors(self) -> list[str]:
        """The anchor's series: of Opus all that there are, one for each setting."""
        if self.anchor != OPUS:
            return [self.anchor]
        return [name for name in dict.fromkeys(self.curve.series) if is_opus(name)]

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


def is_opus(series: str) -> bool:
    """Whether a series is Opus, at whichever setting."""
    return series == OPUS or series.startswith(f"{OPUS}-")


def best_of(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One curve of the rows, by rising rate, of several settings of one coder.

    The upper envelope: points that no other point beats at its rate or a lower one, by this very
    metric and on these very clips, which favours that coder. One setting alone is left as it is.
    """
    if rows.series.nunique() < 2:
        return rows
    rows = rows.assign(quality=_sign(metric) * rows["mean"])
    rows = rows.sort_values(["file_kbps", "quality"], ascending=[True, False])
    best_before = rows.quality.cummax().shift(fill_value=-np.inf)
    return rows[rows.quality > best_before].drop(columns="quality")


def _curve(rows: pd.DataFrame, metric: str) -> Curve:
    return rows.file_kbps.to_numpy(float), _sign(metric) * rows["mean"].to_numpy(float)


def _common(anchor: pd.DataFrame, tested: pd.DataFrame) -> tuple[float, float] | None:
    low = max(float(rows["mean"].min()) for rows in (anchor, tested))
    high = min(float(rows["mean"].max()) for rows in (anchor, tested))
    return (low, high) if low < high else None


def _sign(metric: str) -> int:
    return installed()[metric].sign


def _title(series: str) -> str:
    return f"{series[0].upper()}{series[1:]}"
