"""The ledgers that were deleted from a SQLite file: what is left of them, so that none is taken for another.

The number of a deleted ledger is never used again: another process may still address rows by it. The
claims of a new ledger of the same id have greater epochs, so that no old claim is renewed.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime

from kando.errors import LedgerDeleted
from kando.ledger._sqlite_rows import datetime_of, microseconds

__all__ = [
    "add_deleted",
    "deletions",
    "first_unused_number",
    "is_deleted",
    "last_epoch",
    "ledger_deleted",
    "time_of_deletion",
]

# Created with the first deletion: most files never need the table.
_DELETED = """
    CREATE TABLE IF NOT EXISTS deleted (
        serial INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        number INTEGER NOT NULL UNIQUE,
        epoch INTEGER NOT NULL,
        at_us INTEGER NOT NULL
    ) STRICT
"""

_BY_ID = "CREATE INDEX IF NOT EXISTS deleted_ids ON deleted (id)"

_HAS_DELETED = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'deleted'"


def add_deleted(
    connection: sqlite3.Connection, id: str, number: int, epoch: int, at: datetime
) -> None:
    """Remember a ledger that is deleted in this transaction.

    Args:
        connection: in a write transaction.
        id: of the ledger.
        number: of the ledger in the file.
        epoch: of its last claim; 0 if there was none.
        at: time of the deletion.
    """
    epoch = max(epoch, last_epoch(connection, id))
    connection.execute(_DELETED)
    connection.execute(_BY_ID)
    connection.execute(
        "INSERT INTO deleted (id, number, epoch, at_us) VALUES (?, ?, ?, ?)",
        (id, number, epoch, microseconds(at)),
    )


def deletions(connection: sqlite3.Connection) -> int:
    """Return a number that grows with each deletion; 0 before the first."""
    found = _value(connection, "SELECT max(serial) FROM deleted")
    return 0 if found is None else found


def first_unused_number(connection: sqlite3.Connection) -> int | None:
    """Return the number of the next ledger, or None if nothing was deleted: then SQLite chooses it."""
    return _value(
        connection,
        "SELECT max(max(number), (SELECT coalesce(max(number), 0) FROM ledgers)) + 1 FROM deleted",
    )


def is_deleted(connection: sqlite3.Connection, number: int) -> bool:
    """Whether the ledger with this number was deleted."""
    query = "SELECT 1 FROM deleted WHERE number = ?"
    return _value(connection, query, number) is not None


def last_epoch(connection: sqlite3.Connection, id: str) -> int:
    """Return the last epoch of the deleted ledgers of this id; 0 if there was none."""
    return _value(connection, "SELECT max(epoch) FROM deleted WHERE id = ?", id) or 0


def time_of_deletion(connection: sqlite3.Connection, id: str) -> datetime | None:
    """Return when a ledger of this id was deleted last, or None."""
    at_us = _value(connection, "SELECT max(at_us) FROM deleted WHERE id = ?", id)
    return None if at_us is None else datetime_of(at_us)


def ledger_deleted(id: str, at: datetime | None) -> LedgerDeleted:
    """Return the error for a ledger that was deleted.

    Args:
        id: of the run or branch.
        at: time of the deletion; None if unknown.
    """
    when = "" if at is None else f" on {at:%Y-%m-%d} at {at:%H:%M:%S} UTC"
    return LedgerDeleted(f"{id} was deleted{when}.", hint="`kando runs` lists what is left.")


def _value(connection: sqlite3.Connection, query: str, *parameters: int | str) -> int | None:
    if connection.execute(_HAS_DELETED).fetchone() is None:
        return None
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row is not None else None
