"""What reaches a run from outside while it works: its inbox."""

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

__all__ = ["AFTER", "Inbox", "marked", "refusal"]

#: Key of ``observed`` under which an event from outside tells which firing was the last before it,
#: if that firing left no other sign.
AFTER = "after"


class Inbox(Protocol):
    """Where others put what they want to say to a run; the owner of the ledger records it."""

    def entries(self) -> Sequence[InboxEntry]:
        """Return what was delivered and not taken yet, in order."""

    def take(self, key: str) -> None:
        """Mark an entry as taken; it is recorded."""


def marked(event: KandoEvent, silent: tuple[str, str] | None) -> KandoEvent:
    """Return an event from outside with the place of the cursor noted in it, if it must be.

    A resumed run then fires nothing again that was fired before this event was there.

    Args:
        event: as its author made it.
        silent: trigger and responder of the last firing, if it emitted nothing.
    """
    observed = event.data.get(OBSERVED) if isinstance(event.data, dict) else None
    noted = dict(observed) if isinstance(observed, dict) else {}
    # Only the runtime says where its cursor was.
    was_noted = noted.pop(AFTER, None) is not None
    if silent is not None:
        noted[AFTER] = list(silent)
    elif not was_noted:
        return event
    data = {name: value for name, value in event.data.items() if name != OBSERVED}
    return attrs.evolve(event, data=data | ({OBSERVED: noted} if noted else {}))


def refusal(entry: InboxEntry, error: RefusedEvent) -> KandoEvent:
    """Return the event that tells that an entry could not be recorded, and why."""
    data = {"key": entry.key, "type": entry.event.type, "reason": error.message}
    refused = make_event(INBOX_REFUSED, "", entry.event.actor, [], data)
    return attrs.evolve(refused, id=entry.event_id)
