"""Approvals: what a run asks a person, and the answers."""

from __future__ import annotations

from kando.app.context import App
from kando.app.inbox import Delivery, deliver
from kando.errors import EventNotFound
from kando.schema.events import APPROVAL_DENIED, APPROVAL_GRANTED, make_event
from kando.views.approvals import Approval, open_approvals

__all__ = ["Approval", "answer_approval", "approvals"]


def approvals(app: App, run: str) -> list[Approval]:
    """Return what waits for a person, in the order in which it was asked.

    Args:
        app: where.
        run: an id, a unique prefix, or ``@last``.

    Raises:
        LedgerNotFound, AmbiguousName: there is no such run.
    """
    return open_approvals(app.ledger(run).read_all())


def answer_approval(
    app: App, run: str, event_id: str, approved: bool, reason: str | None = None
) -> Delivery:
    """Approve or deny what waits for a person; whoever works on the run records it, once.

    The first answer counts. What was answered before is ignored, whatever the second answer says.

    Args:
        app: where.
        run: an id, a unique prefix, or ``@last``.
        event_id: of the ``approval.requested``, or of the call that waits, or the id of an object
            that is held back.
        approved: whether it may happen.
        reason: told to whoever asked, if it may not.

    Raises:
        LedgerNotFound, AmbiguousName: there is no such run.
        EventNotFound: nothing waits under this id.
    """
    asked = next((each for each in approvals(app, run) if _is_meant(each, event_id)), None)
    if asked is None:
        msg = f"Nothing waits for a person under {event_id!r}."
        raise EventNotFound(msg, hint="`kando approvals RUN` lists what does.")
    data = {"approval": asked.event_id} | ({"reason": reason} if reason else {})
    kind = APPROVAL_GRANTED if approved else APPROVAL_DENIED
    event = make_event(kind, "", "cli", [asked.event_id], data)
    return deliver(app, run, event, f"answer to {asked.event_id}")


def _is_meant(asked: Approval, event_id: str) -> bool:
    objects = [held["data"].get("id") for held in asked.held]
    return event_id in (asked.event_id, asked.intent, *objects)
