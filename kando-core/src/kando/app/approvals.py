"""Approvals: requests of runs to people, and the answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain, count
from typing import Any

import attrs

from kando.app.context import Context
from kando.app.inbox import OWN_PREFIX, Delivery, deliver
from kando.app.inspect import at_cursor, cursor_of, read_events
from kando.app.kits.find import kit_data
from kando.app.opened import OpenedRun
from kando.app.tool_servers import responders_of
from kando.cache.llm import LLMCache
from kando.errors import EventNotFound, InvalidData, LedgerDeleted, StoreDamaged
from kando.ledger.interface import LedgerStore
from kando.ledger.substrate import LedgerInfo
from kando.runtime import Runtime
from kando.schema.events import (
    APPROVAL_DENIED,
    APPROVAL_GRANTED,
    INBOX_REFUSED,
    RUN_CANCELLED,
    TOOL_CALLED,
    KandoEvent,
    make_event,
)
from kando.views.approvals import Approval, ApprovalsFold, all_approvals
from kando.views.questions import Question, track_questions

__all__ = [
    "Approval",
    "ApprovalPage",
    "RunApproval",
    "answer_approval",
    "approvals_in_store",
    "approvals_of",
    "waits_of",
]


@attrs.frozen
class RunApproval:
    """An approval that a run waits for.

    Attributes:
        run_id: of the run or branch.
        approval: what it asks.
        cursor: of a page that ends with it.
    """

    run_id: str
    approval: Approval
    cursor: str


@attrs.frozen
class ApprovalPage:
    """One page of the approvals that runs wait for; those of the newest run first.

    Attributes:
        items: the approvals; those of one run in the order of their requests.
        next_cursor: continues the list after this page; None on the last page.
        damaged: ids of runs that cannot be read, so that their approvals are unknown.
    """

    items: list[RunApproval] = attrs.field(factory=list)
    next_cursor: str | None = None
    damaged: list[str] = attrs.field(factory=list)

    def __iter__(self) -> Iterator[RunApproval]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def approvals_of(run: OpenedRun, end: int, *, decided: bool = False) -> list[Approval]:
    """Return the pending approvals, in the order of their requests.

    Args:
        run: the opened run.
        end: number of events of the run that count.
        decided: whether to return those that wait no more as well, with the decisions.
    """
    found = (
        all_approvals(read_events(run, end)) if decided else run.status_fold(end).approvals.open()
    )
    return [_with_call(run.ledger, each) for each in found]


def waits_of(run: OpenedRun, end: int) -> list[tuple[int, int | None, Approval | Question]]:
    """Return what waited for a person in the first `end` events of a run, and when.

    Returns:
        The number of events after which each approval or question was open, the number after which it
        no longer was, or None, and itself; approvals first. A question that was reminded of appears
        once for each state.
    """
    approvals, questions = ApprovalsFold(), dict[str, Question]()
    waiting: dict[str, tuple[int, Approval | Question]] = {}
    found: list[tuple[int, int | None, Approval | Question]] = []
    for number, event in enumerate(read_events(run, end), 1):
        approvals.observe(event)
        track_questions(questions, event)
        now: dict[str, Approval | Question] = {**approvals.waiting, **questions}
        for id in [id for id, (_, asked) in waiting.items() if now.get(id) is not asked]:
            start, asked = waiting.pop(id)
            found.append((start, number, asked))
        for id, asked in now.items():
            waiting.setdefault(id, (number, asked))
    found += [(start, None, asked) for start, asked in waiting.values()]
    first = {each.event_id: start for start, _, each in reversed(found)}
    found.sort(key=lambda each: (isinstance(each[2], Question), first[each[2].event_id], each[0]))
    return [
        (start, stop, _with_call(run.ledger, each) if isinstance(each, Approval) else each)
        for start, stop, each in found
    ]


def _with_call(ledger: LedgerStore, asked: Approval) -> Approval:
    """Return an approval with the tool and the arguments of the call that waits."""
    call = ledger.find(asked.intent) if asked.type == TOOL_CALLED and asked.intent else None
    if call is None:
        return asked
    tool, arguments = call.data.get("tool"), call.data.get("arguments")
    return attrs.evolve(asked, tool=tool if isinstance(tool, str) else None, arguments=arguments)


def approvals_in_store(context: Context, limit: int, cursor: str | None = None) -> ApprovalPage:
    """Return the approvals that runs and branches wait for; a cancelled run waits for none.

    Args:
        context: the plugins, the settings and the substrate.
        limit: maximum number of approvals.
        cursor: `ApprovalPage.next_cursor` of the previous page, which names its last approval;
            what has been asked, decided or deleted since then does not shift the pages.

    Raises:
        ConfigurationError: the cursor is malformed.
    """
    page = ApprovalPage()
    for info, after in _runs_after(context, cursor):
        try:
            waiting = _waiting_in(context, info, after, limit - len(page) + 1)
        except LedgerDeleted:
            # Since the ledgers were listed.
            continue
        except StoreDamaged:
            page.damaged.append(info.id)
            continue
        for each in waiting:
            if len(page) == limit:
                return attrs.evolve(page, next_cursor=page.items[-1].cursor)
            named = f"{cursor_of(info)}:{each.event_id}"
            page.items.append(RunApproval(info.id, each, named))
    return page


def _runs_after(context: Context, cursor: str | None) -> Iterator[tuple[LedgerInfo, str | None]]:
    """Yield the runs from the one that a cursor names, which also names the last approval shown."""
    ledgers: Iterable[LedgerInfo] = context.substrate().ledgers()
    if cursor is not None:
        named, _, event_id = cursor.partition(":")
        info, ledgers = at_cursor(ledgers, named)
        if info is not None:
            yield info, event_id
    for info in ledgers:
        yield info, None


def _waiting_in(
    context: Context, info: LedgerInfo, after: str | None, limit: int
) -> list[Approval]:
    run = OpenedRun(context, context.substrate().open(info.id))
    fold = run.status_fold(info.length)
    if fold.halted_by == RUN_CANCELLED:
        return []
    waiting = fold.approvals.open()
    if after is not None:
        # The run may have been deleted and imported again: then all of its approvals come.
        start = _position(run, after)
        waiting = [each for each in waiting if _position(run, each.event_id) > start]
    return [_with_call(run.ledger, each) for each in waiting[:limit]]


def _position(run: OpenedRun, event_id: str) -> int:
    event = run.ledger.find(event_id)
    return -1 if event is None else event.position


def answer_approval(
    run: OpenedRun,
    event_id: str,
    approved: bool,
    reason: str | None = None,
    *,
    arguments: dict[str, Any] | None = None,
    by: str = "cli",
) -> Delivery:
    """Grant or deny a pending approval; the process that works on the run records the answer.

    The first answer counts; later ones are ignored.

    Args:
        run: opened for writing.
        event_id: id of the ``approval.requested``, of the call that waits, or of an object that is
            held back.
        approved: whether the approval is granted.
        reason: of a denial; the responder that asked receives it.
        arguments: all arguments that a tool is called with, instead of those that were asked for.
        by: who decides: the actor of the event.

    Raises:
        EventNotFound: no approval is pending under this id.
        InvalidData: its deadline has passed, the arguments cannot be used, or `by` is empty.
        UnknownPlugin: the arguments cannot be checked because the kit of the run is not installed.
    """
    asked = _pending(run, event_id)
    if asked.expires_at is not None and asked.expires_at <= datetime.now(UTC):
        msg = f"The deadline of {asked.event_id} was {asked.expires_at:%Y-%m-%d %H:%M:%S %Z}."
        raise InvalidData(msg, hint=f"`kando resume {run.id}` records that it is denied.")
    if not by.strip():
        msg = "The name of the person who decides is empty."
        raise InvalidData(msg, hint="Pass a name, such as ann.")
    data: dict[str, Any] = {"approval": asked.event_id} | ({"reason": reason} if reason else {})
    kind = APPROVAL_GRANTED if approved else APPROVAL_DENIED
    if arguments is not None:
        data["arguments"] = arguments
    event = make_event(kind, "", by, [asked.event_id], data)
    if arguments is not None:
        _check(run, event)
    return deliver(run, event, _key(run, asked))


def _pending(run: OpenedRun, event_id: str) -> Approval:
    known = [
        each
        for each in approvals_of(run, run.ledger.length(), decided=True)
        if _concerns(each, event_id)
    ]
    pending = next((each for each in known if each.is_open), None)
    if pending is not None:
        return pending
    decision = known[-1].decision if known else None
    how = f": it was {decision.text()}" if decision is not None else ""
    msg = f"{run.ledger.stream_name()} has no pending approval {event_id!r}{how}."
    raise EventNotFound(msg, hint=f"`kando approvals {run.id}` lists them.")


def _check(run: OpenedRun, decision: KandoEvent) -> None:
    """Refuse a decision that the run would refuse to record."""
    kit, steps = run.require_kit(), run.context.plugins.upcasters()
    Runtime(
        run.ledger,
        responders_of(kit, run.choices.kit),
        cache=LLMCache(max_entries=0),
        kits=[kit],
        edge_logic=(),
        kit_loaded=kit_data(kit),
        upcasters=steps,
        snapshots=run.snapshots(),
    ).check(decision)


def _key(run: OpenedRun, asked: Approval) -> str:
    """Return the key of a decision: the first one counts, unless the run has refused it."""
    key = f"{OWN_PREFIX}decision:{asked.event_id}"
    refused = {e.data.get("key") for e in run.ledger.read_all() if e.type == INBOX_REFUSED}
    attempts = chain([key], (f"{key}:{n}" for n in count(1)))
    return next(each for each in attempts if each not in refused)


def _concerns(asked: Approval, event_id: str) -> bool:
    objects = [held["data"].get("id") for held in asked.held]
    return event_id in (asked.event_id, asked.intent, *objects)
