"""The inbox: messages that reach a run from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs

from kando.errors import RefusedEvent
from kando.ledger.inbox import InboxEntry
from kando.schema.events import (
    INBOX_REFUSED,
    OBSERVED,
    KandoEvent,
    make_event,
)

__all__ = ["AFTER", "Inbox", "refusal_event", "with_place"]

#: Key of ``observed`` under which an external event notes the firing before it, if that firing emitted
#: nothing and so is not in the ledger.
AFTER = "after"


class Inbox(Protocol):
    """Messages that other processes deliver to a run; the owner of the ledger records them."""

    def entries(self) -> Sequence[InboxEntry]:
        """Return the entries that were delivered and not yet taken, in order."""

    def take(self, key: str) -> None:
        """Mark an entry as taken, after it is recorded."""


def with_place(event: KandoEvent, silent: tuple[str, str] | None) -> KandoEvent:
    """Return an external event with a note of the cursor's place, if the ledger does not show it.

    So a resumed run does not repeat firings that happened before this event.

    Args:
        event: as its author made it.
        silent: trigger and responder of the last firing, if it emitted nothing.
    """
    observed = event.data.get(OBSERVED) if isinstance(event.data, dict) else None
    noted = dict(observed) if isinstance(observed, dict) else {}
    # Only the runtime may note the place of its cursor.
    was_noted = noted.pop(AFTER, None) is not None
    if silent is not None:
        noted[AFTER] = list(silent)
    elif not was_noted:
        return event
    data = {name: value for name, value in event.data.items() if name != OBSERVED}
    return attrs.evolve(event, data=data | ({OBSERVED: noted} if noted else {}))


def refusal_event(entry: InboxEntry, error: RefusedEvent) -> KandoEvent:
    """Return the event that reports why an entry could not be recorded."""
    data = {"key": entry.key, "type": entry.event.type, "reason": error.message}
    refused = make_event(INBOX_REFUSED, "", entry.event.actor, [], data)
    return attrs.evolve(refused, id=entry.event_id)
