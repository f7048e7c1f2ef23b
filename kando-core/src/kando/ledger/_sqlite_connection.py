"""Connect to a SQLite file with the settings that Kando needs."""

from __future__ import annotations

import sqlite3
from pathlib import Path

__all__ = ["BUSY_TIMEOUT_SECONDS", "connect"]

#: How long a connection waits for locks of other connections.
BUSY_TIMEOUT_SECONDS = 5.0


def connect(path: Path, parameters: str) -> sqlite3.Connection:
    """Connect to a file in autocommit mode: transactions are begun explicitly.

    Args:
        path: of the file.
        parameters: of SQLite's URI, such as ``mode=ro``.

    Raises:
        sqlite3.Error: SQLite cannot open it.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{parameters}",
        uri=True,
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    # A file of a stranger may define views and indexes: they get no functions with side effects.
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection
