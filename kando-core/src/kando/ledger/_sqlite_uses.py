"""Which ledgers of a SQLite file need which blobs: asked only when a ledger is deleted.

The blobs of a file are shared by its ledgers. An append does not record which ledger needs a blob: the
events say so. A deletion indexes the events that were appended since the last one, each once, so its cost
is that of the deleted ledger and of what is new. Blobs that are stored before the event that names
them (the files of a workspace) are recorded at once, or they could be deleted before that event.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain

import msgspec

from kando.ledger.trees import blobs_of_tree
from kando.schema.events import TOOL_RETURNED, WORKSPACE_LOADED, make_event
from kando.schema.exact_json import decode
from kando.schema.parts import MARK, Blobs, blobs_of
from kando.schema.trees import WORKSPACE

__all__ = ["add_uses", "forget_uses", "index_new_events", "uses_blobs"]

_SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS uses (
        ledger INTEGER NOT NULL,
        blob INTEGER NOT NULL,
        PRIMARY KEY (ledger, blob)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS users ON uses (blob)",
    # Up to which length the events of a ledger are indexed.
    """
    CREATE TABLE IF NOT EXISTS indexed (
        ledger INTEGER PRIMARY KEY,
        length INTEGER NOT NULL
    ) STRICT
    """,
)

# Events that are indexed in one transaction, during which no other process writes.
_AT_ONCE = 10_000

_NEW = """
    SELECT number, coalesce(indexed.length, fork_position), ledgers.length
    FROM ledgers LEFT JOIN indexed ON ledger = number
    WHERE ledgers.length > coalesce(indexed.length, fork_position)
"""

# Only these events name blobs.
_NAMING = """
    SELECT type, body FROM events WHERE address >= ? AND address < ?
    AND (substr(body, 1, 1) = x'01' OR type IN (?, ?))
"""

_UNUSED = """
    SELECT blob FROM uses AS own WHERE ledger = ?
    AND NOT EXISTS (SELECT 1 FROM uses WHERE uses.blob = own.blob AND uses.ledger <> own.ledger)
"""


def add_uses(connection: sqlite3.Connection, number: int, digests: Iterable[bytes]) -> None:
    """Record that a ledger needs some blobs.

    Args:
        connection: in a write transaction.
        number: of the ledger.
        digests: of stored blobs.
    """
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.executemany(
        "INSERT OR IGNORE INTO uses (ledger, blob) SELECT ?, number FROM blobs WHERE digest = ?",
        ((number, digest) for digest in digests),
    )


def index_new_events(
    connection: sqlite3.Connection, blobs: Blobs, ledger: int | None = None
) -> bool:
    """Index some of the events that are not indexed yet; return whether there may be more.

    Args:
        connection: in a write transaction, to a file with blobs.
        blobs: returns blobs of the file.
        ledger: number of the only ledger to index; all if None.
    """
    add_uses(connection, 0, ())
    only, parameters = ("", ()) if ledger is None else (" AND number = ?", (ledger,))
    left = _AT_ONCE
    for number, start, length in connection.execute(_NEW + only, parameters).fetchall():
        if left <= 0:
            return True
        stop = min(length, start + left)
        left -= stop - start
        add_uses(connection, number, _named(connection, (number, start, stop), blobs))
        connection.execute(
            "INSERT OR REPLACE INTO indexed (ledger, length) VALUES (?, ?)", (number, stop)
        )
        if stop < length:
            return True
    return False


def _named(
    connection: sqlite3.Connection, span: tuple[int, int, int], blobs: Blobs
) -> Iterable[bytes]:
    """Return the digests of the blobs that some events of a ledger need."""
    (number, start, stop), seen = span, set[bytes]()
    limits = ((number << 32) + start, (number << 32) + stop, TOOL_RETURNED, WORKSPACE_LOADED)
    found: set[bytes] = set()
    for type, body in connection.execute(_NAMING, limits).fetchall():
        # An event that is damaged cannot be read any more, so it needs no blobs.
        try:
            found.update(digest for digest, _, _ in blobs_of(body, blobs, seen))
            if type in (TOOL_RETURNED, WORKSPACE_LOADED) and WORKSPACE.encode() in body:
                data = decode(body[1:] if body[:1] == MARK else body)
                event = make_event(type, "", "", [], data)
                found.update(digest for digest, _ in blobs_of_tree(event, blobs, seen))
        except (ValueError, TypeError, msgspec.DecodeError):
            continue
    return found


def uses_blobs(connection: sqlite3.Connection, number: int) -> bool:
    """Whether a ledger, whose events are indexed, needs blobs."""
    query = "SELECT 1 FROM uses WHERE ledger = ? LIMIT 1"
    return connection.execute(query, (number,)).fetchone() is not None


def forget_uses(connection: sqlite3.Connection, number: int) -> Sequence[int]:
    """Forget what a ledger needs; return the numbers of the blobs that no other ledger needs.

    Args:
        connection: in a write transaction in which all events are indexed.
        number: of the ledger.
    """
    unused = [*chain.from_iterable(connection.execute(_UNUSED, (number,)).fetchall())]
    connection.execute("DELETE FROM uses WHERE ledger = ?", (number,))
    connection.execute("DELETE FROM indexed WHERE ledger = ?", (number,))
    return unused
