"""The inbox of a run: durable entries that wait until the run's process records them."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Any

import attrs

from kando.app.entries import (
    OWN_PREFIX,
    answer_key,
    failure_key,
    intent_of,
)
from kando.app.opened import OpenedRun
from kando.ledger.groups import Job
from kando.ledger.inbox import InboxEntry
from kando.ledger.substrate import Substrate
from kando.runtime.inbox import Inbox
from kando.schema.events import KandoEvent

__all__ = [
    "OWN_PREFIX",
    "Delivery",
    "SubstrateInbox",
    "answer_key",
    "deliver",
    "failure_key",
    "intent_of",
]


@attrs.frozen
class Delivery:
    """The result of a delivery to an inbox.

    Attributes:
        run_id: of the run or branch.
        key: idempotency key of the entry.
        is_new: False if an entry with this key was delivered before; this one is then ignored.
    """

    run_id: str
    key: str
    is_new: bool


class SubstrateInbox(Inbox):
    """The inbox of one ledger, in its substrate.

    Args:
        substrate: that contains it.
        ledger_id: of the run or branch.
    """

    is_durable = True

    def __init__(self, substrate: Substrate, ledger_id: str) -> None:
        super().__init__()
        self.substrate = substrate
        self.ledger_id = ledger_id

    def entries(self) -> list[InboxEntry]:
        """Return the unread entries, in order.

        Answers of workers are left out: each is recorded when it is its intent's turn.
        """
        return [entry for entry in self._read() if intent_of(entry) is None]

    def take(self, key: str) -> None:
        """Mark an entry as taken."""
        self.substrate.acknowledge(self.ledger_id, key)

    def answers(self) -> dict[str, dict[str, Any]]:
        """Return the data of the answers that were delivered and not yet taken, by intent."""
        self._read()
        return self._answers

    def _read(self) -> list[InboxEntry]:
        entries = self.substrate.inbox(self.ledger_id)
        found = ((intent_of(entry), entry.event.data) for entry in entries)
        self._answers = {intent: data for intent, data in found if intent is not None}
        return entries

    def keep(self, intent_id: str, answer: KandoEvent) -> None:
        """Deliver the answer of a call; the first one to an intent counts."""
        self.substrate.deliver(self.ledger_id, InboxEntry(answer_key(intent_id), answer))

    def is_answered_before(self, intent_id: str, key: str) -> bool:
        """Whether the answer of a call was delivered before the entry with a key."""
        keys = [entry.key for entry in self.substrate.inbox(self.ledger_id)]
        answer = answer_key(intent_id)
        return answer in keys and key in keys and keys.index(answer) < keys.index(key)

    def drop_answers(self, open_intents: Collection[str]) -> None:
        """Take the answers whose intents are no longer open."""
        for entry in self.substrate.inbox(self.ledger_id):
            intent = intent_of(entry)
            if intent is not None and intent not in open_intents:
                # Only this process reads answers, and it knows which intents are answered.
                self.substrate.acknowledge_soon(self.ledger_id, entry.key)


def deliver(run: OpenedRun, event: KandoEvent, key: str | None) -> Delivery:
    """Put an event of any type into the inbox of a run, and wake the workers of its group.

    The group is that whose worker worked on the run last; none if another process did.

    Args:
        run: opened for writing.
        event: to deliver.
        key: idempotency key: a second event with the same key is ignored; a new one if None.
    """
    entry = InboxEntry(key or secrets.token_hex(8), event)
    substrate = run.context.substrate(read_only=False)
    is_new = substrate.deliver(run.id, entry)
    last = substrate.last_claim(run.id)
    if last is not None and last.worker.group:
        # Also for an entry that was delivered before: its sender may have died at this point.
        substrate.group(last.worker.group).offer(Job(run.id))
    return Delivery(run.id, entry.key, is_new)
