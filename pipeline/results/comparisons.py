"""One curve against another: BD-rates with intervals, and paired tests at equal rate."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.metrics import installed
from pipeline.params import Statistics
from pipeline.results.statistics import (
    Paired,
    Sample,
    at_rate,
    bd_rate,
    bootstrap_bd_rate,
    holm,
    paired,
)
from pipeline.results.summary import BdRate, PairedTest


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
    anchor: str = "opus"
    tested: str = "neural"

    def bd_rates(self) -> list[BdRate]:
        """BD-rate and BD-quality of the tested curve for every metric and kind, or why not."""
        found = []
        for (metric, kind), rows in self._compared():
            curves = [
                (part.file_kbps.to_numpy(float), _sign(metric) * part["mean"].to_numpy(float))
                for part in (rows[rows.series == self.anchor], rows[rows.series == self.tested])
            ]
            names = (_title(self.anchor), self.tested)
            result = vars(bd_rate(curves[0], curves[1], self.settings.min_overlap, names))
            interval = None
            if result["percent"] is not None:
                samples, groups = self._samples(metric, kind, rows)
                interval = bootstrap_bd_rate(
                    samples[self.anchor], samples[self.tested], groups, self.settings.min_overlap,
                    self.settings.resamples, self.settings.confidence, self.seed,
                )  # fmt: skip
            low, high = interval or (None, None)
            found.append(BdRate(metric=metric, kind=kind, **result, low=low, high=high))
        return found

    def paired_tests(self) -> list[PairedTest]:
        """Every tested point against the anchor at the point's own measured rate, clip by clip.

        The anchor's scores of a clip are interpolated between its two points around that rate.
        p values are corrected together, for all of these tests.
        """
        found: list[dict[str, Any]] = []
        for (metric, kind), rows in self._compared():
            samples, groups = self._samples(metric, kind, rows)
            anchor, tested = (rows[rows.series == name] for name in (self.anchor, self.tested))
            for point, kbps, own in zip(
                tested.point, tested.file_kbps, samples[self.tested].scores, strict=True
            ):
                theirs = at_rate(
                    anchor.file_kbps.to_numpy(float), samples[self.anchor].scores, kbps
                )
                row = {"point": point, "metric": metric, "kind": kind, "kbps": round(kbps, 4)}
                if np.isnan(theirs).all():
                    low, high = anchor.file_kbps.min(), anchor.file_kbps.max()
                    reason = f"{_title(self.anchor)} was measured from {low:.1f} to {high:.1f} kbps"
                    result = Paired(None, None, None, None, 0, reason)
                else:
                    result = paired(
                        own, theirs, groups,
                        self.settings.resamples, self.settings.confidence, self.seed,
                    )  # fmt: skip
                found.append(row | vars(result))
        p = np.array([np.nan if row["p"] is None else row["p"] for row in found], float)
        for row, corrected in zip(found, holm(p), strict=True):
            row["p_holm"] = None if np.isnan(corrected) else float(corrected)
        return [PairedTest(**row) for row in found]

    def _compared(self) -> list[tuple[tuple[str, str], pd.DataFrame]]:
        """Rows of the curve with a mean, by metric and kind, for all that can be compared."""
        rows = self.curve.dropna(subset=["mean"]).sort_values("file_kbps", kind="stable")
        compared = {name for name, metric in installed().items() if metric.perceptual}
        return [
            ((str(metric), str(kind)), part)
            for (metric, kind), part in rows.groupby(["metric", "kind"], sort=False)
            if str(metric) in compared and {self.anchor, self.tested} <= set(part.series)
        ]

    def _samples(
        self, metric: str, kind: str, rows: pd.DataFrame
    ) -> tuple[dict[str, Sample], NDArray[np.str_]]:
        """Both curves clip by clip, points in the order of ``rows``, and each clip's source.

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
        samples = {}
        for series in (self.anchor, self.tested):
            points = list(rows[rows.series == series].point)
            samples[series] = Sample(
                bits.loc[points, clips].to_numpy(float),
                first.seconds.to_numpy(float),
                _sign(metric) * scores.loc[points].to_numpy(float),
            )
        return samples, first.source.to_numpy(str)


def _sign(metric: str) -> int:
    return installed()[metric].sign


def _title(series: str) -> str:
    return f"{series[0].upper()}{series[1:]}"
