"""Planning: the public names of the kit, the edge logic of its relations, and the plan.

An event passes the seed here, then `_decompose` (the goal becomes tasks), `_work` (a task that waits
for nothing is attempted), and the end of this file (the plan is written). A relation that appears
later stops tasks and reopens them: its edge logic is here, too.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from kando.emit import create, patch, unrelate
from kando.responders.base import Responder
from kando.schema.events import (
    OBJECT_CREATED,
    OBJECT_PATCHED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.text.markdown import one_line
from kando.world.graph import World
from kits.planning import _decompose, _work  # noqa: F401 (imported to register responders)
from kits.planning._graph import attempts_at, is_done, is_settled, job_of, with_resting
from kits.planning._report import artifacts_of
from kits.planning._types import (
    BLOCKS,
    DEPENDS_ON,
    GOAL,
    OUTCOME,
    PART_OF,
    PLAN,
    PRODUCES,
    TASK,
    Goal,
    Plan,
    Task,
    kit,
)

__all__ = [
    "BLOCKS",
    "DEPENDS_ON",
    "GOAL",
    "OUTCOME",
    "PART_OF",
    "PLAN",
    "PRODUCES",
    "TASK",
    "create_kit",
    "kit",
    "seed_from_goal",
]

_MAX_NAME_CHARS = 80


def create_kit() -> list[Responder]:
    """Return the kit's responders, to be passed to a `Runtime`."""
    return kit.create()


@kit.seeds
def seed_from_goal(goal: str, run_id: str) -> list[KandoEvent]:
    """Return the one event that starts a run.

    Args:
        goal: the goal in plain text.
        run_id: id of the run that the event is recorded in.
    """
    data = {"id": "goal", "type": GOAL, "data": {"text": goal}}
    return [make_event(OBJECT_CREATED, f"run:{run_id}", "cli", [], data)]


@kit.result
def result(world: World) -> str | None:
    """Return the report, for a run that has started this one."""
    return next((each.text for each in world.all(Plan) if each.status != "failed"), None)


# Relations that appear: what rests on what.


@kit.edge_logic(DEPENDS_ON)
def on_dependency(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Stop a task that depends on one which is not done, and reopen what rests on it."""
    waiting, needed = event.data["source_id"], event.data["target_id"]
    if needed in with_resting(waiting, world):
        yield from _refused(event, waiting, needed, world)
    elif not is_done(needed, world):
        yield from _withdrawn(waiting, world)


@kit.edge_logic(BLOCKS)
def on_block(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Stop a task that another one blocks, and reopen what rests on it."""
    waiting, needed = event.data["target_id"], event.data["source_id"]
    if needed in with_resting(waiting, world):
        yield from _refused(event, waiting, needed, world)
    else:
        yield from _withdrawn(waiting, world)


def _refused(event: RecordedEvent, waiting: str, needed: str, world: World) -> Iterator[KandoEvent]:
    """Remove a relation that closes a cycle, and say so at the task that would have to wait."""
    task, other = world.get(Task, waiting), world.get(Task, needed)
    yield unrelate(event.data["id"])
    if task is not None and other is not None:
        note = f"it cannot wait for {one_line(other.name, _MAX_NAME_CHARS)}, which waits for it"
        yield patch(waiting, {"notes": [*task.notes, note]})


def _withdrawn(task_id: str, world: World) -> Iterator[KandoEvent]:
    """Stop or reopen a task and all that rests on it."""
    for id in with_resting(task_id, world):
        task = world.get(Task, id)
        if task is not None and task.status in ("working", "done"):
            for outcome_id, outcome in attempts_at(id, world).items():
                if outcome.status in ("working", "done"):
                    yield patch(outcome_id, {"status": "withdrawn"})
            yield patch(id, {"status": "pending"})


# The end: the plan as an artifact.


@kit.responder(OBJECT_PATCHED, type=Task)
def on_task_settled(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Write the plan when no work is left, and again when that is so after a change."""
    job = job_of(event.object_id, world)
    if job is not None and is_settled(job.goal_id, world):
        yield from _written(job.goal_id, world)


@kit.responder(OBJECT_PATCHED, type=Goal)
def on_goal_failed(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Write why there is no plan."""
    if event.object.get("status") == "failed":
        yield from _written(event.data["id"], world)


def _written(goal_id: str, world: World) -> Iterator[KandoEvent]:
    for plan in artifacts_of(goal_id, world):
        id = f"{plan.name}-of-{goal_id}"
        if world.get(Plan, id) is None:
            yield create(plan, id=id)
        elif world.get(Plan, id) != plan:
            yield patch(id, attrs.asdict(plan))
