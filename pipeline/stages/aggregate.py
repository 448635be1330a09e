"""aggregate: all points' scores and bytes to reports/rd.csv and reports/summary.json.

rd.csv has one row per point, metric and kind (and `all` kinds): mean, interval, counts, rates,
costs and audio bandwidth.
summary.json has the same as a tree, with comparisons with Opus; `check` and DVC compare it.
"""

import hashlib
import json
from collections.abc import Iterable

import pandas as pd

from codec.errors import UserError
from pipeline import layout, params
from pipeline.corpora.manifest import FILE_NAME, KINDS
from pipeline.layout import ANCHORS, CURVE, SUMMARY, TEST
from pipeline.params import Params, Statistics
from pipeline.results import comparisons, summary, tables
from pipeline.results.curve import ALL, table
from pipeline.results.headline import called, headline, tested_series, verdict
from pipeline.results.statistics import bootstrap_mean
from pipeline.stage import enter, log


def main() -> None:
    settings = params.load()
    skipped = skipped_of(settings.points)
    series = {point: title for point, title in settings.series().items() if point not in skipped}
    points = list(series)
    if not points:
        raise UserError(f"every point was skipped: {'; '.join(sorted(set(skipped.values())))}")
    external = [layout.external(name) for name in settings.external]
    files = pd.concat(
        [tables.read(layout.files_table(point)).assign(point=point) for point in points]
        + [tables.read(layout.files_table(name)) for name in external],
        ignore_index=True,
    )
    scores = tables.read_all(layout.scores_table(name) for name in [*points, *external])
    for name in settings.external:
        theirs = set(tables.read(layout.files_table(layout.external(name))).point)
        if taken := theirs & set(series):
            raise UserError(f"external.{name}: point {sorted(taken)[0]} is there already")
        series |= dict.fromkeys(sorted(theirs), name)
    points = list(series)
    rates = pd.DataFrame([
        {
            "point": point, "kind": kind, **rate_of(found), **cost_of(found),
            "bandwidth_khz": bandwidth_of(found), "chosen": chosen_of(found),
        }
        for point in points
        for kind in kinds_of(files)
        if len(found := _of_kind(files[files.point == point], kind))
    ])  # fmt: skip
    curve = pd.DataFrame([
        {"point": point, "series": series[point], "metric": metric, "kind": kind}
        | quality_of(_of_kind(group, kind), settings.statistics, settings.seed)
        for point in points
        for metric, group in scores[scores.point == point].groupby("metric", sort=False)
        for kind in [*[kind for kind in KINDS if kind in set(group.kind)], ALL]
        # A metric of one kind needs no row for all kinds.
        if kind != ALL or group.kind.nunique() > 1
    ]).merge(rates, on=["point", "kind"])  # fmt: skip
    tables.write(CURVE, curve, "%.6g")
    bench = comparisons.Bench(
        curve, scores, files, settings.statistics, settings.seed,
        tested=tested_series(curve) or "neural", validation=tables.read(ANCHORS),
    )  # fmt: skip
    bd_rates = bench.bd_rates()
    crossings = bench.crossings()
    sentences, opus = headline(curve, bd_rates, crossings), called(curve) or "Opus"
    first = files[files.point == points[0]]
    summary.write(
        SUMMARY,
        summary.Summary(
            headline=sentences,
            verdicts={
                kind: " ".join(verdict(bench.tested, opus, kind, bd_rates, crossings))
                for kind in kinds_of(files)
            },
            points={
                point: point_of(
                    series[point],
                    files[files.point == point],
                    rates[rates.point == point],
                    curve[curve.point == point],
                )
                for point in points
            },
            bd_rate=bd_rates,
            crossings=crossings,
            stretches=bench.stretches(),
            envelopes=bench.envelopes(),
            paired=bench.paired_tests(),
            ablations=ablations(settings),
            unscored=unscored(scores),
            skipped=skipped,
            test=summary.Tested(
                clips=len(first),
                seconds=round(float(first.seconds.sum()), 3),
                fingerprint=fingerprint(),
                corpus=corpus(settings),
            ),
        ),
    )
    log.info("%s\n%s", table(curve).to_string(index=False), " ".join(sentences))


def point_of(
    series: str, files: pd.DataFrame, rates: pd.DataFrame, curve: pd.DataFrame
) -> summary.Point:
    """A point's part of the summary, from its own rows of each table."""
    return summary.Point(
        about=json.loads(files.about.iloc[0]),
        series=series,
        delay_ms=delay_of(files),
        bandwidth_khz=bandwidth_of(files),
        cost=summary.Cost.model_validate(cost_of(files)),
        chosen=chosen_of(files),
        compression=compression_of(files),
        rates={
            kind: summary.Rate.model_validate(numbers)
            for kind, numbers in _numbers(rates[["kind", *summary.Rate.model_fields]]).items()
        },
        metrics={
            str(metric): {
                kind: summary.Score.model_validate(numbers)
                for kind, numbers in _numbers(rows).items()
            }
            for metric, rows in curve[["metric", "kind", *summary.Score.model_fields]].groupby(
                "metric", sort=False
            )
        },
    )


def kinds_of(files: pd.DataFrame) -> list[str]:
    """The kinds that the test clips have, and ``all``."""
    return [*[kind for kind in KINDS if kind in set(files.kind)], ALL]


def _of_kind(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    return rows if kind == ALL else rows[rows.kind == kind]


def rate_of(files: pd.DataFrame) -> dict[str, float | None]:
    """The three rates in kbps, all bits over all seconds, and the gap of estimate and payload."""
    seconds = files.seconds.sum() * 1000
    payload, estimated = files.payload_bytes.sum() * 8, files.estimated_bits.sum()
    known = bool(files.estimated_bits.notna().all())
    return {
        "file_kbps": files.file_bytes.sum() * 8 / seconds,
        "payload_kbps": payload / seconds,
        "estimated_kbps": estimated / seconds if known else None,
        "estimate_gap_percent": 100 * (payload / estimated - 1) if known else None,
    }


def delay_of(files: pd.DataFrame) -> float | None:
    """The median delay of the clips where it could be told, in ms."""
    return _median(files, "delay_ms")


def bandwidth_of(files: pd.DataFrame) -> float | None:
    """The median audio bandwidth of the clips, in kHz."""
    return _median(files, "bandwidth_khz")


def _median(files: pd.DataFrame, column: str) -> float | None:
    known = files[column].dropna() if column in files else files.seconds[:0]
    return round(float(known.median()), 3) if len(known) else None


def cost_of(files: pd.DataFrame) -> dict[str, float | None]:
    """What a second of the clips takes on average; None where the coder does not know."""
    found: dict[str, float | None] = {}
    for name in summary.Cost.model_fields:
        known = name in files and bool(files[name].notna().all())
        total = (files[name] * files.seconds).sum() if known else None
        found[name] = None if total is None else round(float(total / files.seconds.sum()), 3)
    return found


def compression_of(files: pd.DataFrame) -> float:
    """16-bit PCM of the clips over their files."""
    return round(float(files.pcm_bytes.sum() / files.file_bytes.sum()), 3)


def details_of(files: pd.DataFrame) -> dict[str, float]:
    """What the coder chose, on average over the seconds of all clips."""
    table = pd.DataFrame([json.loads(text) for text in files.details], index=files.index)
    weights = files.seconds / files.seconds.sum()
    return {str(name): round(float((table[name] * weights).sum()), 4) for name in table}


def chosen_of(files: pd.DataFrame) -> str:
    """What the coder chose for at least a tenth of the time, such as ``silk 96 %, 8 kHz 96 %``."""
    parts = [
        f"{name.partition(' ')[2]} {share:.0%}"
        for name, share in details_of(files).items()
        if share >= 0.1
    ]
    return ", ".join(parts)


def quality_of(scores: pd.DataFrame, settings: Statistics, seed: int) -> dict[str, object]:
    """Mean and interval of the scored clips, and how many of all clips they are.

    Where some have several channels, ``worst`` is the mean of each clip's worst one.
    """
    scored = scores[scores.value.notna()]
    found: dict[str, object] = {"mean": None, "low": None, "high": None, "worst": None}
    if len(scored):
        low, high = bootstrap_mean(
            scored.value.to_numpy(float),
            scored.source.to_numpy(str),
            settings.resamples,
            settings.confidence,
            seed,
        )
        found |= {"mean": float(scored.value.mean()), "low": low, "high": high}
        if "worst" in scored and scored.worst.notna().any():
            found["worst"] = float(scored.worst.fillna(scored.value).mean())
    return {**found, "n_scored": len(scored), "n_total": len(scores)}


def skipped_of(points: Iterable[str]) -> dict[str, str]:
    """Those of the points whose coder this machine lacks something for, and the reason."""
    notes = {point: layout.skip_note(layout.CODED, point) for point in points}
    return {
        point: note.read_text(encoding="utf-8").strip()
        for point, note in notes.items()
        if note.is_file()
    }


def ablations(settings: Params) -> list[summary.Ablation]:
    """Which points differ from which others in what, for the tables that compare them."""
    return [
        summary.Ablation(
            point=f"neural-{name}",
            of=f"neural-{model.ablates}",
            change={"loss": model.loss, "adversarial": model.adversarial},
        )
        for name, model in settings.models.items()
        if model.ablates is not None
    ]


def unscored(scores: pd.DataFrame) -> list[summary.Unscored]:
    """Every clip without a score: point, clip, metric and reason."""
    missing = scores[scores.value.isna()].sort_values(["point", "clip", "metric"])
    columns = list(summary.Unscored.model_fields)
    return [summary.Unscored.model_validate(row) for row in missing[columns].to_dict("records")]


def corpus(settings: Params) -> dict[str, object]:
    """The settings that the test clips come from."""
    chosen = settings.corpus
    facts: dict[str, object] = {"source": chosen.source, "test": chosen.test, "mono": chosen.mono}
    if chosen.source != "synthetic":
        return facts | {"longest_test_seconds": chosen.longest_test_seconds}
    made = chosen.synthetic
    return facts | {"seed": settings.seed, "clips": made.test_clips, "seconds": made.test_seconds}


def fingerprint() -> str:
    """Names the test corpus: baselines of another corpus are not to be compared with."""
    table = tables.read(TEST / FILE_NAME)
    # Not the origin: the same clips in another folder are the same corpus.
    return hashlib.sha256(table.drop(columns="origin").to_csv(index=False).encode()).hexdigest()[
        :16
    ]


def _numbers(rows: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """The numbers of each kind's row, rounded, missing ones as None."""
    return {
        row["kind"]: {
            str(name): None if pd.isna(value) else round(value, 6)
            for name, value in row.items()
            if name not in tables.TEXT
        }
        for row in rows.to_dict("records")
    }


if __name__ == "__main__":
    enter(main)
