"""Making a benched model one that comes with rdcodec: its file, its card, its line in the list."""

import json
import shutil
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from codec import checkpoint
from codec.errors import UserError
from codec.files import replacing, write_text
from pipeline import layout, params
from pipeline.corpora import manifest
from pipeline.layout import SUMMARY, TRAIN
from pipeline.metrics import declared
from pipeline.params import BASE
from pipeline.report import provenance
from pipeline.report.page import number
from pipeline.results.summary import Summary, read

LARGEST = 24 * 2**20


def release(model: str, name: str, folder: Path = checkpoint.RELEASED) -> Path:
    """Copy models/<model> to ``folder`` as ``name``, with its card; returns the card's path.

    The file is the very one that the bench judged. UserError where the bench has not judged it.
    """
    settings, summary = params.load(), read(SUMMARY)
    source = layout.model_file(model)
    own = [point for point in settings.points_of(model) if point in summary.points]
    if model not in settings.models or not source.is_file() or not own:
        raise UserError(
            f"{model}: not a model that was trained and scored here; `rdcodec run` does both"
        )
    if source.stat().st_size > LARGEST:
        raise UserError(f"{source}: {source.stat().st_size} bytes; a released model has {LARGEST}")
    facts = {"name": name, **_facts(model, settings), "file_kbps": _kbps(summary, own[0])}
    if facts["levels"] > 1:
        rates = [_kbps(summary, point) for point in own]
        facts["range_kbps"] = [min(rates), max(rates)]
    card = _card(facts, summary, own)
    target = folder / f"{name}.safetensors"
    with replacing(target) as scratch:
        shutil.copyfile(source, scratch)
    write_text(folder / f"{name}.md", card)
    listed = checkpoint.listed(folder) | {name: facts}
    kept = {key: listed[key] for key in sorted(listed) if (folder / f"{key}.safetensors").is_file()}
    write_text(folder / checkpoint.LIST, json.dumps(kept, indent=1) + "\n")
    return folder / f"{name}.md"


def _kbps(summary: Summary, point: str) -> float:
    return round(summary.points[point].rates["all"].file_kbps, 2)


def _facts(model: str, settings: params.Params) -> dict[str, Any]:
    """What the model is and how it was trained, its base included."""
    config = settings.config_of(model)
    own, base = (
        json.loads(layout.training_facts(one).read_text(encoding="utf-8")) for one in (model, BASE)
    )
    parts = [base, own] if own["init"] == BASE else [own]
    quantizer = "scalar"
    if config.quantizer == "residual":
        quantizer = f"residual, {config.codebooks} codebooks of {config.codebook_size}"
    return {
        "sample_rate": config.sample_rate,
        "channels": config.channels,
        "preset": settings.codec.preset,
        "quantizer": quantizer,
        "levels": config.levels,
        "beta": own["beta"],
        "parameters": own["parameters"],
        "init": parts[0]["init"],
        "steps": sum(part["steps"] for part in parts),
        "audio_hours": round(sum(part["audio_hours"] for part in parts), 1),
        "hours": round(sum(part["hours"] for part in parts), 2),
        "device": own["device"],
        "processes": own["processes"],
        "precision": own["precision"],
        "torch": own["torch"],
        "loss": settings.loss_of(model).model_dump(),
        "adversarial": settings.adversarial_of(model).enabled,
        "augment": settings.augment.model_dump(),
        "revision": provenance.revision(),
    }


def _card(facts: dict[str, Any], summary: Summary, own: list[str]) -> str:
    clips = [clip.model_dump() for clip in manifest.read(TRAIN)]
    table = pd.DataFrame(clips)
    data = (
        table.groupby(["kind", "origin", "licence"])
        .agg(clips=("file", "size"), minutes=("seconds", lambda seconds: seconds.sum() / 60))
        .reset_index()
        .to_dict("records")
    )
    opus = sorted(
        (point for point in summary.points if point.startswith("opus-")),
        key=lambda point: _kbps(summary, point),
    )
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = number
    environment.filters["many"] = lambda one: one if isinstance(one, list) else [one]
    return environment.get_template("card.md.j2").render(
        facts=facts,
        data=data,
        test=summary.test,
        kinds=[kind for kind in ("all", *manifest.KINDS) if kind in summary.points[own[0]].rates],
        points={point: summary.points[point] for point in [*own, *opus]},
        metrics=declared(),
    )
