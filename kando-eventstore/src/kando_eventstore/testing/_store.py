"""The streams of the fake server, in a SQLite file: appends, reads, retention."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

__all__ = [
    "ANY",
    "EXISTS",
    "MAX_APPEND_BYTES",
    "NO_STREAM",
    "AppendTooLarge",
    "Appended",
    "NewRecord",
    "Record",
    "StreamDeleted",
    "StreamStore",
    "WrongVersion",
]

#: Expected versions other than a revision.
NO_STREAM, ANY, EXISTS = -1, -2, -4

#: The default limit of EventStoreDB 20 to 24: 1 MiB an append.
MAX_APPEND_BYTES = 1024 * 1024

# Value of ``$tb`` of a stream that is deleted but not tombstoned.
_DELETED = 2**63 - 1
_PAGE = 500
_TICKS_PER_SECOND = 10_000_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL,
    revision INTEGER NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    content_type TEXT NOT NULL,
    created INTEGER NOT NULL,
    metadata BLOB NOT NULL,
    data BLOB NOT NULL,
    UNIQUE (stream, revision)
) STRICT;
CREATE INDEX IF NOT EXISTS ids ON events (stream, id);
CREATE TABLE IF NOT EXISTS streams (
    name TEXT PRIMARY KEY,
    last INTEGER NOT NULL DEFAULT -1,
    tombstoned INTEGER NOT NULL DEFAULT 0,
    retention TEXT NOT NULL DEFAULT '{}'
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS groups (
    source TEXT NOT NULL,
    name TEXT NOT NULL,
    settings TEXT NOT NULL,
    checkpoint INTEGER NOT NULL,
    PRIMARY KEY (source, name)
) STRICT, WITHOUT ROWID;
"""

_COLUMNS = "position, stream, revision, id, type, content_type, created, metadata, data"


@attrs.frozen
class NewRecord:
    """An event to append."""

    id: str
    type: str
    content_type: str
    metadata: bytes
    data: bytes


@attrs.frozen
class Record:
    """An event of a stream; `created` is in ticks of 100 ns since 1970."""

    position: int
    stream: str
    revision: int
    id: str
    type: str
    content_type: str
    created: int
    metadata: bytes
    data: bytes


@attrs.frozen
class Appended:
    """Revision and position of the last event of an append; -1 if the stream is empty."""

    revision: int
    position: int


class WrongVersion(Exception):
    """The stream is not at the expected version; `actual` is -1 if it does not exist."""

    def __init__(self, stream: str, expected: int, actual: int) -> None:
        super().__init__(stream)
        self.stream, self.expected, self.actual = stream, expected, actual


class StreamDeleted(Exception):
    """The stream is tombstoned."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.stream = stream


class AppendTooLarge(Exception):
    """An append exceeds the limit."""


@attrs.frozen
class _Stream:
    last: int = -1
    is_tombstoned: bool = False
    retention: dict[str, Any] = attrs.field(factory=dict)

    @property
    def exists(self) -> bool:
        return self.last >= 0 and self.retention.get("$tb") != _DELETED

    @property
    def actual(self) -> int:
        return self.last if self.exists else NO_STREAM


class StreamStore:
    """Streams in a SQLite file. Acknowledged writes survive a kill of the process.

    They may not survive a power failure: commits are not synchronised.

    Args:
        path: of the file; created if it is missing.
        recreated_seconds: in which a stream that was deleted and created again is not found.
    """

    def __init__(self, path: str | Path, *, recreated_seconds: float = 0.0) -> None:
        self._recreated_seconds = recreated_seconds
        self._found_from: dict[str, float] = {}
        self.changed = threading.Condition(threading.RLock())
        self.is_closed = False
        self.connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file, and wake the threads that wait for events."""
        with self.changed:
            self.is_closed = True
            self.changed.notify_all()
            self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a transaction, and then wake the threads that wait for events."""
        with self.changed:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.changed.notify_all()

    def append(self, stream: str, expected: int, events: Sequence[NewRecord]) -> Appended:
        """Append events, unless exactly these were appended there before.

        Raises:
            WrongVersion, StreamDeleted, AppendTooLarge: nothing was appended.
        """
        if sum(len(e.data) + len(e.metadata) + len(e.type) for e in events) > MAX_APPEND_BYTES:
            raise AppendTooLarge
        with self.transaction():
            return self._append(stream, expected, events)

    def _append(self, stream: str, expected: int, events: Sequence[NewRecord]) -> Appended:
        known = self._not_tombstoned(stream)
        earlier = self._earlier(stream, known, expected, events)
        if earlier is not None:
            return earlier
        if not _is_expected(known, expected):
            raise WrongVersion(stream, expected, known.actual)
        if known.retention.get("$tb") == _DELETED and events:
            self._write_metadata(stream, known.retention | {"$tb": known.last + 1})
            self._found_from[stream] = time.monotonic() + self._recreated_seconds
        return self._insert(stream, known.last, events)

    def _not_tombstoned(self, stream: str) -> _Stream:
        # A stream and its metadata stream are deleted together.
        subject = self.stream(stream.removeprefix("$$"))
        if subject.is_tombstoned:
            raise StreamDeleted(stream.removeprefix("$$"))
        return self.stream(stream) if stream.startswith("$$") else subject

    def _earlier(
        self, stream: str, known: _Stream, expected: int, events: Sequence[NewRecord]
    ) -> Appended | None:
        """Return the result of an earlier append of these events, if any, by expected revision."""
        if not events:
            return None
        if expected in (ANY, EXISTS):
            query = "SELECT revision, position FROM events WHERE stream = ? AND id = ?"
            found = [
                self.connection.execute(query, (stream, event.id)).fetchone() for event in events
            ]
            if found[0] is None:
                # Known events after a new one are written again.
                return None
            if not all(found):
                raise WrongVersion(stream, expected, known.actual)
            return Appended(*found[-1])
        if expected >= known.last:
            return None
        query = f"SELECT {_COLUMNS} FROM events WHERE stream = ? AND revision > ? LIMIT ?"
        rows = self.connection.execute(query, (stream, expected, len(events))).fetchall()
        stored = [Record(*row) for row in rows]
        if [e.id for e in stored] == [e.id for e in events]:
            return Appended(stored[-1].revision, stored[-1].position)
        return None

    def _insert(self, stream: str, last: int, events: Sequence[NewRecord]) -> Appended:
        position = 0
        for event in events:
            last += 1
            position = (
                self.connection.execute(
                    f"INSERT INTO events ({_COLUMNS}) VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(stream, last, event.id, event.type, event.content_type),
                        *(time.time_ns() // 100, event.metadata, event.data),
                    ),
                ).lastrowid
                or 0
            )
        self.connection.execute(
            "INSERT INTO streams (name, last) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET last = excluded.last",
            (stream, last),
        )
        if stream.startswith("$$") and events:
            self._keep_retention(stream[2:], events[-1].data)
        return Appended(last, position)

    def _keep_retention(self, stream: str, data: bytes) -> None:
        self.connection.execute(
            "INSERT INTO streams (name, retention) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET retention = excluded.retention",
            (stream, data.decode()),
        )

    def _write_metadata(self, stream: str, metadata: dict[str, Any]) -> None:
        data = json.dumps(metadata).encode()
        name = f"$${stream}"
        event = NewRecord(_random_id(), "$metadata", "application/json", b"", data)
        self._insert(name, self.stream(name).last, [event])

    def delete(self, stream: str, expected: int, *, tombstone: bool) -> int:
        """Delete a stream, or tombstone it; return the last position of the log.

        Raises:
            WrongVersion, StreamDeleted: nothing was deleted.
        """
        with self.transaction() as connection:
            known = self._not_tombstoned(stream)
            # A stream that is already deleted can be deleted again.
            is_missing = known.last < 0
            if tombstone:
                is_missing = expected != NO_STREAM and not known.exists
            if is_missing or not _is_expected(known, expected):
                raise WrongVersion(stream, expected, known.actual)
            if tombstone:
                connection.execute(
                    "INSERT INTO streams (name, tombstoned) VALUES (?, 1) "
                    "ON CONFLICT (name) DO UPDATE SET tombstoned = 1",
                    (stream,),
                )
            else:
                self._write_metadata(stream, known.retention | {"$tb": _DELETED})
            return self.last_position()

    def stream(self, name: str) -> _Stream:
        """Return the state of a stream, whether it exists or not."""
        with self.changed:
            query = "SELECT last, tombstoned, retention FROM streams WHERE name = ?"
            row = self.connection.execute(query, (name,)).fetchone()
        return _Stream(row[0], bool(row[1]), json.loads(row[2])) if row else _Stream()

    def readable(self, name: str) -> _Stream | None:
        """Return a stream to read, or None if it does not exist.

        Raises:
            StreamDeleted: the stream is tombstoned.
        """
        known = self._not_tombstoned(name)
        is_found = known.exists and time.monotonic() >= self._found_from.get(name, 0.0)
        return known if is_found else None

    def target(self, link: Record) -> Record | None:
        """Return the event that a link refers to; None if it was deleted or truncated."""
        number, _, stream = link.data.decode().partition("@")
        try:
            is_readable = self.readable(stream) is not None
        except StreamDeleted:
            return None
        found = self.read_stream(stream, int(number), int(number) + 1, backwards=False)
        return next(found, None) if is_readable else None

    def last_position(self) -> int:
        """Return the position of the last event in the log."""
        with self.changed:
            row = self.connection.execute("SELECT max(position) FROM events").fetchone()
        return int(row[0] or 0)

    def read_stream(self, name: str, start: int, stop: int, *, backwards: bool) -> Iterator[Record]:
        """Yield the events of a stream that retention has kept, from `start` to before `stop`."""
        known = self.stream(name)
        first = max(start, _first_kept(known.retention, known.last))
        youngest = 0
        if "$maxAge" in known.retention:
            youngest = time.time_ns() // 100 - known.retention["$maxAge"] * _TICKS_PER_SECOND
        yield from self._pages(
            "stream = ? AND revision BETWEEN ? AND ? AND created >= ?",
            "revision",
            lambda low, high: (name, low, high, youngest),
            (first, stop - 1),
            backwards=backwards,
        )

    def read_all(self, start: int, stop: int, *, backwards: bool) -> Iterator[Record]:
        """Yield the events of all streams from position `start` to before `stop`."""
        yield from self._pages(
            "position BETWEEN ? AND ?",
            "position",
            lambda low, high: (low, high),
            (start, stop - 1),
            backwards=backwards,
        )

    def _pages(
        self,
        condition: str,
        key: str,
        arguments: Callable[[int, int], tuple[Any, ...]],
        span: tuple[int, int],
        *,
        backwards: bool,
    ) -> Iterator[Record]:
        low, high = span
        order = "DESC" if backwards else "ASC"
        query = f"SELECT {_COLUMNS} FROM events WHERE {condition} ORDER BY {key} {order} LIMIT ?"
        while low <= high:
            with self.changed:
                if self.is_closed:
                    return
                rows = self.connection.execute(query, (*arguments(low, high), _PAGE)).fetchall()
            for row in rows:
                yield Record(*row)
            if len(rows) < _PAGE:
                return
            last = getattr(Record(*rows[-1]), key)
            low, high = (low, last - 1) if backwards else (last + 1, high)


def _is_expected(known: _Stream, expected: int) -> bool:
    if expected == ANY:
        return True
    if expected == EXISTS:
        return known.exists
    if expected == NO_STREAM:
        return not known.exists
    return expected == known.last


def _first_kept(retention: dict[str, Any], last: int) -> int:
    kept = last + 1 - int(retention["$maxCount"]) if "$maxCount" in retention else 0
    return max(kept, min(int(retention.get("$tb", 0)), 2**62))


def _random_id() -> str:
    import uuid

    return str(uuid.uuid4())
