"""Damage to the SQLite files of stores."""

from __future__ import annotations

import sqlite3
from pathlib import Path

__all__ = ["damage_index"]


def damage_index(path: Path) -> None:
    """Overwrite the page of an index of a store, which most commands do not read."""
    connection = sqlite3.connect(path)
    query = "SELECT rootpage FROM sqlite_master WHERE name = 'explicit_ids'"
    ((page,), (size,)) = [connection.execute(q).fetchone() for q in (query, "PRAGMA page_size")]
    connection.close()
    content = bytearray(path.read_bytes())
    content[(page - 1) * size : page * size] = b"\xa5" * size
    path.write_bytes(bytes(content))
