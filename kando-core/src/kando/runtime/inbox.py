"""The inbox: messages that reach a run from outside."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs

from kando.errors import RefusedEvent
from kando.ledger.inbox import InboxEntry
from kando.runtime.cursor import AFTER
from kando.schema.events import (
    INBOX_REFUSED,
    OBSERVED,
    KandoEvent,
    make_event,
)

__all__ = ["Inbox", "refusal_event", "with_place"]


class Inbox:
    """The messages that other processes deliver to a run; the owner of the ledger records them.

    This one is of the process alone: nothing is delivered to it from outside, and what it keeps ends
    with the process. `kando.app.inbox.SubstrateInbox` is durable.

    Attributes:
        is_durable: whether what is kept outlives the process.
    """

    is_durable = False

    def __init__(self) -> None:
        self._answers: dict[str, dict[str, Any]] = {}

    def entries(self) -> Sequence[InboxEntry]:
        """Return the entries that were delivered and not yet taken, in order, without answers."""
        return ()

    def take(self, key: str) -> None:
        """Mark an entry as taken, after it is recorded."""

    def answers(self) -> Mapping[str, dict[str, Any]]:
        """Return the data of the answers that were delivered and not yet taken, by intent."""
        return self._answers

    def known_answers(self) -> Mapping[str, dict[str, Any]]:
        """Return what `answers` returned when the inbox was read last, for entries or for answers."""
        return self._answers

    def keep(self, intent_id: str, answer: KandoEvent) -> None:
        """Deliver the answer of a call, until its turn comes to be recorded.

        The first answer to an intent counts; a later one is ignored.
        """
        self._answers.setdefault(intent_id, answer.data)

    def is_answered_before(self, intent_id: str, key: str) -> bool:
        """Whether the answer of a call was delivered before the entry with a key."""
        return False

    def drop_answers(self, open_intents: Collection[str]) -> None:
        """Take the answers whose intents are not open any more: they are recorded, or in vain."""
        for intent_id in [each for each in self._answers if each not in open_intents]:
            del self._answers[intent_id]


def with_place(event: KandoEvent, silent: tuple[str, list[str]] | None) -> KandoEvent:
    """Return an external event with a note of the cursor's place, if the ledger does not show it.

    So a resumed run does not repeat firings that happened before this event.

    Args:
        event: as its author made it.
        silent: trigger and responders of the last firings, if they emitted nothing.
    """
    observed = event.data.get(OBSERVED) if isinstance(event.data, dict) else None
    noted = dict(observed) if isinstance(observed, dict) else {}
    # Only the runtime may note the place of its cursor.
    was_noted = noted.pop(AFTER, None) is not None
    if silent is not None:
        noted[AFTER] = [silent[0], [*silent[1]]]
    elif not was_noted:
        return event
    data = {name: value for name, value in event.data.items() if name != OBSERVED}
    return attrs.evolve(event, data=data | ({OBSERVED: noted} if noted else {}))


def refusal_event(entry: InboxEntry, error: RefusedEvent) -> KandoEvent:
    """Return the event that reports why an entry could not be recorded."""
    data = {"key": entry.key, "type": entry.event.type, "reason": error.message}
    refused = make_event(INBOX_REFUSED, "", entry.event.actor, [], data)
    return attrs.evolve(refused, id=entry.event_id)
