"""One file per model: weights, config and frozen tables, as safetensors.

``load`` rebuilds a model from its file alone. Keys are ``weights.<parameter>``, for those in 8 bits
``scales.<parameter>``, too, and ``tables.<part>``; the config is JSON in the metadata.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from codec.coding.context import ContextTables
from codec.coding.index_context import IndexTables
from codec.coding.payloads import Tables
from codec.coding.tables import FrozenTables
from codec.config import CodecConfig
from codec.errors import UserError
from codec.files import replacing
from codec.model import AudioCodec, perceptual_hash, plain, weights_hash
from codec.nn import weight_packing

FORMAT = 1
FILE_NAME = "model.safetensors"
RELEASED = Path(__file__).parent / "weights"
LIST = "models.json"
DEFAULT = "general-24k"
"""The released model that is taken where none is named."""


def save(model: AudioCodec, path: str | Path, small: bool = False) -> None:
    """Write the model to ``path`` in one step; the same model gives the same bytes.

    ``small`` rounds weights to 8 and 16 bits (``codec.nn.weight_packing``). Loading widens them
    again, so what runs is always float32.
    """
    weights = {name: value.cpu() for name, value in model.state_dict().items()}
    tensors = (
        weight_packing.packed(weights)
        if small
        else {f"weights.{name}": value for name, value in weights.items()}
    )
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    if model.tables is not None:
        # The integers of a context model are all that coding needs of its prior.
        if model.config.entropy == "context":
            tensors = {n: t for n, t in tensors.items() if not n.startswith("weights.prior.")}
        for name, part in model.tables.arrays().items():
            tensors[f"tables.{name}"] = torch.from_numpy(part)
    about: dict[str, object] = {"format": FORMAT, "config": model.config.model_dump()}
    if model.tables is not None:
        # Of the weights as they will be loaded: a model can be found without loading them all.
        about |= _hashes(model.config, weight_packing.widened(tensors))
    # One metadata key only: safetensors writes several in no fixed order.
    with replacing(path) as scratch:
        save_file(tensors, scratch, metadata={"rdcodec": json.dumps(about, sort_keys=True)})


def load(path: str | Path) -> AudioCodec:
    """Rebuild the model that ``save`` wrote, in evaluation mode."""
    path = Path(path)
    with _opened(path) as file:
        about = _about(file, path)
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    weights = weight_packing.widened(tensors)
    try:
        with plain():
            model = AudioCodec(CodecConfig.model_validate(about["config"]))
            frozen = {
                name.removeprefix("tables."): value.numpy()
                for name, value in tensors.items()
                if name.startswith("tables.")
            }
            if frozen:
                model.tables = _kind(model.config).from_arrays(frozen)
            missing, unknown = model.load_state_dict(weights, strict=False)
            if unknown or any(not (frozen and name.startswith("prior.")) for name in missing):
                raise KeyError(f"missing {missing[:3]}, unknown {unknown[:3]}")
    except (ValidationError, KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"{path}: config and weights do not fit: {error}") from error
    if model.tables is not None:
        hashes = _hashes(model.config, weights)
        model.model_hash = bytes.fromhex(hashes["hash"])
        if any(about.get(name) != value for name, value in hashes.items()):
            raise UserError(f"{path}: damaged: its weights are not those that it was saved with")
    return model.eval()


def _hashes(config: CodecConfig, weights: Mapping[str, Tensor]) -> dict[str, str]:
    """What a file's metadata say of its weights."""
    found = {"hash": weights_hash(config, weights).hex()}
    if config.perceptual_noise:
        found["perceptual"] = perceptual_hash(config, weights).hex()
    return found


def _kind(config: CodecConfig) -> type[Tables]:
    """Which tables a model of this config has."""
    if config.entropy == "factorized":
        return FrozenTables
    return IndexTables if config.quantizer == "residual" else ContextTables


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read as a model: {error}") from error


def _about(file: Any, path: Path) -> dict[str, Any]:
    """The metadata of an open model file; UserError for a file of something else."""
    try:
        about = json.loads((file.metadata() or {}).get("rdcodec", "{}"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not a model of this rdcodec: {error}") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise UserError(f"{path}: not a model of this rdcodec: its metadata has no format {FORMAT}")
    return about


def released() -> dict[str, Path]:
    """Names and files of the models that come with the package."""
    return {path.stem: path for path in sorted(RELEASED.glob("*.safetensors"))}


def listed(folder: Path = RELEASED) -> dict[str, dict[str, Any]]:
    """What is known of each released model: its measured rate, its quantizer, its training."""
    path = folder / LIST
    found: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def find(model: str | Path) -> Path:
    """The file of a released name, a model folder, or a model file."""
    if str(model) in released():
        return released()[str(model)]
    path = Path(model)
    file = path / FILE_NAME if path.is_dir() else path
    if file.is_file():
        return file
    names = ", ".join(released()) or "none in this version"
    raise UserError(
        f"{model}: neither a released model ({names}) nor a model file, nor a folder with "
        f"{FILE_NAME} in it"
    )


def find_by_hash(model_hash: bytes) -> AudioCodec:
    """The model that a file was made with, among the released ones and those in ``models/``.

    RDCODEC_MODELS names another folder to search instead of ``models``.
    """
    path = _path_by_hash(model_hash)
    if path is None:
        raise UserError(
            f"no model {model_hash.hex()} among the released ones or in {_folder()}/; name it "
            "with --model"
        )
    return load(path)


def is_at_hand(model_hash: bytes) -> bool:
    """Whether ``find_by_hash`` would find a model."""
    return _path_by_hash(model_hash) is not None


def _folder() -> Path:
    return Path(os.environ.get("RDCODEC_MODELS", "models"))


def _path_by_hash(model_hash: bytes) -> Path | None:
    for path in [*released().values(), *sorted(_folder().glob(f"*/{FILE_NAME}"))]:
        # Other programs, too, call their models so, and none of those is the one looked for.
        with suppress(UserError), _opened(path) as file:
            if _about(file, path).get("hash") == model_hash.hex():
                return path
    return None
