"""The hash chain: each event's hash covers all earlier events, so tampering is detected."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

import msgspec

from kando.errors import InvalidData, PositionOutOfRange
from kando.schema.events import RecordedEvent
from kando.schema.firing import Fields

__all__ = ["GENESIS", "digest_of", "link", "link_fields"]

#: The hash before the first event.
GENESIS = bytes(32)

_encode = msgspec.msgpack.Encoder().encode


def link(previous: bytes, event: RecordedEvent) -> bytes:
    """Return the hash of `event` chained to the previous hash (SHA-256, 32 bytes).

    It covers every field, and the fields are delimited, so different events have different
    inputs.

    Raises:
        InvalidData: the event contains text that is not valid Unicode.
    """
    return link_fields(
        previous,
        (
            event.position,
            event.id,
            event.type,
            event.source,
            event.actor,
            event.cause,
            event.timestamp,
            event.lineage_key,
            event.version,
            event.encoded,
        ),
    )


def link_fields(previous: bytes, fields: Fields) -> bytes:
    """Return the hash of an event, given its fields, chained to the previous hash.

    Raises:
        InvalidData: the event contains text that is not valid Unicode.
    """
    try:
        return sha256(previous + _encode(fields)).digest()
    except UnicodeEncodeError as error:
        msg = f"The event at position {fields[0]} has text that is not Unicode: {error}."
        raise InvalidData(msg, hint="Decode it with errors='replace'.") from error


def digest_of(events: Iterable[RecordedEvent], count: int) -> bytes:
    """Return the chained hash over the first `count` of `events`.

    Raises:
        PositionOutOfRange: there are fewer than `count`.
    """
    digest, seen = GENESIS, 0
    if count == 0:
        return digest
    for event in events:
        digest = link(digest, event)
        seen += 1
        if seen == count:
            return digest
    msg = f"Position {count} is outside a ledger of {seen} events."
    raise PositionOutOfRange(msg, hint=f"Use 0 to {seen}.")
