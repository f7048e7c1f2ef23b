"""Approvals: requests of runs to people, and the answers."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain, count
from typing import Any

from kando.app.inbox import OWN_PREFIX, Delivery, deliver
from kando.app.opened import OpenedRun
from kando.errors import EventNotFound, InvalidData
from kando.runtime import Runtime
from kando.schema.events import (
    APPROVAL_DENIED,
    APPROVAL_GRANTED,
    INBOX_REFUSED,
    KandoEvent,
    make_event,
)
from kando.views.approvals import Approval, all_approvals, open_approvals

__all__ = [
    "Approval",
    "answer_approval",
    "approvals_of",
]


def approvals_of(run: OpenedRun, *, decided: bool = False) -> list[Approval]:
    """Return the pending approvals, in the order of their requests.

    Args:
        run: the opened run.
        decided: whether to return those that wait no more as well, with the decisions.
    """
    read = all_approvals if decided else open_approvals
    return read(run.ledger.read_all())


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
    known = [each for each in approvals_of(run, decided=True) if _concerns(each, event_id)]
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
    Runtime(run.ledger, kit.create(), kits=[kit], edge_logic=(), upcasters=steps).check(decision)


def _key(run: OpenedRun, asked: Approval) -> str:
    """Return the key of a decision: the first one counts, unless the run has refused it."""
    key = f"{OWN_PREFIX}decision:{asked.event_id}"
    refused = {e.data.get("key") for e in run.ledger.read_all() if e.type == INBOX_REFUSED}
    attempts = chain([key], (f"{key}:{n}" for n in count(1)))
    return next(each for each in attempts if each not in refused)


def _concerns(asked: Approval, event_id: str) -> bool:
    objects = [held["data"].get("id") for held in asked.held]
    return event_id in (asked.event_id, asked.intent, *objects)
