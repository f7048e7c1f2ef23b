"""Responder groups in memory and in a SQLite file."""

from pathlib import Path

import pytest

from kando.errors import StoreError
from kando.ledger._sqlite_groups import SQLiteGroup
from kando.ledger.claims import Worker, this_process
from kando.ledger.groups import HandOver, Job, ResponderGroup
from kando.ledger.inbox import InboxEntry
from kando.ledger.memory import MemorySubstrate
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.ledger.substrate import Substrate
from kando.schema.events import make_event
from kando.testing.groups import GroupContract


class TestMemoryGroups(GroupContract):
    def open_substrate(self, path: Path) -> Substrate:
        return MemorySubstrate()


class TestSQLiteGroups(GroupContract):
    def open_substrate(self, path: Path) -> Substrate:
        return SQLiteSubstrate(path)


class OneByOneGroup(SQLiteGroup):
    """A group that inherits the way in which other groups hand over."""

    hand_over = ResponderGroup.hand_over


class OneByOneSubstrate(SQLiteSubstrate):
    def group(self, name: str) -> OneByOneGroup:
        return OneByOneGroup(super().group(name).name, self._writing, self._deliver)


class TestGroupsThatHandOverOneByOne(GroupContract):
    def open_substrate(self, path: Path) -> Substrate:
        return OneByOneSubstrate(path)


def test_a_hand_over_in_a_file_is_one_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SQLiteSubstrate(tmp_path / "store") as substrate:
        substrate.create("r1")
        group = substrate.group("g")
        group.offer(Job("r1"))
        lease = group.take(this_process(), 60.0)
        assert lease is not None
        writing, written = SQLiteSubstrate._writing, []

        def counted(self: SQLiteSubstrate, **how: bool) -> object:
            written.append(how)
            return writing(self, **how)

        monkeypatch.setattr(SQLiteSubstrate, "_writing", counted)
        group = substrate.group("g")
        written.clear()
        entry = InboxEntry("answer", make_event("note", "", "worker", [], {}))
        call = Job("r1", "x-1")
        for lasts in (True, False):
            handed = HandOver([lease], [("r1", entry)], [(call, 0.0)], [call], lasts)
            (lease,) = group.hand_over(handed, substrate, this_process(), 60.0)

        assert written == [{"is_synchronised": True}, {"is_synchronised": False}]


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
