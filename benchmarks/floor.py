"""The floor: a bare sqlite3 loop that inserts the rows of a Kando file into an equal table."""

from __future__ import annotations

import json
import sqlite3
import sys
from itertools import islice
from pathlib import Path
from typing import Any

from measuring import timed

__all__: list[str] = []


def main(source: str, target: str, sizes: str) -> None:
    """Insert and report.

    Args:
        source: path of the Kando file; its tables and indexes are made in the target as well.
        target: path of the new file.
        sizes: path of a JSON list: the number of rows of each transaction.
    """
    rows, columns, schema = _content_of(source)
    connection = sqlite3.connect(target, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA journal_mode = WAL")
    for statement in schema:
        connection.execute(statement)
    insert = f"INSERT INTO events ({columns}) VALUES ({', '.join('?' * len(rows[0]))})"
    transactions = _split(rows, json.loads(Path(sizes).read_text()))
    with timed() as watch:
        for transaction in transactions:
            connection.execute("BEGIN IMMEDIATE")
            for row in transaction:
                connection.execute(insert, row)
            connection.execute("COMMIT")
    count = connection.execute("SELECT count(*) FROM events").fetchone()[0]
    connection.close()
    if count != len(rows):
        msg = f"{target} has {count} rows, not {len(rows)}."
        raise RuntimeError(msg)
    watch.report(commits=len(transactions))


def _content_of(path: str) -> tuple[list[tuple[Any, ...]], str, list[str]]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT * FROM events ORDER BY address")
    columns = ", ".join(column[0] for column in found.description)
    rows = found.fetchall()
    query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
    schema = [sql for (sql,) in connection.execute(query)]
    connection.close()
    return rows, columns, schema


def _split(rows: list[tuple[Any, ...]], sizes: list[int]) -> list[list[tuple[Any, ...]]]:
    if sum(sizes) != len(rows):
        msg = f"The transactions hold {sum(sizes)} rows, the file {len(rows)}."
        raise ValueError(msg)
    rest = iter(rows)
    return [list(islice(rest, size)) for size in sizes]


if __name__ == "__main__":
    main(*sys.argv[1:])
