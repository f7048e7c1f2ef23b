"""The tests of a substrate that delete ledgers: a part of its suite."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from kando.errors import KandoError, LedgerExists, LedgerInUse, LedgerNotFound
from kando.ledger.claims import Worker, calls_lane, this_process
from kando.ledger.groups import Job
from kando.ledger.inbox import InboxEntry
from kando.ledger.interface import LedgerStore
from kando.ledger.substrate import Substrate
from kando.ledger.verification import verify
from kando.schema.events import KandoEvent
from kando.testing.ledgers import conversation, event, with_parts

__all__ = ["DeletionSubstrateTests"]

_HERE = this_process()
_ELSEWHERE = Worker("elsewhere", 1)


class DeletionSubstrateTests:
    """Tests of `Substrate.delete`, which a substrate need not support."""

    #: Whether the substrate deletes ledgers.
    deletes_ledgers = False

    #: Whether a ledger may be created again under the id of a deleted one.
    reuses_ids = True

    def open_substrate(self, path: Path) -> Substrate:
        raise NotImplementedError  # pragma: no cover

    @pytest.fixture
    def deleting(self, substrate: Substrate) -> Substrate:
        if not self.deletes_ledgers:
            pytest.skip("the substrate deletes no ledgers")
        return substrate

    def test_a_deleted_ledger_is_gone_and_the_others_are_unchanged(
        self, deleting: Substrate
    ) -> None:
        for id in ("r1", "r2"):
            deleting.create(id).append([event(number) for number in range(5)])
            deleting.cache(id, "key", id.encode())
            deleting.deliver(id, InboxEntry("k", event(9)))
            deleting.store_snapshot(id, id.encode())
        snapshot = deleting.snapshot("r2")
        before = deleting.open("r2").digest(5)

        deleting.delete("r1")

        assert [info.id for info in deleting.ledgers()] == ["r2"]
        assert deleting.ids_starting_with("r", 5) == ["r2"]
        assert _accepts_nothing(deleting, "r1")
        assert deleting.open("r2").digest(5) == before
        assert verify(deleting.open("r2")).is_intact
        assert deleting.cached("r2", "key") == b"r2"
        assert [entry.key for entry in deleting.inbox("r2")] == ["k"]
        assert deleting.snapshot("r2") == snapshot

    def test_a_deleted_ledger_stays_deleted_for_others(
        self, deleting: Substrate, tmp_path: Path
    ) -> None:
        deleting.create("r1").append([event(0)])
        if not getattr(self, "is_durable", True):
            pytest.skip("the substrate is not durable")
        with self.open_substrate(tmp_path / "store") as other:
            kept = other.open("r1")
            assert kept.length() == 1
            claim = other.claim("r1", _ELSEWHERE, 60)
            other.cache_soon("r1", "waits", b"1")
            other.acknowledge_soon("r1", "waits")

            deleting.delete("r1")

            assert _is_unusable(kept)
            assert _accepts_nothing(other, "r1")
            assert claim is not None
            assert not other.renew(claim, 60)
            other.release(claim)
            # Changes that waited for the next one are dropped, and keep no other change back.
            other.create("r2").append([event(0)])
        assert [info.id for info in deleting.ledgers()] == ["r2"]

    def test_a_ledger_object_of_a_deleted_ledger_says_so(self, deleting: Substrate) -> None:
        ledger = deleting.create("r1")
        ledger.append([event(number) for number in range(3)])

        deleting.delete("r1")

        assert _is_unusable(ledger)

    def test_an_unknown_ledger_cannot_be_deleted_nor_one_twice(self, deleting: Substrate) -> None:
        deleting.create("r1")
        deleting.delete("r1")

        for id in ("r1", "never"):
            with pytest.raises(LedgerNotFound, match=id):
                deleting.delete(id)

    def test_a_ledger_with_branches_is_refused_and_unchanged(self, deleting: Substrate) -> None:
        deleting.create("r1").append([event(number) for number in range(3)])
        deleting.fork("r1", 2, "b1").append([event(9)])
        deleting.fork("b1", 3, "b2")

        for id, branch in (("r1", "b1"), ("b1", "b2")):
            with pytest.raises(LedgerInUse, match=branch):
                deleting.delete(id)
        assert deleting.open("r1").length() == 3
        assert deleting.open("b2").length() == 3

        for id in ("b2", "b1", "r1"):
            deleting.delete(id)
        assert [*deleting.ledgers()] == []

    def test_of_a_fork_and_a_deletion_at_once_one_succeeds(self, deleting: Substrate) -> None:
        for number in range(8):
            id, branch = f"r{number}", f"b{number}"
            deleting.create(id).append([event(0)])
            begin = threading.Barrier(2)
            failed: list[KandoError] = []

            thread = threading.Thread(target=_fork, args=(deleting, id, branch, begin, failed))
            thread.start()
            begin.wait()
            try:
                deleting.delete(id)
            except LedgerInUse as error:
                failed.append(error)
            thread.join()

            # A substrate without transactions may refuse both.
            assert failed
            left = {info.id for info in deleting.ledgers()} & {id, branch}
            assert left != {branch}
            assert left == set() or len(failed) == 2 or left == {id, branch}
            if branch in left:
                assert verify(deleting.open(branch)).is_intact

    def test_an_id_is_free_again_or_refused_for_good(self, deleting: Substrate) -> None:
        deleting.create("r1").append([event(0)])
        deleting.deliver("r1", InboxEntry("k", event(9)))
        deleting.cache("r1", "key", b"old")
        deleting.store_snapshot("r1", b"old")
        old = deleting.claim("r1", _HERE, 60)
        assert old is not None
        deleting.release(old)
        deleting.delete("r1")

        if not self.reuses_ids:
            with pytest.raises(LedgerExists, match="r1"):
                deleting.create("r1")
            return
        again = deleting.create("r1")

        assert again.length() == 0
        assert deleting.cached("r1", "key") is None
        assert deleting.snapshot("r1") is None
        assert deleting.inbox("r1") == []
        assert deleting.deliver("r1", InboxEntry("k", event(9)))
        new = deleting.claim("r1", _HERE, 60)
        assert new is not None
        assert new.epoch > old.epoch
        assert not deleting.renew(old, 60)
        again.append([event(0)])
        assert verify(deleting.open("r1")).is_intact
        # Deleted again, it is forgotten again, and its epochs grow further.
        deleting.delete("r1")
        deleting.create("r1")
        last = deleting.claim("r1", _HERE, 60)
        assert last is not None
        assert last.epoch > new.epoch

    def test_the_parts_that_other_ledgers_name_stay(self, deleting: Substrate) -> None:
        ledgers = {id: deleting.create(id) for id in ("r1", "r2", "r3")}
        for ledger in ledgers.values():
            ledger.append([with_parts(conversation(turns)) for turns in range(1, 4)])
        branch = deleting.fork("r2", 2, "b2")
        branch.append([with_parts(conversation(5))])

        for id in ("r1", "r3"):
            deleting.delete(id)
            for kept in ("r2", "b2"):
                assert verify(deleting.open(kept)).is_intact
        # Texts that a process knew to be stored may be gone.
        ledger = deleting.create("r4")
        ledger.append([with_parts(conversation(6))])
        for id in ("b2", "r2"):
            deleting.delete(id)
        ledger.append([with_parts(conversation(turns)) for turns in (6, 7)])
        assert verify(ledger).is_intact
        assert [len(each.data["messages"]) for each in ledger.read_all()] == [13, 13, 15]

    def test_blobs_of_a_ledger_stay_until_an_event_names_them(self, deleting: Substrate) -> None:
        bodies = [b"a file", b"another file"]
        first, second = deleting.create("r1"), deleting.create("r2")
        if not first.keeps_blobs:
            pytest.skip("the store keeps no blobs")
        for ledger in (first, second):
            ledger.store_blobs(bodies)

        deleting.delete("r1")

        found = second.blobs([sha256(body).digest() for body in bodies])
        assert sorted(found.values()) == sorted(bodies)

    def test_the_jobs_and_slots_of_a_deleted_ledger_go_with_it(self, deleting: Substrate) -> None:
        for id in ("r1", "r2"):
            deleting.create(id).append([event(0)])
        group = deleting.group("workers")
        slot = deleting.acquire_slot(calls_lane("r1"), 5, _HERE, 60)
        for id in ("r1", "r2"):
            group.offer(Job(id, "e1"))
        lease = group.take(_HERE, 60)
        assert lease is not None
        assert lease.job.ledger_id == "r1"

        deleting.delete("r1")

        group.finish(lease)
        following = group.take(_HERE, 60)
        assert following is not None
        assert following.job.ledger_id == "r2"
        assert slot is not None
        assert deleting.slots(calls_lane("r1")) == []


def _fork(
    substrate: Substrate, id: str, branch: str, begin: threading.Barrier, failed: list[KandoError]
) -> None:
    begin.wait()
    try:
        substrate.fork(id, 1, branch)
    except LedgerNotFound as error:
        failed.append(error)


def _accepts_nothing(substrate: Substrate, id: str) -> bool:
    """Check that nothing can be read from a deleted ledger, or written to it."""
    entry = InboxEntry("late", KandoEvent("", "note", "", "test", [], datetime.now(UTC), {}))
    for use in (
        lambda: substrate.open(id),
        lambda: substrate.info(id),
        lambda: substrate.fork(id, 0, "late"),
        lambda: substrate.cache(id, "late", b"1"),
        lambda: substrate.deliver(id, entry),
        lambda: substrate.inbox(id),
        lambda: substrate.claim(id, _HERE, 60),
        lambda: substrate.claim_of(id),
    ):
        with pytest.raises(LedgerNotFound, match=id):
            use()
    return True


def _is_unusable(ledger: LedgerStore) -> bool:
    """Check that a ledger that was deleted can neither be read nor appended to."""
    for use in (
        lambda: ledger.append([event(7)]),
        lambda: ledger.append([event(7)], expected_length=ledger.length()),
        ledger.length,
        lambda: [*ledger.read_all()],
        lambda: [*ledger.read_firings()],
    ):
        with pytest.raises(LedgerNotFound):
            use()
    return True
