"""The shapes of results, typed so that a host knows them before a call."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from kando.app.status import (
    CANCELLED,
    DAMAGED,
    EXHAUSTED,
    FAILED,
    FINISHED,
    PAUSED,
    RUNNING,
    STOPPED,
    WAITING,
)

__all__ = [
    "ApprovalList",
    "ApprovalShape",
    "Branch",
    "Change",
    "ChildShape",
    "DeadlineShape",
    "Deleted",
    "DiffResult",
    "Direction",
    "FileChangeShape",
    "FileResult",
    "FileShape",
    "KitList",
    "KitShape",
    "MovedShape",
    "ObjectShape",
    "ProviderShape",
    "QuestionShape",
    "RelationShape",
    "RunApprovalShape",
    "RunLine",
    "RunList",
    "RunState",
    "ShownRun",
    "SideShape",
    "StepShape",
    "TraceResult",
    "TraceStep",
    "WorkspaceResult",
    "WorldResult",
]


_STATES = [
    FINISHED,
    WAITING,
    RUNNING,
    STOPPED,
    EXHAUSTED,
    FAILED,
    PAUSED,
    CANCELLED,
    DAMAGED,
]
Direction = Literal["up", "down"]
State = Annotated[str, Field(json_schema_extra={"enum": _STATES})]


class ApprovalShape(TypedDict):
    """A pending approval; `waiting` is the request that it would allow."""

    event_id: str
    type: str
    reason: str
    waiting: dict[str, Any]
    requested_at: str
    expires_at: str | None


class QuestionShape(TypedDict):
    """A question to a person; `schema` is the JSON Schema of the answer, None for text.

    `reminded` is the number of reminders so far, and `remind_at` the time of the next one.
    """

    event_id: str
    question: str
    schema: dict[str, Any] | None
    expires_at: str | None
    reminded: int
    remind_at: str | None


class RunApprovalShape(ApprovalShape):
    """A pending approval of the run `run_id`."""

    run_id: str


class ApprovalList(TypedDict):
    """The pending approvals of all runs, those of the newest run first."""

    summary: str
    items: list[RunApprovalShape]
    next_cursor: str | None


class DeadlineShape(TypedDict):
    """The deadline of a pending approval."""

    event_id: str
    expires_at: str


class ChildShape(TypedDict):
    """A child run that a run waits for; `state` is None for one that has not begun."""

    run_id: str
    event_id: str
    kit: str
    state: str | None


class RunState(TypedDict):
    """The state of a run or branch."""

    summary: str
    run_id: str
    state: State
    goal: str | None
    labels: dict[str, str]
    kit: str | None
    events: int
    objects: dict[str, int]
    relations: dict[str, int]
    llm_requests: int
    llm_answered: int
    llm_cached: int
    llm_cost_usd: float
    unanswered: int
    timers: int
    unread: int
    parked: int
    parked_reasons: list[str]
    last_event_id: str | None
    problem: str | None
    approvals: list[ApprovalShape]
    questions: list[QuestionShape]
    deadlines: list[DeadlineShape]
    children: list[ChildShape]
    parent_id: str | None
    fork_position: int | None
    next_steps: list[str]


class Deleted(TypedDict):
    """The runs that were deleted: child runs first, then the run."""

    summary: str
    run_ids: list[str]


class RunLine(TypedDict):
    """A run or branch in a list."""

    run_id: str
    state: State
    goal: str | None
    labels: dict[str, str]
    kit: str | None
    events: int
    llm_cost_usd: float
    unread: int
    parked: int
    created_at: str
    parent_id: str | None
    fork_position: int | None


class RunList(TypedDict):
    """Runs and branches, newest first."""

    summary: str
    items: list[RunLine]
    next_cursor: str | None


class KitShape(TypedDict):
    """An installed kit."""

    name: str
    about: str
    distribution: str
    version: str


class ProviderShape(TypedDict):
    """An installed LLM provider."""

    name: str
    about: str
    is_offline: bool
    is_allowed: bool


class KitList(TypedDict):
    """The installed kits and providers."""

    summary: str
    kits: list[KitShape]
    providers: list[ProviderShape]


class ObjectShape(TypedDict):
    """An object of a world."""

    id: str
    type: str
    data: dict[str, Any]
    event_id: str


class RelationShape(TypedDict):
    """A relation of a world."""

    id: str
    type: str
    source_id: str
    target_id: str
    data: dict[str, Any]
    event_id: str


class WorldResult(TypedDict):
    """A page of the world of a run; the counts are those of all pages."""

    summary: str
    run_id: str
    position: int
    object_count: int
    relation_count: int
    objects: list[ObjectShape]
    relations: list[RelationShape]
    next_cursor: str | None


class Branch(TypedDict):
    """A new branch; `run` is its state if it was continued."""

    summary: str
    branch_id: str
    parent_run_id: str
    fork_position: int
    run: NotRequired[RunState | None]


class Change(TypedDict):
    """An object that differs; `fields` are those that do, with their values before and after."""

    id: str
    type: str
    fields: dict[str, Any]


class MovedShape(TypedDict):
    """An object or relation with the same content but different ids in the two runs."""

    type: str
    before_id: str
    after_id: str


class StepShape(TypedDict):
    """An event that a responder emitted in one run; `fields` if it differs in the other."""

    id: str
    type: str
    actor: str
    about: str
    fields: NotRequired[dict[str, Any]]


class SideShape(TypedDict):
    """One of the two runs: its length, and its events and cost after the divergence."""

    run_id: str
    events: int
    own_events: int
    llm_requests: int
    llm_cached: int
    llm_cost_usd: float


class FileShape(TypedDict):
    """A file or link in a workspace; `digest` is the SHA-256 of its content."""

    path: str
    kind: str
    digest: str
    size: int


class FileChangeShape(TypedDict):
    """A file that differs; `diff` is a unified diff, empty if one of the two is not text."""

    path: str
    change: str
    before: FileShape | None
    after: FileShape | None
    diff: str


class WorkspaceResult(TypedDict):
    """A page of the files in the workspace of a run, sorted by path."""

    summary: str
    run_id: str
    position: int
    items: list[FileShape]
    next_cursor: str | None


class FileResult(FileShape):
    """A file in the workspace of a run: its `text`, or its `data` as Base64 if it is not text."""

    summary: str
    run_id: str
    position: int
    text: str | None
    data: str | None
    next_cursor: str | None


class DiffResult(TypedDict):
    """A page of the differences in world and steps between two runs, on request with files.

    The first `parts_at` events are the same in both.
    """

    summary: str
    parts_at: int
    a: SideShape
    b: SideShape
    added_objects: list[ObjectShape]
    removed_objects: list[ObjectShape]
    patched_objects: list[Change]
    moved_objects: list[MovedShape]
    added_relations: list[RelationShape]
    removed_relations: list[RelationShape]
    moved_relations: list[MovedShape]
    changed_steps: list[StepShape]
    steps_only_a: list[StepShape]
    steps_only_b: list[StepShape]
    files: NotRequired[list[FileChangeShape]]
    next_cursor: str | None


class TraceStep(TypedDict):
    """An event of a trace; `depth` is its distance from the first event.

    `data` is included on request.
    """

    id: str
    type: str
    actor: str
    cause: list[str]
    position: int
    depth: int
    is_root: bool
    about: str
    data: NotRequired[dict[str, Any]]


class ShownRun(TypedDict):
    """A run that a host shows to the person."""

    summary: str
    run_id: str
    events: int


class TraceResult(TypedDict):
    """A page of the causes of an event, or of its effects."""

    summary: str
    run_id: str
    direction: Direction
    steps: list[TraceStep]
    next_cursor: str | None
