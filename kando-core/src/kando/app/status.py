"""The state of a run: from its ledger, and from the process that works on it."""

# long: the state of a run, from the ledger to what is shown.

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from kando.app.child_ids import child_id_of
from kando.app.entries import messages_in
from kando.app.opened import OpenedRun
from kando.errors import InvalidData, KandoError, LedgerNotFound, StoreError
from kando.ledger.claims import Claim
from kando.ledger.interface import WORLD_TYPES, LedgerStore
from kando.ledger.prefix import LedgerPrefix
from kando.ledger.substrate import LedgerInfo
from kando.schema.events import RUN_CANCELLED, RecordedEvent
from kando.schema.firing import Firing, outputs_of
from kando.views.approvals import Approval
from kando.views.firings import is_failed_attempt
from kando.views.labels import Labels
from kando.views.progress import Follower, Progress
from kando.views.questions import Question
from kando.views.status import StatusFold
from kando.views.stored import status_fold_of
from kando.world.graph import World
from kando.world.projection import change_of, commit
from kando.world.snapshot import StoredSnapshot

if TYPE_CHECKING:
    from kando.kit import Kit

__all__ = [
    "CANCELLED",
    "DAMAGED",
    "ENDED",
    "EXHAUSTED",
    "FAILED",
    "FINISHED",
    "PAUSED",
    "RUNNING",
    "STOPPED",
    "WAITING",
    "ChildRun",
    "Deadline",
    "Reminder",
    "RunStatus",
    "damaged_status",
    "progress_of_run",
    "read_status",
    "status_at",
    "status_of",
]

FINISHED = "finished"
WAITING = "waiting"
STOPPED = "stopped"
RUNNING = "running"
EXHAUSTED = "exhausted"
FAILED = "failed"
DAMAGED = "damaged"
PAUSED = "paused"
CANCELLED = "cancelled"

#: States in which a child run has ended: the run that started it gets the answer.
ENDED = frozenset({FINISHED, CANCELLED, FAILED, EXHAUSTED})

#: States of a child run in which the run that started it has to wait.
_RESTING = frozenset({WAITING, RUNNING, PAUSED, DAMAGED})

#: How often the status of a run that changes meanwhile is read again.
_READINGS = 5


@attrs.frozen
class Deadline:
    """The deadline of a pending approval, or of a question to a person.

    Attributes:
        event_id: id of its ``approval.requested`` or ``person.asked``.
        expires_at: when the run denies it, or answers it with an error; timezone-aware.
    """

    event_id: str
    expires_at: datetime


@attrs.frozen
class Reminder:
    """The reminders of an open question to a person.

    Attributes:
        event_id: id of its ``person.asked``.
        reminded: number of reminders so far.
        remind_at: when the next one is due; timezone-aware.
    """

    event_id: str
    reminded: int
    remind_at: datetime


@attrs.frozen
class ChildRun:
    """A child run that a run has started.

    Attributes:
        run_id: of the child.
        event_id: id of its ``run.requested``.
        kit: name of its kit.
        state: as `RunStatus.state`; None if it has not begun.
        is_open: whether the run waits for it: its end is not recorded yet.
    """

    run_id: str
    event_id: str
    kit: str
    state: str | None
    is_open: bool


@attrs.frozen
class RunStatus:
    """The state of a run, and what it has done and used.

    Attributes:
        run_id: of the run or branch.
        state: ``finished``; ``waiting`` for answers, a person or a timer; ``running`` while a
            process works on it; ``stopped`` with work left and no process working on it;
            ``exhausted`` if it reached a limit; ``failed`` if a responder raised; ``paused`` or
            ``cancelled`` by a command; ``damaged`` if it cannot be read.
        goal: text of the first seed, or None.
        kit: its name, or None for a run without a kit.
        kit_version: recorded version, or None.
        events: length of the ledger.
        objects: how many of each type, by type.
        relations: how many of each type, by type.
        llm_requests: number of LLM requests.
        llm_answered: number of answered LLM requests.
        llm_cached: number of LLM requests that were answered from the cache.
        llm_cost_usd: known cost of the answers, in US dollars.
        unanswered: number of requests of any kind that wait for an answer.
        timers: number of timers that have not fired yet.
        created_at: time of the first event, or None for an empty ledger.
        updated_at: time of the last event, or None for an empty ledger.
        last_event_id: id of the last event, or None for an empty ledger.
        problem: why the run does not continue: its failure, the limits that it reached, unread
            messages, a parked firing, or the death of its process; or that every answer to its
            requests is an error, or the problem that an artifact states; else None.
        parent_id: id of the ledger that a branch was forked from; None for a run.
        fork_position: number of events that a branch shares with its parent; None for a run.
        llm_unpriced: number of answers of unknown cost.
        llm_tokens: input and output tokens of the answers.
        tool_calls: number of tool calls.
        own: usage of a branch without the shared events: ``llm_calls``, ``llm_tokens``,
            ``llm_cost_usd``, ``llm_unpriced`` and ``tool_calls``; None for a run.
        approvals: number of pending approvals.
        questions: number of questions to people that wait for a reply.
        limits: current limits of the run, by name; empty if it has none.
        unread: number of messages in its inbox that are not recorded yet, without the answers of
            workers.
        parked: number of parked firings, calls among them.
        parked_reasons: the event, the responder and the error of each parked firing.
        claim: of the process that works on the run; None if no live process does.
        deadlines: of the pending approvals and questions that have one, the next one first: the
            run denies an approval itself then, and answers a question with an error.
        reminders: of the open questions for which a further one is due, the next one first.
        children: the child runs that it has asked for, in order.
        started_by: of a child run, the run and the ``run.requested`` that started it, as ``run_id``
            and ``event_id``; None for any other run.
        labels: of the run: values by name.
    """

    run_id: str
    state: str
    goal: str | None
    kit: str | None
    kit_version: str | None
    events: int
    objects: dict[str, int]
    relations: dict[str, int]
    llm_requests: int
    llm_answered: int
    llm_cached: int
    llm_cost_usd: float
    unanswered: int
    timers: int
    created_at: datetime | None
    updated_at: datetime | None
    last_event_id: str | None
    problem: str | None
    parent_id: str | None = None
    fork_position: int | None = None
    llm_unpriced: int = 0
    llm_tokens: int = 0
    tool_calls: int = 0
    own: dict[str, Any] | None = None
    approvals: int = 0
    questions: int = 0
    limits: dict[str, Any] = attrs.field(factory=dict)
    unread: int = 0
    parked: int = 0
    parked_reasons: list[str] = attrs.field(factory=list)
    claim: Claim | None = None
    deadlines: list[Deadline] = attrs.field(factory=list)
    reminders: list[Reminder] = attrs.field(factory=list)
    children: list[ChildRun] = attrs.field(factory=list)
    started_by: dict[str, str] | None = None
    labels: Labels = attrs.field(factory=dict)

    @property
    def waits_for_children(self) -> bool:
        """Whether the end of one of its child runs is not recorded yet."""
        return any(each.is_open for each in self.children)

    @property
    def got_no_answer(self) -> bool:
        """Whether the run is finished, and every answer is an error or an artifact states a problem."""
        return self.state == FINISHED and self.problem is not None and not self.parked


def read_status(ledger: LedgerStore, stored: StoredSnapshot | None = None) -> RunStatus:
    """Return the state of a run according to its ledger.

    It is never ``stopped``, and counts no unread messages: the ledger alone does not show either
    (see `status_of`).

    Args:
        ledger: of the run or branch.
        stored: its snapshot, if it has one: then only later events are read.
    """
    return _read_status(ledger, stored, ledger.read_firings)


def _read_status(
    ledger: LedgerStore,
    stored: StoredSnapshot | None,
    read: Callable[[int], Iterator[RecordedEvent | Firing]],
) -> RunStatus:
    fold = status_fold_of(stored) if stored is not None else None
    world = World() if fold is None else None
    fold = fold or StatusFold()
    for item in read(fold.length):
        for event in outputs_of([item]):
            if event.type in WORLD_TYPES:
                if world is None:
                    world = stored.world() if stored is not None else None
                    if world is None:
                        return read_status(ledger)
                # Not copied: the world is only counted.
                commit(world, change_of(event, world))
        if isinstance(item, Firing):
            fold.observe_firing(item)
        else:
            fold.observe(item)
    if world is not None:
        fold.count(world)
    return _status(ledger, fold)


def progress_of_run(run: OpenedRun, follower: Follower) -> Progress:
    """Return the progress of a run that another process works on.

    Args:
        run: the opened run.
        follower: of the same run, which has read its events so far.
    """

    def restore() -> StatusFold | None:
        return status_fold_of(run.snapshot) if run.snapshot is not None else None

    return follower.observe(run.ledger, restore)


def _status(ledger: LedgerStore, fold: StatusFold) -> RunStatus:
    state, problem = WAITING if fold.is_waiting else FINISHED, fold.failure or fold.limits
    if problem is not None:
        state = FAILED if fold.failure is not None else EXHAUSTED
    if fold.halted_by is not None:
        state = CANCELLED if fold.halted_by == RUN_CANCELLED else PAUSED
    parked = list(fold.parked.values())
    if problem is None and fold.got_no_answer:
        failed = _counted(fold.failed, "request has", "requests have")
        problem = f"{failed} no answer: {fold.last_error}"
    if problem is None and state == FINISHED:
        problem = fold.shortfall
    if problem is None and parked:
        problem = f"{_counted(len(parked), 'firing is', 'firings are')} parked: {parked[0]}"
    kit, branch = fold.choices.kit or {}, fold.branch or {}
    return RunStatus(
        run_id=ledger.stream_name().partition(":")[2],
        state=state,
        goal=fold.goal,
        kit=kit.get("name"),
        kit_version=kit.get("version"),
        events=fold.length,
        objects=fold.objects,
        relations=fold.relations,
        llm_requests=fold.requests,
        llm_answered=fold.answers,
        llm_cached=fold.cached,
        llm_cost_usd=fold.spent.llm_cost_usd,
        unanswered=len(fold.intents),
        timers=len(fold.timers),
        created_at=fold.created_at,
        updated_at=fold.updated_at,
        last_event_id=fold.last_event_id,
        problem=problem,
        parent_id=branch.get("parent_run_id"),
        fork_position=branch.get("fork_position"),
        llm_unpriced=fold.spent.llm_unpriced,
        llm_tokens=fold.spent.llm_tokens,
        tool_calls=fold.spent.tool_calls,
        own=fold.spent.since(fold.spent_before) if branch else None,
        approvals=len(fold.approvals.waiting),
        questions=len(fold.questions),
        limits=fold.budget,
        parked=len(parked),
        parked_reasons=parked,
        deadlines=_deadlines(fold),
        reminders=_reminders(fold),
        children=_children(ledger.stream_name(), fold),
        started_by=_started_by(fold),
        labels=fold.labels,
    )


def _children(stream: str, fold: StatusFold) -> list[ChildRun]:
    held = {each.intent for each in fold.approvals.open()}
    return [
        ChildRun(
            each.run_id or child_id_of(stream, each.lineage_key),
            each.event_id,
            each.kit,
            each.state,
            each.run_id is None,
        )
        for each in fold.children.values()
        if each.event_id not in held
    ]


def _started_by(fold: StatusFold) -> dict[str, str] | None:
    named = fold.choices.started_by
    if named is None:
        return None
    return {field: str(named.get(field)) for field in ("run_id", "event_id")}


def _deadlines(fold: StatusFold) -> list[Deadline]:
    waiting: list[Approval | Question] = [*fold.approvals.open(), *fold.questions.values()]
    found = [
        Deadline(each.event_id, each.expires_at) for each in waiting if each.expires_at is not None
    ]
    return sorted(found, key=lambda each: each.expires_at)


def _reminders(fold: StatusFold) -> list[Reminder]:
    found = [
        Reminder(each.event_id, each.reminded, each.remind_at)
        for each in fold.questions.values()
        if each.remind_at is not None
    ]
    return sorted(found, key=lambda each: each.remind_at)


def _counted(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"


def status_at(run: OpenedRun, end: int) -> RunStatus:
    """Return the state of a run after its first `end` events, according to its ledger."""
    return read_status(LedgerPrefix(run.current, end), run.snapshot_at(end))


def status_of(run: OpenedRun, *, ignoring: Claim | None = None) -> RunStatus:
    """Return the state of a run, including ``running`` and ``stopped``.

    It is ``running`` if a process, or a thread of this store, works on it, and ``stopped`` if nothing
    works on it and work is left: unread messages, or work for its kit. If the kit is not installed,
    the state is that of the ledger and the inbox.

    Args:
        run: the opened run.
        ignoring: the caller's own claim, which does not count.
    """
    for _ in range(_READINGS):
        status = _status_now(run, ignoring)
        # Ledger, claim and pending work are read in turn; all are to be of one moment.
        if run.is_demo_run or status.state == RUNNING or run.ledger.length() == status.events:
            break
        run = OpenedRun(run.context, run.ledger)
    return status


def _status_now(run: OpenedRun, ignoring: Claim | None) -> RunStatus:
    try:
        ledger = run.current
        read = run.read_firings if ledger is run.ledger else ledger.read_firings
        status = _read_status(ledger, run.current_snapshot, read)
    except InvalidData:
        # Events that the kit's upcasters cannot convert are read as they were recorded.
        status = read_status(run.ledger)
    if status.children:
        status = attrs.evolve(status, children=[_with_state(run, each) for each in status.children])
    claim = None
    if not run.is_demo_run:
        claim = run.context.substrate().claim_of(run.id)
        status = attrs.evolve(status, unread=_unread(run))
    is_own = claim is not None and ignoring is not None and claim.epoch == ignoring.epoch
    if claim is not None and not is_own:
        if claim.is_live():
            return attrs.evolve(status, state=RUNNING, claim=claim)
        return _after_death(claim, _at_rest(run, status))
    return _at_rest(run, status)


def _after_death(claim: Claim, status: RunStatus) -> RunStatus:
    """Return a status that names the process which died at work on the run, if work is left."""
    if not claim.is_held or status.problem is not None or status.state in (FINISHED, CANCELLED):
        return status
    return attrs.evolve(status, problem=f"{claim.worker} has died while it worked on the run")


def _at_rest(run: OpenedRun, status: RunStatus) -> RunStatus:
    """Return the state of a run that no process works on."""
    if status.state not in (FINISHED, WAITING):
        return status
    if status.state == WAITING and status.waits_for_children:
        status = _waiting_for_children(run, status)
    if status.unread:
        problem = f"{_counted(status.unread, 'message is', 'messages are')} unread"
        return attrs.evolve(status, state=STOPPED, problem=status.problem or problem)
    if run.is_known_idle:
        return status
    kit, stored = run.kit, run.current_snapshot
    if kit is None or (stored is not None and stored.is_at_rest(_identity(kit))):
        return status
    if _has_work(run, kit):
        return attrs.evolve(status, state=STOPPED)
    cache = run.context.snapshot_cache
    # The timer of one that waits may be due later.
    if cache is not None and status.state == FINISHED:
        cache.note_rest(run.current, status.events, _identity(kit))
    return status


def _with_state(run: OpenedRun, asked: ChildRun) -> ChildRun:
    """Return a child run with its state; that of one whose answer is recorded is known."""
    if not asked.is_open:
        return asked
    try:
        child = OpenedRun(run.context, run.context.substrate().open(asked.run_id))
    except LedgerNotFound:
        return asked
    return attrs.evolve(asked, state=status_of(child).state if child.ledger.length() else None)


def _waiting_for_children(run: OpenedRun, status: RunStatus) -> RunStatus:
    """Return the state of a run that waits for child runs: it is stopped if it can continue with one."""
    waits = any(each.is_open and each.state in _RESTING for each in status.children)
    for child in status.children:
        if child.state in _RESTING or not child.is_open:
            continue
        if child.state is None and waits and status.limits:
            # It waits for what is reserved for the others.
            continue
        if child.state is not None or _knows(run, child.kit):
            return attrs.evolve(status, state=STOPPED)
        problem = f"{child.event_id} needs the kit {child.kit!r:.80}, which is not installed"
        status = attrs.evolve(status, problem=status.problem or problem)
    return status


def _knows(run: OpenedRun, kit: str) -> bool:
    with suppress(KandoError):
        run.context.kit(kit)
        return True
    return False


def _identity(kit: Kit) -> dict[str, str]:
    return {"name": kit.name, "version": kit.version, "distribution": kit.distribution}


def _unread(run: OpenedRun) -> int:
    """Return the number of messages that wait in the inbox of a run."""
    entries = messages_in(run.context.substrate(), run.id)
    # A failed attempt that a worker reports is not a message of a person.
    messages = [entry for entry in entries if not is_failed_attempt(entry.event)]
    # A process that was killed may have recorded a message without removing it.
    return sum(run.ledger.find(entry.event_id) is None for entry in messages)


def _has_work(run: OpenedRun, kit: Kit) -> bool:
    # Slow to import, and not needed for a run that was at rest when its kit stopped.
    from kando.app.kits.find import kit_data
    from kando.app.tool_servers import responders_of
    from kando.cache.llm import LLMCache
    from kando.runtime import Runtime

    upcasters = run.context.plugins.upcasters()
    try:
        runtime = Runtime(
            run.ledger,
            responders_of(kit, run.choices.kit),
            cache=LLMCache(max_entries=0),
            kits=[kit],
            edge_logic=(),
            upcasters=upcasters,
            kit_loaded=kit_data(kit),
            snapshots=run.snapshots(),
        )
    except KandoError:
        return False
    try:
        return runtime.has_pending_work()
    except StoreError:
        raise
    except (Exception, SystemExit):
        # A responder that raises has work left; `kando resume` reports its error.
        return True


def damaged_status(info: LedgerInfo, problem: str) -> RunStatus:
    """Return the state of a run whose events cannot be read."""
    return RunStatus(
        run_id=info.id,
        state=DAMAGED,
        goal=None,
        kit=None,
        kit_version=None,
        events=info.length,
        objects={},
        relations={},
        llm_requests=0,
        llm_answered=0,
        llm_cached=0,
        llm_cost_usd=0.0,
        unanswered=0,
        timers=0,
        created_at=info.created_at,
        updated_at=None,
        last_event_id=None,
        problem=problem,
        parent_id=info.parent_id,
        fork_position=info.fork_position,
    )
