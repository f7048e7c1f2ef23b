"""Say something to a run from outside: its owner, or the next one, records it."""

from __future__ import annotations

import secrets
from typing import Any

import attrs

from kando.app.context import App, id_of
from kando.errors import InvalidData
from kando.ledger.inbox import InboxEntry
from kando.ledger.substrate import Substrate
from kando.schema.events import RUN_CANCELLED, RUN_PAUSED, KandoEvent, make_event

__all__ = [
    "Delivery",
    "SubstrateInbox",
    "answer_key",
    "cancel_run",
    "check_type",
    "deliver",
    "intent_of",
    "pause_run",
    "send_event",
]

# What a key begins with under which a worker delivers an answer.
_ANSWER = "answer:"

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


@attrs.frozen
class Delivery:
    """What was put into an inbox.

    Attributes:
        run_id: of the run or branch.
        key: under which it was delivered.
        is_new: False if the key was delivered before, so that nothing was put in.
    """

    run_id: str
    key: str
    is_new: bool


def answer_key(intent_id: str) -> str:
    """Return the key under which a worker delivers the answer to an intent."""
    return f"{_ANSWER}{intent_id}"


def intent_of(entry: InboxEntry) -> str | None:
    """Return the id of the intent that an entry answers, or None if it answers none."""
    return entry.key.removeprefix(_ANSWER) if entry.key.startswith(_ANSWER) else None


@attrs.frozen
class SubstrateInbox:
    """The inbox of one ledger, as its runtime wants it."""

    substrate: Substrate
    ledger_id: str

    def entries(self) -> list[InboxEntry]:
        """Return what was delivered and not taken yet, in order.

        Answers of workers are left out: they are recorded as their intents' turns come.
        """
        waiting = self.substrate.inbox(self.ledger_id)
        return [entry for entry in waiting if intent_of(entry) is None]

    def take(self, key: str) -> None:
        """Mark an entry as taken."""
        self.substrate.take(self.ledger_id, key)


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
    if key is not None and key.startswith(_ANSWER):
        msg = f"The key {key!r} is for the answers of workers."
        raise InvalidData(msg, hint=f"Choose one that does not begin with {_ANSWER!r}.")
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


def deliver(app: App, run: str, event: KandoEvent, key: str | None) -> Delivery:
    """Put an event of any type into a run's inbox.

    Raises:
        LedgerNotFound, AmbiguousName: there is no such run.
    """
    ledger_id = id_of(app.ledger(run, read_only=False))
    entry = InboxEntry(key or secrets.token_hex(8), event)
    is_new = app.substrate(read_only=False).deliver(ledger_id, entry)
    return Delivery(ledger_id, entry.key, is_new)
