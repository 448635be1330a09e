"""Changes of params.yaml: ``--set``, named variants, and what a form sends."""

import io
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ruamel.yaml.error import YAMLError

from codec.errors import UserError
from codec.files import write_text
from pipeline.layout import PARAMS
from pipeline.params.file import plain, read, validated, yaml
from pipeline.params.sections import Params

VARIANTS = Path(__file__).parent.parent / "variants"


def change(
    assignments: Sequence[str] = (),
    path: Path = PARAMS,
    variants: Sequence[str] = (),
    patch: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Change params.yaml by named variants, a patch of their form, then ``key.of.it=value``.

    Comments and order stay. Values are YAML. Nothing is written unless all of the result is valid.
    """
    tree = read(path)
    for variant in variants:
        _merge(tree, read_variant(variant))
    _merge(tree, patch)
    for assignment in assignments:
        _assign(tree, assignment)
    validated(tree, path)
    changed = io.StringIO()
    yaml().dump(tree, changed)
    if changed.getvalue() != path.read_text(encoding="utf-8"):
        write_text(path, changed.getvalue())


def variants() -> dict[str, str]:
    """Names of the variants that come with rdcodec, and the first sentence of each."""
    found = {}
    for path in sorted(VARIANTS.glob("*.yaml")):
        comment = takewhile(lambda line: line.startswith("#"), path.read_text("utf-8").splitlines())
        found[path.stem] = " ".join(line.lstrip("# ") for line in comment)
    return found


def read_variant(name: str) -> dict[str, Any]:
    """What a variant changes, by its name or path: keys of params.yaml."""
    path = Path(name) if name.endswith(".yaml") else VARIANTS / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"--variant {name}: there are {', '.join(variants())}, or name a .yaml")
    return dict(plain(read(path)))


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


def _merge(tree: Any, patch: Mapping[str, Any]) -> None:
    """Merge ``patch`` into ``tree`` as JSON Merge Patch does (RFC 7386): null deletes a key."""
    for key, value in patch.items():
        if value is None:
            tree.pop(key, None)
        elif isinstance(value, dict):
            if not isinstance(tree.get(key), dict):
                tree[key] = {}
            _merge(tree[key], value)
            if not tree[key]:
                tree[key] = {}  # ruamel would write an emptied mapping where YAML does not allow it
        else:
            tree[key] = value


def _assign(tree: Any, assignment: str) -> None:
    """Give a key another value, or add one below a key that is there."""
    key, equals, text = assignment.partition("=")
    if not equals or not key:
        raise UserError(f"--set {assignment}: write it as key.of.it=value")
    try:
        value = plain(yaml().load(text))
    except YAMLError as error:
        raise UserError(f"--set {assignment}: the value is not YAML") from error
    node, parts = tree, key.split(".")
    for part in parts[:-1]:
        node = node.get(part) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        raise UserError(f"--set {assignment}: params.yaml has no key {key}")
    node[parts[-1]] = value
