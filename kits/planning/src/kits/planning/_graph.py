"""The graph of tasks: which steps form a valid plan, which tasks are ready, and what rests on which."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import chain, count
from typing import TypeVar

import attrs

from kando.text.markdown import one_line
from kando.world.graph import World, WorldObject
from kits.planning._types import BLOCKS, DEPENDS_ON, PART_OF, PRODUCES, Goal, Outcome, Step, Task

__all__ = [
    "Job",
    "Mended",
    "attempts_at",
    "in_order",
    "is_blank",
    "is_done",
    "is_ready",
    "is_settled",
    "job_at",
    "job_of",
    "key",
    "mended",
    "needs",
    "problems_in",
    "resting_on",
    "tasks_of",
    "with_resting",
]

_Class = TypeVar("_Class")

#: Maximum characters of a name or title in a message.
_SHOWN = 80
_MAX_PROBLEMS = 10


@attrs.frozen
class Job:
    """A task and its goal.

    Attributes:
        id: of the task.
        task: the task.
        goal_id: id of the goal.
        goal: the goal.
    """

    id: str
    task: Task
    goal_id: str
    goal: Goal


@attrs.frozen
class Mended:
    """Steps whose problems were removed.

    Attributes:
        steps: that are left.
        notes: what was changed at a step, by the key of its name.
        left_out: the steps that are not left, each with the reason.
    """

    steps: list[Step]
    notes: Mapping[str, list[str]]
    left_out: list[str]


def key(name: str) -> str:
    """Return what a name is compared by: models vary its case and spaces."""
    return " ".join(name.split()).casefold()


def is_blank(text: str) -> bool:
    """Whether a text says nothing: a small model copies the "..." of an example into its answer."""
    return not any(each.isalnum() for each in text)


def problems_in(
    steps: Sequence[Step], limit: int, known: Collection[str] = (), taken: Collection[str] = ()
) -> list[str]:
    """Return why steps do not form a plan, in words; empty if they do.

    Args:
        steps: as a model proposes them.
        limit: maximum number of them.
        known: keys of existing tasks on which they may depend.
        taken: keys of all existing tasks.
    """
    names = [key(step.name) for step in steps]
    problems = [] if steps else ["the plan has no task"]
    if len(steps) > limit:
        problems.append(f"the plan has {len(steps)} tasks; at most {limit} are allowed")
    missing = "is neither one of the new tasks nor done" if taken else "is not one of the tasks"
    for number, step in enumerate(steps):
        shown = f"number {number + 1}" if is_blank(step.name) else _shown(step.name)
        if is_blank(step.name) or is_blank(step.title):
            problems.append(f"task {shown} has no name or no title")
        elif names[number] in names[:number] or names[number] in taken:
            problems.append(f"the name {shown} is used twice")
        for other in map(key, step.depends_on):
            if other == names[number]:
                problems.append(f"{shown} depends on itself")
            elif other not in names and other not in known:
                problems.append(f"{shown} depends on {_shown(other)}, which {missing}")
    depends_on = [[*map(key, step.depends_on)] for step in steps]
    # A small model may make a mistake in every task; the list is sent back to it.
    distinct = list(dict.fromkeys(problems))[:_MAX_PROBLEMS]
    return distinct or _cycle_in(dict(zip(names, depends_on, strict=True)))


def mended(
    steps: Sequence[Step], limit: int, known: Collection[str] = (), taken: Collection[str] = ()
) -> Mended:
    """Return steps without their problems, except a cycle: only a model can say which way is meant.

    Args:
        steps: as for `problems_in`.
        limit: as for `problems_in`.
        known: as for `problems_in`.
        taken: as for `problems_in`.
    """
    kept, left_out = _distinct(steps, limit, taken)
    names = {key(step.name) for step in kept}
    notes: dict[str, list[str]] = {}
    found = []
    for step in kept:
        own = key(step.name)
        wrong = [
            each
            for each in dict.fromkeys(map(key, step.depends_on))
            if each == own or (each not in names and each not in known)
        ]
        for each in wrong[:_MAX_PROBLEMS]:
            what = "itself" if each == own else f"{_shown(each) or 'nothing'}, which does not exist"
            notes.setdefault(own, []).append(f"it was to depend on {what}")
        depends_on = [each for each in step.depends_on if key(each) not in wrong]
        found.append(attrs.evolve(step, depends_on=depends_on))
    return Mended(found, notes, list(dict.fromkeys(left_out))[:_MAX_PROBLEMS])


def _distinct(
    steps: Sequence[Step], limit: int, taken: Collection[str]
) -> tuple[list[Step], list[str]]:
    """Return steps with distinct names and with titles, and what was left out or renamed."""
    kept: list[Step] = []
    left_out = []
    for number, step in enumerate(steps, 1):
        name, title = ("" if is_blank(each) else each.strip() for each in (step.name, step.title))
        if not name and not title:
            left_out.append(f"task number {number}, which has no name and no title")
            continue
        step = attrs.evolve(step, name=name or f"task {number}", title=title or name)
        used = {key(each.name) for each in kept} | {*taken}
        if any(key(each.title) == key(step.title) for each in kept):
            left_out.append(f"{_shown(step.name)}, which has the title of an earlier task")
        elif len(kept) == limit:
            left_out.append(f"{_shown(step.name)}, since at most {limit} tasks are allowed")
        else:
            names = chain([step.name], (f"{step.name} {n}" for n in count(2)))
            free = next(each for each in names if key(each) not in used)
            kept.append(attrs.evolve(step, name=free))
    return kept, left_out


def _cycle_in(graph: Mapping[str, Sequence[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        # In the order of dependencies: each depends on the next.
        return [f"a cycle: {' depends on '.join(map(_shown, reversed(error.args[1])))}"]
    return []


def _shown(name: str) -> str:
    return one_line(name, _SHOWN)


def needs(task_id: str, world: World) -> list[str]:
    """Return the ids of the tasks that a task waits for: those it depends on or is blocked by."""
    needed = [*world.targets(task_id, DEPENDS_ON), *world.sources(task_id, BLOCKS)]
    return list(dict.fromkeys(each.id for each in needed))


def resting_on(task_id: str, world: World) -> list[str]:
    """Return the ids of the tasks that wait for a task: the reverse of `needs`."""
    resting = [*world.sources(task_id, DEPENDS_ON), *world.targets(task_id, BLOCKS)]
    return list(dict.fromkeys(each.id for each in resting))


def with_resting(task_id: str, world: World) -> list[str]:
    """Return the ids of a task and of all that wait for it, directly or through others."""
    found, waiting = [task_id], [task_id]
    while waiting:
        new = [id for id in resting_on(waiting.pop(0), world) if id not in found]
        found += new
        waiting += new
    return found


def is_done(task_id: str, world: World) -> bool:
    """Whether a task is done."""
    task = world.get(Task, task_id)
    return task is not None and task.status == "done"


def is_ready(task_id: str, world: World) -> bool:
    """Whether a task is pending, and all that it waits for is done."""
    task = world.get(Task, task_id)
    is_pending = task is not None and task.status == "pending"
    return is_pending and all(is_done(id, world) for id in needs(task_id, world))


def is_settled(goal_id: str, world: World) -> bool:
    """Whether no work on a goal is left: each task is done or failed, or waits for one that failed."""
    goal = world.get(Goal, goal_id)
    return (goal is not None and goal.status != "open") and not any(
        task.status in ("working", "replanning") or is_ready(id, world)
        for id, task in tasks_of(goal_id, world).items()
    )


def tasks_of(goal_id: str, world: World) -> dict[str, Task]:
    """Return the tasks of a goal by id, in creation order."""
    return _instances(Task, world.sources(goal_id, PART_OF), world)


def attempts_at(task_id: str, world: World) -> dict[str, Outcome]:
    """Return the attempts at a task by id, in order."""
    return _instances(Outcome, world.targets(task_id, PRODUCES), world)


def in_order(goal_id: str, world: World) -> dict[str, Task]:
    """Return the tasks of a goal by id, each after those that it waits for."""
    tasks = tasks_of(goal_id, world)
    graph = {id: [each for each in needs(id, world) if each in tasks] for id in tasks}
    try:
        return {id: tasks[id] for id in TopologicalSorter(graph).static_order()}
    except CycleError:
        # A relation that closes a cycle exists until its edge logic has removed it.
        return tasks


def job_of(task_id: str | None, world: World) -> Job | None:
    """Return a task with its goal; None if there is no such task, or if it is part of no goal."""
    task = world.get(Task, task_id) if task_id is not None else None
    for goal in world.targets(task_id, PART_OF) if task_id is not None else ():
        found = world.get(Goal, goal.id)
        if task_id is not None and task is not None and found is not None:
            return Job(task_id, task, goal.id, found)
    return None


def job_at(outcome_id: str | None, world: World) -> Job | None:
    """Return the task that an attempt belongs to, with its goal."""
    tasks = world.sources(outcome_id, PRODUCES) if outcome_id is not None else []
    return job_of(tasks[0].id, world) if tasks else None


def _instances(cls: type[_Class], objects: list[WorldObject], world: World) -> dict[str, _Class]:
    found = ((each.id, world.get(cls, each.id)) for each in objects)
    return {id: instance for id, instance in found if instance is not None}
