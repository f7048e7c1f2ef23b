"""The settings, objects and relations of the kit, and the answers that it expects of a model."""

from __future__ import annotations

from typing import Literal

import attrs
from attrs.validators import ge

from kando.kit import OMITTED, Demo, Kit, json_schema, load_prompts

__all__ = [
    "BLOCKS",
    "DEPENDS_ON",
    "GOAL",
    "OUTCOME",
    "PART_OF",
    "PLAN",
    "PRODUCES",
    "TASK",
    "Goal",
    "Kind",
    "Obstacle",
    "Outcome",
    "Plan",
    "Refused",
    "Result",
    "Settings",
    "Step",
    "Task",
    "kit",
]

kit = Kit(
    "planning",
    version="0.1.0",
    distribution="kando-kit-planning",
    prompts=load_prompts(__package__),
    demo=Demo(__package__, "Reopen the footbridge of Eastbridge for the summer fair"),
)

#: Kinds of tasks: plain work, a question to research, a company to evaluate, and a goal of its own.
Kind = Literal["work", "question", "company", "project"]


@kit.settings
@attrs.frozen
class Settings:
    """The settings of a run.

    Attributes:
        tasks: maximum number of tasks into which a goal, or a failed task, is decomposed.
        retries: how often a failed task is attempted again.
        replans: how often a task that still fails is replaced by other tasks, and how often these are.
        obstacles: maximum number of obstacles, found at work, that become tasks which block others.
        approval: which tasks a person must approve before an attempt.
        kits: the kit that works on the tasks of a kind, by kind, each task as a child run. A model
            works on all others.
        depth: how deep plans are nested: above 1, a task of the kind ``project`` is a planning run.
        plan_model: model that proposes tasks; that of the run if ``default``.
        work_model: model that works on them.
    """

    tasks: int = attrs.field(default=12, validator=ge(1))
    retries: int = attrs.field(default=1, validator=ge(0))
    replans: int = attrs.field(default=1, validator=ge(0))
    obstacles: int = attrs.field(default=5, validator=ge(0))
    approval: Literal["dangerous", "all", "none"] = "dangerous"
    kits: dict[Kind, str] = attrs.field(factory=dict)
    depth: int = attrs.field(default=1, validator=ge(1))
    plan_model: str = "default"
    work_model: str = "default"


@attrs.frozen
class Step:
    """A task of a plan, as a model proposes it.

    Attributes:
        name: short and unique, such as ``survey``.
        title: what is to be done, in one sentence.
        depends_on: names of the tasks that must be done before.
        kind: of the task.
        is_dangerous: whether it costs money, changes or deletes something, or may do harm.
    """

    name: str = attrs.field(metadata=json_schema(maxLength=60))
    title: str = attrs.field(metadata=json_schema(maxLength=300))
    depends_on: list[str] = attrs.field(factory=list, metadata=json_schema(maxItems=20))
    kind: Kind = "work"
    is_dangerous: bool = False


@attrs.frozen
class Refused:
    """Steps that were refused, and why."""

    steps: list[Step]
    problems: list[str]


@attrs.frozen
class Obstacle:
    """Something that must be done before other tasks can be: it becomes a task that blocks them.

    Attributes:
        title: what is to be done.
        blocks: names of the tasks that have to wait for it.
    """

    title: str = attrs.field(metadata=json_schema(maxLength=300))
    blocks: list[str] = attrs.field(metadata=json_schema(maxItems=20))


@attrs.frozen
class Result:
    """The result of the work on a task.

    Attributes:
        succeeded: whether the task is done.
        summary: what was done or found; or why the task failed.
        obstacles: what must be done before other tasks can be.
    """

    succeeded: bool
    summary: str
    obstacles: list[Obstacle] = attrs.field(factory=list, metadata=json_schema(maxItems=5))


@kit.object
@attrs.frozen
class Goal:
    """The goal of the run.

    Attributes:
        status: ``open`` until it is decomposed into tasks.
        refused: the first steps that a model proposed, if they were refused.
        error: why it could not be decomposed.
        left_out: proposed tasks that are not part of the plan, each with the reason.
    """

    text: str
    status: Literal["open", "planned", "failed"] = "open"
    refused: Refused | None = attrs.field(default=None, metadata=OMITTED)
    error: str | None = attrs.field(default=None, metadata=OMITTED)
    left_out: list[str] = attrs.field(factory=list, metadata=OMITTED)


@kit.object
@attrs.frozen
class Task:
    """A part of the work. It waits until all that it depends on, and all that blocks it, is done.

    Attributes:
        name: unique among the tasks of the goal.
        title: what is to be done.
        status: ``replanning`` after too many failed attempts, until a model has proposed other tasks
            that replace it.
        kind: of the task.
        is_dangerous: as in `Step`.
        replans: how many replaced tasks and obstacles led to it.
        refused: the first steps that were to replace it, if they were refused.
        error: why it failed.
        notes: what a reader of the plan should know, such as a dependency that was refused.
    """

    name: str
    title: str
    status: Literal["pending", "working", "done", "replanning", "replaced", "failed"] = "pending"
    kind: Kind = "work"
    is_dangerous: bool = False
    replans: int = 0
    refused: Refused | None = attrs.field(default=None, metadata=OMITTED)
    error: str | None = attrs.field(default=None, metadata=OMITTED)
    notes: list[str] = attrs.field(factory=list, metadata=OMITTED)


@kit.object
@attrs.frozen
class Outcome:
    """An attempt at a task.

    Attributes:
        status: ``withdrawn`` if the task was stopped or reopened, so that the attempt does not count.
        kit: whose child run works on it; empty for a model.
        text: what was done or found.
        error: why it failed.
        run_id: of the child run.
    """

    status: Literal["working", "done", "failed", "withdrawn"] = "working"
    kit: str = ""
    text: str = ""
    error: str | None = attrs.field(default=None, metadata=OMITTED)
    run_id: str | None = attrs.field(default=None, metadata=OMITTED)


@kit.object
@attrs.frozen
class Plan:
    """The plan with its outcomes, as a report or as a picture: an artifact.

    Attributes:
        status: ``failed`` if no task is done, ``partial`` if some are not.
        name: of the artifact.
        media_type: of the text.
        problem: why no task is done.
    """

    status: Literal["complete", "partial", "failed"]
    name: str
    media_type: str
    text: str
    problem: str | None = attrs.field(default=None, metadata=OMITTED)


GOAL, TASK, OUTCOME, PLAN = "Goal", "Task", "Outcome", "Plan"
DEPENDS_ON = kit.relation("depends_on", Task, Task)
BLOCKS = kit.relation("blocks", Task, Task)
PART_OF = kit.relation("part_of", Task, Goal)
PRODUCES = kit.relation("produces", Task, Outcome)
