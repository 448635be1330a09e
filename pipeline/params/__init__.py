"""params.yaml as typed models: whatever is wrong with it is an error that names the key."""

import io
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from codec.config import PRESETS, CodecConfig
from codec.errors import UserError
from codec.files import write_text

FILE = Path("params.yaml")
VARIANTS = Path(__file__).parent.parent / "variants"

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Weight = NotNegative
BASE = "base"
Share = Annotated[float, Field(ge=0, le=1)]


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
            raise ValueError(_say(error)) from error
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


class Listen(Section):
    """Validation clips that are decoded while a model trains."""

    clips: Annotated[int, Field(ge=0)]
    seconds: Positive
    at: list[Share]


class Pretrain(Section):
    """The base from which every model starts."""

    init: str
    beta: Weight
    steps: Count


class Train(Section):
    """The training of each model."""

    steps: Count


class Quantizer(Section):
    """What a model's quantizer has that the base's has not."""

    quantizer: Literal["scalar", "residual"]
    codebooks: int = CodecConfig.model_fields["codebooks"].default
    codebook_size: int = CodecConfig.model_fields["codebook_size"].default


class Model(Section):
    """One entry of the sweep."""

    beta: Weight
    init: str = BASE
    codec: Quantizer | None = None
    loss: dict[str, Any] = {}
    adversarial: dict[str, Any] = {}
    ablates: str | None = None


class Layers(Section):
    """A point that uses the first codebooks of a residual model."""

    model: str
    codebooks: Count


class Entropy(Section):
    """The entropy model's own training."""

    steps: Count
    learning_rate: Positive
    seconds: Positive


class OpusSettings(Section):
    """libopus's options."""

    application: Literal["audio", "voip", "restricted_lowdelay"]
    complexity: Annotated[int, Field(ge=0, le=10)]
    vbr: bool
    constrained_vbr: bool
    frame_ms: Literal[10, 20, 40, 60]
    library: str


class Opus(Section):
    """The anchors."""

    bitrates: Annotated[list[Annotated[int, Field(ge=6, le=510)]], Field(min_length=1)]
    settings: OpusSettings

    @field_validator("bitrates")
    @classmethod
    def _distinct(cls, bitrates: list[int]) -> list[int]:
        if len(set(bitrates)) < len(bitrates):
            raise ValueError("a bitrate stands there twice")
        return bitrates


class CoderPoint(Section):
    """A point of any installed coder."""

    coder: str
    options: dict[str, Any] = {}
    series: str


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
    listen: Listen
    pretrain: Pretrain
    train: Train
    models: Annotated[dict[str, Model], Field(min_length=1)]
    layers: dict[str, Layers]
    entropy: Entropy
    opus: Opus
    coders: dict[str, CoderPoint]
    external: dict[str, str]
    score: Score
    speed: Speed
    statistics: Statistics
    report: Report
    check: Check

    @field_validator("models", "layers", "coders", "external")
    @classmethod
    def _names(cls, named: dict[str, Any]) -> dict[str, Any]:
        for name in named:
            if not re.fullmatch(r"[a-z][a-z0-9_-]*", name) or name == BASE:
                raise ValueError(
                    f"{name!r} is no model name: a small letter, then small letters, digits, - "
                    "and _ (no dot: DVC reads one as a level of params.yaml; base is taken)"
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
                    raise ValueError(f"models.{name}.{key}: {_say(error)}") from error
            if model.ablates is not None and model.ablates not in self.models:
                raise ValueError(f"models.{name}.ablates: there is no model {model.ablates!r}")
        for name in self.coders:
            if name.startswith(("neural-", "opus-")) and name.split("-", 1)[1].isdigit():
                raise ValueError(f"coders.{name}: a point of opus.bitrates has such a name")
        for name, layers in self.layers.items():
            if name in self.models:
                raise ValueError(f"layers.{name}: a model has that name already")
            if layers.model not in self.models:
                raise ValueError(f"layers.{name}.model: there is no model {layers.model!r}")
            config = self.config_of(layers.model)
            if config.quantizer != "residual":
                raise ValueError(f"layers.{name}.model: {layers.model} has no codebooks")
            if layers.codebooks > config.codebooks:
                raise ValueError(
                    f"layers.{name}.codebooks: {layers.model} has {config.codebooks} codebooks"
                )
        return self

    def config_of(self, model: str) -> CodecConfig:
        """The architecture of one of ``models``."""
        change = self.models[model].codec
        fields = self.codec.config().model_dump() | (change.model_dump() if change else {})
        return CodecConfig.model_validate(fields)

    def loss_of(self, model: str) -> Loss:
        """The loss of one of ``models``: the common one, and what the model has of its own."""
        return Loss.model_validate(self.loss.model_dump() | self.models[model].loss)

    def adversarial_of(self, model: str) -> Adversarial:
        """The same for its discriminator."""
        fields = self.adversarial.model_dump() | self.models[model].adversarial
        return Adversarial.model_validate(fields)

    def points(self) -> dict[str, str]:
        """All operating points and the series of each: neural, rvq, ablation or opus."""
        series = {"scalar": "neural", "residual": "rvq"}
        found = {
            f"neural-{name}": "ablation"
            if model.ablates
            else series[self.config_of(name).quantizer]
            for name, model in self.models.items()
        }
        found |= {f"neural-{name}": "rvq" for name in self.layers}
        found |= {f"opus-{kbps}": "opus" for kbps in self.opus.bitrates}
        return found | {name: entry.series for name, entry in self.coders.items()}

    def coder_of(self, point: str) -> tuple[str, dict[str, Any]]:
        """Name and options of the coder of a point."""
        kind, _, rest = point.partition("-")
        if point in self.coders:
            return self.coders[point].coder, self.coders[point].options
        if kind == "opus":
            return "opus", {"kbps": int(rest), **self.opus.settings.model_dump()}
        if rest in self.layers:
            layers = self.layers[rest]
            return "rdcodec", {"model": f"models/{layers.model}", "codebooks": layers.codebooks}
        return "rdcodec", {"model": f"models/{rest}"}


def load(path: Path = FILE) -> Params:
    """Read and check params.yaml; UserError names the key that is wrong."""
    return _validated(_read(path), path)


def check_paths(found: Params, root: Path = Path()) -> None:
    """Raise UserError where a path of the params, seen from ``root``, leads nowhere."""
    paths = {f"corpus.{key}": getattr(found.corpus, key) for key in ("train", "test")}
    paths |= {f"external.{key}": path for key, path in found.external.items()}
    for key, path in paths.items():
        if not (root / path).exists():
            raise UserError(f"{FILE}: {key}: {path}: no such file or folder")


def _yaml() -> YAML:
    yaml = YAML()  # round trip: comments and order stay
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _read(path: Path) -> Any:
    try:
        return _yaml().load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run rdcodec in the project's folder") from error
    except YAMLError as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from error


def _plain(node: Any) -> Any:
    """ruamel's containers and scalars as Python's own, which strict models want."""
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _validated(tree: Any, path: Path) -> Params:
    try:
        return Params.model_validate(_plain(tree))
    except ValidationError as error:
        raise UserError(f"{path}: {_say(error)}") from error


def _say(error: ValidationError) -> str:
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


def schema() -> dict[str, Any]:
    """JSON Schema of a patch to params.yaml: any of its keys, with what each may be, no references.

    It is what a form that asks for new values needs to know.
    """
    whole = Params.model_json_schema()

    def opened(node: Any) -> Any:
        if isinstance(node, list):
            return [opened(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return opened(whole["$defs"][node["$ref"].rpartition("/")[2]])
        if node.get("type") == "boolean":
            return {"enum": [True, False]}  # a box to tick would say False where nobody touched it
        left = {key: opened(node[key]) for key in node if key not in ("$defs", "required", "title")}
        for key, value in left.get("properties", {}).items():
            value["title"] = key  # as it stands in params.yaml
        return left

    return dict(opened(whole))


def change(
    assignments: Sequence[str] = (),
    path: Path = FILE,
    variants: Sequence[str] = (),
    patch: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Change params.yaml by named variants, a patch of their form, then ``key.of.it=value``.

    Comments and order stay. Values are YAML. A key that does not exist yet is an error, except a
    new model or a field of ``codec``. Nothing is written unless all of the result is valid.
    """
    tree = _read(path)
    for variant in variants:
        _merge(tree, _plain(_read(_variant(variant))))
    _merge(tree, patch)
    for assignment in assignments:
        _assign(tree, assignment)
    _validated(tree, path)
    changed = io.StringIO()
    _yaml().dump(tree, changed)
    if changed.getvalue() != path.read_text(encoding="utf-8"):
        write_text(path, changed.getvalue())


def variants() -> dict[str, str]:
    """Names of the variants that come with rdcodec, and the first sentence of each."""
    found = {}
    for path in sorted(VARIANTS.glob("*.yaml")):
        comment = takewhile(lambda line: line.startswith("#"), path.read_text("utf-8").splitlines())
        found[path.stem] = " ".join(line.lstrip("# ") for line in comment)
    return found


def _variant(name: str) -> Path:
    """The file of a variant's name, or of a path."""
    path = Path(name) if name.endswith(".yaml") else VARIANTS / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"--variant {name}: there are {', '.join(variants())}, or name a .yaml")
    return path


def _merge(tree: Any, patch: Mapping[str, Any]) -> None:
    """Merge ``patch`` into ``tree`` as JSON Merge Patch does (RFC 7386): null deletes a key."""
    for key, value in patch.items():
        if value is None:
            tree.pop(key, None)
        elif isinstance(value, dict) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
            if not tree[key]:
                tree[key] = {}  # ruamel would write an emptied mapping where YAML does not allow it
        else:
            tree[key] = value


def _assign(tree: Any, assignment: str) -> None:
    key, equals, text = assignment.partition("=")
    if not equals or not key:
        raise UserError(f"--set {assignment}: write it as key.of.it=value")
    try:
        value = _plain(_yaml().load(text))
    except YAMLError as error:
        raise UserError(f"--set {assignment}: the value is not YAML") from error
    node, parts = tree, key.split(".")
    for part in parts[:-1]:
        if not isinstance(node, dict) or part not in node:
            raise UserError(f"--set {assignment}: params.yaml has no key {key}")
        node = node[part]
    if not isinstance(node, dict) or (
        parts[-1] not in node
        and parts[:-1] not in (["models"], ["codec"], ["coders"], ["external"])
    ):
        raise UserError(f"--set {assignment}: params.yaml has no key {key}")
    node[parts[-1]] = value
