"""Blobs in a SQLite file: the parts of events, each stored once in the file (see `kando.schema.parts`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from kando.errors import LedgerDeleted
from kando.ledger._sqlite_deleted import deletions
from kando.ledger._sqlite_file import open_to_read
from kando.ledger._sqlite_uses import add_uses, forget_uses, index_new_events, uses_blobs
from kando.schema.events import RecordedEvent, parts_of
from kando.schema.parts import MARK, Parts

__all__ = ["SQLiteBlobs"]

Result = TypeVar("Result")

# Made with the first blob. Bodies are in the order in which they were stored, the index is small.
_BLOBS = """
    CREATE TABLE IF NOT EXISTS blobs (
        number INTEGER PRIMARY KEY,
        digest BLOB NOT NULL UNIQUE,
        body BLOB NOT NULL
    ) STRICT
"""

_HAS_BLOBS = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'blobs'"

# A node of a chain begins with the digest of the node before it.
_LINE = """
    WITH RECURSIVE line (n, digest, body) AS (
        SELECT 1, digest, body FROM blobs WHERE digest = ?
        UNION ALL
        SELECT n + 1, b.digest, b.body
        FROM line JOIN blobs AS b ON b.digest = substr(line.body, 1, 32) WHERE n < ?
    )
    SELECT digest, body FROM line ORDER BY n
"""

# SQLite's default limit of parameters is 999 in old versions.
_AT_ONCE = 500

# Digests that are remembered as stored.
_MOST_KNOWN = 200_000


class SQLiteBlobs:
    """The blobs of one file.

    Args:
        path: of the file.
        query: reads from the file; None once it is closed.

    Attributes:
        parts: of the events of the file.
    """

    def __init__(self, path: Path, query: Callable[[], Callable[[Any], Any] | None]) -> None:
        self.parts = Parts(self._get_for_event, self._line)
        self._path = path
        self._query_now = query
        # Blobs are removed only with a ledger, so what was stored once needs no look-up until then.
        self._deletions = 0
        # As of the first event that could be read.
        self._deletions_at_first: int | None = None
        self._known: set[bytes] = set()
        self._pending: set[bytes] = set()
        # Nodes that were recorded with all that they name.
        self._whole: set[bytes] = set()
        self._pending_whole: set[bytes] = set()

    def store(self, connection: sqlite3.Connection, events: Iterable[RecordedEvent]) -> None:
        """Insert the blobs of events that the file lacks.

        Args:
            connection: in the transaction that appends the events. `committed` follows it.
            events: complete.
        """
        self._pending, self._pending_whole = set(), set()
        marked = [event for event in events if event.encoded[:1] == MARK]
        if not marked:
            return
        connection.execute(_BLOBS)
        self._notice_deletions(connection)

        def is_stored(digest: bytes) -> bool:
            if digest in self._known or digest in self._pending:
                return True
            found = connection.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,)).fetchone()
            if found is not None:
                self._pending.add(digest)
            return found is not None

        for event in marked:
            parts = parts_of(event)
            if parts is None:
                continue
            new = parts.unproven(self._is_whole)
            missing = parts.missing(is_stored, self._is_whole)
            connection.executemany(
                "INSERT INTO blobs (digest, body) VALUES (?, ?)",
                ((bytearray(digest), bytearray(body)) for digest, body in missing.items()),
            )
            self._pending.update(missing)
            self._pending_whole.update(node.digest for node in new)

    def _is_whole(self, digest: bytes) -> bool:
        is_recorded = digest in self._whole or digest in self._pending_whole
        return is_recorded or self.parts.has_read(digest)

    def begin(self, connection: sqlite3.Connection) -> None:
        """Note the state of the file before the first event is read from it."""
        if self._deletions_at_first is None:
            self._deletions_at_first = deletions(connection)

    def _notice_deletions(self, connection: sqlite3.Connection) -> None:
        """Forget what is stored if a ledger was deleted meanwhile: some of it may be gone."""
        found = deletions(connection)
        if found != self._deletions:
            self._deletions = found
            self._known.clear()
            self._whole.clear()
            self.parts.forget()

    def add(self, connection: sqlite3.Connection, number: int, bodies: Iterable[bytes]) -> None:
        """Insert blobs that the file lacks; they stay at least as long as a ledger.

        Args:
            connection: in a transaction. `committed` follows it.
            number: of the ledger whose events will name them.
            bodies: of the blobs.
        """
        connection.execute(_BLOBS)
        new = {sha256(body).digest(): body for body in bodies}
        connection.executemany(
            "INSERT OR IGNORE INTO blobs (digest, body) VALUES (?, ?)",
            ((bytearray(digest), bytearray(body)) for digest, body in new.items()),
        )
        add_uses(connection, number, new)
        self._pending, self._pending_whole = {*new}, set()

    def prepare_removal(self, connection: sqlite3.Connection, number: int) -> bool:
        """Take a step towards `remove`, which blocks other writers the less; return whether more follow.

        Args:
            connection: in a write transaction.
            number: of the ledger that will be deleted.
        """
        if connection.execute(_HAS_BLOBS).fetchone() is None:
            return False

        def blobs(digests: Sequence[bytes]) -> dict[bytes, bytes]:
            return _get(connection, digests)

        # If it needs none itself, it does not matter what the others need.
        return index_new_events(connection, blobs, number) or (
            uses_blobs(connection, number) and index_new_events(connection, blobs)
        )

    def remove(self, connection: sqlite3.Connection, number: int) -> None:
        """Remove the blobs that only one ledger needs, which is deleted in this transaction."""
        while self.prepare_removal(connection, number):
            pass
        if connection.execute(_HAS_BLOBS).fetchone() is not None:
            unused = forget_uses(connection, number)
            connection.executemany(
                "DELETE FROM blobs WHERE number = ?", ((each,) for each in unused)
            )

    def committed(self) -> None:
        """Remember what the last transaction stored."""
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        if len(self._whole) > _MOST_KNOWN:
            self._whole.clear()
        self._known |= self._pending
        self._whole |= self._pending_whole
        self._pending, self._pending_whole = set(), set()

    def get(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the stored blobs with these digests."""
        return self._query(lambda connection: _get(connection, digests))

    def _get_for_event(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        return self._query(lambda connection: self._all_of(connection, digests))

    def _all_of(
        self, connection: sqlite3.Connection, digests: Sequence[bytes]
    ) -> dict[bytes, bytes]:
        found = _get(connection, digests)
        if len(found) < len(set(digests)):
            self._refuse_deleted(connection)
        return found

    def _refuse_deleted(self, connection: sqlite3.Connection) -> None:
        """Say so if an event lacks a blob because its ledger was deleted after it was read."""
        if self._deletions_at_first not in (None, deletions(connection)):
            msg = f"An event cannot be read: its run was deleted from {self._path}."
            raise LedgerDeleted(msg, hint="`kando runs` lists what is left.")

    def _line(self, digest: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        return self._query(lambda connection: self._nodes(connection, digest, limit))

    def _nodes(
        self, connection: sqlite3.Connection, digest: bytes, limit: int
    ) -> list[tuple[bytes, bytes]]:
        found = _line(connection, digest, limit)
        if not found:
            self._refuse_deleted(connection)
        return found

    def _query(self, function: Callable[[sqlite3.Connection], Result]) -> Result:
        query = self._query_now()
        if query is not None:
            found: Result = query(function)
            return found
        # Events stay readable when the ledger that they were read from is closed.
        reader = open_to_read(self._path)
        try:
            return reader.query(function)
        finally:
            reader.close()


def _get(connection: sqlite3.Connection, digests: Sequence[bytes]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    if connection.execute(_HAS_BLOBS).fetchone() is None:
        return found
    for first in range(0, len(digests), _AT_ONCE):
        some = digests[first : first + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        query = f"SELECT digest, body FROM blobs WHERE digest IN ({marks})"
        found.update(connection.execute(query, tuple(some)).fetchall())
    return found


def _line(connection: sqlite3.Connection, digest: bytes, limit: int) -> list[tuple[bytes, bytes]]:
    if connection.execute(_HAS_BLOBS).fetchone() is None:
        return []
    return connection.execute(_LINE, (digest, limit)).fetchall()
