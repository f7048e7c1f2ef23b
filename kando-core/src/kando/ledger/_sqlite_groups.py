"""Responder groups in a table: jobs with leases, for the processes of one machine.

Only jobs that are offered or replayed from outside, and what comes of a job, are synchronised to disk when
they are committed. Leases are not: if the machine fails, their holders die with it, and the jobs are done
again. Neither is the step that finishes a job and offers what follows: it follows everything that the job
recorded, in the same file, so the disk never has the step without the record. If the step is lost, the job
is still there and is done again, which the ledger and the inbox recognise.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Protocol

from kando.ledger.claims import Worker, this_process
from kando.ledger.groups import (
    MAX_ATTEMPTS,
    GroupInfo,
    HandOver,
    Job,
    Lease,
    ParkedJob,
    ResponderGroup,
)
from kando.ledger.inbox import InboxEntry
from kando.ledger.substrate import Substrate

__all__ = ["Deliver", "SQLiteGroup", "Writing", "group_names", "remove_jobs"]


class Writing(Protocol):
    """Opens a write transaction."""

    def __call__(
        self, *, is_synchronised: bool = True
    ) -> AbstractContextManager[sqlite3.Connection]:
        """Open it; unless `is_synchronised`, its commit does not wait for the disk."""


#: Puts an entry into the inbox of a ledger, in an open transaction.
Deliver = Callable[[sqlite3.Connection, str, InboxEntry], object]

# Created with the first group of a file.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    ledger TEXT NOT NULL,
    intent TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    is_due_again INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0,
    token TEXT,
    host TEXT,
    pid INTEGER,
    until REAL,
    parked TEXT,
    UNIQUE (name, ledger, intent)
) STRICT
"""

# The jobs of a group that a worker may take at a time.
_FREE_JOBS = (
    "SELECT number, ledger, intent, attempts FROM jobs WHERE name = ? "
    "AND token IS NULL AND parked IS NULL AND not_before <= ?"
)

_FREE = "token = NULL, host = NULL, pid = NULL, until = NULL"


def group_names(connection: sqlite3.Connection) -> list[str]:
    """Return the names of the groups in the table of jobs."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'jobs'").fetchone():
        return []
    query = "SELECT DISTINCT name FROM jobs ORDER BY name"
    return [row[0] for row in connection.execute(query).fetchall()]


def remove_jobs(connection: sqlite3.Connection, ledger_id: str) -> None:
    """Remove the jobs of a ledger, of every group; one that a worker holds ends without a trace."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'jobs'").fetchone():
        connection.execute("DELETE FROM jobs WHERE ledger = ?", (ledger_id,))


class SQLiteGroup(ResponderGroup):
    """A group in a table of jobs.

    Args:
        name: of the group.
        writing: opens a write transaction.
        deliver: puts an entry into an inbox, in such a transaction.
    """

    def __init__(self, name: str, writing: Writing, deliver: Deliver) -> None:
        self.name = name
        self._writing = writing
        self._deliver = deliver
        with writing() as connection:
            connection.execute(_SCHEMA)

    def offer(self, job: Job, delay: float = 0.0) -> None:
        with self._writing() as connection:
            self._offer(connection, job, delay)

    def _offer(self, connection: sqlite3.Connection, job: Job, delay: float) -> None:
        connection.execute(
            "INSERT INTO jobs (name, ledger, intent, not_before) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (name, ledger, intent) DO UPDATE SET not_before = "
            "CASE WHEN token IS NULL OR is_due_again "
            "THEN min(not_before, excluded.not_before) ELSE excluded.not_before END, "
            "is_due_again = token IS NOT NULL",
            (self.name, job.ledger_id, job.intent, time.time() + delay if delay else 0),
        )

    def take(self, worker: Worker, seconds: float) -> Lease | None:
        now = time.time()
        with self._writing(is_synchronised=False) as connection:
            self._release_expired(connection, now)
            rows = connection.execute(f"{_FREE_JOBS} ORDER BY number LIMIT 1", (self.name, now))
            return self._taken(connection, rows.fetchone(), worker, now + seconds)

    def _taken(
        self,
        connection: sqlite3.Connection,
        row: tuple[int, str, str, int] | None,
        worker: Worker,
        until: float,
    ) -> Lease | None:
        """Lease the job in a row of the table; None without a row."""
        if row is None:
            return None
        number, ledger, intent, attempts = row
        token = secrets.token_hex(8)
        connection.execute(
            "UPDATE jobs SET attempts = attempts + 1, is_due_again = 0, token = ?, host = ?, "
            "pid = ?, until = ? WHERE number = ?",
            (token, worker.host, worker.pid, until, number),
        )
        return Lease(Job(ledger, intent), attempts + 1, token)

    def hand_over(
        self, handed: HandOver, substrate: Substrate, worker: Worker, seconds: float
    ) -> list[Lease]:
        leases = []
        with self._writing(is_synchronised=handed.lasts) as connection:
            for ledger_id, entry in handed.entries:
                self._deliver(connection, ledger_id, entry)
            for job, delay in handed.jobs:
                self._offer(connection, job, delay)
            for lease in handed.done:
                self._finish(connection, lease)
            now = time.time()
            for job in handed.takes:
                query = f"{_FREE_JOBS} AND ledger = ? AND intent = ?"
                found = connection.execute(query, (self.name, now, job.ledger_id, job.intent))
                taken = self._taken(connection, found.fetchone(), worker, now + seconds)
                leases += [taken] if taken is not None else []
        return leases

    def _release_expired(self, connection: sqlite3.Connection, now: float) -> None:
        """Release the jobs of workers that have died and of leases that have expired."""
        query = "SELECT number, host, pid, until, attempts FROM jobs WHERE name = ? AND token IS NOT NULL"
        me = this_process()
        alive = {Worker(me.host, me.pid): True}
        for number, host, pid, until, attempts in connection.execute(
            query, (self.name,)
        ).fetchall():
            holder = Worker(host, pid)
            if holder not in alive:
                alive[holder] = holder.may_be_alive()
            if until < now or not alive[holder]:
                reason = f"its worker died or was lost, {attempts} times"
                parked = reason if attempts >= MAX_ATTEMPTS else None
                connection.execute(
                    f"UPDATE jobs SET {_FREE}, parked = ? WHERE number = ?", (parked, number)
                )

    def extend(self, lease: Lease, seconds: float) -> bool:
        with self._writing(is_synchronised=False) as connection:
            done = connection.execute(
                "UPDATE jobs SET until = ? WHERE token = ?", (time.time() + seconds, lease.token)
            )
            return done.rowcount == 1

    def finish(self, lease: Lease) -> None:
        with self._writing(is_synchronised=False) as connection:
            self._finish(connection, lease)

    def _finish(self, connection: sqlite3.Connection, lease: Lease) -> None:
        done = connection.execute(
            "DELETE FROM jobs WHERE token = ? AND is_due_again = 0", (lease.token,)
        )
        if done.rowcount == 0:
            connection.execute(
                f"UPDATE jobs SET {_FREE}, is_due_again = 0, attempts = 0 WHERE token = ?",
                (lease.token,),
            )

    def retry(self, lease: Lease, reason: str, delay: float = 0.0) -> bool:
        if lease.attempt >= MAX_ATTEMPTS:
            self.park(lease, reason)
            return False
        with self._writing(is_synchronised=False) as connection:
            connection.execute(
                f"UPDATE jobs SET {_FREE}, not_before = ? WHERE token = ?",
                (time.time() + delay, lease.token),
            )
        return True

    def park(self, lease: Lease, reason: str) -> None:
        with self._writing(is_synchronised=False) as connection:
            connection.execute(
                f"UPDATE jobs SET {_FREE}, parked = ? WHERE token = ?", (reason, lease.token)
            )

    def parked(self) -> list[ParkedJob]:
        query = (
            "SELECT ledger, intent, parked FROM jobs WHERE name = ? AND parked IS NOT NULL "
            "ORDER BY number"
        )
        with self._writing(is_synchronised=False) as connection:
            rows = connection.execute(query, (self.name,)).fetchall()
        return [ParkedJob(Job(ledger, intent), reason) for ledger, intent, reason in rows]

    def replay_parked(self) -> int:
        with self._writing() as connection:
            return connection.execute(
                "UPDATE jobs SET parked = NULL, attempts = 0, not_before = 0 "
                "WHERE name = ? AND parked IS NOT NULL",
                (self.name,),
            ).rowcount

    def info(self) -> GroupInfo:
        query = (
            "SELECT count(*), count(token), count(parked), "
            "count(*) FILTER (WHERE is_delayed), min(not_before) FILTER (WHERE is_delayed) "
            "FROM (SELECT *, token IS NULL AND parked IS NULL AND not_before > ? AS is_delayed "
            "FROM jobs WHERE name = ?)"
        )
        with self._writing(is_synchronised=False) as connection:
            row = connection.execute(query, (time.time(), self.name)).fetchone()
        total, in_flight, parked, delayed, due = row
        waiting = total - in_flight - parked
        next_due = None if due is None else datetime.fromtimestamp(due, UTC)
        return GroupInfo(self.name, waiting, in_flight, parked, delayed, next_due)
