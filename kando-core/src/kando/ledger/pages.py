"""Check the pages of a SQLite file, for a limited time, without changing it."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from kando.ledger._sqlite_errors import translate_errors
from kando.ledger._sqlite_reader import SQLiteReader

__all__ = ["page_problems"]

_MOST_PROBLEMS = 10
# Instructions of SQLite between two looks at the clock.
_STEPS = 10_000


def page_problems(path: Path, seconds: float) -> tuple[list[str], bool]:
    """Return the problems of a file's pages, and whether all pages were checked in the time.

    Args:
        path: of the file.
        seconds: the most that the check may take.

    Raises:
        StoreError: the file cannot be read.
        StoreDamaged: a page that the check itself needs is damaged.
    """
    deadline = time.monotonic() + seconds

    def check(connection: sqlite3.Connection) -> tuple[list[str], bool]:
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        try:
            rows = connection.execute(f"PRAGMA quick_check({_MOST_PROBLEMS})").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            return [], False
        finally:
            connection.set_progress_handler(None, 0)
        return [str(row[0]) for row in rows if row[0] != "ok"], True

    with translate_errors(path):
        reader = SQLiteReader(path)
        try:
            return reader.query(check)
        finally:
            reader.close()
