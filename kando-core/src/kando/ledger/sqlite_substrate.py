"""Many ledgers in one SQLite file: the default substrate."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from kando.errors import LedgerExists, LedgerNotFound, StoreDamaged, StoreError
from kando.ledger._checks import check_fork_position
from kando.ledger._sqlite_file import open_file, translated
from kando.ledger._sqlite_rows import microseconds, moment_of
from kando.ledger.sqlite import Segment, SQLiteLedgerStore
from kando.ledger.substrate import LedgerInfo, Substrate, check_ledger_id

__all__ = ["SQLiteSubstrate"]

_INFO = """
    SELECT l.id, l.created_us, l.length, p.id, l.fork_position
    FROM ledgers l LEFT JOIN ledgers p ON p.number = l.parent
"""

# A ledger and its ancestors, itself first.
_ANCESTRY = """
    WITH RECURSIVE line (number, id, parent, fork_position, depth) AS (
        SELECT number, id, parent, fork_position, 0 FROM ledgers WHERE id = ?
        UNION ALL
        SELECT l.number, l.id, l.parent, l.fork_position, line.depth + 1
        FROM ledgers l JOIN line ON l.number = line.parent
    )
    SELECT number, id, parent, fork_position FROM line ORDER BY depth
"""


class SQLiteSubstrate(Substrate):
    """Ledgers in a SQLite file: write-ahead log, full synchronisation.

    It may be used from several threads; other processes may read and write the same file.

    Args:
        path: of the file; created with mode 600 if it is missing.
        read_only: create and change nothing; the file must exist.

    Raises:
        StoreError: the file cannot be used.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        self.path = Path(path)
        self.is_read_only = read_only
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = open_file(self.path, read_only=read_only)

    def create(self, ledger_id: str) -> SQLiteLedgerStore:
        with self._writing() as connection:
            self._insert(connection, check_ledger_id(ledger_id), None, 0)
            return self._ledger(connection, ledger_id)

    def open(self, ledger_id: str) -> SQLiteLedgerStore:
        with self._reading() as connection:
            return self._ledger(connection, ledger_id)

    def fork(self, parent_id: str, position: int, branch_id: str) -> SQLiteLedgerStore:
        with self._writing() as connection:
            parent = self._ledger(connection, parent_id)
            check_fork_position(parent.stream_name(), position, parent._length(connection))
            number = parent._own.base >> 32
            self._insert(connection, check_ledger_id(branch_id), number, position)
            return self._ledger(connection, branch_id)

    def info(self, ledger_id: str) -> LedgerInfo:
        with self._reading() as connection:
            row = connection.execute(f"{_INFO} WHERE l.id = ?", (ledger_id,)).fetchone()
        if row is None:
            raise self._unknown(ledger_id)
        return _info_of(row)

    def ledgers(self) -> Iterator[LedgerInfo]:
        with self._reading() as connection:
            rows = connection.execute(f"{_INFO} ORDER BY l.number DESC").fetchall()
        return map(_info_of, rows)

    def ids_starting_with(self, prefix: str, limit: int) -> list[str]:
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT id FROM ledgers WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
                (prefix, prefix + "\U0010ffff", limit),
            ).fetchall()
        return [row[0] for row in rows]

    def cached(self, ledger_id: str, key: str) -> bytes | None:
        with self._reading() as connection:
            for number, *_ in self._ancestry(connection, ledger_id):
                row = connection.execute(
                    "SELECT response FROM cache WHERE ledger = ? AND key = ?", (number, key)
                ).fetchone()
                if row is not None:
                    response: bytes = row[0]
                    return response
        return None

    def cache(self, ledger_id: str, key: str, response: bytes) -> None:
        with self._writing() as connection:
            number = self._ancestry(connection, ledger_id)[0][0]
            connection.execute(
                "INSERT OR IGNORE INTO cache (ledger, key, response) VALUES (?, ?, ?)",
                (number, key, response),
            )

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _opened_or_created(self, ledger_id: str) -> tuple[Segment, ...]:
        with self._writing() as connection:
            if not self._rows(connection, ledger_id):
                self._insert(connection, check_ledger_id(ledger_id), None, 0)
            return self._ledger(connection, ledger_id)._segments

    def _insert(
        self, connection: sqlite3.Connection, id: str, parent: int | None, position: int
    ) -> None:
        if self._rows(connection, id):
            msg = f"{self.path} has a ledger {id!r} already."
            raise LedgerExists(msg, hint="Choose another id.")
        connection.execute(
            "INSERT INTO ledgers (id, parent, fork_position, length, created_us) "
            "VALUES (?, ?, ?, ?, ?)",
            (id, parent, position, position, microseconds(datetime.now(UTC))),
        )

    def _ledger(self, connection: sqlite3.Connection, ledger_id: str) -> SQLiteLedgerStore:
        segments: list[Segment] = []
        stop: int | None = None
        for number, id, parent, fork_position in self._ancestry(connection, ledger_id):
            stream = f"run:{id}" if parent is None else f"branch:{id}"
            # A fork inside what its parent shares itself takes nothing of the parent's own.
            if stop is None or stop > fork_position:
                segments.append(Segment(number << 32, fork_position, stop, stream))
            stop = fork_position if stop is None else min(stop, fork_position)
        return SQLiteLedgerStore._of(self, segments[::-1])

    def _ancestry(
        self, connection: sqlite3.Connection, ledger_id: str
    ) -> list[tuple[int, str, int | None, int]]:
        rows = self._rows(connection, ledger_id)
        if not rows:
            raise self._unknown(ledger_id)
        return rows

    @staticmethod
    def _rows(
        connection: sqlite3.Connection, ledger_id: str
    ) -> list[tuple[int, str, int | None, int]]:
        return connection.execute(_ANCESTRY, (ledger_id,)).fetchall()

    def _unknown(self, ledger_id: str) -> LedgerNotFound:
        msg = f"There is no run or branch {ledger_id!r} in {self.path}."
        return LedgerNotFound(msg, hint="`kando runs` lists them.")

    def _damaged(self, stream: str, start: int, stop: int, found: int) -> StoreDamaged:
        msg = f"{stream} lacks {stop - start - found} of its events {start} to {stop - 1}."
        return StoreDamaged(msg, hint=f"Restore {self.path} from a copy.")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, translated(self.path):
            yield self._open_connection()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or nothing."""
        if self.is_read_only:
            msg = f"{self.path} was opened read-only."
            raise StoreError(msg, hint="Open it for writing.")
        with self._lock, translated(self.path):
            connection = self._open_connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            msg = f"{self.path} is closed."
            raise StoreError(msg, hint="Open it anew.")
        return self._connection


def _info_of(row: tuple[str, int, int, str | None, int]) -> LedgerInfo:
    id, created_us, length, parent, fork_position = row
    return LedgerInfo(
        id, moment_of(created_us), length, parent, fork_position if parent is not None else None
    )
