"""Complete an event for its position in a ledger: id, source, lineage key, encoded data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC

import attrs

from kando.errors import InvalidData
from kando.schema.events import KandoEvent, RecordedEvent, make_recorded_event
from kando.schema.exact_json import encode
from kando.schema.identity import default_event_id, root_key
from kando.schema.parts import Chains, has_references, split, whole_encoded

__all__ = ["complete", "complete_all"]


def complete_all(
    events: Iterable[KandoEvent],
    start: int,
    source: str,
    heads: Callable[[], int],
    *,
    keeps_blobs: bool = False,
) -> list[RecordedEvent]:
    """Return events as recorded from position `start` on; complete ones are not changed.

    Args:
        events: as their authors made them, or complete.
        start: position of the first of them.
        source: identity of the ledger.
        heads: returns the number of branch heads before them; called only if it is needed.
        keeps_blobs: as for `complete`.

    Raises:
        InvalidData: as for `complete`.
    """
    recorded: list[RecordedEvent] = []
    known: int | None = None
    for position, event in enumerate(events, start):
        if (
            isinstance(event, RecordedEvent)
            and event.position == position
            and (keeps_blobs or not has_references(event.encoded))
        ):
            recorded.append(event)
        else:
            known = heads() if known is None else known
            recorded.append(complete(event, position, source, known, keeps_blobs=keeps_blobs))
    return recorded


def complete(
    event: KandoEvent, position: int, source: str, heads: int = 0, *, keeps_blobs: bool = False
) -> RecordedEvent:
    """Return `event` as recorded at `position` of the ledger `source`.

    The runtime completes its events itself; this serves callers that append to a ledger
    directly. The event keeps its id, actor, causes and timestamp; its lineage key is that of a
    root with its id or data, made unique by its position.

    Args:
        event: as its author made it.
        position: in the ledger.
        source: identity of the ledger.
        heads: number of branch heads before it (see `default_event_id`).
        keeps_blobs: whether the store keeps the parts of events (see `LedgerStore`). If not, the
            encoding of the event is whole.

    Raises:
        InvalidData: its data is not a JSON object, its timestamp has no equivalent in UTC, or
            its text is not valid Unicode.
    """
    if isinstance(event, RecordedEvent):
        if has_references(event.encoded) and not keeps_blobs:
            event = attrs.evolve(event, encoded=whole_encoded(event.data, event.encoded))
        return attrs.evolve(event, position=position) if event.position != position else event
    _check_moment(event)
    encode([event.id, event.type, event.source, event.actor, event.cause], "the event")
    data, encoded, parts = split(event.data, Chains())
    if not isinstance(data, dict):
        msg = f"The data of a {event.type!r} event is {data!r:.60}."
        raise InvalidData(msg, hint="Event data must be a JSON object.")
    whole = whole_encoded(data, encoded)
    return make_recorded_event(
        event.id or default_event_id(event.type, position, heads),
        event.type,
        event.source or source,
        event.actor,
        list(event.cause),
        event.timestamp,
        data,
        position,
        root_key(event.type, event.id.encode() or whole, position),
        encoded if keeps_blobs else whole,
        parts=parts,
    )


def _check_moment(event: KandoEvent) -> None:
    try:
        if event.timestamp.utcoffset() is not None:
            event.timestamp.astimezone(UTC)
            return
    except OverflowError:
        pass
    msg = f"The timestamp {event.timestamp} of a {event.type!r} event cannot be converted to UTC."
    raise InvalidData(msg, hint="Give it a time zone, as in datetime.now(UTC).")
