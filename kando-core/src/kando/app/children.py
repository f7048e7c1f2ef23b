"""Child runs: which run started which, and what the end of one is to the run that waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from typing import Any

from kando.app.artifacts import artifacts_in
from kando.app.child_ids import child_ids_of, opened_child
from kando.app.entries import CANCEL_KEY, OWN_PREFIX, answer_key
from kando.app.opened import OpenedRun
from kando.app.status import CANCELLED, ENDED, EXHAUSTED, FAILED, FINISHED, status_of
from kando.errors import AmbiguousName, LedgerNotFound
from kando.ledger.claims import Claim
from kando.ledger.inbox import InboxEntry
from kando.ledger.interface import LedgerStore
from kando.responders.tools import error_data
from kando.schema.events import (
    BOOKKEEPING,
    BRANCH_CREATED,
    ECHOED,
    LLM_RESPONSE,
    RUN_CANCELLED,
    RUN_ENDED,
    RUN_PAUSED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.schema.typed import to_json
from kando.views.pending import Pending, is_answer, track
from kando.views.spending import CHARGED, Accounts
from kando.world.projection import reproject

__all__ = [
    "CHILD_RUNS",
    "answer_of",
    "asking_run",
    "deliver_end",
    "is_open",
    "open_children",
    "parent_is_paused",
    "pause_key",
    "start_of",
    "stop_children",
    "waiting_children",
]

#: Name of the executor that answers ``run.requested``: the actor of the answers.
CHILD_RUNS = "child_runs"

#: Types of the errors with which a child run ends that has no result, by its state.
_ERRORS = {CANCELLED: "RunCancelled", FAILED: "RunFailed", EXHAUSTED: "RunExhausted"}


def open_children(run: OpenedRun) -> Iterator[OpenedRun]:
    """Yield the child runs that a run waits for and that have been started, in order."""
    stream = run.ledger.stream_name()
    for asked in run.status_fold(run.ledger.length()).children.values():
        if asked.run_id is None:
            child = opened_child(run.context, stream, asked.lineage_key)
            if child is not None:
                yield child


def waiting_children(run: OpenedRun) -> Iterator[OpenedRun]:
    """Yield the child runs that a run waits for and that have been started, each before its own."""
    for child in open_children(run):
        yield child
        yield from waiting_children(child)


def asking_run(run: OpenedRun, event_id: str) -> OpenedRun:
    """Return the run that an answer to a person's decision or question concerns.

    Args:
        run: that a person names.
        event_id: of the question: an event of the run, or of one of the child runs it waits for.

    Raises:
        AmbiguousName: several child runs have such an event.
    """
    if run.ledger.find(event_id) is not None:
        return run
    found = [each for each in waiting_children(run) if each.ledger.find(event_id) is not None]
    if len(found) > 1:
        msg = f"{len(found)} child runs of {run.id} have an event {event_id}."
        names = ", ".join(each.id for each in found)
        raise AmbiguousName(msg, hint=f"Name the child: one of {names}.")
    return found[0] if found else run


def stop_children(run: OpenedRun, stopped_by: InboxEntry) -> None:
    """Pause or cancel the child runs that a run waits for, and theirs, as the run itself.

    A child that no process works on is not paused: it does not work while its parent is paused.

    Args:
        run: opened for writing.
        stopped_by: the entry that pauses or cancels the run.
    """
    substrate = run.context.substrate(read_only=False)
    kind = stopped_by.event.type
    for child in open_children(run):
        claim = substrate.claim_of(child.id)
        if kind == RUN_PAUSED and (claim is None or not claim.is_live()):
            continue
        key = CANCEL_KEY if kind == RUN_CANCELLED else pause_key(stopped_by.event_id)
        entry = InboxEntry(key, make_event(kind, "", CHILD_RUNS, [], {}))
        substrate.deliver(child.id, entry)
        stop_children(child, entry)


def parent_is_paused(child: OpenedRun) -> bool:
    """Whether the run that started a child is paused; False for a run that no run started."""
    started = start_of(child)
    if started is None:
        return False
    parent, _ = started
    return parent.status_fold(parent.ledger.length()).halted_by == RUN_PAUSED or parent_is_paused(
        parent
    )


def pause_key(event_id: str) -> str:
    """Return the key of the entry that pauses a child because its parent was paused.

    Args:
        event_id: of the parent's ``run.paused``.
    """
    return f"{OWN_PREFIX}pause:{sha256(event_id.encode()).hexdigest()[:16]}"


def is_open(ledger: LedgerStore, intent: KandoEvent) -> bool:
    """Whether a request has no answer in a ledger."""
    recorded = ledger.find(intent.id)
    if recorded is None:
        return False
    pending: Pending[None] = Pending()
    for event in ledger.read(recorded.position):
        track(pending, event, None)
    return intent.id in pending.intents


def answer_of(
    child: OpenedRun, intent: KandoEvent, *, ignoring: Claim | None = None
) -> dict[str, Any] | None:
    """Return the data of the ``run.ended`` of a child run; None if it has not ended.

    Args:
        child: opened again after the last work on it.
        intent: that started it.
        ignoring: the caller's own claim on the child.
    """
    status = status_of(child, ignoring=ignoring)
    # Without its kit, a run that has only begun looks finished.
    if status.state not in ENDED or (status.state == FINISHED and child.kit is None):
        return None
    answer: dict[str, Any] = {name: intent.data[name] for name in ECHOED if name in intent.data}
    answer |= {"run_id": child.id, "state": status.state, **_account_of(child.ledger)}
    if status.state in _ERRORS:
        reason = status.problem or f"it was {status.state}"
        return answer | error_data(_ERRORS[status.state], f"Run {child.id}: {reason}")
    if status.got_no_answer:
        return answer | error_data("NoResult", f"Run {child.id}: {status.problem}")
    try:
        return answer | {"result": _result(child)}
    except (Exception, SystemExit) as error:
        return answer | error_data(type(error).__name__, str(error))


def _account_of(ledger: LedgerStore) -> dict[str, Any]:
    """Return the last event of a child, and what it has used without the shared part of a branch."""
    spent = before = Accounts()
    last_id = None
    for event in ledger.read_all():
        last_id = last_id if event.type in BOOKKEEPING else event.id
        if event.type == BRANCH_CREATED:
            before = spent
        elif event.type in CHARGED:
            spent = spent.apply(event)
    usage = spent.since(before)
    return {"last_event_id": last_id, "cost_usd": usage.pop("llm_cost_usd"), "usage": usage}


def _result(child: OpenedRun) -> Any:
    kit, ledger = child.require_kit(), child.current
    world = reproject(ledger)
    if kit.result_of is not None:
        return to_json(kit.result_of(world))
    if artifacts := artifacts_in(world):
        return artifacts[-1].text
    answers = (e for e in ledger.read_all() if e.type == LLM_RESPONSE and is_answer(e))
    texts = [event.text for event in answers if event.text]
    return texts[-1] if texts else None


def deliver_end(child: OpenedRun) -> str | None:
    """If a run is a child that has ended, put its end into the inbox of the run that waits for it.

    Args:
        child: opened again after the last work on it.

    Returns:
        The id of the run that started it, if there was something to deliver.
    """
    started = start_of(child)
    if started is None:
        return None
    parent, intent = started
    if not is_open(parent.ledger, intent) or (answer := answer_of(child, intent)) is None:
        return None
    event = make_event(RUN_ENDED, "", CHILD_RUNS, [intent.id], answer)
    substrate = child.context.substrate(read_only=False)
    substrate.deliver(parent.id, InboxEntry(answer_key(intent.id), event))
    return parent.id


def start_of(child: OpenedRun) -> tuple[OpenedRun, RecordedEvent] | None:
    """Return the run that started a child, and its request; None for any other run.

    A ledger may claim to be the child of any run: the id of a child must follow from both.
    """
    named = child.choices.started_by or {}
    parent_id, event_id = named.get("run_id"), named.get("event_id")
    if not isinstance(parent_id, str) or not isinstance(event_id, str):
        return None
    # The run may have been deleted, or never have been in this store.
    with suppress(LedgerNotFound):
        parent = OpenedRun(child.context, child.context.substrate().open(parent_id))
        intent = parent.ledger.find(event_id)
        stream = parent.ledger.stream_name()
        if intent is not None and child.id in child_ids_of(stream, intent.lineage_key):
            return parent, intent
    return None
