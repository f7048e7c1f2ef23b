"""A ledger in a stream: the server decides which writer is first; revisions are positions."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence

import attrs
import msgspec

from kando.errors import PositionOutOfRange, StoreDamaged, StoreError
from kando.ledger.chain import GENESIS
from kando.ledger.checks import check_expected_length, check_from_position, duplicate
from kando.ledger.completion import complete_all
from kando.ledger.interface import LedgerStore
from kando.schema.events import KandoEvent, RecordedEvent
from kando_eventstore._rows import Row, event_of, hash_of, rows_of
from kando_eventstore._streams import NO_EVENTS, NewEvent, StoredEvent, Streams

__all__ = ["EventStoreLedger", "Segment"]

_PAGE = 500

# Revisions are signed 64-bit numbers; no ledger comes close.
_POSITIONS = 2**62

#: Field of the metadata that locates a packed event: name of the content, and index in it.
_PACKED = "packed"


@attrs.frozen
class Segment:
    """The part of a ledger that one stream holds.

    Attributes:
        stream: its name, which is that of the ledger it belongs to.
        base: position in the ledger of the stream's revision 0.
        stop: position after the part; None for the open end of the ledger itself.
    """

    stream: str
    base: int
    stop: int | None = None


class _Known:
    """The prefix of a ledger that a ledger object has read."""

    def __init__(self) -> None:
        self.length = 0
        self.heads = 0
        self.digest = GENESIS
        self.positions: dict[str, int] = {}

    def add(self, event: RecordedEvent, digest: bytes) -> None:
        """Add the next event; ignore any other."""
        if event.position == self.length:
            self.length += 1
            self.heads += event.is_head
            self.digest = digest
            self.positions[event.id] = event.position


class EventStoreLedger(LedgerStore):
    """A ledger in a stream of an EventStoreDB or KurrentDB server.

    Args:
        streams: of the server.
        segments: the parts of the ledger: those of its ancestors first, its own stream last.
        is_read_only: refuse to append.
    """

    keeps_blobs = True

    def __init__(
        self, streams: Streams, segments: Sequence[Segment], *, is_read_only: bool = False
    ) -> None:
        self._streams = streams
        self._segments = tuple(segments)
        self._own = self._segments[-1]
        self._is_read_only = is_read_only
        self._known = _Known()
        self._page: dict[int, tuple[RecordedEvent, bytes]] = {}
        self._unpacked: tuple[str, list[list[bytes]]] = ("", [])
        self._lock = threading.RLock()

    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        if self._is_read_only:
            msg = f"{self._streams.connection.display_url} was opened read-only."
            raise StoreError(msg, hint="Open it for writing.")
        with self._lock:
            while True:
                if not events or expected_length != self._known.length:
                    self._catch_up()
                check_expected_length(self.stream_name(), self._known.length, expected_length)
                if not events or self._append(events):
                    return self._known.length
                # Another writer was faster; retry, unless the caller expects a certain length.
                self._catch_up()
                check_expected_length(self.stream_name(), self._known.length, expected_length)

    def _append(self, events: Sequence[KandoEvent]) -> bool:
        known, stream = self._known, self._own.stream
        whole = complete_all(events, known.length, stream, lambda: known.heads, keeps_blobs=True)
        self._refuse_duplicates(whole)
        # Before the events that refer to them: a blob that no event names is harmless.
        self._streams.blobs.store(whole)
        rows = rows_of(whole, stream, known.digest)
        if not self._written(rows, after=known.length - self._own.base - 1):
            return False
        for event, row in zip(whole, rows, strict=True):
            known.add(event, row.hash)
        return True

    def append_first(self, events: Sequence[RecordedEvent]) -> bool:
        """Append the first events of a branch that is not claimed yet; of its parent, one event is read.

        Args:
            events: complete, and checked by the caller.

        Returns:
            False if its stream already has events; nothing was written.
        """
        self._streams.blobs.store(events)
        rows = rows_of(events, self._own.stream, self.digest(self._own.base))
        return self._written(rows, after=NO_EVENTS)

    def _written(self, rows: Sequence[Row], *, after: int) -> bool:
        new = [NewEvent(row.type, row.data, row.metadata) for row in rows]
        if not self._streams.fits(new):
            new = self._packed(rows)
        return self._streams.append(self._own.stream, new, after=after)

    def _packed(self, rows: Sequence[Row]) -> list[NewEvent]:
        """Store what is too large for one append as content, and return events that refer to it.

        The content is stored before the events, so the append stays one atomic step.
        """
        content = msgspec.msgpack.encode([[row.data, row.metadata] for row in rows])
        name = self._streams.store(content)
        new = [
            NewEvent(
                row.type,
                b"{}",
                msgspec.json.encode({_PACKED: [name, place], "hash": row.hash.hex()}),
            )
            for place, row in enumerate(rows)
        ]
        if not self._streams.fits(new):
            raise self._streams.too_large(f"A batch of {len(rows):,} events")
        return new

    def _refuse_duplicates(self, events: Sequence[RecordedEvent]) -> None:
        within: dict[str, int] = {}
        for event in events:
            taken = within.get(event.id, self._known.positions.get(event.id))
            if taken is not None:
                raise duplicate(self.stream_name(), event.id, taken)
            within[event.id] = event.position

    def _catch_up(self) -> None:
        for _ in self._read(self._known.length, self.length()):
            pass

    def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        check_from_position(self.stream_name(), from_position)
        return self._read(from_position, self.length())

    def _read(self, start: int, end: int) -> Iterator[RecordedEvent]:
        for segment in self._segments:
            stop = end if segment.stop is None else min(end, segment.stop)
            position = max(start, segment.base)
            while position < stop:
                count = min(stop - position, _PAGE)
                page = self._streams.page(segment.stream, position - segment.base, count)
                self._refuse_gaps(segment, position, count, page)
                with self._lock:
                    self._page = {
                        place: self._decoded(found, segment.stream, place)
                        for place, found in enumerate(page, position)
                    }
                    read = list(self._page.values())
                    for event, digest in read:
                        self._known.add(event, digest)
                for event, _ in read:
                    yield event
                position += count
            start = max(start, position)

    def _refuse_gaps(
        self, segment: Segment, position: int, count: int, page: Sequence[StoredEvent]
    ) -> None:
        first = position - segment.base
        if [found.revision for found in page] != [*range(first, first + count)]:
            msg = (
                f"{segment.stream} is missing {count - len(page) or 'some'} of its events {position} "
                f"to {position + count - 1}: it was truncated or deleted."
            )
            raise StoreDamaged(msg, hint="Restore the server from a backup.")

    def _decoded(
        self, found: StoredEvent, stream: str, position: int
    ) -> tuple[RecordedEvent, bytes]:
        digest = hash_of(found.metadata, stream, position)
        packed = msgspec.json.decode(found.metadata).get(_PACKED)
        data, metadata = self._unpack(*packed) if packed else (found.data, found.metadata)
        row = Row(found.type, data, metadata, digest)
        return event_of(row, stream, position, self._streams.blobs.parts), digest

    def _unpack(self, name: str, place: int) -> tuple[bytes, bytes]:
        # The events of a batch are consecutive, so the last content serves many reads.
        if self._unpacked[0] != name:
            self._unpacked = (name, msgspec.msgpack.decode(self._streams.content(name)))
        data, metadata = self._unpacked[1][place]
        return data, metadata

    def blobs(self, digests: Sequence[bytes]) -> Mapping[bytes, bytes]:
        return self._streams.blobs.get(digests)

    def store_blobs(self, bodies: Sequence[bytes]) -> None:
        self._streams.blobs.add(bodies)

    def stream_name(self) -> str:
        return self._own.stream

    def length(self) -> int:
        last = self._streams.last(self._own.stream)
        if last is not None:
            return self._own.base + last.revision + 1
        if self._known.length > self._own.base or self._streams.is_deleted(self._own.stream):
            msg = f"{self.stream_name()} has lost its events: its stream was deleted."
            raise StoreDamaged(msg, hint="Restore the server from a backup.")
        return self._own.base

    def at(self, position: int) -> RecordedEvent | None:
        check_from_position(self.stream_name(), position)
        found = self._at(position)
        return found[0] if found is not None else None

    def _at(self, position: int) -> tuple[RecordedEvent, bytes] | None:
        if position >= _POSITIONS:
            return None
        with self._lock:
            if position in self._page:
                return self._page[position]
        segment = next(s for s in self._segments if s.stop is None or position < s.stop)
        page = self._streams.page(segment.stream, position - segment.base, 1)
        if not page or page[0].revision != position - segment.base:
            return None
        with self._lock:
            return self._decoded(page[0], segment.stream, position)

    def find(self, event_id: str) -> RecordedEvent | None:
        # Most ids end with a number near their position, which saves reading the whole ledger.
        number = event_id.rpartition("-")[2]
        if number.isdecimal() and len(number) < 16:
            for position in range(int(number), int(number) + len(self._segments)):
                found = self.at(position)
                if found is not None and found.id == event_id:
                    return found
        with self._lock:
            self._catch_up()
            known = self._known.positions.get(event_id)
        return None if known is None else self.at(known)

    def digest(self, position: int) -> bytes:
        check_from_position(self.stream_name(), position)
        if position == 0:
            return GENESIS
        found = self._at(position - 1)
        if found is None:
            length = self.length()
            msg = f"Position {position} is outside {self.stream_name()} of {length} events."
            raise PositionOutOfRange(msg, hint=f"Use 0 to {length}.")
        return found[1]
