"""One connection to a SQLite file, set up as Kando uses them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

__all__ = ["BUSY_TIMEOUT_SECONDS", "connect"]

#: How long a connection waits for the locks of others.
BUSY_TIMEOUT_SECONDS = 5.0


def connect(path: Path, parameters: str) -> sqlite3.Connection:
    """Connect to a file; statements are committed one by one unless a transaction is begun.

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
    return connection
