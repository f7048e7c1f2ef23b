"""A ledger in a SQLite file: durable on one machine, with no server."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from kando.errors import PositionOutOfRange
from kando.ledger._checks import check_expected_length, check_from_position, duplicate
from kando.ledger._sqlite_rows import COLUMNS, INSERT, event_of, rows_of
from kando.ledger.chain import GENESIS
from kando.ledger.completion import complete
from kando.ledger.interface import LedgerStore
from kando.schema.events import KandoEvent, RecordedEvent
from kando.schema.identity import default_event_id, position_of_default_id

if TYPE_CHECKING:
    from kando.ledger.sqlite_substrate import SQLiteSubstrate

__all__ = ["SQLiteLedgerStore", "Segment"]

#: Rows read at a time. Between two pages the file is free for writers.
_PAGE = 1000


@attrs.frozen
class Segment:
    """A stretch of a ledger that one row of the table of ledgers owns.

    Attributes:
        base: address of the owner's position 0.
        start: first position of the stretch.
        stop: position after its last; None for the open end of the ledger itself.
        stream: name of the owner.
    """

    base: int
    start: int
    stop: int | None
    stream: str


class SQLiteLedgerStore(LedgerStore):
    """A ledger in a SQLite file; an append is on disk when it returns.

    Args:
        run_id: id of the run or branch, without ``run:``; created if the file has none.
        path: of the file; created if it is missing.

    Raises:
        StoreError: the file cannot be used.
    """

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
            length = self._length(connection)
            check_expected_length(self.stream_name(), length, expected_length)
            completed = [
                complete(event, position, self.stream_name())
                for position, event in enumerate(events, length)
            ]
            self._refuse_duplicates(connection, completed)
            previous = self._digest(connection, length)
            connection.executemany(
                INSERT, rows_of(completed, self._own.base, self.stream_name(), previous)
            )
            length += len(completed)
            connection.execute(
                "UPDATE ledgers SET length = ? WHERE number = ?", (length, self._own.base >> 32)
            )
            return length

    def _refuse_duplicates(
        self, connection: sqlite3.Connection, events: Sequence[RecordedEvent]
    ) -> None:
        within: dict[str, int] = {}
        has_explicit = self._has_explicit_ids(connection)
        for event in events:
            taken = within.get(event.id)
            is_default = event.id == default_event_id(event.type, event.position)
            if taken is None and (has_explicit or not is_default):
                found = self._find(connection, event.id)
                taken = found.position if found is not None else None
            if taken is not None:
                raise duplicate(self.stream_name(), event.id, taken)
            within[event.id] = event.position

    def _has_explicit_ids(self, connection: sqlite3.Connection) -> bool:
        return any(
            connection.execute(
                "SELECT 1 FROM events WHERE address >> 32 = ? AND id IS NOT NULL LIMIT 1",
                (segment.base >> 32,),
            ).fetchone()
            for segment in self._segments
        )

    def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        check_from_position(self.stream_name(), from_position)
        return self._read(from_position, self.length())

    def _read(self, start: int, end: int) -> Iterator[RecordedEvent]:
        # Events never change, so pages up to a fixed end are one consistent reading.
        query = f"SELECT {COLUMNS} FROM events WHERE address >= ? AND address < ? ORDER BY address"
        for segment in self._segments:
            position = max(start, segment.start)
            stop = end if segment.stop is None else min(end, segment.stop)
            while position < stop:
                upto = min(position + _PAGE, stop)
                with self._substrate._reading() as connection:
                    span = (segment.base + position, segment.base + upto)
                    rows = connection.execute(query, span).fetchall()
                if len(rows) != upto - position:
                    raise self._substrate._damaged(segment.stream, position, upto, len(rows))
                for row in rows:
                    yield event_of(row, segment.stream)
                position = upto

    def stream_name(self) -> str:
        return self._own.stream

    def length(self) -> int:
        with self._substrate._reading() as connection:
            return self._length(connection)

    def _length(self, connection: sqlite3.Connection) -> int:
        number = self._own.base >> 32
        row = connection.execute("SELECT length FROM ledgers WHERE number = ?", (number,))
        length: int = row.fetchone()[0]
        return length

    def at(self, position: int) -> RecordedEvent | None:
        check_from_position(self.stream_name(), position)
        with self._substrate._reading() as connection:
            return self._at(connection, position)

    def _at(self, connection: sqlite3.Connection, position: int) -> RecordedEvent | None:
        segment = self._segment_of(position)
        row = connection.execute(
            f"SELECT {COLUMNS} FROM events WHERE address = ?", (segment.base + position,)
        ).fetchone()
        return event_of(row, segment.stream) if row is not None else None

    def _segment_of(self, position: int) -> Segment:
        return next(s for s in self._segments if s.stop is None or position < s.stop)

    def find(self, event_id: str) -> RecordedEvent | None:
        with self._substrate._reading() as connection:
            return self._find(connection, event_id)

    def _find(self, connection: sqlite3.Connection, event_id: str) -> RecordedEvent | None:
        position = position_of_default_id(event_id)
        if position is not None and position < 2**32:
            event = self._at(connection, position)
            if event is not None and event.id == event_id:
                return event
        query = f"SELECT {COLUMNS} FROM events WHERE address >> 32 = ? AND id = ?"
        for segment in self._segments:
            row = connection.execute(query, (segment.base >> 32, event_id)).fetchone()
            if row is not None and (segment.stop is None or row[0] < segment.base + segment.stop):
                return event_of(row, segment.stream)
        return None

    def digest(self, position: int) -> bytes:
        check_from_position(self.stream_name(), position)
        with self._substrate._reading() as connection:
            return self._digest(connection, position)

    def _digest(self, connection: sqlite3.Connection, position: int) -> bytes:
        if position == 0:
            return GENESIS
        address = self._segment_of(position - 1).base + position - 1
        row = connection.execute("SELECT hash FROM events WHERE address = ?", (address,)).fetchone()
        if row is None:
            length = self._length(connection)
            msg = f"Position {position} is outside {self.stream_name()} of {length} events."
            raise PositionOutOfRange(msg, hint=f"Use 0 to {length}.")
        digest: bytes = row[0]
        return digest

    def close(self) -> None:
        """Close the file, if this ledger opened it."""
        if self._owns_substrate:
            self._substrate.close()
