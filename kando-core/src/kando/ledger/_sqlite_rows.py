"""Rows of the table of events: how an event is stored, and read back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import msgspec

from kando.errors import StoreDamaged
from kando.ledger.chain import link
from kando.schema.events import RecordedEvent, make_recorded_event
from kando.schema.exact_json import encode
from kando.schema.identity import default_event_id

__all__ = [
    "COLUMNS",
    "UNNAMED",
    "Names",
    "Segment",
    "datetime_of",
    "events_of",
    "insert",
    "microseconds",
    "names_of",
]

#: What an event is read from.
COLUMNS = "address, id, type, source, actor, cause, at_us, key, version, body"

_INSERT = """\
INSERT INTO events (address, type, actor, cause, at_us, key, version, body, hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""

_INSERT_NAMED = """\
INSERT INTO events (address, type, actor, cause, at_us, key, version, body, hash, id, source)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

#: What is stored of an event's id and source.
Names = tuple[str | None, str | None]

#: An event with its default id whose source is its ledger, as almost every one has.
UNNAMED: Names = (None, None)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_POSITION_MASK = 2**32 - 1

_decode_cause = msgspec.json.Decoder(list[str]).decode
_decode_data = msgspec.json.Decoder(dict[str, Any]).decode


def microseconds(at: datetime) -> int:
    """Return a time as microseconds since 1970 in UTC."""
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def datetime_of(at_us: int) -> datetime:
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


def names_of(events: Iterable[RecordedEvent], segment: Segment) -> list[Names]:
    """Return what is stored of each event's id and source: None for what goes without saying.

    Args:
        events: complete.
        segment: of the ledger's own events.
    """
    stream, heads = segment.stream, segment.heads
    head = segment.start if heads else -1
    found: list[Names] = []
    for event in events:
        id, position, source = event.id, event.position, event.source
        if position == head:
            is_default = id == segment.default_id(event.type, position)
        else:
            is_default = id == f"{event.type}-{position - heads}"
        if is_default and source == stream:
            found.append(UNNAMED)
        else:
            found.append((None if is_default else id, None if source == stream else source))
    return found


def insert(
    connection: sqlite3.Connection,
    events: Sequence[RecordedEvent],
    names: Sequence[Names],
    segment: Segment,
    previous: bytes,
) -> None:
    """Insert events that follow each other into the table.

    Args:
        connection: in a transaction.
        events: complete.
        names: of each, as `names_of` returns them.
        segment: of the ledger's own events.
        previous: the chained hash before the first of them.

    Raises:
        InvalidData: an event holds text that is not Unicode.
    """
    rows = _rows_of(events, segment.base, previous)
    if names.count(UNNAMED) == len(events):
        connection.executemany(_INSERT, rows)
    else:
        named = (row + own for row, own in zip(rows, names, strict=True))
        connection.executemany(_INSERT_NAMED, named)


def _rows_of(
    events: Iterable[RecordedEvent], base: int, previous: bytes
) -> Iterator[tuple[Any, ...]]:
    # Of bytes sqlite3 asks each time whether they adapt to something else, and likewise of None;
    # of a bytearray it does not. So that takes a quarter of the time of an insertion less.
    at, at_us = None, 0
    for event in events:
        previous = link(previous, event)
        # The events of a batch have one time.
        if event.timestamp is not at:
            at = event.timestamp
            at_us = microseconds(at)
        cause = event.cause
        yield (
            base + event.position,
            event.type,
            event.actor,
            encode(cause).decode() if cause else None,
            at_us,
            bytearray.fromhex(event.lineage_key),
            event.version,
            bytearray(event.encoded),
            bytearray(previous),
        )


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
            yield make_recorded_event(
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
    except (msgspec.DecodeError, ArithmeticError, AttributeError, TypeError, ValueError) as error:
        msg = f"{stream}: the event at position {position} is damaged: {error}."
        raise StoreDamaged(msg, hint="Restore the store from a copy.") from error
