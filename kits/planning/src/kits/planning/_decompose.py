"""From the goal to tasks, and from a failed task to others: what a model proposes is checked first."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping
from typing import Any

import attrs

from kando.emit import create, patch, relate, unrelate
from kando.kit import setting
from kando.schema.events import OBJECT_CREATED, OBJECT_PATCHED, KandoEvent, RecordedEvent
from kando.world.graph import World, WorldObject
from kits.planning._graph import (
    Job,
    Mended,
    is_done,
    job_of,
    key,
    mended,
    needs,
    problems_in,
    tasks_of,
)
from kits.planning._report import (
    attempts_text,
    paths_text,
    reason_of,
    refused_text,
    task_list,
    task_text,
)
from kits.planning._types import (
    BLOCKS,
    DEPENDS_ON,
    PART_OF,
    Goal,
    Refused,
    Settings,
    Step,
    Task,
    kit,
)

Emitted = Generator[KandoEvent, RecordedEvent, None]
EmittedWithIds = Generator[KandoEvent, RecordedEvent, list[str]]


_plan_model = setting(Settings, "plan_model")


@kit.llm_responder(
    *(OBJECT_CREATED, OBJECT_PATCHED),
    type=Goal,
    prompt="decompose",
    system="system",
    output=Step,
    many=True,
    model=_plan_model,
    accepts_cut=True,
)
def decompose(event: RecordedEvent, world: World) -> dict[str, Any] | None:
    """Ask a model for the tasks of a goal, and once more if its first proposal was refused."""
    goal = _open_goal(world.objects[event.data["id"]], world)
    if goal is None or (event.type == OBJECT_PATCHED and "refused" not in event.object):
        return None
    return {
        "goal": goal.text,
        "limit": world.settings(Settings).tasks,
        "documents": paths_text(world),
        "refused": refused_text(goal.refused),
    }


@decompose.then
def on_steps(steps: list[Step], about: WorldObject, world: World) -> Emitted:
    """Create the tasks of a goal, or refuse the first proposal."""
    goal = _open_goal(about, world)
    if goal is not None:
        yield from _decided(steps, about.id, goal, world)


def _decided(steps: list[Step], id: str, goal: Goal, world: World) -> Emitted:
    checked = _checked(steps, goal, world.settings(Settings).tasks)
    if isinstance(checked, list):
        yield _refusal(id, goal, steps, checked)
        return
    left_out = {"left_out": checked.left_out} if checked.left_out else {}
    yield patch(id, {"status": "planned", **left_out})
    yield from _created(checked, id, 0, {})


@decompose.failed
def on_no_steps(error: dict[str, Any], about: WorldObject, world: World) -> Emitted:
    """Ask once more, use the refused proposal if it can be mended, or record why there are no tasks."""
    goal = _open_goal(about, world)
    if goal is None:
        return
    if _is_malformed(error, goal):
        yield _refusal(about.id, goal, [], [reason_of(error)])
    elif _is_mendable(goal, world.settings(Settings).tasks):
        yield from _decided([], about.id, goal, world)
    else:
        yield patch(about, {"status": "failed", "error": reason_of(error)})


def _open_goal(about: WorldObject, world: World) -> Goal | None:
    goal = world.get(Goal, about.id)
    return goal if goal is not None and goal.status == "open" else None


def _checked(
    steps: list[Step],
    about: Goal | Task,
    limit: int,
    known: Collection[str] = (),
    taken: Collection[str] = (),
) -> Mended | list[str]:
    """Return the steps that become tasks, or why there are none.

    The first proposal must have no problem. Of two that have some, the second one is mended, or the
    first one if that is impossible.
    """
    problems = problems_in(steps, limit, known, taken)
    if not problems or about.refused is None:
        return problems or Mended(steps, {}, [])
    for each in (steps, about.refused.steps):
        found = mended(each, limit, known, taken)
        if not problems_in(found.steps, limit, known, taken):
            return found
    return problems


def _is_mendable(
    about: Goal | Task, limit: int, known: Collection[str] = (), taken: Collection[str] = ()
) -> bool:
    """Whether a refused proposal can be used after all."""
    return not isinstance(_checked([], about, limit, known, taken), list)


def _is_malformed(error: Mapping[str, Any], about: Goal | Task) -> bool:
    """Whether a first proposal is malformed, so that it is refused like an invalid one."""
    return about.refused is None and error.get("type") == "Misfit"


def _refusal(id: str, about: Goal | Task, steps: list[Step], problems: list[str]) -> KandoEvent:
    """Return the refusal of a proposal: the first one is repaired, the second one is an error."""
    if about.refused is not None:
        return patch(id, {"status": "failed", "error": f"no valid plan: {'; '.join(problems)}"})
    refused = Refused(steps, problems)
    return patch(id, {"status": about.status, "refused": attrs.asdict(refused)})


def _created(made: Mended, goal_id: str, replans: int, known: Mapping[str, str]) -> EmittedWithIds:
    """Create the tasks of valid steps, and return the ids of those that no other one waits for.

    Args:
        made: the steps of the tasks.
        goal_id: id of their goal.
        replans: how many replaced tasks and obstacles led to them.
        known: ids of tasks that they may depend on, too, by the key of the name.
    """
    ids, steps = dict(known), made.steps
    for step in steps:
        task = Task(
            step.name,
            step.title,
            kind=step.kind,
            is_dangerous=step.is_dangerous,
            replans=replans,
            notes=[*made.notes.get(key(step.name), ())],
        )
        created = yield create(task)
        yield relate(PART_OF, created, goal_id)
        ids[key(step.name)] = created.data["id"]
    needed = [key(other) for step in steps for other in step.depends_on]
    for step in steps:
        for other in dict.fromkeys(map(key, step.depends_on)):
            yield relate(DEPENDS_ON, ids[key(step.name)], ids[other])
    return [ids[key(step.name)] for step in steps if key(step.name) not in needed]


@kit.llm_responder(
    OBJECT_PATCHED,
    type=Task,
    prompt="replan",
    system="system",
    output=Step,
    many=True,
    model=_plan_model,
    accepts_cut=True,
)
def replan(event: RecordedEvent, world: World) -> dict[str, Any] | None:
    """Ask a model for other tasks in place of one that failed."""
    job = job_of(event.object_id, world)
    if job is None or not event.object.get("status") == job.task.status == "replanning":
        return None
    return {
        "goal": job.goal.text,
        "task": task_text(job.task),
        "tasks": task_list(job.goal_id, world),
        "earlier": attempts_text(job.id, world),
        "limit": world.settings(Settings).tasks,
        "refused": refused_text(job.task.refused),
    }


@replan.then
def on_other_steps(steps: list[Step], about: WorldObject, world: World) -> Emitted:
    """Replace a failed task by others, or refuse the first proposal."""
    job = job_of(about.id, world)
    if job is not None and job.task.status == "replanning":
        yield from _replaced(steps, job, world)


def _replaced(steps: list[Step], job: Job, world: World) -> Emitted:
    ids, known = _names_at(job, world)
    checked = _checked(steps, job.task, world.settings(Settings).tasks, known, ids)
    if isinstance(checked, list):
        yield _refusal(job.id, job.task, steps, checked)
        return
    needed = needs(job.id, world)
    first = [name for name, id in ids.items() if id in needed]
    steps = [
        step if step.depends_on else attrs.evolve(step, depends_on=first) for step in checked.steps
    ]
    notes = [*job.task.notes, *(f"left out: {each}" for each in checked.left_out)]
    yield patch(job.id, {"status": "replaced", **({"notes": notes} if checked.left_out else {})})
    made = attrs.evolve(checked, steps=steps)
    last = yield from _created(made, job.goal_id, job.task.replans + 1, known)
    yield from _moved(job.id, last, world)


def _names_at(job: Job, world: World) -> tuple[dict[str, str], dict[str, str]]:
    """Return the ids of all tasks by the keys of their names, and of those that may be depended on.

    Another task may rest on the failed one, and a new task that waits for it would close a cycle.
    """
    ids = {key(each.name): id for id, each in tasks_of(job.goal_id, world).items()}
    needed = needs(job.id, world)
    return ids, {name: id for name, id in ids.items() if id in needed or is_done(id, world)}


def _moved(task_id: str, to: list[str], world: World) -> Iterator[KandoEvent]:
    """Make the tasks that wait for a replaced task wait for others instead."""
    for relation in world.get_relations(task_id):
        if relation.type == DEPENDS_ON and relation.target_id == task_id:
            yield unrelate(relation)
            yield from (relate(DEPENDS_ON, relation.source_id, id) for id in to)
        elif relation.type == BLOCKS and relation.source_id == task_id:
            yield unrelate(relation)
            yield from (relate(BLOCKS, id, relation.target_id) for id in to)


@replan.failed
def on_no_other_steps(error: dict[str, Any], about: WorldObject, world: World) -> Emitted:
    """Ask once more, use the refused proposal if it can be mended, or record that there is none."""
    job = job_of(about.id, world)
    if job is None or job.task.status != "replanning":
        return
    ids, known = _names_at(job, world)
    if _is_malformed(error, job.task):
        yield _refusal(job.id, job.task, [], [reason_of(error)])
    elif _is_mendable(job.task, world.settings(Settings).tasks, known, ids):
        yield from _replaced([], job, world)
    else:
        reason = f"{about.data['error']} (no other tasks: {reason_of(error)})"
        yield patch(about, {"status": "failed", "error": reason})
