"""Rows of the table of events: how an event is stored, and read back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from kando.errors import InvalidData, StoreDamaged
from kando.ledger.chain import link
from kando.schema.events import RecordedEvent
from kando.schema.exact_json import encode

__all__ = ["COLUMNS", "INSERT", "event_of", "microseconds", "moment_of", "rows_of"]

COLUMNS = "address, id, type, source, actor, cause, at_us, key, version, body, hash"

INSERT = f"INSERT INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

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


def rows_of(
    events: Iterable[RecordedEvent],
    has_default_id: Iterable[bool],
    base: int,
    stream: str,
    previous: bytes,
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of events that follow each other.

    Args:
        events: complete.
        has_default_id: of each, whether its id is ``{type}-{position}``, which is not stored.
        base: address of the ledger's position 0.
        stream: name of the ledger, not stored where it is the event's source.
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
            base + event.position,
            None if is_default else event.id,
            event.type,
            None if event.source == stream else event.source,
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


def event_of(row: tuple[Any, ...], stream: str) -> RecordedEvent:
    """Return the event that a row holds.

    Raises:
        StoreDamaged: it cannot be decoded.
    """
    address, id, type, source, actor, cause, at_us, key, version, body, _ = row
    position = address & _POSITION_MASK
    try:
        return RecordedEvent(
            f"{type}-{position}" if id is None else id,
            type,
            stream if source is None else source,
            actor,
            [] if cause is None else _decode_cause(cause),
            _EPOCH + timedelta(microseconds=at_us),
            _decode_data(body),
            position=position,
            lineage_key=key.hex(),
            version=version,
            encoded=body,
        )
    except (msgspec.DecodeError, ArithmeticError, AttributeError, TypeError, ValueError) as error:
        msg = f"{stream}: the event at position {position} is damaged: {error}."
        raise StoreDamaged(msg, hint="Restore the store from a copy.") from error
