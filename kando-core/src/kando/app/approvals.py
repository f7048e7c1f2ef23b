"""Approvals: what a run asks a person, and the answers."""

from __future__ import annotations

from kando.app.inbox import OWN_PREFIX, Delivery, deliver
from kando.app.opened import OpenedRun
from kando.errors import EventNotFound
from kando.schema.events import APPROVAL_DENIED, APPROVAL_GRANTED, make_event
from kando.views.approvals import Approval, open_approvals

__all__ = ["Approval", "answer_approval", "approvals_of"]


def approvals_of(run: OpenedRun) -> list[Approval]:
    """Return what waits for a person, in the order in which it was asked."""
    return open_approvals(run.ledger.read_all())


def answer_approval(
    run: OpenedRun,
    event_id: str,
    approved: bool,
    reason: str | None = None,
    *,
    by: str = "cli",
) -> Delivery:
    """Approve or deny what waits for a person; the owner of the run records it, once.

    The first answer counts; later ones are ignored.

    Args:
        run: opened for writing.
        event_id: of the ``approval.requested``, or of the call that waits, or the id of an object
            that is held back.
        approved: whether it may happen.
        reason: of a denial; the responder that asked receives it.
        by: who decides: the actor of the event.

    Raises:
        EventNotFound: nothing waits under this id.
    """
    asked = next((each for each in approvals_of(run) if _is_meant(each, event_id)), None)
    if asked is None:
        msg = f"Nothing waits for a person under {event_id!r}."
        raise EventNotFound(msg, hint="`kando approvals RUN` lists what does.")
    data = {"approval": asked.event_id} | ({"reason": reason} if reason else {})
    kind = APPROVAL_GRANTED if approved else APPROVAL_DENIED
    event = make_event(kind, "", by, [asked.event_id], data)
    return deliver(run, event, f"{OWN_PREFIX}decision:{asked.event_id}")


def _is_meant(asked: Approval, event_id: str) -> bool:
    objects = [held["data"].get("id") for held in asked.held]
    return event_id in (asked.event_id, asked.intent, *objects)
