"""dvc.yaml's own graph, as DVC reads it."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import networkx
from dvc.exceptions import DvcException
from dvc.repo import Repo
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from codec.errors import UserError
from pipeline.running.state import hash_what_can_be, keep_whole, release_dead

PARAMS = "params.yaml"
keep_whole()
hash_what_can_be()


class Meta(BaseModel):
    """What a stage of dvc.yaml says under ``meta`` about how it is run."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    cores: Annotated[int, Field(ge=0)] = 1
    """Processors that it keeps busy; 0: all of them."""
    memory: Annotated[float, Field(ge=0, strict=False)] = 0.0
    """GB that it needs at most; 0: too little to count."""
    gpu: Annotated[int, Field(ge=0)] = 0
    """GPUs that it takes where there are any."""
    retries: Annotated[int, Field(ge=0)] = 0
    """How often it is run again after it failed."""
    retry_delay: Annotated[float, Field(ge=0, strict=False)] = 10.0
    """s before it is run again."""
    timeout: Annotated[float, Field(gt=0, strict=False)] | None = None
    """s after which it is ended, and has failed."""


@dataclass(frozen=True)
class Stage:
    """One stage as DVC resolves it from dvc.yaml and params.yaml."""

    name: str
    description: str
    needs: tuple[str, ...]
    """Stages whose outs it depends on."""
    outs: tuple[str, ...]
    """What it writes, as paths from the project's folder."""
    meta: Meta
    changes: tuple[str, ...]
    """What DVC finds changed: its own dependencies, parameters, command or outs."""


def stages(root: str = ".") -> list[Stage]:
    """All stages, every one after those that it needs."""
    try:
        with Repo(root) as repo:
            release_dead(repo)
            status = repo.status()
            graph = repo.index.graph  # edges point from a stage to what it needs
            found = [
                Stage(
                    name=stage.addressing,
                    description=stage.desc or "",
                    needs=tuple(sorted(needed.addressing for needed in graph.successors(stage))),
                    outs=tuple(out.def_path for out in stage.outs),
                    meta=_meta(stage.addressing, stage.meta or {}),
                    changes=tuple(_changes(status.get(stage.addressing, ()))),
                )
                for stage in _topological(graph)
            ]
    except DvcException as error:
        said = " ".join(str(error).split())
        if "not a git repository" in said:
            said += "; `git init` makes it one, `dvc config --local core.no_scm true` does without"
        raise UserError(f"dvc.yaml: {said}") from error
    if not found:
        raise UserError("dvc.yaml: has no stages, or is not in this folder")
    return found


def selected(graph: Sequence[Stage], names: Iterable[str]) -> list[Stage]:
    """The stages of these names, all where there is none, and what they need, in the same order.

    A name without @ stands for its whole group: `train` for `train@b070` and the others.
    """
    wanted = named(graph, names)
    for stage in reversed(graph):
        if stage.name in wanted:
            wanted |= set(stage.needs)
    return [stage for stage in graph if stage.name in wanted]


def named(graph: Sequence[Stage], names: Iterable[str]) -> set[str]:
    """The names of stages that ``names`` of stages and groups stand for, all where there is none.

    Raises UserError where there is no such stage.
    """
    members: dict[str, set[str]] = {}
    for stage in graph:
        members.setdefault(stage.name, set()).add(stage.name)
        members.setdefault(stage.name.partition("@")[0], set()).add(stage.name)
    found: set[str] = set()
    for name in names:
        if name not in members:
            near = difflib.get_close_matches(name, members, n=3)
            hint = f"; did you mean {' or '.join(near)}" if near else ""
            raise UserError(f"{name}: dvc.yaml has no such stage{hint}? `dvc stage list` lists all")
        found |= members[name]
    return found or {stage.name for stage in graph}


def plan(graph: Sequence[Stage], forced: Iterable[str] = ()) -> dict[str, str]:
    """Why each stage of ``graph`` would run; stages that would not are left out.

    What follows on a stage that runs is run only if that one's outs become other ones.
    """
    why: dict[str, str] = {}
    forced = set(forced)
    for stage in graph:
        before = [name for name in stage.needs if name in why]
        if stage.name in forced:
            why[stage.name] = "forced"
        elif stage.changes:
            why[stage.name] = ", ".join(stage.changes)
        elif before:
            more = f" and {len(before) - 3} more" if len(before) > 3 else ""
            why[stage.name] = f"if its inputs change: after {', '.join(before[:3])}{more}"
    return why


def _meta(name: str, meta: dict[str, Any]) -> Meta:
    try:
        return Meta.model_validate(meta)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, ("meta", *first["loc"])))
        known = ", ".join(Meta.model_fields)
        raise UserError(f"dvc.yaml: {name}: {key}: {first['msg']}; keys are {known}") from error


def _changes(status: Iterable[Any]) -> Iterable[str]:
    """DVC's status of a stage, in words."""
    for part in status:
        if isinstance(part, str):  # changed command, always changed
            yield part
            continue
        for path, how in part.get("changed deps", {}).items():
            if isinstance(how, dict):
                where = "" if path == PARAMS else f"{path}: "
                yield from (f"{where}param {key} {_HOW.get(how[key], how[key])}" for key in how)
            elif path == PARAMS and how == "new":
                yield "params never used"
            else:
                yield f"dep {path} {_HOW.get(how, how)}"
        for path, how in part.get("changed outs", {}).items():
            yield f"out {path} {_HOW.get(how, how)}"


_HOW = {"modified": "changed", "deleted": "missing"}


def _topological(graph: Any) -> list[Any]:
    """DVC's stages with every stage after those that it needs, in dvc.yaml's order otherwise."""
    position = {stage: index for index, stage in enumerate(graph)}
    return list(networkx.lexicographical_topological_sort(graph.reverse(), key=position.get))
