"""Responder groups in a table: jobs with leases, for the processes of one machine."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime

from kando.ledger.claims import Worker
from kando.ledger.groups import MAX_ATTEMPTS, GroupInfo, Job, Lease, ParkedJob, ResponderGroup

__all__ = ["SQLiteGroup", "group_names"]

#: Opens a write transaction.
Writing = Callable[[], AbstractContextManager[sqlite3.Connection]]

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

_FREE = "token = NULL, host = NULL, pid = NULL, until = NULL"


def group_names(connection: sqlite3.Connection) -> list[str]:
    """Return the names of the groups in the table of jobs."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'jobs'").fetchone():
        return []
    query = "SELECT DISTINCT name FROM jobs ORDER BY name"
    return [row[0] for row in connection.execute(query).fetchall()]


class SQLiteGroup(ResponderGroup):
    """A group in a table of jobs.

    Args:
        name: of the group.
        writing: opens a write transaction.
    """

    def __init__(self, name: str, writing: Writing) -> None:
        self.name = name
        self._writing = writing
        with writing() as connection:
            connection.execute(_SCHEMA)

    def offer(self, job: Job, delay: float = 0.0) -> None:
        with self._writing() as connection:
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
        with self._writing() as connection:
            self._release_expired(connection, now)
            query = (
                "SELECT number, ledger, intent, attempts FROM jobs WHERE name = ? "
                "AND token IS NULL AND parked IS NULL AND not_before <= ? ORDER BY number LIMIT 1"
            )
            row = connection.execute(query, (self.name, now)).fetchone()
            if row is None:
                return None
            number, ledger, intent, attempts = row
            token = secrets.token_hex(8)
            connection.execute(
                "UPDATE jobs SET attempts = attempts + 1, is_due_again = 0, token = ?, host = ?, "
                "pid = ?, until = ? WHERE number = ?",
                (token, worker.host, worker.pid, now + seconds, number),
            )
            return Lease(Job(ledger, intent), attempts + 1, token)

    def _release_expired(self, connection: sqlite3.Connection, now: float) -> None:
        """Release the jobs of workers that have died and of leases that have expired."""
        query = "SELECT number, host, pid, until, attempts FROM jobs WHERE name = ? AND token IS NOT NULL"
        alive: dict[Worker, bool] = {}
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
        with self._writing() as connection:
            done = connection.execute(
                "UPDATE jobs SET until = ? WHERE token = ?", (time.time() + seconds, lease.token)
            )
            return done.rowcount == 1

    def finish(self, lease: Lease) -> None:
        with self._writing() as connection:
            connection.execute(
                "DELETE FROM jobs WHERE token = ? AND is_due_again = 0", (lease.token,)
            )
            connection.execute(
                f"UPDATE jobs SET {_FREE}, is_due_again = 0, attempts = 0 WHERE token = ?",
                (lease.token,),
            )

    def retry(self, lease: Lease, reason: str, delay: float = 0.0) -> bool:
        if lease.attempt >= MAX_ATTEMPTS:
            self.park(lease, reason)
            return False
        with self._writing() as connection:
            connection.execute(
                f"UPDATE jobs SET {_FREE}, not_before = ? WHERE token = ?",
                (time.time() + delay, lease.token),
            )
        return True

    def park(self, lease: Lease, reason: str) -> None:
        with self._writing() as connection:
            connection.execute(
                f"UPDATE jobs SET {_FREE}, parked = ? WHERE token = ?", (reason, lease.token)
            )

    def parked(self) -> list[ParkedJob]:
        query = (
            "SELECT ledger, intent, parked FROM jobs WHERE name = ? AND parked IS NOT NULL "
            "ORDER BY number"
        )
        with self._writing() as connection:
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
        with self._writing() as connection:
            row = connection.execute(query, (time.time(), self.name)).fetchone()
        total, in_flight, parked, delayed, due = row
        waiting = total - in_flight - parked
        next_due = None if due is None else datetime.fromtimestamp(due, UTC)
        return GroupInfo(self.name, waiting, in_flight, parked, delayed, next_due)
