"""Reading a SQLite file without leaving a trace, whether or not somebody is writing to it."""

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
    """What tells the state of a file that nobody has open from any other state."""

    inode: int
    size: int
    changed_ns: int


class SQLiteReader:
    """Answers questions about a file, each from one consistent state of it.

    A reader of a file in WAL mode takes part in its log, and SQLite would create the log if there
    was none. So a file that nobody has open is read as immutable, without log and locks, which
    also works where nothing can be created; whether that was true is checked before and after
    each function, which is asked again if it was not.

    Args:
        path: of the file; must exist when the first function is asked.
    """

    def __init__(self, path: Path) -> None:
        # The log lies beside the file itself, not beside a link to it.
        self._path = Path(os.path.realpath(path))
        self._connection: sqlite3.Connection | None = None
        self._state: _FileState | None = None

    def query(self, function: Callable[[sqlite3.Connection], Result]) -> Result:
        """Return the result to `function`, which may be asked more than once.

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
            self._state = _state_at_rest(self._path)
            mode = "mode=ro" if self._state is None else "mode=ro&immutable=1"
            self._connection = connect(self._path, mode)
        return self._connection

    def _is_current(self) -> bool:
        # A reader that takes part in the log sees every change by itself.
        return self._state is None or self._state == _state_at_rest(self._path)


def _in_one_transaction(
    connection: sqlite3.Connection, function: Callable[[sqlite3.Connection], Result]
) -> Result:
    # Two statements of their own could see what was written between them.
    connection.execute("BEGIN")
    try:
        return function(connection)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _state_at_rest(path: Path) -> _FileState | None:
    """Return the state of a file at rest, or None if its log may hold something."""
    # The log is looked at first: whoever begins to write after that changes the file later still.
    try:
        has_log = Path(f"{path}-wal").stat().st_size > 0 or Path(f"{path}-shm").exists()
    except FileNotFoundError:
        has_log = False
    status = path.stat()
    return None if has_log else _FileState(status.st_ino, status.st_size, status.st_mtime_ns)
