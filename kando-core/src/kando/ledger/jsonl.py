"""A ledger as JSON Lines: exact, and with its hash chain, so that reading it back verifies it.

A file holds one ledger, or a run and after it the runs that it started; then its second line has their
number. The first line of each describes the ledger. Every other line is one event with its fields, its data as stored,
and the chained hash up to and including it; or a part, before the first event whose data refers to it:
a long text, or a message after another one (see `kando.schema.parts`); or a blob of the workspace, in
base64 (see `kando.schema.trees`).
"""

# long: the writer and the reader of one format, side by side.

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from typing import BinaryIO

import attrs
import msgspec

from kando.errors import InvalidData, StoreDamaged
from kando.ledger.chain import GENESIS, link
from kando.ledger.interface import LedgerStore
from kando.ledger.trees import blobs_of_tree
from kando.schema.events import RecordedEvent, make_recorded_event
from kando.schema.exact_json import decode, encode, is_too_deep
from kando.schema.parts import (
    Chains,
    Parts,
    Split,
    blob_problem,
    blobs_of,
    has_references,
    split,
)

__all__ = [
    "ExportedLedger",
    "Header",
    "Parent",
    "lines_in",
    "lines_of",
    "read_ledgers",
    "read_lines",
]

#: Format of a file with one ledger, which older versions of Kando read, and of one with several.
FORMAT, FORMAT_OF_SEVERAL = 2, 3

# Format 1 has no parts.
_READ = (1, 2, 3)

#: Limit of a line, far above the largest event that a run records.
_MAX_LINE_BYTES = 64 * 1024 * 1024

_KEY = re.compile(r"[0-9a-f]{32}")


# Structs instead of attrs classes, since they can forbid unknown fields.
class Parent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parent of a branch: its id, and the number of events they share."""

    id: str
    fork_position: int


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of a ledger: the identity, length and hash that the other lines must match."""

    kando: str
    format: int
    ledger: str
    events: int
    digest: str
    parent: Parent | None

    @property
    def ledger_id(self) -> str:
        """The id of the run or branch."""
        return self.ledger.partition(":")[2]


@attrs.frozen
class ExportedLedger:
    """A ledger of a file, verified against its hash chain.

    Attributes:
        header: its first line.
        line: number of that line.
        events: all of them.
        lines: the number of the line of each event.
        files: blobs of the workspace and other parts, by digest.
    """

    header: Header
    line: int
    events: list[RecordedEvent] = attrs.field(factory=list)
    lines: list[int] = attrs.field(factory=list)
    files: dict[bytes, bytes] = attrs.field(factory=dict)


class _Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ledgers: int


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
_decode_count = msgspec.json.Decoder(_Count).decode
_decode_line = msgspec.json.Decoder(_Line).decode
_decode_text = msgspec.json.Decoder(_Text).decode
_decode_blob = msgspec.json.Decoder(_Blob).decode
_decode_message = msgspec.json.Decoder(_Message).decode

#: How the first line of a ledger begins.
_HEAD = b'{"kando":'

_MARK = b"\x01"
_START = bytes(32)


def lines_of(
    ledger: LedgerStore, end: int, parent: Parent | None = None, *, ledgers: int = 1
) -> Iterator[bytes]:
    """Yield the lines of the first `end` events of a ledger, each with its line break.

    Args:
        ledger: the ledger.
        end: number of events.
        parent: of a branch.
        ledgers: how many ledgers the file holds, if this is the first one.

    Raises:
        StoreDamaged: the ledger does not match its hash chain.
        InvalidData: the data of an event is not encoded as Kando encodes it.
    """
    stored = ledger.digest(end)
    form = FORMAT if ledgers == 1 else FORMAT_OF_SEVERAL
    head = Header("ledger", form, ledger.stream_name(), end, stored.hex(), parent)
    yield _encode(head) + b"\n"
    if ledgers > 1:
        yield _encode(_Count(ledgers)) + b"\n"
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


def read_lines(lines: Iterable[bytes]) -> tuple[Header, list[RecordedEvent]]:
    """Return the header and events of the first ledger of a file; see `read_ledgers`.

    Args:
        lines: of the file.

    Raises:
        InvalidData: a line is not as it was exported; the message names the line.
    """
    first = read_ledgers(lines)[0]
    return first.header, first.events


def read_ledgers(lines: Iterable[bytes]) -> list[ExportedLedger]:
    """Return the ledgers of a file, each verified against its hash chain.

    Args:
        lines: of the file.

    Raises:
        InvalidData: a line is not as it was exported; the message names the line.
    """
    numbered = enumerate(lines, 1)
    number, text = next(numbered, (1, b""))
    reading = [_Reader.of(text, number)]
    has_several, expected = reading[0].ledger.header.format == FORMAT_OF_SEVERAL, 1
    if has_several:
        number, text = next(numbered, (2, b""))
        expected = _count(text)
    for number, text in numbered:
        if has_several and text.startswith(_HEAD):
            reading[-1].end(number - 1)
            reading.append(_Reader.of(text, number))
        else:
            reading[-1].read(text, number)
    reading[-1].end(number)
    if len(reading) != expected:
        raise _refused(number, f"is the last, after {len(reading)} of {expected} ledgers")
    return [each.ledger for each in reading]


def _count(text: bytes) -> int:
    try:
        return _decode_count(text).ledgers
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refused(2, f"is not the number of ledgers: {error}") from error


@attrs.define
class _Reader:
    """Reads the lines of one ledger.

    Attributes:
        ledger: what has been read.
        digest: of its events.
    """

    ledger: ExportedLedger
    digest: bytes = GENESIS
    _parts: Parts = attrs.field(init=False)
    _chains: Chains = attrs.field(factory=Chains, init=False)

    @_parts.default
    def _of_ledger(self) -> Parts:
        files = self.ledger.files
        return Parts(lambda wanted: {d: files[d] for d in wanted if d in files})

    @classmethod
    def of(cls, text: bytes, number: int) -> _Reader:
        header = _header(text, number)
        if number > 1 and header.format == FORMAT_OF_SEVERAL:
            raise _refused(number, f"has format {header.format}, as only a first line may")
        return cls(ExportedLedger(header, number))

    def read(self, text: bytes, number: int) -> None:
        events, files = self.ledger.events, self.ledger.files
        if text.startswith((b'{"text":', b'{"message":', b'{"blob":')):
            body = _blob(text, number)
            files[sha256(body).digest()] = body
            return
        event, claimed = _event(text, number, self._parts, self._chains)
        if event.position != len(events):
            what = f"has position {event.position} instead of {len(events)}"
            raise _refused(number, what)
        self.digest = link(self.digest, event)
        if self.digest.hex() != claimed:
            raise _refused(number, f"is not the event {event.id!r:.80} as it was exported")
        events.append(event)
        self.ledger.lines.append(number)

    def end(self, number: int) -> None:
        header, count = self.ledger.header, len(self.ledger.events)
        if count != header.events:
            raise _refused(number, f"is the last, after {count} of {header.events} events")
        if self.digest.hex() != header.digest:
            raise _refused(self.ledger.line, "has a different hash than the last event")


def _header(text: bytes, number: int) -> Header:
    try:
        header = _decode_header(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refused(number, f"is not the header of an exported ledger: {error}") from error
    if header.kando != "ledger" or header.format not in _READ:
        newest = max(_READ)
        what = f"has format {header.format}, but this version of Kando reads up to format {newest}"
        raise _refused(number, what)
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
    elif is_too_deep(canonical):
        problem = "its data nests too deeply"
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
