"""Responder groups in memory and in a SQLite file."""

from pathlib import Path

import pytest

from kando.errors import StoreError
from kando.ledger.claims import Worker, this_process
from kando.ledger.groups import Job
from kando.ledger.memory import MemorySubstrate
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.ledger.substrate import Substrate
from kando.testing.groups import GroupContract


class TestMemoryGroups(GroupContract):
    def open_substrate(self, path: Path) -> Substrate:
        return MemorySubstrate()


class TestSQLiteGroups(GroupContract):
    def open_substrate(self, path: Path) -> Substrate:
        return SQLiteSubstrate(path)


def test_a_job_with_an_expired_lease_goes_to_another_worker(tmp_path: Path) -> None:
    with SQLiteSubstrate(tmp_path / "store") as substrate:
        group = substrate.group("g")
        group.offer(Job("r1"))
        group.take(Worker("elsewhere", 1), -1.0)

        again = group.take(this_process(), 60.0)

        assert again is not None
        assert again.attempt == 2


def test_a_job_whose_workers_keep_dying_is_parked(tmp_path: Path) -> None:
    with SQLiteSubstrate(tmp_path / "store") as substrate:
        group = substrate.group("g")
        group.offer(Job("r1"))
        while group.take(Worker("elsewhere", 1), -1.0) is not None:
            pass

        (parked,) = group.parked()
        assert "died or was lost, 5 times" in parked.reason


def test_jobs_survive_closing_the_file(tmp_path: Path) -> None:
    with SQLiteSubstrate(tmp_path / "store") as substrate:
        substrate.group("g").offer(Job("r1"))

    with SQLiteSubstrate(tmp_path / "store") as again:
        assert again.group("g").info().waiting == 1
    with (
        SQLiteSubstrate(tmp_path / "store", read_only=True) as reading,
        pytest.raises(StoreError, match="read-only"),
    ):
        reading.group("g")
