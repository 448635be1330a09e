"""params.yaml as typed models: what is wrong with it is an error that names the key."""

from pipeline.layout import PARAMS as FILE
from pipeline.params.edit import change, read_variant, schema, variants
from pipeline.params.file import DEFAULT, check_paths, load, value
from pipeline.params.sections import (
    ABLATION,
    BASE,
    Adversarial,
    Augment,
    Check,
    Corpus,
    Loss,
    Model,
    Optimizer,
    Params,
    Pretrain,
    Score,
    Statistics,
    Watch,
)

__all__ = [
    "ABLATION", "BASE", "DEFAULT", "FILE", "Adversarial", "Augment", "Check", "Corpus", "Loss",
    "Model", "Optimizer", "Params", "Pretrain", "Score", "Statistics", "Watch", "change",
    "check_paths", "load", "read_variant", "schema", "value", "variants",
]  # fmt: skip
