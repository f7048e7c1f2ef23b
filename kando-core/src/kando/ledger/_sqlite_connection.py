"""Connect to a SQLite file with the settings that Kando needs, and wait for its lock fairly."""

from __future__ import annotations

import os
import random
import sqlite3
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

__all__ = [
    "BUSY_TIMEOUT_SECONDS",
    "PATIENCE_SECONDS",
    "SynchronisedLog",
    "connect",
    "is_busy",
    "patiently",
]

Result = TypeVar("Result")
_Argument = TypeVar("_Argument")

#: How long a connection waits for locks of other connections, unless it waits in `patiently`.
BUSY_TIMEOUT_SECONDS = 5.0

#: How long `patiently` waits for the lock of the file.
PATIENCE_SECONDS = 60.0

# Mean seconds between two attempts: at first, and those that the interval grows to meanwhile.
_SHORTEST, _LONGEST = 0.0005, 0.012

# Seconds of waiting after which a writer asks more often again, ahead of those that came later.
_LONG_WAIT = 0.5

# Seeded by the system: forked processes must not wait in step.
_SYSTEM_RANDOM = random.SystemRandom()


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


#: As SQLite does it: where the system has no `fdatasync`, `fsync`.
_synchronise: Callable[[int], Any] = getattr(os, "fdatasync", os.fsync)


class SynchronisedLog:
    """The write-ahead log of a file, which a writer has put on disk after it has committed.

    With ``PRAGMA synchronous = FULL``, a commit waits for the disk while it holds the lock of the file,
    and every other writer waits, too. With ``NORMAL`` it does not wait: SQLite then only keeps the
    order of the log, checkpoints and the file. Each commit is in the log or, after a checkpoint, on
    disk in the file. So a writer that synchronises the log after its commit has this commit on disk,
    and all earlier ones.

    Args:
        connection: to a file in WAL mode, which stays open as long as this is used.

    Raises:
        OSError: the log cannot be opened.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        # Of the file that SQLite has opened, which is another one if the path is a link.
        (_, _, path) = connection.execute("PRAGMA database_list").fetchone()
        # SQLite holds no POSIX lock on the log, so it loses none when this is closed.
        self._file = os.open(f"{path}-wal", os.O_RDWR)
        # Not when the store is closed: another thread may still wait for the disk.
        weakref.finalize(self, os.close, self._file)

    def synchronise(self) -> None:
        """Wait until everything that was committed before is on disk.

        Raises:
            sqlite3.OperationalError: it cannot be written.
        """
        try:
            _synchronise(self._file)
        except OSError as error:
            msg = f"its log was not synchronised: {error.strerror or error}"
            raise sqlite3.OperationalError(msg) from error


def patiently(action: Callable[[_Argument], Result], argument: _Argument) -> Result:
    """Return the result of an action, and repeat it while another connection holds the lock it needs.

    SQLite's own busy handler waits longer after each attempt, up to 100 ms. With many writers the
    lock then goes to those that came last, and one of them waits for seconds. Here the intervals
    are short and random, so each waiting process is as likely to be next as any other; a process
    that has waited long asks more often.

    Args:
        action: needs the lock of the file, and changes nothing if it fails. The busy timeout of
            its connection should be 0.
        argument: of the action.

    Raises:
        sqlite3.OperationalError: the file is still locked after `PATIENCE_SECONDS`.
    """
    start: float | None = None
    while True:
        try:
            return action(argument)
        except sqlite3.OperationalError as error:
            now = time.monotonic()
            start = now if start is None else start
            if not is_busy(error) or now - start >= PATIENCE_SECONDS:
                raise
        time.sleep(_SYSTEM_RANDOM.uniform(0.5, 1.5) * _interval(now - start))


def _interval(waited: float) -> float:
    """Return the mean seconds until the next attempt of a process that has waited for a while."""
    if waited >= _LONG_WAIT:
        return _LONGEST / 3
    return min(max(waited / 4, _SHORTEST), _LONGEST)


def is_busy(error: sqlite3.Error) -> bool:
    """Whether an error says that another connection holds a lock."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_BUSY
