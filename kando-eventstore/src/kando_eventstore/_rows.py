"""Converts an event of a ledger to an event of a stream, and back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import msgspec

from kando.errors import StoreDamaged
from kando.ledger.chain import link
from kando.schema.events import RecordedEvent, make_recorded_event, make_unread_event
from kando.schema.exact_json import encode
from kando.schema.parts import MARK, Parts, has_references

__all__ = ["Row", "event_of", "hash_of", "rows_of"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# Types with this prefix are the server's own.
_RESERVED = "$"
_ESCAPED = "kando:"

#: Field of the metadata of an event whose data refers to parts (see `kando.schema.parts`).
_PARTS = "parts"

_decode_data = msgspec.json.Decoder(dict[str, Any]).decode
_decode_metadata = msgspec.json.Decoder(dict[str, Any]).decode


@attrs.frozen
class Row:
    """An event as it is stored.

    Attributes:
        type: of the event; escaped if it looks like one of the server's own.
        data: the event's data, as JSON.
        metadata: the event's other fields and the chained hash, as JSON.
        hash: the chained hash.
    """

    type: str
    data: bytes
    metadata: bytes
    hash: bytes


def rows_of(events: Sequence[RecordedEvent], stream: str, previous: bytes) -> list[Row]:
    """Return the rows of consecutive events.

    Args:
        events: complete.
        stream: name of the ledger, not stored if it is the event's source.
        previous: the chained hash before the first event.

    Raises:
        InvalidData: an event holds text that is not Unicode.
    """
    rows = []
    for event in events:
        previous = link(previous, event)
        rows.append(_row(event, stream, previous))
    return rows


def _row(event: RecordedEvent, stream: str, hash: bytes) -> Row:
    is_plain = bool(event.type) and not event.type.startswith((_RESERVED, _ESCAPED))
    metadata: dict[str, Any] = {
        "id": event.id,
        "actor": event.actor,
        "at_us": (event.timestamp - _EPOCH) // _MICROSECOND,
        "key": event.lineage_key,
        "version": event.version,
        "hash": hash.hex(),
    }
    if event.cause:
        metadata["cause"] = event.cause
    if event.source != stream:
        metadata["source"] = event.source
    data = event.encoded
    if has_references(data):
        # The server takes JSON, so that its projections and its page can read it.
        data, metadata[_PARTS] = data[1:], True
    type = event.type if is_plain else f"{_ESCAPED}{event.type}"
    return Row(type, data, encode(metadata), hash)


def event_of(row: Row, stream: str, position: int, parts: Parts) -> RecordedEvent:
    """Return the event that a row holds.

    Args:
        row: as it is stored.
        stream: name of the ledger.
        position: of the event.
        parts: of the events of the server.

    Raises:
        StoreDamaged: the row cannot be decoded.
    """
    try:
        metadata = _decode_metadata(row.metadata)
        type = row.type.removeprefix(_ESCAPED)
        timestamp = _EPOCH + timedelta(microseconds=metadata["at_us"])
        if metadata.get(_PARTS) is True:
            return make_unread_event(
                metadata["id"],
                type,
                metadata.get("source", stream),
                metadata["actor"],
                metadata.get("cause", []),
                timestamp,
                parts,
                position,
                metadata["key"],
                MARK + row.data,
                metadata["version"],
            )
        return make_recorded_event(
            metadata["id"],
            type,
            metadata.get("source", stream),
            metadata["actor"],
            metadata.get("cause", []),
            timestamp,
            _decode_data(row.data),
            position,
            metadata["key"],
            row.data,
            metadata["version"],
        )
    except (msgspec.DecodeError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise _damaged(stream, position, error) from error


def hash_of(metadata: bytes, stream: str, position: int) -> bytes:
    """Return the chained hash in an event's metadata.

    Raises:
        StoreDamaged: the metadata holds no hash.
    """
    try:
        return bytes.fromhex(_decode_metadata(metadata)["hash"])
    except (msgspec.DecodeError, LookupError, TypeError, ValueError) as error:
        raise _damaged(stream, position, error) from error


def _damaged(stream: str, position: int, error: Exception) -> StoreDamaged:
    msg = f"{stream}: the event at position {position} is damaged: {error}."
    return StoreDamaged(msg, hint="Restore the server from a backup.")
