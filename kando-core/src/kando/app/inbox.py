"""The inbox of a run: what is delivered to it, durably, until its owner records it."""

from __future__ import annotations

import secrets

import attrs

from kando.app.opened import OpenedRun
from kando.ledger.inbox import InboxEntry
from kando.ledger.substrate import Substrate
from kando.schema.events import KandoEvent

__all__ = ["ANSWER_PREFIX", "Delivery", "SubstrateInbox", "answer_key", "deliver", "intent_of"]

# What a key begins with under which a worker delivers an answer.
ANSWER_PREFIX = "answer:"


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
    return f"{ANSWER_PREFIX}{intent_id}"


def intent_of(entry: InboxEntry) -> str | None:
    """Return the id of the intent that an entry answers, or None if it answers none."""
    return entry.key.removeprefix(ANSWER_PREFIX) if entry.key.startswith(ANSWER_PREFIX) else None


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
        self.substrate.acknowledge(self.ledger_id, key)


def deliver(run: OpenedRun, event: KandoEvent, key: str | None) -> Delivery:
    """Put an event of any type into the inbox of a run that is opened for writing.

    Args:
        run: the opened run.
        event: what is delivered.
        key: idempotency key: a second event with the same key is ignored; a new one if None.
    """
    entry = InboxEntry(key or secrets.token_hex(8), event)
    is_new = run.context.substrate(read_only=False).deliver(run.id, entry)
    return Delivery(run.id, entry.key, is_new)
