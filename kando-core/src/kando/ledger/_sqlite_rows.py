"""Rows of the events table: how an event is stored and read back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import msgspec

from kando.errors import StoreDamaged
from kando.schema.events import RecordedEvent, make_recorded_event, make_unread_event
from kando.schema.identity import default_event_id
from kando.schema.parts import Parts

__all__ = [
    "COLUMNS",
    "DAMAGED",
    "FORMAT_1_COLUMNS",
    "INSERT",
    "INSERT_NAMED",
    "NO_KEY",
    "RESTORE",
    "UNNAMED",
    "Names",
    "Segment",
    "datetime_of",
    "decoded",
    "events_of",
    "microseconds",
    "names_of",
    "row_of",
]

#: The columns that an event is read from.
COLUMNS = "address, id, type, source, actor, cause, at_us, key, version, body, firing, trigger_key"

#: The same columns of a file of format 1, which has no rows of firings.
FORMAT_1_COLUMNS = "address, id, type, source, actor, cause, at_us, key, version, body, 0, NULL"

INSERT = """\
INSERT INTO events (
    address, type, actor, cause, at_us, key, version, body, hash, firing, trigger_key
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

INSERT_NAMED = """\
INSERT INTO events (
    address, type, actor, cause, at_us, key, version, body, hash, firing, trigger_key, id, source
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

#: The stored id and source of an event; None for a default.
Names = tuple[str | None, str | None]

#: An event with its default id and its own ledger as source, as almost every event.
UNNAMED: Names = (None, None)

#: Errors of decoding a row that Kando did not write; nesting without end is a RecursionError.
DAMAGED = (
    msgspec.DecodeError,
    ArithmeticError,
    AttributeError,
    IndexError,
    RecursionError,
    TypeError,
    ValueError,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The first byte of data with references.
_MARK = 1
_POSITION_MASK = 2**32 - 1
RESTORE = "Restore the store from a copy."


_encode_cause = msgspec.json.Encoder().encode
_decode_cause = msgspec.json.Decoder(list[str]).decode
_decode_data = msgspec.json.Decoder(dict[str, Any]).decode


def microseconds(at: datetime) -> int:
    """Return a time as microseconds since 1970 in UTC."""
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def datetime_of(at_us: int) -> datetime:
    """Return the time of a number that `microseconds` returned."""
    return _EPOCH + timedelta(microseconds=at_us)


@attrs.frozen
class Segment:
    """A range of a ledger's events that belongs to the ledger itself or to one ancestor.

    Attributes:
        base: address of the owner's position 0.
        start: first position of the range.
        stop: position after its last; None for the open end of the ledger itself.
        stream: name of the owner.
        heads: number of branches among the owner and its ancestors.
    """

    base: int
    start: int
    stop: int | None
    stream: str
    heads: int

    def default_id(self, type: str, position: int) -> str:
        """Return the default id of an event at a position, which is not stored."""
        if position == self.start and self.heads:
            return f"{type}-{self.stream.partition(':')[2]}"
        return default_event_id(type, position, self.heads)


def names_of(events: Iterable[RecordedEvent], segment: Segment) -> list[Names]:
    """Return the id and source to store for each event: None for a default.

    Args:
        events: complete.
        segment: of the ledger's own events.
    """
    stream, heads = segment.stream, segment.heads
    head = segment.start if heads else -1
    return [
        UNNAMED
        if each.id == f"{each.type}-{(position := each.position) - heads}"
        and position != head
        and each.source == stream
        else _names_of(each, segment)
        for each in events
    ]


def _names_of(event: RecordedEvent, segment: Segment) -> Names:
    id, source = event.id, event.source
    is_default = id == segment.default_id(event.type, event.position)
    return None if is_default else id, None if source == segment.stream else source


# For bytes and None, sqlite3 looks for an adapter each time; for a bytearray it does not, which
# saves a quarter of the time of an insertion.
NO_KEY = bytearray()


def row_of(
    event: RecordedEvent, base: int, hash: bytes, firing: int, key: bytearray
) -> tuple[Any, ...]:
    """Return the row of an event.

    Args:
        event: its text is valid Unicode.
        base: address of position 0.
        hash: of the event.
        firing: see `kando.ledger._sqlite_firings`.
        key: see there.
    """
    cause = event.cause
    return (
        base + event.position,
        event.type,
        event.actor,
        _encode_cause(cause).decode() if cause else None,
        microseconds(event.timestamp),
        bytearray.fromhex(event.lineage_key),
        event.version,
        bytearray(event.encoded),
        bytearray(hash),
        firing,
        key,
    )


def events_of(
    rows: Iterable[Sequence[Any]], segment: Segment, parts: Parts
) -> Iterator[RecordedEvent]:
    """Yield the events in rows of a segment.

    Args:
        rows: with the `COLUMNS`.
        segment: that they belong to.
        parts: of the events of the file.

    Raises:
        StoreDamaged: a row cannot be decoded.
    """
    return (event for event, _, _ in decoded(rows, segment, parts))


def decoded(
    rows: Iterable[Sequence[Any]], segment: Segment, parts: Parts
) -> Iterator[tuple[RecordedEvent, int, bytes]]:
    """Yield the events in rows, each with its columns about its firing."""
    stream, heads = segment.stream, segment.heads
    # A run has no head; no position is -1.
    head = segment.start if heads else -1
    last_us, timestamp = 0, _EPOCH
    position = segment.start
    try:
        for address, id, type, source, actor, cause, at_us, key, version, body, mark, of in rows:
            position = address & _POSITION_MASK
            if id is None:
                number = position - heads
                id = f"{type}-{number}" if position != head else segment.default_id(type, position)
            # All events of a batch have the same timestamp.
            if at_us != last_us:
                last_us, timestamp = at_us, _EPOCH + timedelta(microseconds=at_us)
            if body[0] == _MARK:
                source = stream if source is None else source
                causes = [] if cause is None else _decode_cause(cause)
                event = make_unread_event(
                    id,
                    type,
                    source,
                    actor,
                    causes,
                    timestamp,
                    parts,
                    position,
                    key.hex(),
                    body,
                    version,
                )
                yield event, mark or 0, of
                continue
            event = make_recorded_event(
                id,
                type,
                stream if source is None else source,
                actor,
                [] if cause is None else _decode_cause(cause),
                timestamp,
                _decode_data(body),
                position,
                key.hex(),
                body,
                version,
            )
            yield event, mark or 0, of
    except DAMAGED as error:
        msg = f"{stream}: the event at position {position} is damaged: {error}."
        raise StoreDamaged(msg, hint=RESTORE) from error
