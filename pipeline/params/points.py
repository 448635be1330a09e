"""What is coded and scored: a point is a coder at one setting, one dot on a curve."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from codec.config import CodecConfig
from pipeline import coders, layout

OWN_CODER = "rdcodec"
OPUS = "opus"


class Point(BaseModel):
    """A coder of the entry-point group ``rdcodec.coders``, with its options.

    ``made_from`` (``from`` in params.yaml) is what the coder is made from, and its stage depends
    on: a file or folder of weights, which it gets as its option ``weights``; or ``data/test``, for
    a coder that needs nothing but the clips.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    coder: str
    made_from: str = Field(alias="from")
    options: dict[str, Any] = {}
    series: str

    @property
    def model(self) -> str | None:
        """The entry of ``models`` that it codes with, if it does."""
        name = Path(self.made_from).parent.name
        return name if Path(self.made_from) == layout.model_file(name) else None

    @property
    def all_options(self) -> dict[str, Any]:
        """Its options, the weights among them."""
        if Path(self.made_from) == layout.TEST:
            return self.options
        return {"weights": self.made_from, **self.options}


def is_opus(series: str) -> bool:
    """Whether a series is Opus, at whichever setting: ``opus``, or ``opus-`` and more."""
    return series == OPUS or series.startswith(f"{OPUS}-")


def own(model: str) -> str:
    """The point that codes with all that a model has."""
    return f"neural-{model}"


def agree(points: Mapping[str, Point], models: Mapping[str, CodecConfig]) -> None:
    """Raise ValueError, which names the key, where points and models do not go together."""
    for name, point in points.items():
        _check_coder(f"points.{name}", point)
        _check_model(f"points.{name}", point, models)
        if name.startswith(layout.external("")):
            raise ValueError(f"points.{name}: scores from elsewhere have such names")
    for model in models:
        _check_own(model, points)
    settings: list[tuple[object, ...]] = []
    for name, point in points.items():
        setting = (point.coder, point.made_from, point.options)
        if setting in settings:
            first = list(points)[settings.index(setting)]
            raise ValueError(f"points.{name}: the same coder at the same setting as points.{first}")
        settings.append(setting)


def _check_coder(key: str, point: Point) -> None:
    if not coders.exists(point.coder):
        raise ValueError(f"{key}.coder: {coders.missing(point.coder)}")
    if point.coder == OWN_CODER and Path(point.made_from) == layout.TEST:
        raise ValueError(
            f"{key}.from: {OWN_CODER} codes with a model, such as {layout.model_file('MODEL')}"
        )
    if Path(point.made_from) != layout.TEST and "weights" in point.options:
        raise ValueError(f"{key}.options.weights: they are what `from` names")


def _check_model(key: str, point: Point, models: Mapping[str, CodecConfig]) -> None:
    """A point of an entry of ``models`` has one, and no more codebooks than that."""
    parts = Path(point.made_from).parts
    if parts[:1] == layout.MODELS.parts:
        if point.model is None:
            name = parts[1] if len(parts) > 1 else "MODEL"
            raise ValueError(
                f"{key}.from: {point.made_from}: a model's file is {layout.model_file(name)}"
            )
        if point.model not in models:
            raise ValueError(f"{key}.from: there is no model {point.model!r}")
    if point.model is None or "codebooks" not in point.options:
        return
    config, wanted = models[point.model], point.options["codebooks"]
    if config.quantizer != "residual":
        raise ValueError(f"{key}.options.codebooks: {point.model} has no codebooks")
    if not isinstance(wanted, int) or not 1 <= wanted <= config.codebooks:
        raise ValueError(
            f"{key}.options.codebooks: {wanted!r}, and {point.model} has 1 to {config.codebooks}"
        )


def _check_own(model: str, points: Mapping[str, Point]) -> None:
    """Each model has a point of its own: what is shown of a model is measured there."""
    name, file = own(model), str(layout.model_file(model))
    if name not in points:
        raise ValueError(
            f"points.{name}: missing: model {model} needs it, such as "
            f"{{coder: {OWN_CODER}, from: {file}, series: neural}}"
        )
    point = points[name]
    if point.coder != OWN_CODER or point.model != model or point.options:
        raise ValueError(
            f"points.{name}: that is the name of model {model}'s own point: coder {OWN_CODER}, "
            f"from {file}, no options"
        )
