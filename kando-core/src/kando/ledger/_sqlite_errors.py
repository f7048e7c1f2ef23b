"""Translate SQLite's errors into Kando's, with a cure for each."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from kando.errors import StoreDamaged, StoreError

__all__ = ["not_a_store", "translate_errors"]

# Primary result codes (https://sqlite.org/rescode.html): what happened to the file, and the cure.
_USABLE_AGAIN = {
    sqlite3.SQLITE_BUSY: (
        "is locked by another process",
        "Wait until it has finished, and retry.",
    ),
    sqlite3.SQLITE_LOCKED: (
        "is locked by another process",
        "Wait until it has finished, and retry.",
    ),
    sqlite3.SQLITE_FULL: (
        "cannot grow: the disk is full. Every acknowledged append is stored",
        "Free some space, then resume the run.",
    ),
    sqlite3.SQLITE_READONLY: (
        "is read-only",
        "Make it writable, or choose another store.",
    ),
    sqlite3.SQLITE_TOOBIG: (
        "cannot hold a value of this size",
        "Store large content elsewhere, and its address in the event.",
    ),
}

# Errors that our own statements raise only if the file is damaged.
_DAMAGE = {
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_MISMATCH,
}

_RESTORE = "Restore it from a copy."


class _Translation:
    """See `translate_errors`: it is entered for each statement, so it is not a generator."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._translate(error)

    def _translate(self, error: BaseException) -> None:
        path = self.path
        if isinstance(error, sqlite3.Error):
            raise _store_error(path, error) from error
        if isinstance(error, UnicodeDecodeError):
            # Python's module could not decode SQLite's error message.
            raise StoreDamaged(f"{path} is damaged: {error}.", hint=_RESTORE) from error
        if isinstance(error, OSError):
            msg = f"{path} cannot be opened: {error.strerror or error}."
            raise StoreError(msg, hint="Choose another path with --ledger sqlite:PATH.") from error


def translate_errors(path: Path) -> AbstractContextManager[None]:
    """Return a context that translates errors of SQLite and the file system into Kando's errors.

    Args:
        path: of the file that the errors are about.

    Raises:
        StoreError: the file cannot be used.
        StoreDamaged: its content is not what was written.
    """
    return _Translation(path)


def not_a_store(path: Path, what: str) -> StoreError:
    """Return the error for a path that is not a Kando store."""
    msg = f"{path} is not a Kando store but {what}; it was not changed."
    return StoreError(msg, hint="Choose another file with --ledger sqlite:PATH.")


def _store_error(path: Path, error: sqlite3.Error) -> StoreError:
    # Errors of Python's module, as opposed to SQLite, have no code.
    code: int | None = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    if primary in _USABLE_AGAIN:
        happened, cure = _USABLE_AGAIN[primary]
        return StoreError(f"{path} {happened}.", hint=cure)
    if primary == sqlite3.SQLITE_NOTADB:
        msg = f"{path} is not a Kando store, or its first page is damaged: {error}."
        return StoreDamaged(msg, hint="Choose another with --ledger, or restore it from a copy.")
    if primary in _DAMAGE or "decode to UTF-8" in str(error):
        return StoreDamaged(f"{path} is damaged: {error}.", hint=_RESTORE)
    msg = f"{path} cannot be used: {error}."
    return StoreError(msg, hint="Check the path, its permissions and its disk.")
