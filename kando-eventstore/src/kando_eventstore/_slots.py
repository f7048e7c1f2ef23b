"""Slots: one stream per lane, whose last event lists the slots that are taken."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from kando.ledger.claims import Slot, Worker, has_room, new_slot
from kando_eventstore._streams import NO_EVENTS, NewEvent, Streams

__all__ = ["Slots"]

_CHANGED = "slots.changed"


class Slots:
    """The slots of a server's lanes.

    Args:
        streams: of the server.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def acquire(
        self, lane: str, limit: float, worker: Worker, seconds: float, weight: float = 1.0
    ) -> Slot | None:
        """Acquire a slot; see `kando.ledger.substrate.Substrate.acquire_slot`."""
        while True:
            taken, revision = self._taken(lane)
            live = [slot for slot in taken if slot.is_live()]
            if not has_room(live, limit, weight):
                return None
            slot = new_slot(lane, worker, seconds, weight)
            if self._append(lane, [*live, slot], revision):
                return slot

    def replace(self, slot: Slot, by: Slot | None) -> bool:
        """Store a slot anew, or remove it; return False if it is not among the slots taken."""
        while True:
            taken, revision = self._taken(slot.lane)
            others = [each for each in taken if each.token != slot.token]
            if len(others) == len(taken):
                return False
            if self._append(slot.lane, others if by is None else [*others, by], revision):
                return True

    def remove(self, lane: str) -> None:
        """Remove all slots of a lane."""
        while True:
            taken, revision = self._taken(lane)
            if not taken or self._append(lane, [], revision):
                return

    def live(self, lane: str) -> list[Slot]:
        """Return the live slots of a lane."""
        return [slot for slot in self._taken(lane)[0] if slot.is_live()]

    def _taken(self, lane: str) -> tuple[list[Slot], int]:
        last = self._streams.last(_stream(lane))
        if last is None:
            return [], NO_EVENTS
        return msgspec.json.decode(last.data, type=list[Slot]), last.revision

    def _append(self, lane: str, slots: list[Slot], revision: int) -> bool:
        stream = _stream(lane)
        if revision == NO_EVENTS:
            self._streams.keep_last(stream)
        changed = NewEvent(_CHANGED, msgspec.json.encode(slots))
        return self._streams.append(stream, [changed], after=revision)


def _stream(lane: str) -> str:
    return f"slots:{sha256(lane.encode()).hexdigest()}"
