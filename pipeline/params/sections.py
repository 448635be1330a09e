"""params.yaml's sections, typed: what is wrong with one is an error that names the key."""

import re
from importlib.metadata import entry_points
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from codec.config import PRESETS, CodecConfig
from pipeline import coders
from pipeline.params import points
from pipeline.params.points import Point

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Weight = NotNegative
BASE = "base"
ABLATION = "ablation"
"""The series of models that are compared with another one, beside the curves."""
Share = Annotated[float, Field(ge=0, le=1)]


def _weights(beta: float | list[float]) -> float | list[float]:
    ends = beta if isinstance(beta, list) else [beta, beta]
    if len(ends) != 2 or min(ends) < 0 or (isinstance(beta, list) and min(ends) == 0):
        raise ValueError(f"0 or more, or two numbers above 0, not {beta!r}")
    return beta


# One for all rates, or from the lowest rate's to the highest rate's.
Beta = Annotated[float | list[float], AfterValidator(_weights)]


class Section(BaseModel):
    """A part of params.yaml: no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Synthetic(Section):
    """How much the synthetic corpus makes."""

    train_minutes: Positive
    train_seconds: Annotated[float, Field(ge=1)]
    test_clips: Annotated[int, Field(ge=4)]
    test_seconds: Annotated[float, Field(ge=1)]


class Corpus(Section):
    """Where the audio comes from."""

    source: str
    train: str
    test: str
    mono: bool
    longest_test_seconds: NotNegative
    valid_fraction: Annotated[float, Field(gt=0, lt=1)]
    synthetic: Synthetic

    @field_validator("source")
    @classmethod
    def _installed(cls, source: str) -> str:
        names = sorted({point.name for point in entry_points(group="rdcodec.corpora")})
        if source not in names:
            raise ValueError(f"no corpus {source!r}; installed are {', '.join(names) or 'none'}")
        return source


class Codec(BaseModel):
    """A preset, and any field of CodecConfig that replaces the preset's."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    preset: str

    @field_validator("preset")
    @classmethod
    def _known(cls, preset: str) -> str:
        if preset not in PRESETS:
            raise ValueError(f"no preset {preset!r}; there are {', '.join(PRESETS)}")
        return preset

    @model_validator(mode="after")
    def _builds(self) -> "Codec":
        try:
            self.config()
        except ValidationError as error:
            raise ValueError(first_problem(error)) from error
        return self

    def config(self) -> CodecConfig:
        """The architecture that preset and replacements make."""
        fields = PRESETS[self.preset].model_dump() | (self.model_extra or {})
        return CodecConfig.model_validate(fields)


class Loss(Section):
    """The terms of the loss."""

    rate_unit: Literal["kbps", "bits_per_sample"]
    gamma: Weight
    log_magnitude: Weight
    phase: Weight
    mel: Weight
    mse: Weight
    stft_scales: Annotated[list[Annotated[int, Field(ge=64)]], Field(min_length=1)]
    balanced: bool

    @model_validator(mode="after")
    def _some(self) -> "Loss":
        if not self.log_magnitude + self.phase + self.mel + self.mse:
            raise ValueError("log_magnitude, phase, mel and mse are all 0: nothing to learn from")
        return self


class Adversarial(Section):
    """The discriminator, which trains against the codec."""

    enabled: bool
    width: Count
    learning_rate: Positive
    weight: Weight
    features: Weight


class Augment(Section):
    """What is done to training segments."""

    mix: Share
    filter: Share
    resample: Share


class Optimizer(Section):
    """How training steps are made."""

    batch_size: Count
    segment_seconds: Positive
    learning_rate: Positive
    prior_learning_rate: Positive
    warmup_steps: Annotated[int, Field(ge=0)]
    gradient_clip: Positive
    average: Annotated[float, Field(ge=0, lt=1)]
    keep: Literal["last", "best"]
    threads: Annotated[int, Field(ge=0)]
    accelerator: str
    precision: Literal["32-true", "bf16-mixed"]
    save_seconds: Positive


class Watch(Section):
    """Validation clips that are decoded while a model trains."""

    clips: Annotated[int, Field(ge=0)]
    seconds: Positive
    at: list[Share]


class Pretrain(Section):
    """The base from which every model starts."""

    init: str
    beta: Beta
    steps: Count


class Train(Section):
    """The training of each model."""

    steps: Count


class Quantizer(Section):
    """What a model's quantizer has that the base's has not."""

    quantizer: Literal["scalar", "residual"]
    codebooks: int = CodecConfig.model_fields["codebooks"].default
    codebook_size: int = CodecConfig.model_fields["codebook_size"].default
    entropy: Literal["factorized", "context"] | None = None


class Model(Section):
    """One entry of the sweep."""

    beta: Beta
    init: str = BASE
    codec: Quantizer | None = None
    loss: dict[str, Any] = {}
    adversarial: dict[str, Any] = {}
    ablates: str | None = None


class Entropy(Section):
    """The entropy model's own training."""

    steps: Count
    learning_rate: Positive
    seconds: Positive


class Score(Section):
    """How scoring runs."""

    jobs: Annotated[int, Field(ge=0)]
    executor: Literal["processes", "dask"]
    address: str
    chunk: Count


class Speed(Section):
    """How speed is measured."""

    rounds: Count


class Statistics(Section):
    """Intervals and BD-rates."""

    resamples: Annotated[int, Field(ge=100)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    min_overlap: Annotated[float, Field(ge=0, le=1)]


class Report(Section):
    """What the page holds beside its curves."""

    pairs: Annotated[int, Field(ge=0)]
    listening: list[str]


class Check(Section):
    """What a run is compared with, and what counts as worse."""

    baseline: str
    metrics: dict[str, NotNegative]
    rate_percent: NotNegative
    estimate_gap_percent: NotNegative
    speed_percent: NotNegative
    memory_percent: NotNegative


class Params(Section):
    """All of params.yaml."""

    seed: Annotated[int, Field(ge=0)]
    corpus: Corpus
    codec: Codec
    loss: Loss
    adversarial: Adversarial
    augment: Augment
    optimizer: Optimizer
    watch: Watch
    pretrain: Pretrain
    train: Train
    models: dict[str, Model]
    entropy: Entropy
    points: Annotated[dict[str, Point], Field(min_length=1)]
    coders: dict[str, dict[str, Any]]
    external: dict[str, str]
    score: Score
    speed: Speed
    statistics: Statistics
    report: Report
    check: Check

    @field_validator("models", "points", "external")
    @classmethod
    def _names(cls, named: dict[str, Any]) -> dict[str, Any]:
        for name in named:
            if not re.fullmatch(r"[a-z][a-z0-9_-]*", name) or name == BASE:
                raise ValueError(
                    f"{name!r} is no name: a small letter, then small letters, digits, - and _ (no "
                    "dot: DVC reads one as a level of params.yaml; base is taken)"
                )
        return named

    @model_validator(mode="after")
    def _fit(self) -> "Params":
        config = self.codec.config()
        samples = self.optimizer.segment_seconds * config.sample_rate
        if samples < max(self.loss.stft_scales):
            raise ValueError(
                f"optimizer.segment_seconds: {self.optimizer.segment_seconds} s are fewer samples "
                f"than the largest of loss.stft_scales, {max(self.loss.stft_scales)}"
            )
        for name, model in self.models.items():
            for key, made in (
                ("codec", self.config_of),
                ("loss", self.loss_of),
                ("adversarial", self.adversarial_of),
            ):
                try:
                    made(name)
                except ValidationError as error:
                    raise ValueError(f"models.{name}.{key}: {first_problem(error)}") from error
            if model.ablates is not None and model.ablates not in self.models:
                raise ValueError(f"models.{name}.ablates: there is no model {model.ablates!r}")
        for name in self.coders:
            if not coders.exists(name):
                raise ValueError(f"coders.{name}: {coders.missing(name)}")
        points.agree(self.points, {name: self.config_of(name) for name in self.models})
        for name, model in self.models.items():
            for point in self.points_of(name):
                if (self.points[point].series == ABLATION) != (model.ablates is not None):
                    raise ValueError(
                        f"points.{point}.series: models that say what they ablate, and no others, "
                        f"have the series {ABLATION}"
                    )
        return self

    def config_of(self, model: str) -> CodecConfig:
        """The architecture of one of ``models``."""
        change = self.models[model].codec
        fields = self.codec.config().model_dump() | (
            change.model_dump(exclude_none=True) if change else {}
        )
        return CodecConfig.model_validate(fields)

    def loss_of(self, model: str) -> Loss:
        """The loss of one of ``models``: the common one, and what the model has of its own."""
        return Loss.model_validate(self.loss.model_dump() | self.models[model].loss)

    def adversarial_of(self, model: str) -> Adversarial:
        """The same for its discriminator."""
        fields = self.adversarial.model_dump() | self.models[model].adversarial
        return Adversarial.model_validate(fields)

    def series(self) -> dict[str, str]:
        """All points, in their order, and the curve that each is on."""
        return {name: point.series for name, point in self.points.items()}

    def points_of(self, model: str) -> list[str]:
        """The points that one of ``models`` codes, its own first."""
        own = points.own(model)
        return sorted(
            (name for name, point in self.points.items() if point.model == model),
            key=lambda name: name != own,
        )

    def coder_of(self, point: str) -> tuple[str, dict[str, Any]]:
        """Name and options of the coder of a point."""
        found = self.points[point]
        return found.coder, self.coders.get(found.coder, {}) | found.all_options


def first_problem(error: ValidationError) -> str:
    """The first problem as "key.of.it: what is wrong"."""
    problem = error.errors()[0]
    key = ".".join(map(str, problem["loc"]))
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "unknown key"
    elif problem["type"] == "missing":
        message = "missing"
    elif problem["type"] != "value_error":
        message += f", not {problem['input']!r}"
    return f"{key}: {message}" if key else message
