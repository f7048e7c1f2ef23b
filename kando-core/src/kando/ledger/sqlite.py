"""A ledger in a SQLite file: durable on one machine, without a server."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kando.errors import PositionOutOfRange
from kando.ledger._sqlite_queries import EVENTS_ABOUT, Search, links_of, links_query
from kando.ledger._sqlite_rows import (
    COLUMNS,
    UNNAMED,
    Names,
    Segment,
    events_of,
    insert,
    names_of,
)
from kando.ledger.chain import GENESIS
from kando.ledger.checks import check_expected_length, check_from_position, duplicate
from kando.ledger.completion import complete_all
from kando.ledger.interface import LedgerStore, Link
from kando.schema.events import BRANCH_CREATED, KandoEvent, RecordedEvent
from kando.schema.identity import number_of_default_id

if TYPE_CHECKING:
    from kando.ledger.sqlite_substrate import SQLiteSubstrate

__all__ = ["SQLiteLedgerStore"]

#: Rows read at a time. Writers may use the file between two pages.
_PAGE = 1000

#: Page size for links, which are small.
_LINKS_PAGE = 10_000

#: Page size for a search, which returns few rows.
_LARGEST_PAGE = 32_000

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

    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        with self._substrate._writing() as connection:
            length = self._append(connection, events, expected_length)
        self._substrate._blobs.committed()
        return length

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
        names = names_of(whole, self._own)
        self._refuse_duplicates(connection, whole, names)
        previous = self._digest(connection, length)
        self._substrate._blobs.store(connection, whole)
        insert(connection, whole, names, self._own, previous)
        length += len(whole)
        connection.execute(
            "UPDATE ledgers SET length = ? WHERE number = ?", (length, self._own.base >> 32)
        )
        return length

    def _heads(self, connection: sqlite3.Connection) -> int:
        """Return the number of branch heads; a branch that was made by hand may lack its own."""
        query = "SELECT 1 FROM events WHERE address = ? AND type = ? AND id IS NULL"
        starts = [segment.base + segment.start for segment in self._segments if segment.heads]
        return sum(
            connection.execute(query, (start, BRANCH_CREATED)).fetchone() is not None
            for start in starts
        )

    def _refuse_duplicates(
        self,
        connection: sqlite3.Connection,
        events: Sequence[RecordedEvent],
        names: Sequence[Names],
    ) -> None:
        within: dict[str, int] = {}
        has_explicit = self._has_explicit_ids(connection)
        if not has_explicit and names.count(UNNAMED) == len(names):
            return
        for event, (explicit, _) in zip(events, names, strict=True):
            taken = within.get(event.id)
            if taken is None and (has_explicit or explicit is not None):
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
        query = "SELECT type FROM events WHERE address = ? AND id IS NULL"
        for segment, position in self._default_places(event_id):
            row = connection.execute(query, (segment.base + position,)).fetchone()
            if row is not None and event_id == segment.default_id(row[0], position):
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
        # Events never change, so pages up to a fixed end give a consistent view.
        query = f"SELECT {COLUMNS} FROM events WHERE address >= ? AND address < ? ORDER BY address"
        for segment in self._segments:
            position = max(start, segment.start)
            stop = end if segment.stop is None else min(end, segment.stop)
            while position < stop:
                upto = min(position + _PAGE, stop)
                rows = self._rows(query, (segment.base + position, segment.base + upto))
                if len(rows) != upto - position:
                    lost = f"{upto - position - len(rows)} of its events {position} to {upto - 1}"
                    raise self._substrate._damaged(f"{segment.stream} lacks {lost}.")
                yield from events_of(rows, segment, self._substrate._blobs.parts)
                position = upto

    def _rows(self, query: str, span: tuple[int | str, ...]) -> list[tuple[Any, ...]]:
        return self._substrate._query(lambda connection: connection.execute(query, span).fetchall())

    def stream_name(self) -> str:
        return self._own.stream

    def length(self) -> int:
        return self._substrate._query(self._length)

    def _length(self, connection: sqlite3.Connection) -> int:
        number = self._own.base >> 32
        row = connection.execute(
            "SELECT length FROM ledgers WHERE number = ?", (number,)
        ).fetchone()
        if row is None or not isinstance(row[0], int):
            raise self._substrate._damaged(f"{self.stream_name()} has lost its length.")
        return row[0]

    def at(self, position: int) -> RecordedEvent | None:
        check_from_position(self.stream_name(), position)
        return self._substrate._query(lambda connection: self._at(connection, position))

    def _at(self, connection: sqlite3.Connection, position: int) -> RecordedEvent | None:
        segment = self._segment_of(position)
        row = connection.execute(
            f"SELECT {COLUMNS} FROM events WHERE address = ?", (self._address_of(position),)
        ).fetchone()
        parts = self._substrate._blobs.parts
        return next(events_of([row], segment, parts)) if row is not None else None

    def _segment_of(self, position: int) -> Segment:
        return next(s for s in self._segments if s.stop is None or position < s.stop)

    def _address_of(self, position: int) -> int | None:
        """Return the address of a position; None, which matches no row, past the last possible one."""
        return self._segment_of(position).base + position if position < _POSITIONS else None

    def find(self, event_id: str) -> RecordedEvent | None:
        return self._substrate._query(lambda connection: self._find(connection, event_id))

    def _find(self, connection: sqlite3.Connection, event_id: str) -> RecordedEvent | None:
        position = self._position_of(connection, event_id)
        return None if position is None else self._at(connection, position)

    def links(self, start: int, stop: int, *, excluding: Collection[str] = ()) -> Iterator[Link]:
        check_from_position(self.stream_name(), start)
        for segment, first, last in self._spans(start, min(stop, self.length())):
            query, left_out = links_query(excluding)
            for page in range(first, last, _LINKS_PAGE):
                upto = min(page + _LINKS_PAGE, last)
                rows = self._rows(query, (segment.base + page, segment.base + upto, *left_out))
                yield from links_of(rows, segment)

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
                parts = self._substrate._blobs.parts
                for event in events_of(self._rows(EVENTS_ABOUT, span), segment, parts):
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
        return self._substrate._query(self._stray_position)

    def _stray_position(self, connection: sqlite3.Connection) -> int | None:
        base, length = self._own.base, self._length(connection)
        query = "SELECT address FROM events WHERE address >= ? AND address < ? LIMIT 1"
        for first, last in ((0, self._own.start), (max(length, 0), _POSITIONS)):
            row = connection.execute(query, (base + first, base + last)).fetchone()
            if row is not None:
                found: int = row[0] - base
                return found
        return None

    def digest(self, position: int) -> bytes:
        check_from_position(self.stream_name(), position)
        return self._substrate._query(lambda connection: self._digest(connection, position))

    def _digest(self, connection: sqlite3.Connection, position: int) -> bytes:
        if position == 0:
            return GENESIS
        query = "SELECT hash FROM events WHERE address = ?"
        row = connection.execute(query, (self._address_of(position - 1),)).fetchone()
        if row is None:
            length = self._length(connection)
            msg = f"Position {position} is outside {self.stream_name()} of {length} events."
            raise PositionOutOfRange(msg, hint=f"Use 0 to {length}.")
        if not isinstance(row[0], bytes):
            msg = f"{self.stream_name()} has lost the hash of event {position - 1}."
            raise self._substrate._damaged(msg)
        return row[0]

    def blobs(self, digests: Sequence[bytes]) -> Mapping[bytes, bytes]:
        return self._substrate._blobs.get(digests)

    def close(self) -> None:
        """Close the file, if this ledger opened it."""
        if self._owns_substrate:
            self._substrate.close()
