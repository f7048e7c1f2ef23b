"""A ledger in a SQLite file: durable on one machine, without a server."""

# long: one interface; what a row holds is in _sqlite_rows, and how a firing is stored in
# _sqlite_firings.

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kando.errors import PositionOutOfRange, StoreDamaged
from kando.ledger._sqlite_deleted import is_deleted, ledger_deleted, time_of_deletion
from kando.ledger._sqlite_file import format_of
from kando.ledger._sqlite_firings import firing_of, insert, items_of, storable
from kando.ledger._sqlite_queries import EVENTS_ABOUT, Search, links_of, links_query
from kando.ledger._sqlite_rows import (
    COLUMNS,
    FORMAT_1_COLUMNS,
    UNNAMED,
    Segment,
    events_of,
    names_of,
)
from kando.ledger.chain import GENESIS, link
from kando.ledger.checks import check_expected_length, check_from_position, duplicate
from kando.ledger.completion import complete_all
from kando.ledger.interface import LedgerStore, Link
from kando.schema.events import (
    BRANCH_CREATED,
    RESPONDER_COMPLETED,
    RESPONDER_FIRED,
    KandoEvent,
    RecordedEvent,
)
from kando.schema.firing import Firing, flattened, grouped
from kando.schema.identity import number_of_default_id

if TYPE_CHECKING:
    from kando.ledger.sqlite_substrate import SQLiteSubstrate

__all__ = ["SQLiteLedgerStore"]

Result = TypeVar("Result")

#: Rows read at a time. Writers may use the file between two pages.
_PAGE = 1000

#: Page size for links, which are small.
_LINKS_PAGE = 10_000

#: Page size for a search, which returns few rows.
_LARGEST_PAGE = 32_000

_LIFECYCLE = frozenset({RESPONDER_FIRED, RESPONDER_COMPLETED})

# An address is a ledger's number followed by a position of 32 bits.
_POSITIONS = 2**32


class SQLiteLedgerStore(LedgerStore):
    """A ledger in a SQLite file; an append is on disk when it returns.

    Args:
        run_id: id of the run or branch; a run that does not exist is created. A prefix ``run:`` or
            ``branch:`` is the kind that the ledger must have.
        path: of the file; created if it does not exist.

    Raises:
        StoreError: the file cannot be used.
        ConfigurationError: the id is malformed.
        LedgerNotFound: the ledger is of the other kind, or a branch that does not exist.
    """

    keeps_blobs = True

    def __init__(self, run_id: str, path: str | Path) -> None:
        from kando.ledger.sqlite_substrate import SQLiteSubstrate

        substrate = SQLiteSubstrate(path)
        try:
            self._attach(substrate, substrate._opened_or_created(run_id))
        except BaseException:
            substrate.close()
            raise
        self._owns_substrate = True

    @classmethod
    def _of(cls, substrate: SQLiteSubstrate, segments: Sequence[Segment]) -> SQLiteLedgerStore:
        ledger = cls.__new__(cls)
        ledger._attach(substrate, segments)
        ledger._owns_substrate = False
        return ledger

    def _attach(self, substrate: SQLiteSubstrate, segments: Sequence[Segment]) -> None:
        self._substrate = substrate
        self._segments = tuple(segments)
        self._own = segments[-1]
        self._parts = substrate._blobs.parts
        # A length of the ledger, and the chained hash there: as of the last commit, and inserted since.
        self._end = self._inserted = (0, GENESIS)
        # Whether the events up to that length were found to have default ids only.
        self._has_default_ids = self._inserted_default_ids = False
        # A file of format 1 that is only read has no rows of firings, until a writer upgrades it.
        self._has_firings = not substrate.is_read_only

    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        # Held until the blobs are known to be stored, so that no other thread stores any meanwhile.
        with self._substrate._lock:
            with self._substrate._writing() as connection:
                length = self._append(connection, events, expected_length)
            self._committed()
        return length

    def append_firings(
        self, items: Sequence[RecordedEvent | Firing], *, expected_length: int | None = None
    ) -> int:
        if _replaces_append(type(self)):
            return super().append_firings(items, expected_length=expected_length)
        with self._substrate._lock:
            with self._substrate._writing() as connection:
                length = self._length(connection)
                check_expected_length(self.stream_name(), length, expected_length)
                length = self._insert(connection, items, length)
            self._committed()
        return length

    def _committed(self) -> None:
        self._end, self._has_default_ids = self._inserted, self._inserted_default_ids
        self._substrate._blobs.committed()

    def _append(
        self,
        connection: sqlite3.Connection,
        events: Sequence[KandoEvent],
        expected_length: int | None,
    ) -> int:
        stream, length = self.stream_name(), self._length(connection)
        check_expected_length(stream, length, expected_length)
        whole = complete_all(
            events, length, stream, lambda: self._heads(connection), keeps_blobs=True
        )
        return self._insert(connection, [*grouped(whole)], length)

    def _insert(
        self, connection: sqlite3.Connection, items: Sequence[RecordedEvent | Firing], length: int
    ) -> int:
        """Insert complete events and firings after the last event; return the length afterwards."""
        key_of = self._key_finder(connection, items)
        packed: list[RecordedEvent | Firing] = []
        stored: list[RecordedEvent] = []
        start = length
        for item in items:
            if item.position != length:
                return self._append(connection, flattened(items), start)
            if not isinstance(item, Firing):
                packed.append(item)
                stored.append(item)
                length += 1
                continue
            length += len(item.outputs) + 2
            firing = storable(item, self._own, key_of)
            if firing is not None:
                packed.append(firing)
                stored += firing.outputs
            else:
                packed += item.events()
                stored += item.events()
        names = names_of(stored, self._own)
        known, hash = self._end
        is_free = known == start and self._has_default_ids
        is_default = names.count(UNNAMED) == len(names) and (
            is_free or not self._has_explicit_ids(connection)
        )
        if not is_default:
            self._refuse_duplicates(connection, flattened(packed))
        self._substrate._blobs.store(connection, stored)
        previous = hash if known == start else self._digest(connection, start)
        last = insert(connection, packed, names, self._own, previous)
        self._inserted, self._inserted_default_ids = (length, last), is_default
        connection.execute(
            "UPDATE ledgers SET length = ? WHERE number = ?", (length, self._own.base >> 32)
        )
        return length

    def _key_finder(
        self, connection: sqlite3.Connection, items: Sequence[RecordedEvent | Firing]
    ) -> Callable[[str], str | None]:
        """Return a function that finds the lineage key of an event of the ledger or the items."""
        keys: dict[str, str] | None = None

        def key_of(event_id: str) -> str | None:
            nonlocal keys
            if keys is None:
                keys = {event.id: event.lineage_key for event in flattened(items)}
            if event_id in keys:
                return keys[event_id]
            event = self._find(connection, event_id)
            return None if event is None else event.lineage_key

        return key_of

    def _heads(self, connection: sqlite3.Connection) -> int:
        """Return the number of branch heads; a branch that was made by hand may lack its own."""
        query = "SELECT 1 FROM events WHERE address = ? AND type = ? AND id IS NULL"
        starts = [segment.base + segment.start for segment in self._segments if segment.heads]
        return sum(
            connection.execute(query, (start, BRANCH_CREATED)).fetchone() is not None
            for start in starts
        )

    def _refuse_duplicates(
        self, connection: sqlite3.Connection, events: Sequence[RecordedEvent]
    ) -> None:
        within: dict[str, int] = {}
        for event in events:
            taken = within.get(event.id)
            if taken is None:
                taken = self._position_of(connection, event.id)
            if taken is not None:
                raise duplicate(self.stream_name(), event.id, taken)
            within[event.id] = event.position

    def _has_explicit_ids(self, connection: sqlite3.Connection) -> bool:
        query = "SELECT 1 FROM events WHERE address >> 32 = ? AND id IS NOT NULL LIMIT 1"
        return any(
            connection.execute(query, (segment.base >> 32,)).fetchone()
            for segment in self._segments
        )

    def _position_of(self, connection: sqlite3.Connection, event_id: str) -> int | None:
        query = "SELECT type, id FROM events WHERE address = ?"
        for segment, position in self._default_places(event_id):
            row = connection.execute(query, (segment.base + position,)).fetchone()
            if row is None:
                event = self._lifecycle_event(connection, segment, position)
                if event is not None and event.id == event_id:
                    return position
            elif row[1] is None and event_id == segment.default_id(row[0], position):
                return position
        query = "SELECT address FROM events WHERE address >> 32 = ? AND id = ?"
        for segment in self._segments:
            row = connection.execute(query, (segment.base >> 32, event_id)).fetchone()
            if row is not None and (segment.stop is None or row[0] < segment.base + segment.stop):
                found: int = row[0] - segment.base
                return found
        return None

    def _default_places(self, event_id: str) -> Iterator[tuple[Segment, int]]:
        """Yield the positions at which an event would have this id by default."""
        number = number_of_default_id(event_id)
        for segment in self._segments:
            if segment.heads and event_id.endswith(f"-{segment.stream.partition(':')[2]}"):
                yield segment, segment.start
            if number is not None:
                position = number + segment.heads
                stop = _POSITIONS if segment.stop is None else segment.stop
                if segment.start <= position < stop:
                    yield segment, position

    def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        check_from_position(self.stream_name(), from_position)
        return self._read(from_position, self.length())

    def _read(self, start: int, end: int) -> Iterator[RecordedEvent]:
        for item in self._items(start, end):
            if not isinstance(item, Firing):
                yield item
            elif item.position >= start:
                yield from item.events()
            else:
                yield from item.events()[start - item.position :]

    def read_firings(self, from_position: int = 0) -> Iterator[RecordedEvent | Firing]:
        check_from_position(self.stream_name(), from_position)
        return self._read_firings(from_position, self.length())

    def _read_firings(self, start: int, end: int) -> Iterator[RecordedEvent | Firing]:
        items = self._items(start, end)
        for item in items:
            if isinstance(item, Firing) and item.position < start:
                yield from item.events()[start - item.position :]
            else:
                yield item
            # No later one begins before.
            yield from items

    def _items(self, start: int, end: int) -> Iterator[RecordedEvent | Firing]:
        """Yield the events and firings from `start` up to `end`; the first firing may begin before."""
        for segment, first, last in self._spans(start, end):
            aligned = self._start_of_item(segment, first) if first > segment.start else first
            rows = self._pages(segment.base + aligned, segment.base + last)
            items = items_of(rows, segment, aligned, last, self._parts)
            if aligned == first:
                yield from items
            else:
                yield from (
                    item for item in items if isinstance(item, Firing) or item.position >= first
                )

    def _pages(self, first: int, last: int) -> Iterator[tuple[Any, ...]]:
        # Events never change, so pages up to a fixed end give a consistent view.
        where = f"WHERE address >= ? AND address <= ? ORDER BY address LIMIT {_PAGE}"
        while True:
            page = self._rows(where, (first, last))
            yield from page
            if len(page) < _PAGE:
                return
            first = page[-1][0] + 1

    def _start_of_item(self, segment: Segment, position: int) -> int:
        """Return the position of the first event of the firing around a position, or the position."""
        start = self._query(lambda connection: self._fired_before(connection, segment, position))
        return position if start is None else max(start, segment.start)

    def _fired_before(
        self, connection: sqlite3.Connection, segment: Segment, position: int
    ) -> int | None:
        """Return the position of the ``responder.fired`` of the firing around a position, or None."""
        if not self._may_have_firings(connection):
            return None
        address = segment.base + position
        query = "SELECT address, firing FROM events WHERE address BETWEEN ? AND ?"
        marks = dict(connection.execute(query, (address - 1, address + 1)).fetchall())
        for at in (address,) if address in marks else (address + 1, address - 1):
            mark = marks.get(at) or 0
            # Of two neighbours, the next one must begin a firing, and the last one be in one.
            if mark > 0:
                return at - segment.base - 1
            if mark < 0 and at <= address:
                return at - segment.base + mark - 1
        return None

    def _lifecycle_event(
        self, connection: sqlite3.Connection, segment: Segment, position: int
    ) -> RecordedEvent | None:
        """Return the event at a position without a row, if it is the lifecycle event of a firing."""
        start = self._fired_before(connection, segment, position)
        if start is None:
            return None
        rows = self._select(connection, "WHERE address = ?", (segment.base + start + 1,))
        if not rows:
            return None
        firing, count = firing_of(rows[0], segment, self._parts)
        if position not in (start, start + 1 + count):
            return None
        return firing.lifecycle_event(position, count)

    def _may_have_firings(self, connection: sqlite3.Connection) -> bool:
        self._has_firings = self._has_firings or format_of(connection) > 1
        return self._has_firings

    def _select(
        self, connection: sqlite3.Connection, where: str, parameters: tuple[int | str, ...]
    ) -> list[tuple[Any, ...]]:
        """Return the rows of events that meet a condition."""
        # A reader asks in the transaction of the query: a writer may upgrade the file meanwhile.
        columns = COLUMNS if self._may_have_firings(connection) else FORMAT_1_COLUMNS
        return connection.execute(f"SELECT {columns} FROM events {where}", parameters).fetchall()

    def _rows(self, where: str, parameters: tuple[int | str, ...]) -> list[tuple[Any, ...]]:
        return self._query(lambda connection: self._select(connection, where, parameters))

    def _query(self, function: Callable[[sqlite3.Connection], Result]) -> Result:
        """Return what a function reads of the ledger, unless it was deleted meanwhile."""

        def checked(connection: sqlite3.Connection) -> Result:
            try:
                result = function(connection)
            except (StoreDamaged, PositionOutOfRange):
                self._refuse_deleted(connection)
                raise
            self._refuse_deleted(connection)
            return result

        return self._substrate._query(checked)

    def _refuse_deleted(self, connection: sqlite3.Connection) -> None:
        number = self._own.base >> 32
        query = "SELECT 1 FROM ledgers WHERE number = ?"
        if connection.execute(query, (number,)).fetchone() is not None:
            return
        if is_deleted(connection, number):
            id = self.stream_name().partition(":")[2]
            raise ledger_deleted(id, time_of_deletion(connection, id))

    def stream_name(self) -> str:
        return self._own.stream

    def length(self) -> int:
        return self._query(self._length)

    def _length(self, connection: sqlite3.Connection) -> int:
        number = self._own.base >> 32
        row = connection.execute(
            "SELECT length FROM ledgers WHERE number = ?", (number,)
        ).fetchone()
        if row is None:
            self._refuse_deleted(connection)
        if row is None or not isinstance(row[0], int):
            raise self._substrate._damaged(f"{self.stream_name()} has lost its length.")
        return row[0]

    def at(self, position: int) -> RecordedEvent | None:
        check_from_position(self.stream_name(), position)
        return self._query(lambda connection: self._at(connection, position))

    def _at(self, connection: sqlite3.Connection, position: int) -> RecordedEvent | None:
        address = self._address_of(position)
        if address is None:
            return None
        segment = self._segment_of(position)
        rows = self._select(connection, "WHERE address = ?", (address,))
        if rows:
            return next(events_of(rows, segment, self._parts))
        return self._lifecycle_event(connection, segment, position)

    def _segment_of(self, position: int) -> Segment:
        return next(s for s in self._segments if s.stop is None or position < s.stop)

    def _address_of(self, position: int) -> int | None:
        """Return the address of a position; None, which matches no row, past the last possible one."""
        return self._segment_of(position).base + position if position < _POSITIONS else None

    def find(self, event_id: str) -> RecordedEvent | None:
        try:
            return self._query(lambda connection: self._find(connection, event_id))
        except UnicodeEncodeError:
            # No event has an id with a lone surrogate, which SQLite cannot look up.
            return None

    def _find(self, connection: sqlite3.Connection, event_id: str) -> RecordedEvent | None:
        position = self._position_of(connection, event_id)
        return None if position is None else self._at(connection, position)

    def links(self, start: int, stop: int, *, excluding: Collection[str] = ()) -> Iterator[Link]:
        check_from_position(self.stream_name(), start)
        if not _LIFECYCLE.issubset(excluding):
            # The causes of lifecycle events follow from other columns.
            yield from super().links(start, stop, excluding=excluding)
            return
        for segment, first, last in self._spans(start, min(stop, self.length())):
            query, left_out = links_query(excluding)
            for page in range(first, last, _LINKS_PAGE):
                upto = min(page + _LINKS_PAGE, last)
                yield from self._linked(query, (page, upto), left_out, segment)

    def _linked(
        self, query: str, span: tuple[int, int], left_out: tuple[str, ...], segment: Segment
    ) -> Iterator[Link]:
        parameters = (segment.base + span[0], segment.base + span[1], *left_out)
        rows = self._query(lambda connection: connection.execute(query, parameters).fetchall())
        return links_of(rows, segment)

    def events_about(
        self, objects: Collection[str], relations: Collection[str], stop: int
    ) -> Iterator[RecordedEvent]:
        search = Search(objects, relations)
        if not search.is_possible:
            return super().events_about(objects, relations, stop)
        # Backwards, since objects are mostly changed soon after they are created.
        page = _PAGE
        for segment, first, last in reversed(list(self._spans(0, min(stop, self.length())))):
            while last > first and search.is_incomplete:
                start = max(last - page, first)
                span = (segment.base + start, segment.base + last, *search.parameters())
                for event in events_of(self._rows(EVENTS_ABOUT, span), segment, self._parts):
                    search.add(event)
                last, page = start, min(2 * page, _LARGEST_PAGE)
        return search.found()

    def _spans(self, start: int, stop: int) -> Iterator[tuple[Segment, int, int]]:
        """Yield the segments that contain some positions, each with its part of the range."""
        for segment in self._segments:
            first = max(start, segment.start)
            last = stop if segment.stop is None else min(stop, segment.stop)
            if first < last:
                yield segment, first, last

    def stray_position(self) -> int | None:
        return self._query(self._stray_position)

    def _stray_position(self, connection: sqlite3.Connection) -> int | None:
        base, own, length = self._own.base, self._own, max(self._length(connection), 0)
        if length > own.start and self._lifecycle_event(connection, own, length) is not None:
            return length
        query = "SELECT address FROM events WHERE address >= ? AND address < ? LIMIT 1"
        for first, last in ((0, own.start), (length, _POSITIONS)):
            row = connection.execute(query, (base + first, base + last)).fetchone()
            if row is not None:
                found: int = row[0] - base
                begins = (
                    self._lifecycle_event(connection, own, found - 1) if found > first else None
                )
                return found if begins is None else found - 1
        return None

    def digest(self, position: int) -> bytes:
        check_from_position(self.stream_name(), position)
        return self._query(lambda connection: self._digest(connection, position))

    def _digest(self, connection: sqlite3.Connection, position: int) -> bytes:
        if position == 0:
            return GENESIS
        query = "SELECT hash FROM events WHERE address = ?"
        row = connection.execute(query, (self._address_of(position - 1),)).fetchone()
        if row is None:
            event = self._at(connection, position - 1)
            if event is not None:
                return link(self._digest(connection, position - 1), event)
            length = self._length(connection)
            msg = f"Position {position} is outside {self.stream_name()} of {length} events."
            raise PositionOutOfRange(msg, hint=f"Use 0 to {length}.")
        if not isinstance(row[0], bytes):
            msg = f"{self.stream_name()} has lost the hash of event {position - 1}."
            raise self._substrate._damaged(msg)
        return row[0]

    def blobs(self, digests: Sequence[bytes]) -> Mapping[bytes, bytes]:
        return self._substrate._blobs.get(digests)

    def store_blobs(self, bodies: Sequence[bytes]) -> None:
        with self._substrate._lock:
            with self._substrate._writing() as connection:
                self._length(connection)
                self._substrate._blobs.add(connection, self._own.base >> 32, bodies)
            self._substrate._blobs.committed()

    def close(self) -> None:
        """Close the file, if this ledger opened it."""
        if self._owns_substrate:
            self._substrate.close()


_APPEND, _APPEND_FIRINGS = SQLiteLedgerStore.append, SQLiteLedgerStore.append_firings


def _replaces_append(kind: type[SQLiteLedgerStore]) -> bool:
    """Whether a subclass replaces `append` only, and so must see every event."""
    return kind.append is not _APPEND and kind.append_firings is _APPEND_FIRINGS
