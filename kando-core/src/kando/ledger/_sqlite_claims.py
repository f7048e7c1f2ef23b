"""Claims in a table: the last one of each ledger."""

from __future__ import annotations

import sqlite3

from kando.ledger.claims import Claim, decode_claim, encode_claim

__all__ = ["last_claim", "store_claim"]

# Created with the first claim: files of older versions have no such table.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS claims (
    ledger INTEGER PRIMARY KEY REFERENCES ledgers (number),
    body BLOB NOT NULL
) STRICT
"""

_HAS_CLAIMS = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'claims'"


def last_claim(connection: sqlite3.Connection, number: int) -> Claim | None:
    """Return the last claim of a ledger, released or not; None if there was none.

    Args:
        connection: to the file.
        number: of the ledger in the file.
    """
    if connection.execute(_HAS_CLAIMS).fetchone() is None:
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
    connection.execute(_SCHEMA)
    connection.execute(
        "INSERT OR REPLACE INTO claims (ledger, body) VALUES (?, ?)", (number, encode_claim(claim))
    )
