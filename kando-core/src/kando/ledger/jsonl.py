"""A ledger as JSON Lines: exact, and with its hash chain, so that reading it back verifies it.

The first line describes the ledger. Every other line is one event with its fields, its data as stored,
and the chained hash up to and including it; or a part, before the first event whose data refers to it:
a long text, or a message after another one (see `kando.schema.parts`); or a blob of the workspace, in
base64 (see `kando.schema.trees`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from typing import BinaryIO

import msgspec

from kando.errors import InvalidData, StoreDamaged
from kando.ledger.chain import GENESIS, link
from kando.ledger.interface import LedgerStore
from kando.ledger.trees import blobs_of_tree
from kando.schema.events import RecordedEvent, make_recorded_event
from kando.schema.exact_json import decode, encode
from kando.schema.parts import (
    Chains,
    Parts,
    Split,
    blob_problem,
    blobs_of,
    has_references,
    split,
)

__all__ = ["Header", "Parent", "lines_in", "lines_of", "read_lines"]

FORMAT = 2

# Format 1 has no parts.
_READ = (1, 2)

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


class _Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: str


class _Blob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    blob: bytes


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    message: msgspec.Raw
    after: str | None = None
    references: bool = False


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
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
    references: bool = False


_encode = msgspec.json.Encoder().encode
_decode_header = msgspec.json.Decoder(Header).decode
_decode_line = msgspec.json.Decoder(_Line).decode
_decode_text = msgspec.json.Decoder(_Text).decode
_decode_blob = msgspec.json.Decoder(_Blob).decode
_decode_message = msgspec.json.Decoder(_Message).decode

_MARK = b"\x01"
_START = bytes(32)


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
    seen: set[bytes] = set()
    for event in islice(ledger.read_all(), end):
        digest = link(digest, event)
        references = has_references(event.encoded)
        if references:
            yield from _parts_of(ledger, event, seen)
        yield from _files_of(ledger, event, seen)
        encoded = event.encoded[references:]
        data = decode(encoded) if references else event.data
        if encode(data) != encoded:
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
            msgspec.Raw(encoded),
            digest.hex(),
            references,
        )
        yield _encode(line) + b"\n"
    if digest != stored:
        msg = f"{ledger.stream_name()} does not match its hash chain."
        id = ledger.stream_name().partition(":")[2]
        raise StoreDamaged(msg, hint=f"`kando verify {id}` names the position.")


def _parts_of(ledger: LedgerStore, event: RecordedEvent, seen: set[bytes]) -> Iterator[bytes]:
    """Yield the lines of the parts that an event refers to and no event before it."""
    try:
        for digest, body, is_message in blobs_of(event.encoded, ledger.blobs, seen):
            problem = blob_problem(digest, body)
            if problem is not None or body is None:
                msg = f"{ledger.stream_name()} is damaged at position {event.position}: {problem}."
                raise StoreDamaged(msg, hint="Restore the store from a copy.")
            if not is_message:
                yield _encode(_Text(body.decode())) + b"\n"
                continue
            after = None if body[:32] == _START else body[:32].hex()
            message = body[32:]
            references = has_references(message)
            line = _Message(msgspec.Raw(message[references:]), after, references)
            yield _encode(line) + b"\n"
    except (ValueError, msgspec.DecodeError) as error:
        msg = f"{ledger.stream_name()} is damaged at position {event.position}: {error}."
        raise StoreDamaged(msg, hint="Restore the store from a copy.") from error


def _files_of(ledger: LedgerStore, event: RecordedEvent, seen: set[bytes]) -> Iterator[bytes]:
    """Yield the lines of the files that an event leaves in the workspace and no event before it."""
    for digest, body in blobs_of_tree(event, ledger.blobs, seen):
        problem = blob_problem(digest, body)
        if problem is not None or body is None:
            msg = f"{ledger.stream_name()} is damaged at position {event.position}: {problem}."
            raise StoreDamaged(msg, hint="Restore the store from a copy.")
        yield _encode(_Blob(body)) + b"\n"


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


def read_lines(
    lines: Iterable[bytes], files: dict[bytes, bytes] | None = None
) -> tuple[Header, list[RecordedEvent]]:
    """Return the header and events of an exported ledger, verified against its hash chain.

    Args:
        lines: of the file.
        files: the blobs of the workspace are put into it, by digest.

    Raises:
        InvalidData: a line is not as it was exported; the message names the line.
    """
    remaining = iter(lines)
    header = _header(next(remaining, b""))
    digest = GENESIS
    events: list[RecordedEvent] = []
    blobs: dict[bytes, bytes] = {}
    parts, chains = Parts(lambda wanted: {d: blobs[d] for d in wanted if d in blobs}), Chains()
    number = 1
    for number, text in enumerate(remaining, 2):
        if text.startswith((b'{"text":', b'{"message":', b'{"blob":')):
            body = _blob(text, number)
            blobs[sha256(body).digest()] = body
            continue
        event, claimed = _event(text, number, parts, chains)
        if event.position != len(events):
            what = f"has position {event.position} instead of {len(events)}"
            raise _refused(number, what)
        digest = link(digest, event)
        if digest.hex() != claimed:
            raise _refused(number, f"is not the event {event.id!r:.80} as it was exported")
        events.append(event)
    if len(events) != header.events:
        what = f"is the last, after {len(events)} of {header.events} events"
        raise _refused(number, what)
    if digest.hex() != header.digest:
        raise _refused(1, "has a different hash than the last event")
    if files is not None:
        files |= blobs
    return header, events


def _header(text: bytes) -> Header:
    try:
        header = _decode_header(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refused(1, f"is not the header of an exported ledger: {error}") from error
    if header.kando != "ledger" or header.format not in _READ:
        what = f"has format {header.format}, but this version of Kando reads up to format {FORMAT}"
        raise _refused(1, what)
    return header


def _blob(text: bytes, number: int) -> bytes:
    try:
        if text.startswith(b'{"text":'):
            return _decode_text(text).text.encode()
        if text.startswith(b'{"blob":'):
            return _decode_blob(text).blob
        line = _decode_message(text)
        after = _START if line.after is None else bytes.fromhex(line.after)
        encoded = bytes(line.message)
    except (msgspec.DecodeError, UnicodeError, ValueError) as error:
        raise _refused(number, f"is not a part of an event: {error}") from error
    return after + (_MARK if line.references else b"") + encoded


def _event(text: bytes, number: int, parts: Parts, chains: Chains) -> tuple[RecordedEvent, str]:
    made: Split | None = None
    try:
        line = _decode_line(text)
        encoded = bytes(line.data)
        canonical = encode(data := decode(encoded))
        if line.references:
            encoded = _MARK + encoded
            data, canonical, made = split(parts.resolve(encoded), chains)
    except StoreDamaged as error:
        raise _refused(number, f"is not an event: {error.message.rstrip('.')}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refused(number, f"is not an event: {error}") from error
    problem = None
    if not isinstance(data, dict):
        problem = "its data is not an object"
    elif canonical != encoded:
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
    event = make_recorded_event(
        line.id,
        line.type,
        line.source,
        line.actor,
        line.cause,
        line.timestamp,
        data,
        line.position,
        line.lineage_key,
        encoded,
        line.version,
        made,
    )
    return event, line.hash


def _refused(number: int, what: str) -> InvalidData:
    return InvalidData(f"Line {number} {what}.", hint="Export the run again; nothing was imported.")
