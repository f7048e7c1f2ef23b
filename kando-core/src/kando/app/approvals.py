"""Approvals: requests of a run to a person, and the answers."""

from __future__ import annotations

from kando.app.inbox import OWN_PREFIX, Delivery, deliver
from kando.app.opened import OpenedRun
from kando.errors import EventNotFound
from kando.schema.events import APPROVAL_DENIED, APPROVAL_GRANTED, make_event
from kando.views.approvals import Approval, open_approvals

__all__ = ["Approval", "answer_approval", "approvals_of"]


def approvals_of(run: OpenedRun) -> list[Approval]:
    """Return the pending approvals, in the order of their requests."""
    return open_approvals(run.ledger.read_all())


def answer_approval(
    run: OpenedRun,
    event_id: str,
    approved: bool,
    reason: str | None = None,
    *,
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
        by: who decides: the actor of the event.

    Raises:
        EventNotFound: no approval is pending under this id.
    """
    asked = next((each for each in approvals_of(run) if _concerns(each, event_id)), None)
    if asked is None:
        msg = f"{run.ledger.stream_name()} has no pending approval {event_id!r}."
        raise EventNotFound(msg, hint=f"`kando approvals {run.id}` lists them.")
    data = {"approval": asked.event_id} | ({"reason": reason} if reason else {})
    kind = APPROVAL_GRANTED if approved else APPROVAL_DENIED
    event = make_event(kind, "", by, [asked.event_id], data)
    return deliver(run, event, f"{OWN_PREFIX}decision:{asked.event_id}")


def _concerns(asked: Approval, event_id: str) -> bool:
    objects = [held["data"].get("id") for held in asked.held]
    return event_id in (asked.event_id, asked.intent, *objects)
