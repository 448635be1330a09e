"""dvc.yaml's own graph: the one place that reaches into DVC."""

from dataclasses import dataclass
from typing import Any

import networkx
from dvc.exceptions import DvcException
from dvc.repo import Repo

from codec.errors import UserError


@dataclass(frozen=True)
class Stage:
    """One stage as DVC resolves it from dvc.yaml and params.yaml."""

    name: str
    description: str
    needs: tuple[str, ...]
    """Stages whose outs it depends on."""
    cores: int
    """Processors that it keeps busy; 0: all of them."""
    changed: bool
    """Whether DVC finds a dependency, parameter, command or out of its own changed."""


def stages(root: str = ".") -> list[Stage]:
    """All stages, every one after those that it needs."""
    try:
        with Repo(root) as repo:
            changed = set(repo.status())
            graph = repo.index.graph  # edges point from a stage to what it needs
            order = _topological(graph)
            return [
                Stage(
                    name=stage.addressing,
                    description=stage.desc or "",
                    needs=tuple(sorted(needed.addressing for needed in graph.successors(stage))),
                    cores=int((stage.meta or {}).get("cores", 1)),
                    changed=stage.addressing in changed,
                )
                for stage in order
            ]
    except DvcException as error:
        raise UserError(f"dvc.yaml: {' '.join(str(error).split())}") from error


def _topological(graph: Any) -> list[Any]:
    """DVC's stages with every stage after those that it needs, in dvc.yaml's order otherwise."""
    position = {stage: index for index, stage in enumerate(graph)}
    return list(networkx.lexicographical_topological_sort(graph.reverse(), key=position.get))
