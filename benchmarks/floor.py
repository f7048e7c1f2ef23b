"""The floor: bare sqlite3 inserts the rows of a Kando file into an equal table.

Either as a plain loop does, row by row as they were read, or as fast as it goes: all rows of a
transaction at once, and their bytes as the type for which sqlite3 looks for no adapter.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stopwatch import timed

__all__ = ["content_of", "fast", "prepared", "statement"]

#: The lower half of an address is the position in the ledger.
_POSITION_MASK = 2**32 - 1

_Row = tuple[Any, ...]


def main(source: str, target: str, lengths: str, way: str = "plain") -> None:
    """Insert and report.

    Args:
        source: path of the Kando file; its tables and indexes are made in the target as well.
        target: path of the new file.
        lengths: path of a JSON list: the length of the ledger after each transaction.
        way: ``plain`` or ``fast``.
    """
    columns, rows, schema = content_of(source)
    if way == "fast":
        rows = fast(rows)
    transactions = _split(columns, rows, json.loads(Path(lengths).read_text()))
    connection, insert = prepared(target, schema), statement(columns)
    with timed() as watch:
        for transaction in transactions:
            connection.execute("BEGIN IMMEDIATE")
            if way == "fast":
                connection.executemany(insert, transaction)
            else:
                for row in transaction:
                    connection.execute(insert, row)
            connection.execute("COMMIT")
    count = connection.execute("SELECT count(*) FROM events").fetchone()[0]
    connection.close()
    if count != len(rows):
        msg = f"{target} has {count} rows, not {len(rows)}."
        raise RuntimeError(msg)
    watch.report(commits=len(transactions))


def content_of(path: str) -> tuple[list[str], list[_Row], list[str]]:
    """Return the columns of the events table, its rows, and the statements that make all tables."""
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT * FROM events ORDER BY address")
    columns = [column[0] for column in found.description]
    rows = found.fetchall()
    query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
    schema = [sql for (sql,) in connection.execute(query)]
    connection.close()
    return columns, rows, schema


def fast(rows: Sequence[_Row]) -> list[_Row]:
    """Return rows with each ``bytes`` as a ``bytearray``."""
    return [
        tuple(bytearray(value) if isinstance(value, bytes) else value for value in row)
        for row in rows
    ]


def prepared(path: str, schema: Sequence[str]) -> sqlite3.Connection:
    """Return a connection to a new file with these tables, which writes as durably as Kando."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("foreign_keys = ON", "synchronous = FULL", "journal_mode = WAL"):
        connection.execute(f"PRAGMA {pragma}")
    for each in schema:
        connection.execute(each)
    return connection


def statement(columns: Sequence[str]) -> str:
    """Return the statement that inserts a row of all columns."""
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO events ({', '.join(columns)}) VALUES ({marks})"


def _split(columns: list[str], rows: list[_Row], lengths: list[int]) -> list[list[_Row]]:
    """Split the rows into transactions; a row belongs to the one that contains its position."""
    address = columns.index("address")
    found: list[list[_Row]] = [[] for _ in lengths]
    number = 0
    for row in rows:
        position = row[address] & _POSITION_MASK
        while position >= lengths[number]:
            number += 1
        found[number].append(row)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
