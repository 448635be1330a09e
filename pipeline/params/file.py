"""params.yaml as a file: read with its comments, checked, and its paths looked up."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from codec.errors import UserError
from pipeline import layout
from pipeline.params.sections import Params, first_problem

DEFAULT = Path(__file__).parent / "default.yaml"
"""The project's params.yaml, a link in a checkout, where there is no project."""


def load(path: Path = layout.PARAMS) -> Params:
    """Read and check params.yaml; UserError names the key that is wrong."""
    return validated(read(path), path)


def check_paths(found: Params, root: Path = Path()) -> None:
    """Raise UserError where a path of the params, seen from ``root``, leads nowhere."""
    paths = {f"corpus.{key}": getattr(found.corpus, key) for key in ("train", "test")}
    paths |= {f"external.{key}": path for key, path in found.external.items()}
    paths |= {
        f"points.{key}.from": point.made_from
        for key, point in found.points.items()
        if point.model is None and Path(point.made_from) != layout.TEST
    }
    for key, path in paths.items():
        if not (root / path).exists():
            raise UserError(f"{layout.PARAMS}: {key}: {path}: no such file or folder")


def yaml() -> YAML:
    """A reader and writer that keeps comments and order."""
    found = YAML()
    found.width = 4096
    found.indent(mapping=2, sequence=4, offset=2)
    return found


def read(path: Path) -> Any:
    """The keys of a file, with its comments; UserError where it has none."""
    try:
        tree = yaml().load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run rdcodec in the project's folder") from error
    except YAMLError as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        what = "empty" if tree is None else "no mapping"
        raise UserError(f"{path}: {what}; write keys of {layout.PARAMS} there, as key: value")
    return tree


def value(text: str) -> Any:
    """A value as it may stand in params.yaml; UserError where that is no YAML."""
    try:
        return plain(yaml().load(text))
    except YAMLError as error:
        raise UserError(f"{text}: not YAML: {' '.join(str(error).split())}") from error


def plain(node: Any) -> Any:
    """ruamel's containers and scalars as Python's own, which strict models want."""
    if isinstance(node, dict):
        return {str(key): plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def validated(tree: Any, path: Path) -> Params:
    """The keys of a file as typed models; UserError names the key that is wrong."""
    try:
        return Params.model_validate(plain(tree))
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}") from error
