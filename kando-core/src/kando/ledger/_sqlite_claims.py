"""Claims in a table, the last one of each ledger, and slots in another."""

from __future__ import annotations

import sqlite3

from kando.ledger.claims import (
    Claim,
    Slot,
    decode_claim,
    decode_slot,
    encode_claim,
    encode_slot,
)

__all__ = [
    "last_claim",
    "remove_claim",
    "remove_dead_slots",
    "remove_lane",
    "remove_slot",
    "slots_of",
    "store_claim",
    "store_slot",
]

# Created with the first claim: files of older versions have no such table.
_CLAIMS = """
CREATE TABLE IF NOT EXISTS claims (
    ledger INTEGER PRIMARY KEY REFERENCES ledgers (number),
    body BLOB NOT NULL
) STRICT
"""

# Created with the first slot.
_SLOTS = """
CREATE TABLE IF NOT EXISTS slots (
    lane TEXT NOT NULL,
    token TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (lane, token)
) STRICT, WITHOUT ROWID
"""

_HAS_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"


def last_claim(connection: sqlite3.Connection, number: int) -> Claim | None:
    """Return the last claim of a ledger, released or not; None if there was none.

    Args:
        connection: to the file.
        number: of the ledger in the file.
    """
    if connection.execute(_HAS_TABLE, ("claims",)).fetchone() is None:
        return None
    query = "SELECT body FROM claims WHERE ledger = ?"
    row = connection.execute(query, (number,)).fetchone()
    return decode_claim(row[0]) if row is not None else None


def store_claim(connection: sqlite3.Connection, number: int, claim: Claim) -> None:
    """Store a claim in place of the last one.

    Args:
        connection: to the file, in a write transaction.
        number: of the ledger in the file.
        claim: to store.
    """
    connection.execute(_CLAIMS)
    connection.execute(
        "INSERT OR REPLACE INTO claims (ledger, body) VALUES (?, ?)", (number, encode_claim(claim))
    )


def remove_claim(connection: sqlite3.Connection, number: int) -> None:
    """Remove the last claim of a ledger, which is deleted in this transaction."""
    if connection.execute(_HAS_TABLE, ("claims",)).fetchone() is not None:
        connection.execute("DELETE FROM claims WHERE ledger = ?", (number,))


def slots_of(connection: sqlite3.Connection, lane: str) -> list[Slot]:
    """Return the slots of a lane, dead ones included."""
    if connection.execute(_HAS_TABLE, ("slots",)).fetchone() is None:
        return []
    rows = connection.execute("SELECT body FROM slots WHERE lane = ?", (lane,)).fetchall()
    return [decode_slot(body) for (body,) in rows]


def remove_dead_slots(connection: sqlite3.Connection, lane: str) -> None:
    """Remove the slots of a lane that have ended, or whose holders have died."""
    for slot in slots_of(connection, lane):
        if not slot.is_live():
            remove_slot(connection, slot)


def store_slot(connection: sqlite3.Connection, slot: Slot) -> None:
    """Store a slot, new or renewed."""
    connection.execute(_SLOTS)
    connection.execute(
        "INSERT OR REPLACE INTO slots (lane, token, body) VALUES (?, ?, ?)",
        (slot.lane, slot.token, encode_slot(slot)),
    )


def remove_slot(connection: sqlite3.Connection, slot: Slot) -> None:
    """Remove a slot, which need not exist."""
    connection.execute(_SLOTS)
    connection.execute("DELETE FROM slots WHERE lane = ? AND token = ?", (slot.lane, slot.token))


def remove_lane(connection: sqlite3.Connection, lane: str) -> None:
    """Remove all slots of a lane."""
    if connection.execute(_HAS_TABLE, ("slots",)).fetchone() is not None:
        connection.execute("DELETE FROM slots WHERE lane = ?", (lane,))
