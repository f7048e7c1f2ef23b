"""A ledger as JSON Lines: exact, and with its hash chain, so that reading it back verifies it.

The first line describes the ledger. Every other line is one event with its fields, its data as stored,
and the chained hash up to and including it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import BinaryIO

import msgspec

from kando.errors import InvalidData, StoreDamaged
from kando.ledger.chain import GENESIS, link
from kando.ledger.interface import LedgerStore
from kando.schema.events import RecordedEvent
from kando.schema.exact_json import decode, encode

__all__ = ["Header", "Parent", "lines_in", "lines_of", "read_lines"]

FORMAT = 1

#: Limit of a line, far above the largest event that a run records.
_MAX_LINE_BYTES = 64 * 1024 * 1024

_KEY = re.compile(r"[0-9a-f]{32}")


# Structs instead of attrs classes, since they can forbid unknown fields.
class Parent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parent of a branch: its id, and the number of events they share."""

    id: str
    fork_position: int


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line: the identity, length and hash that the other lines must match."""

    kando: str
    format: int
    ledger: str
    events: int
    digest: str
    parent: Parent | None


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    position: int
    id: str
    type: str
    source: str
    actor: str
    cause: list[str]
    timestamp: datetime
    lineage_key: str
    version: int
    data: msgspec.Raw
    hash: str


_encode = msgspec.json.Encoder().encode
_decode_header = msgspec.json.Decoder(Header).decode
_decode_line = msgspec.json.Decoder(_Line).decode


def lines_of(ledger: LedgerStore, end: int, parent: Parent | None = None) -> Iterator[bytes]:
    """Yield the lines of the first `end` events of a ledger, each with its line break.

    Raises:
        StoreDamaged: the ledger does not match its hash chain.
        InvalidData: the data of an event is not encoded as Kando encodes it.
    """
    stored = ledger.digest(end)
    head = Header("ledger", FORMAT, ledger.stream_name(), end, stored.hex(), parent)
    yield _encode(head) + b"\n"
    digest = GENESIS
    for event in islice(ledger.read_all(), end):
        digest = link(digest, event)
        if encode(event.data) != event.encoded:
            stream = ledger.stream_name()
            msg = f"The data of {event.id} in {stream} is not encoded as Kando encodes it."
            raise InvalidData(msg, hint="Export it in another format.")
        line = _Line(
            event.position,
            event.id,
            event.type,
            event.source,
            event.actor,
            event.cause,
            event.timestamp.astimezone(UTC),
            event.lineage_key,
            event.version,
            msgspec.Raw(event.encoded),
            digest.hex(),
        )
        yield _encode(line) + b"\n"
    if digest != stored:
        msg = f"{ledger.stream_name()} does not match its hash chain."
        id = ledger.stream_name().partition(":")[2]
        raise StoreDamaged(msg, hint=f"`kando verify {id}` names the position.")


def lines_in(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file, without reading more of an endless one than a line may hold.

    Raises:
        InvalidData: a line is longer than any event.
    """
    number = 1
    while line := file.readline(_MAX_LINE_BYTES + 1):
        if len(line) > _MAX_LINE_BYTES:
            raise _refused(number, f"is longer than {_MAX_LINE_BYTES:,} bytes")
        yield line
        number += 1


def read_lines(lines: Iterable[bytes]) -> tuple[Header, list[RecordedEvent]]:
    """Return the header and events of an exported ledger, verified against its hash chain.

    Raises:
        InvalidData: a line is not as it was exported; the message names the line.
    """
    remaining = iter(lines)
    header = _header(next(remaining, b""))
    digest = GENESIS
    events: list[RecordedEvent] = []
    for number, text in enumerate(remaining, 2):
        event, claimed = _event(text, number)
        if event.position != len(events):
            what = f"has position {event.position} instead of {len(events)}"
            raise _refused(number, what)
        digest = link(digest, event)
        if digest.hex() != claimed:
            raise _refused(number, f"is not the event {event.id!r:.80} as it was exported")
        events.append(event)
    if len(events) != header.events:
        what = f"is the last, after {len(events)} of {header.events} events"
        raise _refused(len(events) + 1, what)
    if digest.hex() != header.digest:
        raise _refused(1, "has a different hash than the last event")
    return header, events


def _header(text: bytes) -> Header:
    try:
        header = _decode_header(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refused(1, f"is not the header of an exported ledger: {error}") from error
    if header.kando != "ledger" or header.format != FORMAT:
        what = f"has format {header.format}, but this version of Kando reads format {FORMAT}"
        raise _refused(1, what)
    return header


def _event(text: bytes, number: int) -> tuple[RecordedEvent, str]:
    try:
        line = _decode_line(text)
        encoded = bytes(line.data)
        data = decode(encoded)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refused(number, f"is not an event: {error}") from error
    problem = None
    if not isinstance(data, dict):
        problem = "its data is not an object"
    elif encode(data) != encoded:
        # A duplicate key, for example, would be ambiguous.
        problem = "its data is not encoded as Kando encodes it"
    elif line.timestamp.tzinfo is None:
        problem = "its timestamp has no time zone"
    elif not _KEY.fullmatch(line.lineage_key):
        problem = "its lineage key is not 32 hexadecimal digits"
    elif not 0 <= line.version < 2**31:
        problem = f"its version is {line.version}"
    if problem is not None:
        raise _refused(number, f"is not an event: {problem}")
    event = RecordedEvent(
        line.id,
        line.type,
        line.source,
        line.actor,
        line.cause,
        line.timestamp,
        data,
        position=line.position,
        lineage_key=line.lineage_key,
        version=line.version,
        encoded=encoded,
    )
    return event, line.hash


def _refused(number: int, what: str) -> InvalidData:
    return InvalidData(f"Line {number} {what}.", hint="Export the run again; nothing was imported.")
