"""Many ledgers in one SQLite file: the default substrate."""

# long: one class with a short method for each verb of the interface, over one connection.

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kando.errors import (
    LedgerDeleted,
    LedgerExists,
    LedgerNotFound,
    StoreDamaged,
    StoreError,
)
from kando.ledger._sqlite_blobs import SQLiteBlobs
from kando.ledger._sqlite_claims import (
    last_claim,
    remove_claim,
    remove_dead_slots,
    remove_lane,
    remove_slot,
    slots_of,
    store_claim,
    store_slot,
)
from kando.ledger._sqlite_connection import SynchronisedLog, patiently
from kando.ledger._sqlite_deleted import (
    add_deleted,
    first_unused_number,
    last_epoch,
    ledger_deleted,
    time_of_deletion,
)
from kando.ledger._sqlite_errors import translate_errors
from kando.ledger._sqlite_file import open_to_read, open_to_write
from kando.ledger._sqlite_reader import SQLiteReader
from kando.ledger._sqlite_rows import Segment, datetime_of, microseconds
from kando.ledger.checks import check_fork_position, has_branches
from kando.ledger.claims import Claim, Slot, Worker, calls_lane, has_room, new_slot, next_claim
from kando.ledger.inbox import InboxEntry, decode_entry, encode_entry
from kando.ledger.sqlite import SQLiteLedgerStore
from kando.ledger.substrate import LedgerInfo, Substrate, check_ledger_id, is_ledger_id
from kando.schema.events import RecordedEvent
from kando.schema.identity import stream_of
from kando.schema.visible import clean

# Not at the top: a command that reads runs needs no groups.
if TYPE_CHECKING:
    from kando.ledger._sqlite_groups import SQLiteGroup

__all__ = ["SQLiteSubstrate"]

Result = TypeVar("Result")

#: Number, id, number of the parent, fork position and length of a ledger.
_Row = tuple[int, str, int | None, int, int]

_INFO = """
    SELECT l.id, l.created_us, l.length, p.id, l.fork_position
    FROM ledgers l LEFT JOIN ledgers p ON p.number = l.parent
"""

# A ledger and its ancestors, itself first.
_ANCESTRY = """
    WITH RECURSIVE line (number, id, parent, fork_position, length, depth) AS (
        SELECT number, id, parent, fork_position, length, 0 FROM ledgers WHERE id = ?
        UNION ALL
        SELECT l.number, l.id, l.parent, l.fork_position, l.length, line.depth + 1
        FROM ledgers l JOIN line ON l.number = line.parent AND l.number < line.number
    )
    SELECT number, id, parent, fork_position, length FROM line ORDER BY depth
"""


# The ledger may have been deleted since the response was to be stored.
_CACHE = (
    "INSERT OR IGNORE INTO cache (ledger, key, response) SELECT number, ?, ? FROM ledgers "
    "WHERE number = ?"
)

_IS_THERE = "SELECT 1 FROM ledgers WHERE number = ?"

# An acknowledged entry keeps its key, so that a second delivery is recognised.
_ACKNOWLEDGE = "UPDATE inbox SET body = NULL WHERE ledger = ? AND key = ?"

# How many responses may wait for the next transaction, and how many acknowledgements.
_MOST_WAITING = 64

# Created with the first snapshot: most files never need the table.
_SNAPSHOTS = """
    CREATE TABLE IF NOT EXISTS snapshots (
        ledger INTEGER PRIMARY KEY REFERENCES ledgers (number),
        body BLOB NOT NULL
    )
"""

_HAS_SNAPSHOTS = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'snapshots'"


class SQLiteSubstrate(Substrate):
    """Ledgers in a SQLite file, with write-ahead log and full synchronisation.

    It may be used from several threads; other processes may read and write the same file.

    Args:
        path: of the file; created with mode 600 if it does not exist.
        read_only: do not create or change anything; the file must exist.

    Raises:
        StoreError: the file cannot be used.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        self.path = Path(path)
        self.is_read_only = read_only
        self._lock = threading.RLock()
        # Numbers of a ledger and of its ancestors, which do not change as long as the file is open.
        self._lines: dict[str, list[int]] = {}
        # Responses by number of the ledger and key, which the next transaction stores.
        self._to_cache: dict[tuple[int, str], bytes] = {}
        # Numbers of ledgers and keys of entries, which the next transaction acknowledges.
        self._to_acknowledge: dict[tuple[int, str], None] = {}
        self._reader: SQLiteReader | None = None
        self._connection: sqlite3.Connection | None = None
        self._log: SynchronisedLog | None = None
        self._blobs = SQLiteBlobs(self.path, self._query_if_open)
        if read_only:
            self._reader = open_to_read(self.path)
        else:
            self._connection = open_to_write(self.path)
            # From now on `patiently` waits for locks.
            self._connection.execute("PRAGMA busy_timeout = 0")
            # Without it, SQLite itself waits for the disk.
            with suppress(OSError):
                self._log = SynchronisedLog(self._connection)
                self._connection.execute("PRAGMA synchronous = NORMAL")

    def create(self, ledger_id: str) -> SQLiteLedgerStore:
        with self._writing() as connection:
            self._insert(connection, check_ledger_id(ledger_id), None, 0)
            return self._ledger(connection, ledger_id)

    def open(self, ledger_id: str) -> SQLiteLedgerStore:
        return self._query(lambda connection: self._ledger(connection, ledger_id))

    def fork(self, parent_id: str, position: int, branch_id: str) -> SQLiteLedgerStore:
        return self.fork_with(parent_id, position, branch_id, ())

    def fork_with(
        self, parent_id: str, position: int, branch_id: str, events: Sequence[RecordedEvent]
    ) -> SQLiteLedgerStore:
        with self._writing() as connection:
            parent = self._ledger(connection, parent_id)
            check_fork_position(parent.stream_name(), position, parent._length(connection))
            number = parent._own.base >> 32
            self._insert(connection, check_ledger_id(branch_id), number, position)
            branch = self._ledger(connection, branch_id)
            branch._append(connection, events, position)
            return branch

    def info(self, ledger_id: str) -> LedgerInfo:
        return self._query(lambda connection: self._info(connection, ledger_id))

    def _info(self, connection: sqlite3.Connection, ledger_id: str) -> LedgerInfo:
        row = connection.execute(f"{_INFO} WHERE l.id = ?", (ledger_id,)).fetchone()
        if row is None:
            raise self._unknown(connection, ledger_id)
        return self._info_of(row)

    def ledgers(self) -> Iterator[LedgerInfo]:
        query = f"{_INFO} ORDER BY l.number DESC"
        rows = self._query(lambda connection: connection.execute(query).fetchall())
        return map(self._info_of, rows)

    def ids_starting_with(self, prefix: str, limit: int) -> list[str]:
        query = "SELECT id FROM ledgers WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
        span = (prefix, prefix + "\U0010ffff", limit)
        rows = self._query(lambda connection: connection.execute(query, span).fetchall())
        return [row[0] for row in rows]

    def delete(self, ledger_id: str) -> None:
        while True:
            # Each step in a transaction of its own, so that other processes can write in between.
            with self._writing(is_synchronised=False) as connection:
                number = self._without_branches(connection, ledger_id)
                if not self._blobs.prepare_removal(connection, number):
                    break
        with self._writing() as connection:
            # The deleted rows are overwritten in the file.
            overwrites = connection.execute("PRAGMA secure_delete").fetchone()[0]
            connection.execute("PRAGMA secure_delete = ON")
            try:
                number = self._without_branches(connection, ledger_id)
                self._delete(connection, ledger_id, number)
            finally:
                connection.execute(f"PRAGMA secure_delete = {int(overwrites)}")
        with self._lock, suppress(sqlite3.Error):
            # The log drops them, unless another process reads the file at this moment.
            self._open_connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _without_branches(self, connection: sqlite3.Connection, ledger_id: str) -> int:
        """Return the number of a ledger that has no branches."""
        row = connection.execute("SELECT number FROM ledgers WHERE id = ?", (ledger_id,)).fetchone()
        if row is None:
            raise self._unknown(connection, ledger_id)
        number: int = row[0]
        query = "SELECT id FROM ledgers WHERE parent = ? ORDER BY number"
        branches = [str(id) for (id,) in connection.execute(query, (number,)).fetchall()]
        if branches:
            raise has_branches(ledger_id, branches)
        return number

    def _delete(self, connection: sqlite3.Connection, ledger_id: str, number: int) -> None:
        self._blobs.remove(connection, number)
        last = last_claim(connection, number)
        first = number << 32
        connection.execute(
            "DELETE FROM events WHERE address >= ? AND address < ?", (first, first + 2**32)
        )
        connection.execute("DELETE FROM cache WHERE ledger = ?", (number,))
        connection.execute("DELETE FROM inbox WHERE ledger = ?", (number,))
        if connection.execute(_HAS_SNAPSHOTS).fetchone() is not None:
            connection.execute("DELETE FROM snapshots WHERE ledger = ?", (number,))
        remove_claim(connection, number)
        remove_lane(connection, calls_lane(ledger_id))
        self._remove_jobs(connection, ledger_id)
        connection.execute("DELETE FROM ledgers WHERE number = ?", (number,))
        epoch = last.epoch if last is not None else 0
        add_deleted(connection, ledger_id, number, epoch, datetime.now(UTC))

    @staticmethod
    def _remove_jobs(connection: sqlite3.Connection, ledger_id: str) -> None:
        from kando.ledger._sqlite_groups import remove_jobs

        remove_jobs(connection, ledger_id)

    def cached(self, ledger_id: str, key: str) -> bytes | None:
        return self._query(lambda connection: self._cached(connection, ledger_id, key))

    def _cached(self, connection: sqlite3.Connection, ledger_id: str, key: str) -> bytes | None:
        for number in self._line(connection, ledger_id):
            if (number, key) in self._to_cache:
                return self._to_cache[number, key]
            row = connection.execute(
                "SELECT response FROM cache WHERE ledger = ? AND key = ?", (number, key)
            ).fetchone()
            if row is not None:
                response: bytes = row[0]
                return response
        return None

    def cache(self, ledger_id: str, key: str, response: bytes) -> None:
        # A lost entry is in the ledger as well: the cache is a fold over it.
        with self._writing(is_synchronised=False) as connection:
            number = self._line(connection, ledger_id)[0]
            connection.execute(_CACHE, (key, response, number))

    def cache_soon(self, ledger_id: str, key: str, response: bytes) -> None:
        if self.is_read_only:
            self.cache(ledger_id, key, response)
        with self._lock:
            self._to_cache.setdefault((self._number(ledger_id), key), response)
            if len(self._to_cache) >= _MOST_WAITING:
                self._store_waiting()

    def _number(self, ledger_id: str) -> int:
        return self._query(lambda connection: self._line(connection, ledger_id))[0]

    def _store_waiting(self) -> None:
        """Store what waits for the next transaction."""
        if self._to_cache or self._to_acknowledge:
            with self._writing(is_synchronised=False):
                pass

    def snapshot(self, ledger_id: str) -> bytes | None:
        return self._query(lambda connection: self._snapshot(connection, ledger_id))

    def _snapshot(self, connection: sqlite3.Connection, ledger_id: str) -> bytes | None:
        if connection.execute(_HAS_SNAPSHOTS).fetchone() is None:
            return None
        query = (
            "SELECT body FROM snapshots JOIN ledgers ON number = ledger "
            "WHERE id = ? AND typeof(body) = 'blob'"
        )
        row = connection.execute(query, (ledger_id,)).fetchone()
        body: bytes | None = row[0] if row is not None else None
        return body

    def store_snapshot(self, ledger_id: str, body: bytes) -> None:
        # If this is lost, the ledger is read.
        with self._writing(is_synchronised=False) as connection:
            number = self._line(connection, ledger_id)[0]
            connection.execute(_SNAPSHOTS)
            connection.execute(
                "INSERT OR REPLACE INTO snapshots (ledger, body) VALUES (?, ?)", (number, body)
            )

    def deliver(self, ledger_id: str, entry: InboxEntry) -> bool:
        with self._writing() as connection:
            return self._deliver(connection, ledger_id, entry)

    def _deliver(self, connection: sqlite3.Connection, ledger_id: str, entry: InboxEntry) -> bool:
        body = encode_entry(entry)
        number = self._line(connection, ledger_id)[0]
        done = connection.execute(
            "INSERT OR IGNORE INTO inbox (ledger, key, body) VALUES (?, ?, ?)",
            (number, entry.key, body),
        )
        return done.rowcount == 1

    def inbox(self, ledger_id: str) -> list[InboxEntry]:
        return self._query(lambda connection: self._inbox(connection, ledger_id))

    def _inbox(self, connection: sqlite3.Connection, ledger_id: str) -> list[InboxEntry]:
        number = self._line(connection, ledger_id)[0]
        query = "SELECT key, body FROM inbox WHERE ledger = ? AND body IS NOT NULL ORDER BY number"
        rows, taken = connection.execute(query, (number,)).fetchall(), self._to_acknowledge
        return [decode_entry(*row) for row in rows if not taken or (number, row[0]) not in taken]

    def acknowledge(self, ledger_id: str, key: str) -> None:
        # If this is lost, the entry is read again, and the ledger shows that it is recorded.
        with self._writing(is_synchronised=False) as connection:
            connection.execute(_ACKNOWLEDGE, (self._line(connection, ledger_id)[0], key))

    def acknowledge_soon(self, ledger_id: str, key: str) -> None:
        if self.is_read_only:
            self.acknowledge(ledger_id, key)
        with self._lock:
            self._to_acknowledge[self._number(ledger_id), key] = None
            if len(self._to_acknowledge) >= _MOST_WAITING:
                self._store_waiting()

    # Claims are not synchronised to disk: if the machine fails, their holders die with it.

    def claim(
        self, ledger_id: str, worker: Worker, seconds: float, *, take_over: bool = False
    ) -> Claim | None:
        with self._writing(is_synchronised=False) as connection:
            number = self._line(connection, ledger_id)[0]
            last = last_claim(connection, number)
            after = last_epoch(connection, ledger_id) if last is None else 0
            claim = next_claim(ledger_id, last, worker, seconds, take_over=take_over, after=after)
            if claim is not None:
                store_claim(connection, number, claim)
            return claim

    def renew(self, claim: Claim, seconds: float) -> bool:
        return self._replace(claim, claim.renewed(seconds))

    def release(self, claim: Claim) -> None:
        self._replace(claim, claim.released())

    def _replace(self, claim: Claim, by: Claim) -> bool:
        with self._writing(is_synchronised=False) as connection:
            try:
                number = self._line(connection, claim.ledger_id)[0]
            except LedgerDeleted:
                return False
            last = last_claim(connection, number)
            if last is None or not last.is_held or last.epoch != claim.epoch:
                return False
            store_claim(connection, number, by)
            return True

    def claim_of(self, ledger_id: str) -> Claim | None:
        last = self.last_claim(ledger_id)
        return last if last is not None and last.is_held else None

    def last_claim(self, ledger_id: str) -> Claim | None:
        return self._query(
            lambda connection: last_claim(connection, self._line(connection, ledger_id)[0])
        )

    def acquire_slot(
        self, lane: str, limit: float, worker: Worker, seconds: float, weight: float = 1.0
    ) -> Slot | None:
        with self._writing(is_synchronised=False) as connection:
            remove_dead_slots(connection, lane)
            if not has_room(slots_of(connection, lane), limit, weight):
                return None
            slot = new_slot(lane, worker, seconds, weight)
            store_slot(connection, slot)
            return slot

    def renew_slot(self, slot: Slot, seconds: float) -> bool:
        with self._writing(is_synchronised=False) as connection:
            if all(each.token != slot.token for each in slots_of(connection, slot.lane)):
                return False
            store_slot(connection, slot.renewed(seconds))
            return True

    def release_slot(self, slot: Slot) -> None:
        with self._writing(is_synchronised=False) as connection:
            remove_slot(connection, slot)

    def slots(self, lane: str) -> list[Slot]:
        found = self._query(lambda connection: slots_of(connection, lane))
        return [slot for slot in found if slot.is_live()]

    def group(self, name: str) -> SQLiteGroup:
        from kando.ledger._sqlite_groups import SQLiteGroup
        from kando.ledger.groups import check_group

        return SQLiteGroup(check_group(name), self._writing, self._deliver)

    def groups(self) -> list[str]:
        from kando.ledger._sqlite_groups import group_names

        return self._query(group_names)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                # They are in the ledger as well.
                with suppress(StoreError):
                    self._store_waiting()
            for held in (self._reader, self._connection):
                if held is not None:
                    held.close()
            self._reader = self._connection = self._log = None

    def _opened_or_created(self, name: str) -> tuple[Segment, ...]:
        kind, _, ledger_id = stream_of(name).partition(":")
        with self._writing() as connection:
            if not self._rows(connection, ledger_id):
                check_ledger_id(ledger_id)
                if kind == "branch":
                    msg = f"There is no branch {ledger_id!r} in {self.path}."
                    raise LedgerNotFound(msg, hint="Fork one: kando.branch.fork.fork().")
                self._insert(connection, ledger_id, None, 0)
            ledger = self._ledger(connection, ledger_id)
            if name not in (ledger_id, ledger.stream_name()):
                msg = f"There is no {name} in {self.path}: it is {ledger.stream_name()}."
                raise LedgerNotFound(msg, hint=f"Open {ledger_id}.")
            return ledger._segments

    def _insert(
        self, connection: sqlite3.Connection, id: str, parent: int | None, position: int
    ) -> None:
        if self._rows(connection, id):
            msg = f"{self.path} already has a ledger {id!r}."
            raise LedgerExists(msg, hint="Choose another id.")
        number = first_unused_number(connection)
        connection.execute(
            "INSERT INTO ledgers (number, id, parent, fork_position, length, created_us) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (number, id, parent, position, position, microseconds(datetime.now(UTC))),
        )

    def _ledger(self, connection: sqlite3.Connection, ledger_id: str) -> SQLiteLedgerStore:
        owned: list[tuple[int, int, int | None, str]] = []
        stop: int | None = None
        for number, id, parent, fork_position, _ in self._ancestry(connection, ledger_id):
            stream = f"run:{id}" if parent is None else f"branch:{id}"
            # A branch forked within its parent's shared prefix has none of the parent's own events.
            if stop is None or stop > fork_position:
                owned.append((number << 32, fork_position, stop, stream))
            stop = fork_position if stop is None else min(stop, fork_position)
        self._blobs.begin(connection)
        # The first segment belongs to the run.
        segments = [Segment(*each, heads) for heads, each in enumerate(reversed(owned))]
        return SQLiteLedgerStore._of(self, segments)

    def _ancestry(self, connection: sqlite3.Connection, ledger_id: str) -> list[_Row]:
        rows = self._rows(connection, ledger_id)
        if not rows:
            raise self._unknown(connection, ledger_id)
        longest = 2**32 - 1
        for number, id, parent, fork_position, length in rows:
            if not isinstance(fork_position, int) or not isinstance(length, int):
                raise self._damaged(f"{id!r} has lost its fork position or its length.")
            if not 0 <= fork_position <= length <= longest:
                msg = f"{id!r} has {length} events and shares {fork_position}, which cannot be."
                raise self._damaged(msg)
            if parent is not None and number == rows[-1][0]:
                # Parents are older than their branches, so a line of descent has an end.
                raise self._damaged(f"{id!r} descends from itself, or from a ledger that is lost.")
        if any(branch[3] > parent[4] for branch, parent in pairwise(rows)):
            raise self._damaged(
                f"{ledger_id!r} or an ancestor shares events that its parent lacks."
            )
        return rows

    def _line(self, connection: sqlite3.Connection, ledger_id: str) -> list[int]:
        """Return the numbers of a ledger and of its ancestors, itself first."""
        line = self._lines.get(ledger_id)
        # Another process may have deleted it; then no ancestor of it is needed.
        if line is None or connection.execute(_IS_THERE, (line[0],)).fetchone() is None:
            line = [number for number, *_ in self._ancestry(connection, ledger_id)]
            # A reader may find another file under the same name.
            if not self.is_read_only:
                self._lines[ledger_id] = line
        return line

    @staticmethod
    def _rows(connection: sqlite3.Connection, ledger_id: str) -> list[_Row]:
        return connection.execute(_ANCESTRY, (ledger_id,)).fetchall()

    def _info_of(self, row: tuple[str, int, int, str | None, int]) -> LedgerInfo:
        id, created_us, length, parent, fork_position = row
        shared = fork_position if parent is not None else None
        if not is_ledger_id(id) or (parent is not None and not is_ledger_id(parent)):
            raise self._damaged(f"It has a ledger with the malformed id {clean(str(id)):.80}.")
        try:
            return LedgerInfo(id, datetime_of(created_us), length, parent, shared)
        except (OverflowError, TypeError) as error:
            raise self._damaged(f"{id!r} has lost its creation time.") from error

    def _unknown(self, connection: sqlite3.Connection, ledger_id: str) -> LedgerNotFound:
        deleted_at = time_of_deletion(connection, ledger_id) if is_ledger_id(ledger_id) else None
        if deleted_at is not None:
            return ledger_deleted(ledger_id, deleted_at)
        msg = f"There is no run or branch {ledger_id!r} in {self.path}."
        return LedgerNotFound(msg, hint="`kando runs` lists them.")

    def _damaged(self, msg: str) -> StoreDamaged:
        return StoreDamaged(msg, hint=f"Restore {self.path} from a copy.")

    def _query(self, function: Callable[[sqlite3.Connection], Result]) -> Result:
        """Return what a function reads from the file; it may be called more than once."""
        with self._lock, translate_errors(self.path):
            if self._reader is not None:
                return self._reader.query(function)
            connection = self._open_connection()
            return patiently(function, connection)

    def _query_if_open(self) -> Callable[[Callable[[sqlite3.Connection], Any]], Any] | None:
        return None if self._reader is None and self._connection is None else self._query

    @contextmanager
    def _writing(self, *, is_synchronised: bool = True) -> Iterator[sqlite3.Connection]:
        """Open a write transaction, which is committed or rolled back as a whole.

        Args:
            is_synchronised: wait until the commit is on disk. Otherwise it survives the death of the
                process, but not a failure of the machine, unless another commit follows.
        """
        if self.is_read_only:
            msg = f"{self.path} was opened read-only."
            raise StoreError(msg, hint="Open it for writing.")
        with self._lock, translate_errors(self.path):
            connection = self._open_connection()
            try:
                patiently(connection.execute, "BEGIN IMMEDIATE")
                # First, as the first response under a key stays.
                if self._to_cache:
                    rows = [(key, each, of) for (of, key), each in self._to_cache.items()]
                    connection.executemany(_CACHE, rows)
                if self._to_acknowledge:
                    connection.executemany(_ACKNOWLEDGE, list(self._to_acknowledge))
                yield connection
                connection.execute("COMMIT")
                self._to_cache.clear()
                self._to_acknowledge.clear()
            except BaseException:
                # Of a ledger that may not exist after all.
                self._lines.clear()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            log = self._log
        if is_synchronised and log is not None:
            # Other writers, of this process too, need not wait for it.
            with translate_errors(self.path):
                log.synchronise()

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            msg = f"{self.path} is closed."
            raise StoreError(msg, hint="Open it again.")
        return self._connection
