"""Say something to a run from outside: its owner, or the next one, records it."""

from __future__ import annotations

from typing import Any

from kando.app.context import App
from kando.app.inbox import ANSWER_PREFIX, Delivery, deliver
from kando.errors import InvalidData
from kando.schema.events import RUN_CANCELLED, RUN_PAUSED, make_event

__all__ = ["cancel_run", "check_type", "pause_run", "send_event"]

#: What the runtime alone may say about itself.
_RESERVED = (
    "responder.",
    "branch.",
    "budget.",
    "kit.",
    "inbox.",
    "run.",
    "approval.",
    "timer.fired",
)


def send_event(
    app: App,
    run: str,
    type: str,
    data: dict[str, Any],
    *,
    cause: list[str] | None = None,
    key: str | None = None,
    actor: str = "cli",
) -> Delivery:
    """Put an event into a run's inbox.

    Args:
        app: where.
        run: an id, a unique prefix, or ``@last``.
        type: of the event.
        data: a JSON object.
        cause: ids of events of the run that it follows from.
        key: what is sent again under the same key is ignored; a new one if None.
        actor: who says it.

    Raises:
        LedgerNotFound, AmbiguousName: there is no such run.
        InvalidData: type or key are the runtime's own, or the data is not JSON.
    """
    if key is not None and key.startswith(ANSWER_PREFIX):
        msg = f"The key {key!r} is for the answers of workers."
        raise InvalidData(msg, hint=f"Choose one that does not begin with {ANSWER_PREFIX!r}.")
    return deliver(app, run, make_event(check_type(type), "", actor, cause or [], data), key)


def check_type(type: str) -> str:
    """Return the type of an event that somebody outside may put into a run, or refuse it.

    Raises:
        InvalidData: it is empty, or the runtime's own.
    """
    if type and not type.startswith(_RESERVED):
        return type
    msg = f"Events of type {type!r} cannot be sent to a run."
    raise InvalidData(msg, hint="Choose a type of your own, or object.created and the like.")


def pause_run(app: App, run: str) -> Delivery:
    """Have a run stop after the firing it is at; resuming it goes on.

    Raises:
        LedgerNotFound, AmbiguousName: there is no such run.
    """
    return deliver(app, run, make_event(RUN_PAUSED, "", "cli", [], {}), None)


def cancel_run(app: App, run: str) -> Delivery:
    """Have a run stop after the firing it is at, for good; it can still be forked.

    Raises:
        LedgerNotFound, AmbiguousName: there is no such run.
    """
    return deliver(app, run, make_event(RUN_CANCELLED, "", "cli", [], {}), "cancel")
