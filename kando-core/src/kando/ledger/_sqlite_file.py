"""A SQLite file that holds ledgers: opening it, its format, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from kando.errors import StoreDamaged, StoreError

__all__ = ["FORMAT", "open_file", "translated"]

#: Marks a SQLite file as Kando's ("Kndo" in ASCII).
_APPLICATION_ID = 0x4B6E646F

#: Version of the tables below.
FORMAT = 1

_BUSY_TIMEOUT_SECONDS = 5.0

# Events of all ledgers share one table whose integer key is (ledger, position), so that a ledger
# lies together and appends go to its end. Ids of the form {type}-{position} are not stored; other
# ids are few, so their index is small.
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
    hash BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX explicit_ids ON events (address >> 32, id) WHERE id IS NOT NULL;
CREATE TABLE cache (
    ledger INTEGER NOT NULL REFERENCES ledgers (number),
    key TEXT NOT NULL,
    response BLOB NOT NULL,
    PRIMARY KEY (ledger, key)
) STRICT, WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {FORMAT};
"""


def open_file(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open a file of ledgers; unless it is opened to read only, a missing one is created.

    Raises:
        StoreError: it cannot be opened, or is not Kando's, or of a newer format; it is unchanged.
        StoreDamaged: it is no SQLite file, or broken.
    """
    with translated(path):
        if read_only:
            return _checked(_connect(_read_only_uri(path)), path)
        exists = path.exists() and path.stat().st_size > 0
        if exists:
            # Looked at before it is touched: opening for writing may change a file.
            _checked(_connect(_read_only_uri(path)), path).close()
        else:
            _create_private(path)
        connection = _connect(f"file:{quote(str(path))}?mode=rw")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if not exists:
            _initialise(connection)
        return _checked(connection, path)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise about `path` into Kando's errors."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise _store_error(path, error) from error
    except sqlite3.DatabaseError as error:
        msg = f"{path} is damaged or is no store of Kando: {error}."
        raise StoreDamaged(
            msg, hint="Restore it from a copy, or choose another with --ledger."
        ) from error
    except OSError as error:
        msg = f"{path} cannot be opened: {error.strerror or error}."
        raise StoreError(msg, hint="Choose another place with --ledger sqlite:PATH.") from error


def _store_error(path: Path, error: sqlite3.OperationalError) -> StoreError:
    text = str(error)
    if "locked" in text or "busy" in text:
        return StoreError(
            f"{path} is locked by another process.", hint="Wait until it has finished, and retry."
        )
    if "full" in text:
        return StoreError(
            f"The disk of {path} is full; what was acknowledged is kept.",
            hint="Make room, then resume the run.",
        )
    if "readonly" in text:
        return StoreError(
            f"{path} is read-only.", hint="Make it writable, or choose another store."
        )
    if "malformed" in text or "no such" in text:
        return StoreDamaged(f"{path} is damaged: {text}.", hint="Restore it from a copy.")
    return StoreError(f"{path} cannot be used: {text}.", hint="Check the path and its permissions.")


def _read_only_uri(path: Path) -> str:
    uri = f"file:{quote(str(path))}?mode=ro"
    # WAL needs a file beside the store; where none can be made and none is needed, do without.
    has_wal = Path(f"{path}-wal").exists()
    return uri if has_wal or os.access(path.parent, os.W_OK) else f"{uri}&immutable=1"


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri,
        uri=True,
        timeout=_BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _create_private(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _initialise(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have been faster.
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
    connection.execute("COMMIT")


def _checked(connection: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if application != _APPLICATION_ID:
            msg = f"{path} is a SQLite file, but no store of Kando."
            raise StoreError(msg, hint="Choose another file with --ledger sqlite:PATH.")
        if version > FORMAT:
            msg = f"{path} has format {version}; this Kando reads up to {FORMAT}."
            raise StoreError(msg, hint="Upgrade kando-core.")
    except BaseException:
        connection.close()
        raise
    return connection
