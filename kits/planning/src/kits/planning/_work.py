"""From a task to its outcome: attempts by a model or another kit, approvals, retries, obstacles."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping
from itertools import count
from typing import Any

import attrs

from kando.emit import create, patch, relate, start_run
from kando.kit import setting
from kando.responders.policies import Allow, Ask, Verdict
from kando.schema.events import (
    LLM_REQUEST,
    OBJECT_CREATED,
    OBJECT_PATCHED,
    RELATION_REMOVED,
    RUN_ENDED,
    RUN_REQUESTED,
    KandoEvent,
    RecordedEvent,
)
from kando.text.markdown import one_line
from kando.world.graph import World, WorldObject
from kits.planning._graph import (
    Job,
    attempts_at,
    is_blank,
    is_ready,
    job_at,
    job_of,
    key,
    resting_on,
    tasks_of,
)
from kits.planning._report import attempts_text, passages_text, reason_of, task_list, task_text
from kits.planning._types import BLOCKS, PART_OF, PRODUCES, Outcome, Result, Settings, Task, kit

_MAX_TITLE_CHARS = 300
_MAX_TEXT_CHARS = 16_000

Emitted = Generator[KandoEvent, RecordedEvent, None]
EmittedWithIds = Generator[KandoEvent, RecordedEvent, list[str]]


@kit.responder(OBJECT_CREATED, OBJECT_PATCHED, type=Task)
def start(event: RecordedEvent, world: World) -> Emitted:
    """Attempt a task that has become pending, or those that waited for one which is done."""
    id = event.data["id"]
    is_done = event.object.get("status") == "done"
    yield from _started(resting_on(id, world) if is_done else [id], world)


@kit.responder(RELATION_REMOVED)
def start_freed(event: RecordedEvent, world: World) -> Emitted:
    """Attempt the tasks that a removed relation has kept waiting."""
    yield from _started(world.ids(Task), world)


def _started(candidates: list[str], world: World) -> Emitted:
    settings = world.settings(Settings)
    for job in (job_of(id, world) for id in candidates if is_ready(id, world)):
        if job is not None:
            yield patch(job.id, {"status": "working"})
            outcome = yield create(Outcome(kit=_kit_for(job.task, settings)))
            yield relate(PRODUCES, job.id, outcome)


def _kit_for(task: Task, settings: Settings) -> str:
    if task.kind == "project" and settings.depth > 1:
        return kit.name
    return settings.kits.get(task.kind, "")


@kit.policy(LLM_REQUEST, RUN_REQUESTED)
def ask_first(intent: KandoEvent, world: World) -> Verdict:
    """Have a person approve each attempt at a dangerous task."""
    job = job_at(intent.data.get("cause_object_id"), world)
    asked = world.settings(Settings).approval
    if job is not None and (asked == "all" or (asked == "dangerous" and job.task.is_dangerous)):
        return Ask(f"work on the task {one_line(job.task.title, _MAX_TITLE_CHARS)!r}?")
    return Allow()


@kit.llm_responder(
    OBJECT_CREATED,
    type=Outcome,
    prompt="work",
    system="system",
    output=Result,
    model=setting(Settings, "work_model"),
)
def work(event: RecordedEvent, world: World) -> dict[str, Any] | None:
    """Ask a model to work on a task, unless another kit does."""
    job = job_at(event.object_id, world)
    if job is None or event.object["kit"]:
        return None
    return {
        "goal": job.goal.text,
        "task": task_text(job.task),
        "tasks": task_list(job.goal_id, world),
        "passages": passages_text(f"{job.task.title} {job.goal.text}", world),
        "earlier": attempts_text(job.id, world),
    }


@work.then
def on_result(result: Result, about: WorldObject, world: World) -> Emitted:
    """Record the result of an attempt, unless it was withdrawn in the meantime."""
    job = _awaited(about, world)
    if job is None:
        return
    blocked = yield from _obstacles(result, job, world)
    if job.id in blocked:
        yield patch(about, {"status": "withdrawn", "text": result.summary[:_MAX_TEXT_CHARS]})
    elif result.succeeded and not is_blank(result.summary):
        yield from _done(about, job, result.summary)
    else:
        is_empty = is_blank(result.summary)
        reason = "the answer has no summary" if is_empty else result.summary.strip()
        yield from _failed(about, job, {"message": reason}, world)


@work.failed
def on_no_result(error: dict[str, Any], about: WorldObject, world: World) -> Iterator[KandoEvent]:
    """Record that an attempt failed."""
    job = _awaited(about, world)
    if job is not None:
        yield from _failed(about, job, error, world)


@kit.responder(OBJECT_CREATED, type=Outcome)
def hand_over(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Have another kit work on a task, as a child run."""
    job, name = job_at(event.object_id, world), event.object["kit"]
    if job is None or not name:
        return
    settings = world.settings(Settings)
    nested = attrs.evolve(settings, depth=max(settings.depth - 1, 1))
    yield start_run(
        name,
        job.task.title,
        settings=nested if name == kit.name else None,
        about=event,
        documents=world.objects_of("Document"),
    )


@kit.responder(RUN_ENDED, type=Outcome)
def on_child_ended(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
    """Record the result of a child run."""
    about = world.objects[event.data["cause_object_id"]]
    job = _awaited(about, world)
    if job is None:
        return
    found, error = event.data.get("result"), event.data.get("error")
    if run_id := event.data.get("run_id"):
        yield patch(about, {"run_id": run_id})
    if error is None and found:
        text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
        yield from _done(about, job, text)
    else:
        error = error or {"message": f"the run of {about.data['kit']} has no result"}
        yield from _failed(about, job, error, world)


def _awaited(about: WorldObject, world: World) -> Job | None:
    """Return the task of an attempt whose result counts."""
    return job_at(about.id, world) if about.data["status"] == "working" else None


def _done(outcome: WorldObject, job: Job, text: str) -> Iterator[KandoEvent]:
    yield patch(outcome, {"status": "done", "text": text[:_MAX_TEXT_CHARS]})
    yield patch(job.id, {"status": "done"})


def _failed(
    outcome: WorldObject, job: Job, error: Mapping[str, Any], world: World
) -> Iterator[KandoEvent]:
    """Record a failed attempt: the task is attempted again, replaced by others, or fails."""
    settings, reason = world.settings(Settings), reason_of(error)
    failures = 1 + sum(each.status == "failed" for each in attempts_at(job.id, world).values())
    yield patch(outcome, {"status": "failed", "error": reason})
    is_denied = error.get("type") == "Denied"
    if failures <= settings.retries and not is_denied:
        yield patch(job.id, {"status": "pending"})
    else:
        is_replanned = job.task.replans < settings.replans and not is_denied
        status = "replanning" if is_replanned else "failed"
        yield patch(job.id, {"status": status, "error": reason})


def _obstacles(result: Result, job: Job, world: World) -> EmittedWithIds:
    """Create a task for each obstacle, and return the ids of the tasks that these block."""
    tasks = tasks_of(job.goal_id, world)
    ids, blocked = {key(each.name): id for id, each in tasks.items()}, list[str]()
    names = (name for n in count(1) if (name := f"obstacle {n}") not in ids)
    left = world.settings(Settings).obstacles - sum(bool(world.targets(id, BLOCKS)) for id in tasks)
    for obstacle in result.obstacles[: max(left, 0)]:
        found = {ids[key(name)]: None for name in obstacle.blocks if key(name) in ids}
        if found and not is_blank(obstacle.title):
            task = Task(next(names), obstacle.title, replans=job.task.replans)
            made = yield create(task)
            yield relate(PART_OF, made, job.goal_id)
            yield from (relate(BLOCKS, made, id) for id in found)
            blocked += found
    return blocked
