"""The pages of a run: one folder that opens from a disk, a mail or a server, without network."""

import datetime
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import plotly.offline

from codec.files import write_text
from pipeline import metrics
from pipeline.corpora.manifest import Clip
from pipeline.metrics import declared
from pipeline.report import figures, player, provenance, sketch, tables
from pipeline.results import listening, worth
from pipeline.results.envelope import RULE
from pipeline.results.headline import METRIC, called, name_of, tested_series, where
from pipeline.results.summary import BdRate, Crossing, Envelope, PairedTest, Summary

KIND_TITLES = {"all": "All kinds", "speech": "Speech", "music": "Music", "general": "General"}
LOSSES = {
    "kbps": "estimated rate (kbps)",
    "recon": "reconstruction loss",
    "log_magnitude": "log-magnitude loss",
    "phase": "phase loss",
}
STATIC = Path(__file__).parent / "static"
ASSETS = "assets"


@dataclass(frozen=True)
class Contents:
    """Everything that a run left behind, as its pages show it."""

    summary: Summary
    curve: pd.DataFrame
    files: pd.DataFrame
    """coded/*.csv of all points that were coded here"""
    scores: pd.DataFrame
    """scores/*.csv of the same points"""
    clips: list[Clip]
    split: Path
    """The folder of the originals."""
    pairs: list[player.Pair]
    peer: player.Peer | None
    training: dict[str, pd.DataFrame]
    """Training curves by model."""
    models: dict[str, pd.DataFrame]
    """Tables under models/, all models together, by file name."""
    speed: pd.DataFrame
    claims: list[dict[str, str]]
    params_text: str
    listened: listening.Result | None = None
    """What listeners said of these clips; None where nobody did."""
    about: dict[str, Any] | None = None
    """``about()`` of the run; None: it was here and now."""


def write(folder: Path, run: Contents) -> None:
    """Write ``folder``/index.html, listening.html and assets/, each of them whole or not at all."""
    building = folder / f".{ASSETS}"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    write_static(building)
    write_script(building / "inside.js", "figures", inside(run))
    played = player.points_of(run.pairs, run.peer)
    clips = player.rows(run.clips, played, run.files, run.scores)
    write_script(building / "clips.js", "clips", clips)
    player.write_audio(building / "audio", run.split, run.clips, played, run.files)
    shutil.rmtree(folder / ASSETS, ignore_errors=True)
    building.rename(folder / ASSETS)

    origin = run.about or about()
    listened = {
        "run": {"test": run.summary.test.fingerprint, "revision": origin["revision"]},
        "pairs": [vars(pair) for pair in run.pairs],
        "peer": vars(run.peer) if run.peer else None,
    }
    # The original, each neural point, one point of Opus, and a peer.
    sources = 2 + len({pair.neural for pair in run.pairs}) + bool(run.peer)
    known = worth.read()
    titles = {name: metric.title for name, metric in declared().items()}
    template = environment()
    html = template.get_template("page.html.j2").render(
        **curves(
            run.summary.bd_rate,
            run.summary.crossings,
            run.summary.paired,
            run.curve,
            run.summary.envelopes,
        ),
        summary=run.summary,
        bars=tables.bars(run.summary.stretches, kinds_of(run.curve), KIND_TITLES),
        opus=called(run.curve) or "Opus",
        envelope_rule=RULE,
        about=origin,
        data=embedded_json(
            curve_data(run.curve, run.summary.envelopes)
            | listened
            | {
                "headline": METRIC,
                "metrics": titles,
            }
        ),
        pairs=run.pairs,
        peer=run.peer,
        sources=sources,
        inside=inside_titles(run),
        tested=name_of(tested_series(run.curve)),
        entropy=run.models["entropy"].to_dict("records"),
        coders=tables.coders_table(run.models["entropy_coders"]),
        codes=tables.codes_table(run.models["codes"]),
        ablations=tables.ablations_table(run.summary),
        late=late(run.summary),
        skipped=skipped(run.summary),
        speed=run.speed.to_dict("records"),
        worth=tables.worth_table(known.rated.metrics),
        known=known,
        heard=listening.table(run.listened).splitlines() if run.listened else [],
        claims=run.claims,
        params_text=run.params_text,
    )
    test = template.get_template("listening.html.j2").render(
        data=embedded_json(listened),
        about=origin,
        pairs=run.pairs,
        peer=run.peer,
        sources=sources,
        summary=run.summary,
    )
    write_text(folder / "listening.html", test)
    write_text(folder / "index.html", html)


def about() -> dict[str, Any]:
    """Date, revision, machine, versions and metrics of a run that is made here and now."""
    return {
        "date": date(),
        "revision": provenance.revision(),
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "metrics": {metric.title: metric.provenance() for metric in metrics.installed().values()},
    }


def write_comparison(folder: Path, compared: dict[str, Any]) -> None:
    """Write the page of two runs, as ``pipeline.results.compare.compare`` describes them."""
    folder.mkdir(parents=True, exist_ok=True)
    building = folder / f".{ASSETS}"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    write_static(building)
    shutil.rmtree(folder / ASSETS, ignore_errors=True)
    building.rename(folder / ASSETS)
    html = (
        environment()
        .get_template("compare.html.j2")
        .render(
            **curves(compared["bd_rate"], [], compared["paired"], compared["curve"]),
            summary=compared,
            about={"date": date()},
            data=embedded_json(curve_data(compared["curve"])),
        )
    )
    write_text(folder / "index.html", html)


def environment() -> jinja2.Environment:
    """The templates, with what all of them use."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    found.filters["number"] = number
    found.filters["where"] = where
    found.globals["metrics"] = declared()
    found.globals["kind_titles"] = KIND_TITLES
    return found


def write_static(folder: Path) -> None:
    """Style, scripts and plotly, as every page asks for them."""
    for path in STATIC.iterdir():
        shutil.copyfile(path, folder / path.name)
    write_text(folder / "plotly.min.js", plotly.offline.get_plotlyjs())


def write_script(path: Path, name: str, value: object) -> None:
    """A script that calls ``rdcodec.receive`` with a value."""
    write_text(path, f"rdcodec.receive({json.dumps(name)},{compact_json(value)});\n")


def kinds_of(curve: pd.DataFrame) -> list[str]:
    """Kinds with rows in the curve, in the page's order."""
    return [kind for kind in KIND_TITLES if kind in set(curve.kind)]


def curves(
    bd_rates: list[BdRate],
    crossings: list[Crossing],
    paired: list[PairedTest],
    curve: pd.DataFrame,
    envelopes: Sequence[Envelope] = (),
) -> dict[str, Any]:
    """What the sections of curves, BD-rates, paired tests and points show."""
    kinds = kinds_of(curve)
    shown = charts(curve, kinds)
    return {
        "kinds": {kind: KIND_TITLES[kind] for kind in kinds},
        "charts": shown,
        "sketch": _sketch(curve, shown[0], envelopes) if shown else None,
        "series": figures.series_of(curve, bool(envelopes)),
        "cards": tables.cards(bd_rates, crossings, kinds),
        "points": {kind: tables.points_table(curve, kind) for kind in kinds},
        "paired": [row for row in paired if row.p is not None],
    }


def _sketch(
    curve: pd.DataFrame, chart: dict[str, Any], envelopes: Sequence[Envelope]
) -> dict[str, Any]:
    metric, kind = chart["name"], chart["kinds"][0]
    return sketch.sketch(
        curve, metric, kind, figures.best(curve, envelopes).get((metric, kind), ())
    )


def curve_data(curve: pd.DataFrame, envelopes: Sequence[Envelope] = ()) -> dict[str, Any]:
    """What the page's scripts need of the curves."""
    kinds = kinds_of(curve)
    return {
        "kinds": {kind: KIND_TITLES[kind] for kind in kinds},
        "figures": figures.all_rate_distortion(curve, kinds, envelopes),
    }


def charts(curve: pd.DataFrame, kinds: list[str]) -> list[dict[str, Any]]:
    """One chart per metric with scores, the headline's first: its name, title and kinds."""
    ordered = sorted(declared().values(), key=lambda metric: metric.name != METRIC)
    return [
        {
            "name": metric.name,
            "title": metric.title,
            "kinds": [kind for kind in kinds if kind in found],
        }
        for metric in ordered
        if (found := set(curve[curve.metric == metric.name].dropna(subset=["mean"]).kind))
    ]


def inside(run: Contents) -> dict[str, Any]:
    """Figures of the codec's inside, by name; none where the run has no model."""
    if run.models["codes"].empty:
        return {}
    counts, codes = run.models["histogram"], run.models["codes"]
    layered = set(codes[codes["of"].notna()].model)
    drawn = {
        f"training {column}": figures.training(run.training, column, title)
        for column, title in LOSSES.items()
    }
    drawn["bits per row"] = figures.bits_per_row(codes)
    drawn["estimate gap"] = figures.estimate_gap(run.files)
    if scalar := set(counts.model) - layered:
        drawn["symbols"] = figures.symbol_histogram(counts[counts.model.isin(scalar)])
    if layered:
        drawn["codebooks"] = figures.codebook_use(counts[counts.model.isin(layered)])
    return drawn


def inside_titles(run: Contents) -> dict[str, dict[str, str]]:
    """Titles of those figures, by section."""
    if run.models["codes"].empty:
        return {}
    residual = bool(run.models["codes"]["of"].notna().any())
    scalar = bool(run.models["codes"]["of"].isna().any())
    return {
        "training": {
            f"training {column}": f"{title[0].upper()}{title[1:]}"
            for column, title in LOSSES.items()
        },
        "codes": {"bits per row": "Bits of each latent channel or codebook"}
        | ({"symbols": "Histogram of symbols"} if scalar else {})
        | ({"codebooks": "Use of codebooks"} if residual else {})
        | {"estimate gap": "Estimated against real bits, clip by clip"},
    }


def skipped(summary: Summary) -> dict[str, str]:
    """What was not run because this machine lacks what it needs: each reason, and all it stopped.

    Optional metrics are among it, but for those whose scores come from elsewhere.
    """
    found: dict[str, list[str]] = {}
    scored = {name for facts in summary.points.values() for name in facts.metrics}
    absent = {name: why for name, why in metrics.skipped().items() if name not in scored}
    for name, reason in [*summary.skipped.items(), *absent.items()]:
        found.setdefault(reason, []).append(name)
    return {reason: ", ".join(names) for reason, names in found.items()}


def late(summary: Summary) -> dict[str, float]:
    """Points whose audio comes later or earlier than the original's by more than 1 ms."""
    delays = {point: facts.delay_ms for point, facts in summary.points.items()}
    return {point: delay for point, delay in delays.items() if delay and abs(delay) > 1}


def date() -> str:
    """The day of the page; that of SOURCE_DATE_EPOCH where set, for pages equal to the byte."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    when = datetime.datetime.now(datetime.UTC)
    if seconds is not None:
        when = datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)
    return when.strftime("%Y-%m-%d")


def number(value: float | None, digits: int = 2) -> str:
    """A number for a table; a dash where there is none."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")


def compact_json(value: object) -> str:
    """JSON without spaces; what is not a number in JSON is an error here and not in a browser."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def embedded_json(value: object) -> str:
    """JSON that may stand inside a script element."""
    return compact_json(value).replace("<", "\\u003c")
