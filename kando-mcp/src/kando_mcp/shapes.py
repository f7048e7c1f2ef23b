"""What the tools return: typed, so that a host knows the shape before it calls."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

__all__ = [
    "Branch",
    "DiffResult",
    "ObjectShape",
    "RelationShape",
    "RunState",
    "TraceResult",
    "WorldResult",
]


class RunState(TypedDict):
    """The state of a run."""

    summary: str
    run_id: str
    state: str
    events: int
    objects: dict[str, int]
    unanswered: int


class ObjectShape(TypedDict):
    """An object of a world."""

    id: str
    type: str
    data: dict[str, Any]


class RelationShape(TypedDict):
    """A relation of a world."""

    id: str
    type: str
    source_id: str
    target_id: str


class WorldResult(TypedDict):
    """The world of a run."""

    summary: str
    run_id: str
    position: int
    objects: list[ObjectShape]
    relations: list[RelationShape]


class Branch(TypedDict):
    """A branch that was just forked."""

    summary: str
    branch_id: str
    parent_run_id: str
    fork_position: int


class DiffResult(TypedDict):
    """How the second world differs from the first."""

    summary: str
    added_objects: list[ObjectShape]
    removed_objects: list[ObjectShape]
    patched_objects: list[ObjectShape]
    added_relations: list[RelationShape]
    removed_relations: list[RelationShape]


class TraceStep(TypedDict):
    """One event of a trace."""

    id: str
    type: str
    actor: str
    cause: list[str]
    position: int
    is_root: bool


class TraceResult(TypedDict):
    """An event and everything it follows from: itself first, the roots last."""

    summary: str
    steps: list[TraceStep]
