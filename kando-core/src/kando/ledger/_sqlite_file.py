"""The format of a SQLite file of ledgers, and how such a file is opened."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from pathlib import Path

from kando.errors import StoreDamaged, StoreError
from kando.ledger._sqlite_connection import BUSY_TIMEOUT_SECONDS, connect, is_busy
from kando.ledger._sqlite_errors import not_a_store, translate_errors
from kando.ledger._sqlite_reader import SQLiteReader
from kando.schema.visible import clean

__all__ = ["FORMAT", "format_of", "open_to_read", "open_to_write"]

#: Marks a SQLite file as Kando's ("Kndo" in ASCII).
_APPLICATION_ID = 0x4B6E646F

#: Every table that a file may hold.
_TABLES = (
    "ledgers",
    "events",
    "cache",
    "inbox",
    "jobs",
    "claims",
    "slots",
    "snapshots",
    "blobs",
    "deleted",
    "uses",
    "indexed",
)

#: Version of the tables below. In format 1, events lack ``firing`` and ``trigger_key``.
FORMAT = 2

# Every page that a transaction changes is written to the log as a whole. With small pages, a fork
# (three pages) or a firing committed alone writes a quarter of what it would with SQLite's default
# of 4,096.
_PAGE_BYTES = 1024

# Pages in the log before a checkpoint: 8 MiB. SQLite's default is 4 MiB, but the same events take
# more of these small pages, and a checkpoint costs two fsyncs.
_LOG_PAGES = 8192

# A file without tables that is older than this is not being created any more.
_CREATION_SECONDS = 5.0

# Events of all ledgers share one table whose integer key is (ledger, position), so that the rows of
# a ledger are adjacent and appends go to its end. Ids of the form {type}-{position} are not stored;
# other ids are rare, so their index is small. Entries of inboxes that were taken keep their keys, so
# those that are unread have an index.
_SCHEMA = f"""
CREATE TABLE ledgers (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    parent INTEGER REFERENCES ledgers (number),
    fork_position INTEGER NOT NULL DEFAULT 0,
    length INTEGER NOT NULL,
    created_us INTEGER NOT NULL
) STRICT;
CREATE TABLE events (
    address INTEGER PRIMARY KEY,
    id TEXT,
    type TEXT NOT NULL,
    source TEXT,
    actor TEXT NOT NULL,
    cause TEXT,
    at_us INTEGER NOT NULL,
    key BLOB NOT NULL,
    version INTEGER NOT NULL,
    body BLOB NOT NULL,
    hash BLOB NOT NULL,
    firing INTEGER,
    trigger_key BLOB
) STRICT;
CREATE UNIQUE INDEX explicit_ids ON events (address >> 32, id) WHERE id IS NOT NULL;
CREATE TABLE cache (
    ledger INTEGER NOT NULL REFERENCES ledgers (number),
    key TEXT NOT NULL,
    response BLOB NOT NULL,
    PRIMARY KEY (ledger, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE inbox (
    number INTEGER PRIMARY KEY,
    ledger INTEGER NOT NULL REFERENCES ledgers (number),
    key TEXT NOT NULL,
    body BLOB,
    UNIQUE (ledger, key)
) STRICT;
CREATE INDEX unread ON inbox (ledger) WHERE body IS NOT NULL;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {FORMAT};
"""


def open_to_read(path: Path) -> SQLiteReader:
    """Open a file of ledgers for reading; nothing is created or changed.

    Raises:
        StoreError: it does not exist, cannot be opened, is not Kando's, or has a newer format.
        StoreDamaged: it is not a SQLite file, or it is damaged.
    """
    with translate_errors(path):
        _check_regular_file(path)
        reader = SQLiteReader(path)
        try:
            if not _becomes_store(reader, path):
                raise not_a_store(path, "an empty file")
        except BaseException:
            reader.close()
            raise
        return reader


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open a file of ledgers for writing; a file that is missing or empty is initialised.

    A file of an earlier format is upgraded in place.

    Raises:
        StoreError: it cannot be opened, is not Kando's, or has a newer format; it is unchanged.
        StoreDamaged: it is not a SQLite file, or it is damaged; it is unchanged.
    """
    with translate_errors(path):
        _create_private(path)
        _check_regular_file(path)
        # Checked first, since opening for writing may change a file.
        is_store = _is_store_at_rest(path)
        connection = connect(path, "mode=rw")
        try:
            if not is_store:
                _initialise(connection, path)
            _write_ahead(connection)
            _is_store(connection, path)
            _upgrade(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _create_private(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        # An existing file must not be opened here: closing it would drop the locks of other
        # connections of this process (https://sqlite.org/howtocorrupt.html, 2.2).
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return


def _check_regular_file(path: Path) -> None:
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise not_a_store(path, "a folder" if stat.S_ISDIR(mode) else "a special file")


def _becomes_store(reader: SQLiteReader, path: Path) -> bool:
    """Whether a file is a Kando store; wait for a process that is creating it at this moment."""
    deadline = time.monotonic() + _CREATION_SECONDS
    while not reader.query(lambda connection: _is_store(connection, path)):
        is_new = time.time() - path.stat().st_mtime < _CREATION_SECONDS
        if not is_new or time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _is_store_at_rest(path: Path) -> bool:
    reader = SQLiteReader(path)
    try:
        return reader.query(lambda connection: _is_store(connection, path))
    finally:
        reader.close()


def _is_store(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether the file is a Kando store; False if it is empty; refuse any other file.

    A process that is killed while it creates a store may leave a SQLite file without tables.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = format_of(connection)
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if (application, version, tables) == (0, 0, 0):
        return False
    if application != _APPLICATION_ID:
        raise not_a_store(path, "a SQLite file of another application")
    if version > FORMAT:
        msg = f"{path} has format {version}; this version of Kando reads up to format {FORMAT}."
        raise StoreError(msg, hint="Upgrade kando-core.")
    _check_schema(connection, path)
    return True


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file whose tables would run code of its author, or have no end."""
    marks = ", ".join("?" * len(_TABLES))
    query = (
        "SELECT type, name FROM sqlite_master WHERE type = 'trigger' OR "
        f"name IN ({marks}) AND (type <> 'table' OR sql LIKE 'CREATE VIRTUAL%') LIMIT 1"
    )
    found = connection.execute(query, _TABLES).fetchone()
    if found is not None:
        kind = "trigger" if found[0] == "trigger" else "view or a virtual table in place of a table"
        msg = f"{path} contains a {kind}, {clean(str(found[1])):.80}, which Kando does not create."
        raise StoreDamaged(msg, hint="Restore the file from a copy of your own.")


def _initialise(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    # WAL mode first: then the tables are created by one atomic commit, even across a crash.
    _write_ahead(connection)
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have created the tables meanwhile.
    if not _is_store(connection, path):
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
    connection.execute("COMMIT")


def _upgrade(connection: sqlite3.Connection) -> None:
    """Upgrade a file of format 1 in place, in one transaction; its rows do not change."""
    if format_of(connection) == FORMAT:
        return
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have upgraded it meanwhile.
    if format_of(connection) != FORMAT:
        connection.execute("ALTER TABLE events ADD COLUMN firing INTEGER")
        connection.execute("ALTER TABLE events ADD COLUMN trigger_key BLOB")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")


def format_of(connection: sqlite3.Connection) -> int:
    """Return the format of the file, from 1."""
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return found


def _write_ahead(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # SQLite does not wait here if another process switches the mode at the same time.
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.001)
        else:
            return
