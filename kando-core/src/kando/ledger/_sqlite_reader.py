"""Read a SQLite file without changing its folder, whether or not a process is writing to it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import attrs

from kando.ledger._sqlite_connection import connect

__all__ = ["SQLiteReader"]

Result = TypeVar("Result")


@attrs.frozen
class _FileState:
    """Identifies one state of a file that no process has open."""

    inode: int
    size: int
    changed_ns: int


class SQLiteReader:
    """Runs queries on a file, each on one consistent state of it.

    A reader of a file in WAL mode uses its log, and SQLite creates the log if it does not exist.
    So a file that no process has open is read as immutable, without log and locks, which also
    works in a read-only folder. That is checked before and after each query, and the query is
    repeated if the file was opened or changed meanwhile.

    Args:
        path: of the file, which must exist at the first query.
    """

    def __init__(self, path: Path) -> None:
        # The log is next to the file itself, not next to a link to it.
        self._path = Path(os.path.realpath(path))
        # As a text, since two states are compared for each query.
        self._name = str(self._path)
        self._connection: sqlite3.Connection | None = None
        self._state: _FileState | None = None

    def query(self, function: Callable[[sqlite3.Connection], Result]) -> Result:
        """Return what `function` reads; it may be called more than once.

        Raises:
            sqlite3.Error: SQLite cannot open or read the file.
            OSError: the file system cannot.
        """
        while True:
            connection = self._current()
            try:
                result = _in_one_transaction(connection, function)
            except Exception:
                if self._is_current():
                    raise
            else:
                if self._is_current():
                    return result

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _current(self) -> sqlite3.Connection:
        if self._connection is not None and not self._is_current():
            self.close()
        if self._connection is None:
            self._state = _state_at_rest(self._name)
            mode = "mode=ro" if self._state is None else "mode=ro&immutable=1"
            self._connection = connect(self._path, mode)
        return self._connection

    def _is_current(self) -> bool:
        # A reader that uses the log sees every change.
        return self._state is None or self._state == _state_at_rest(self._name)


def _in_one_transaction(
    connection: sqlite3.Connection, function: Callable[[sqlite3.Connection], Result]
) -> Result:
    # Separate statements could see a write between them.
    connection.execute("BEGIN")
    try:
        return function(connection)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _state_at_rest(path: str) -> _FileState | None:
    """Return the state of a file that no process has open, or None if its log may have content."""
    # The log is checked first: a process that starts to write afterwards changes the file later.
    try:
        has_log = os.stat(f"{path}-wal").st_size > 0 or os.path.exists(f"{path}-shm")
    except FileNotFoundError:
        has_log = False
    status = os.stat(path)
    return None if has_log else _FileState(status.st_ino, status.st_size, status.st_mtime_ns)
