"""Rows of the table of events: how an event is stored, and read back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import msgspec

from kando.errors import InvalidData, StoreDamaged
from kando.ledger.chain import link
from kando.schema.events import RecordedEvent
from kando.schema.exact_json import encode
from kando.schema.identity import default_event_id

__all__ = ["COLUMNS", "INSERT", "Segment", "events_of", "microseconds", "moment_of", "rows_of"]

#: What an event is read from.
COLUMNS = "address, id, type, source, actor, cause, at_us, key, version, body"

INSERT = f"INSERT INTO events ({COLUMNS}, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_POSITION_MASK = 2**32 - 1

_decode_cause = msgspec.json.Decoder(list[str]).decode
_decode_data = msgspec.json.Decoder(dict[str, Any]).decode


def microseconds(at: datetime) -> int:
    """Return a time as microseconds since 1970 in UTC."""
    return (at - _EPOCH) // _MICROSECOND


def moment_of(at_us: int) -> datetime:
    """Return the time that `microseconds` made a number of."""
    return _EPOCH + timedelta(microseconds=at_us)


@attrs.frozen
class Segment:
    """A stretch of a ledger that one row of the table of ledgers owns.

    Attributes:
        base: address of the owner's position 0.
        start: first position of the stretch.
        stop: position after its last; None for the open end of the ledger itself.
        stream: name of the owner.
        heads: how many branches the owner descends from, itself included.
    """

    base: int
    start: int
    stop: int | None
    stream: str
    heads: int

    def default_id(self, type: str, position: int) -> str:
        """Return the id that is not stored for an event of this type at a position."""
        if position == self.start and self.heads:
            return f"{type}-{self.stream.partition(':')[2]}"
        return default_event_id(type, position, self.heads)


def rows_of(
    events: Iterable[RecordedEvent],
    has_default_id: Iterable[bool],
    segment: Segment,
    previous: bytes,
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of events that follow each other.

    Args:
        events: complete.
        has_default_id: of each, whether its id is the default one, which is not stored.
        segment: of the ledger's own events; its name is not stored where it is the source.
        previous: the chained hash before the first of them.

    Raises:
        InvalidData: an event holds text that is not Unicode.
    """
    at, at_us = None, 0
    for event, is_default in zip(events, has_default_id, strict=True):
        previous = _link(previous, event)
        # The events of a batch have one time.
        if event.timestamp is not at:
            at = event.timestamp
            at_us = microseconds(at)
        yield (
            segment.base + event.position,
            None if is_default else event.id,
            event.type,
            None if event.source == segment.stream else event.source,
            event.actor,
            encode(event.cause).decode() if event.cause else None,
            at_us,
            bytes.fromhex(event.lineage_key),
            event.version,
            event.encoded,
            previous,
        )


def _link(previous: bytes, event: RecordedEvent) -> bytes:
    try:
        return link(previous, event)
    except UnicodeEncodeError as error:
        msg = f"The event at position {event.position} holds text that is not Unicode: {error}."
        raise InvalidData(msg, hint="Decode it with errors='replace'.") from error


def events_of(rows: Iterable[tuple[Any, ...]], segment: Segment) -> Iterator[RecordedEvent]:
    """Yield the events that rows of a segment hold.

    Raises:
        StoreDamaged: one cannot be decoded.
    """
    stream, heads = segment.stream, segment.heads
    # No position is below 0, so that a run has no head.
    head = segment.start if heads else -1
    last_us, timestamp = 0, _EPOCH
    position = segment.start
    try:
        for address, id, type, source, actor, cause, at_us, key, version, body in rows:
            position = address & _POSITION_MASK
            if id is None:
                number = position - heads
                id = f"{type}-{number}" if position != head else segment.default_id(type, position)
            # The events of a batch have one time.
            if at_us != last_us:
                last_us, timestamp = at_us, _EPOCH + timedelta(microseconds=at_us)
            yield RecordedEvent(
                id,
                type,
                stream if source is None else source,
                actor,
                [] if cause is None else _decode_cause(cause),
                timestamp,
                _decode_data(body),
                position=position,
                lineage_key=key.hex(),
                version=version,
                encoded=body,
            )
    except (msgspec.DecodeError, ArithmeticError, AttributeError, TypeError, ValueError) as error:
        msg = f"{stream}: the event at position {position} is damaged: {error}."
        raise StoreDamaged(msg, hint="Restore the store from a copy.") from error
