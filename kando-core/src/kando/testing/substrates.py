"""Conformance tests that every substrate must pass.

The test of a substrate is a subclass that opens it::

    class TestMySubstrate(SubstrateContract):
        def open_substrate(self, path):
            return MySubstrate(path)
"""

# long: one suite, which the author of a substrate inherits and reads as a whole.

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kando.branch.fork import fork
from kando.errors import (
    ConfigurationError,
    LedgerExists,
    LedgerNotFound,
    PositionOutOfRange,
)
from kando.ledger.claims import Claim, Slot, Worker, local_worker, this_process
from kando.ledger.inbox import InboxEntry
from kando.ledger.interface import LedgerStore
from kando.ledger.substrate import Substrate
from kando.ledger.verification import verify
from kando.schema.events import KandoEvent, make_event
from kando.testing._deletion import DeletionSubstrateTests
from kando.testing._killed import KilledSubstrateTests
from kando.testing._pages import LargeSubstrateTests
from kando.testing.ledgers import all_fields, conversation, event, with_parts

__all__ = ["SubstrateContract"]

_HERE = this_process()
_ELSEWHERE = Worker("elsewhere", 1)


class SubstrateContract(LargeSubstrateTests, KilledSubstrateTests, DeletionSubstrateTests):
    """Tests of the promises of every substrate.

    A substrate that deletes ledgers sets ``deletes_ledgers = True``; one that cannot create a ledger
    again under the id of a deleted one sets ``reuses_ids = False``, too.
    """

    def open_substrate(self, path: Path) -> Substrate:
        """Return the substrate at `path`; create it if it does not exist."""
        raise NotImplementedError  # pragma: no cover

    #: Whether a substrate that is reopened at the same path has the same ledgers.
    is_durable = True

    @pytest.fixture
    def substrate(self, tmp_path: Path) -> Iterator[Substrate]:
        with self.open_substrate(tmp_path / "store") as opened:
            yield opened

    def test_a_created_ledger_is_opened_and_listed(self, substrate: Substrate) -> None:
        substrate.create("r1").append([event(0)])
        substrate.create("r2")

        assert substrate.open("r1").length() == 1
        assert [info.id for info in substrate.ledgers()] == ["r2", "r1"]
        info = substrate.info("r1")
        assert (info.length, info.is_branch, info.stream_name) == (1, False, "run:r1")
        assert info.created_at.utcoffset() is not None

    def test_a_taken_id_is_refused_for_runs_and_branches_alike(self, substrate: Substrate) -> None:
        substrate.create("r1")
        substrate.fork("r1", 0, "b1")

        for id in ("r1", "b1"):
            with pytest.raises(LedgerExists, match=id):
                substrate.create(id)
            with pytest.raises(LedgerExists, match=id):
                substrate.fork("r1", 0, id)
        assert len(list(substrate.ledgers())) == 2

    def test_an_unknown_ledger_is_refused_and_not_created(self, substrate: Substrate) -> None:
        for call in (
            lambda: substrate.open("typo"),
            lambda: substrate.info("typo"),
            lambda: substrate.fork("typo", 0, "b1"),
            lambda: substrate.cached("typo", "k"),
            lambda: substrate.cache("typo", "k", b"v"),
            lambda: substrate.inbox("typo"),
            lambda: substrate.deliver("typo", InboxEntry("k", event(0))),
            lambda: substrate.claim("typo", _HERE, 60),
            lambda: substrate.claim_of("typo"),
        ):
            with pytest.raises(LedgerNotFound, match="typo"):
                call()
        assert list(substrate.ledgers()) == []

    @pytest.mark.parametrize("id", ["", "a b", "a/b", "-a", "a" * 101, "a:b", "কাণ্ড", "a\n"])
    def test_a_malformed_id_is_refused(self, substrate: Substrate, id: str) -> None:
        substrate.create("r1")

        with pytest.raises(ConfigurationError):
            substrate.create(id)
        with pytest.raises(ConfigurationError):
            substrate.fork("r1", 0, id)
        assert [info.id for info in substrate.ledgers()] == ["r1"]

    def test_of_several_threads_that_create_one_id_one_succeeds(self, substrate: Substrate) -> None:
        outcomes: list[str] = []
        barrier = threading.Barrier(8)

        def create() -> None:
            barrier.wait()
            try:
                substrate.create("r1")
                outcomes.append("created")
            except LedgerExists:
                outcomes.append("refused")

        threads = [threading.Thread(target=create) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(outcomes) == ["created"] + ["refused"] * 7

    def test_ledgers_are_independent(self, substrate: Substrate) -> None:
        ledgers = [substrate.create(f"r{n}") for n in range(3)]
        for n, ledger in enumerate(ledgers):
            ledger.append([event(n), event(n, id="same"), event(n)])

        for n, ledger in enumerate(ledgers):
            assert [e.data["n"] for e in ledger.read_all()] == [n, n, n]
            assert ledger.find("same") == ledger.at(1)
            assert ledger.at(2**32 + 1) is None

    def test_ids_are_found_by_prefix(self, substrate: Substrate) -> None:
        for id in ("abc1", "abd2", "abc3", "x"):
            substrate.create(id)

        assert substrate.ids_starting_with("abc", 9) == ["abc1", "abc3"]
        assert substrate.ids_starting_with("ab", 2) == ["abc1", "abc3"]
        assert substrate.ids_starting_with("nobody", 9) == []

    def test_a_branch_shares_the_prefix_and_has_a_tail_of_its_own(
        self, substrate: Substrate
    ) -> None:
        parent = substrate.create("r1")
        parent.append([event(n) for n in range(4)])
        branch = substrate.fork("r1", 2, "b1")
        branch.append([event(10)], expected_length=2)
        parent.append([event(4)], expected_length=4)

        assert [e.data["n"] for e in branch.read_all()] == [0, 1, 10]
        assert [e.data["n"] for e in parent.read_all()] == [0, 1, 2, 3, 4]
        assert [all_fields(e) for e in branch.read(0)][:2] == [
            all_fields(e) for e in parent.read(0)
        ][:2]
        assert next(branch.read(2)).source == "branch:b1"
        assert branch.digest(2) == parent.digest(2)
        assert branch.digest(3) != parent.digest(3)
        info = substrate.info("b1")
        assert (info.parent_id, info.fork_position, info.length) == ("r1", 2, 3)
        assert info.stream_name == branch.stream_name() == "branch:b1"

    @pytest.mark.parametrize("position", [0, 2, 3, 4, 6])
    def test_a_branch_may_be_forked_at_any_position_of_a_branch(
        self, substrate: Substrate, position: int
    ) -> None:
        substrate.create("r1").append([event(n) for n in range(5)])
        middle = substrate.fork("r1", 3, "b1")
        middle.append([event(n) for n in (30, 31, 32)])
        shared = [all_fields(e) for e in middle.read_all()][:position]

        branch = substrate.fork("b1", position, "b2")

        assert [all_fields(e) for e in branch.read_all()] == shared
        info = substrate.info("b2")
        assert (info.parent_id, info.fork_position) == ("b1", position)
        assert branch.digest(position) == middle.digest(position)
        assert branch.append([event(99)], expected_length=position) == position + 1
        assert [all_fields(e) for e in branch.read(0)][:position] == shared
        assert [e.data["n"] for e in branch.read(position)] == [99]
        assert middle.length() == 6

    def test_every_shortcut_on_a_branch_agrees_with_reading_from_the_start(
        self, substrate: Substrate
    ) -> None:
        def event_about(kind: str, id: str, *cause: str) -> KandoEvent:
            data = {"id": id, "type": "T", "patch": {}, "data": {}}
            return make_event(kind, "", "x", list(cause), data)

        run = substrate.create("r1")
        run.append([event_about("object.created", id) for id in ("a", "b", "a", "c")])
        middle = fork(substrate, "r1", 3, "b1")
        middle.append(
            [event_about("object.patched", "a", "object.created-0"), event_about("note", "a")]
        )
        branch = fork(substrate, "b1", 5, "b2")
        branch.append([event_about("object.patched", "b"), event_about("object.created", "d")])

        for ledger in (run, middle, branch):
            end = ledger.length()
            assert list(ledger.links(0, end)) == list(LedgerStore.links(ledger, 0, end))
            assert list(ledger.links(2, end - 1, excluding={"note"})) == list(
                LedgerStore.links(ledger, 2, end - 1, excluding={"note"})
            )
            for stop in range(end + 1):
                for ids in ({"a"}, {"a", "b"}, {"d"}, {"nobody"}):
                    expected = list(LedgerStore.events_about(ledger, ids, {"c"}, stop))
                    assert list(ledger.events_about(ids, {"c"}, stop)) == expected
            assert ledger.stray_position() is None
        assert [e.position for e in branch.events_about({"a"}, set(), 99)] == [2, 4]

    def test_ids_of_the_prefix_are_taken_on_the_branch_and_later_ids_are_not(
        self, substrate: Substrate
    ) -> None:
        parent = substrate.create("r1")
        parent.append([event(0, id="shared"), event(1, id="later")])
        branch = substrate.fork("r1", 1, "b1")

        assert branch.find("shared") is not None
        assert branch.find("later") is None
        branch.append([event(2, id="later")])
        with pytest.raises(ValueError, match="shared"):
            branch.append([event(3, id="shared")])

    @pytest.mark.parametrize("position", [-1, 3])
    def test_a_fork_outside_the_parent_is_refused_and_creates_no_ledger(
        self, substrate: Substrate, position: int
    ) -> None:
        substrate.create("r1").append([event(0), event(1)])

        with pytest.raises(PositionOutOfRange):
            substrate.fork("r1", position, "b1")

        assert [info.id for info in substrate.ledgers()] == ["r1"]

    @settings(
        max_examples=30,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
    )
    @given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 3))))
    def test_any_tree_of_forks_reads_as_prefix_and_tail(
        self, tmp_path: Path, tree: list[tuple[int, int, int]]
    ) -> None:
        self._tree += 1
        with self.open_substrate(tmp_path / f"tree{self._tree}") as substrate:
            substrate.create("l0").append([event(n) for n in range(3)])
            expected = [[all_fields(e) for e in substrate.open("l0").read_all()]]
            for n, (parent, at, more) in enumerate(tree, 1):
                parent %= len(expected)
                at %= len(expected[parent]) + 1
                branch = fork(substrate, f"l{parent}", at, f"l{n}")
                branch.append([event(1000 * n + i) for i in range(more)])
                tail = [all_fields(e) for e in branch.read(at)]
                assert len(tail) == 1 + more
                expected.append(expected[parent][:at] + tail)
            for n, events in enumerate(expected):
                ledger = substrate.open(f"l{n}")
                assert [all_fields(e) for e in ledger.read_all()] == events
                assert ledger.length() == substrate.info(f"l{n}").length == len(events)
                middle = len(events) // 2
                assert [all_fields(e) for e in ledger.read(middle)] == events[middle:]
                found = [ledger.find(e[0][0]) for e in islice(events, 0, None, 3)]
                assert [all_fields(e) for e in found if e is not None] == events[::3]

    _tree = 0

    def test_a_cached_response_is_the_nearest_and_is_never_replaced(
        self, substrate: Substrate
    ) -> None:
        substrate.create("r1")
        substrate.fork("r1", 0, "b1")
        substrate.fork("b1", 0, "b2")
        substrate.cache("r1", "k", b"root")
        substrate.cache("b1", "k", b"branch")
        substrate.cache("b1", "k", b"too late")
        substrate.cache("b2", "mine", b"own")

        assert substrate.cached("r1", "k") == b"root"
        assert substrate.cached("b1", "k") == substrate.cached("b2", "k") == b"branch"
        assert substrate.cached("b2", "mine") == b"own"
        assert substrate.cached("b1", "mine") is None

    def test_a_response_to_be_cached_soon_is_found_at_once_and_is_never_replaced(
        self, substrate: Substrate
    ) -> None:
        substrate.create("r1")
        substrate.fork("r1", 0, "b1")
        substrate.cache_soon("r1", "k", b"root")
        assert substrate.cached("r1", "k") == substrate.cached("b1", "k") == b"root"
        substrate.cache_soon("r1", "k", b"too late")
        substrate.cache("r1", "k", b"too late")
        substrate.cache_soon("b1", "k", b"branch")

        assert substrate.cached("r1", "k") == b"root"
        assert substrate.cached("b1", "k") == b"branch"

    def test_an_entry_to_be_acknowledged_soon_is_removed_at_once_and_its_key_stays_known(
        self, substrate: Substrate
    ) -> None:
        substrate.create("r1")
        for key in ("a", "b"):
            substrate.deliver("r1", InboxEntry(key, make_event("note", "", "cli", [], {})))
        substrate.acknowledge_soon("r1", "a")

        assert [entry.key for entry in substrate.inbox("r1")] == ["b"]
        again = InboxEntry("a", make_event("note", "", "cli", [], {}))
        assert not substrate.deliver("r1", again)
        assert [entry.key for entry in substrate.inbox("r1")] == ["b"]

    def test_an_inbox_keeps_order_and_accepts_each_key_once_even_after_it_was_taken(
        self, substrate: Substrate
    ) -> None:
        substrate.create("r1")
        substrate.fork("r1", 0, "b1")
        for key, n in (("b", 1), ("a", 2)):
            assert substrate.deliver("r1", InboxEntry(key, event(n)))
        assert not substrate.deliver("r1", InboxEntry("b", event(3)))

        waiting = substrate.inbox("r1")
        assert [(entry.key, entry.event.data["n"]) for entry in waiting] == [("b", 1), ("a", 2)]
        assert substrate.inbox("b1") == []
        for _ in range(2):
            substrate.acknowledge("r1", "b")
        assert [entry.key for entry in substrate.inbox("r1")] == ["a"]
        assert not substrate.deliver("r1", InboxEntry("b", event(4)))

    def test_a_live_claim_keeps_other_workers_out_until_it_is_released(
        self, substrate: Substrate
    ) -> None:
        substrate.create("r1")
        substrate.fork("r1", 0, "b1")
        assert substrate.claim_of("r1") is None
        assert substrate.last_claim("r1") is None

        first = substrate.claim("r1", _HERE, 60)
        assert first is not None
        assert (first.ledger_id, first.worker) == ("r1", _HERE)
        assert first.is_live()
        for other in (_ELSEWHERE, _HERE):
            assert substrate.claim("r1", other, 60) is None
        assert substrate.claim_of("r1") == first
        assert substrate.claim_of("b1") is None
        assert substrate.claim("b1", _ELSEWHERE, 60) is not None

        for _ in range(2):
            substrate.release(first)
            assert substrate.claim_of("r1") is None
            assert (last := substrate.last_claim("r1")) is None or last.epoch == first.epoch
        assert not substrate.renew(first, 60)
        second = substrate.claim("r1", _ELSEWHERE, 60)
        assert second is not None
        assert second.epoch > first.epoch
        assert substrate.claim_of("r1") == second

    def test_a_claim_ends_with_its_lease_unless_it_is_renewed(self, substrate: Substrate) -> None:
        substrate.create("r1")
        first = substrate.claim("r1", _ELSEWHERE, -1)
        assert first is not None
        ended = substrate.claim_of("r1")
        assert ended is not None
        assert not ended.is_live()

        assert substrate.renew(first, 60)
        assert substrate.claim("r1", _HERE, 60) is None
        assert substrate.renew(first, -1)
        second = substrate.claim("r1", _HERE, 60)

        assert second is not None
        assert second.epoch > first.epoch
        assert not substrate.renew(first, 60)
        substrate.release(first)
        assert substrate.claim_of("r1") == second

    def test_a_claim_that_is_taken_over_cannot_be_renewed(self, substrate: Substrate) -> None:
        substrate.create("r1")
        first = substrate.claim("r1", _ELSEWHERE, 60)
        second = substrate.claim("r1", _HERE, 60, take_over=True)

        assert first is not None
        assert second is not None
        assert second.epoch > first.epoch
        assert not substrate.renew(first, 60)
        assert substrate.renew(second, 60)
        assert substrate.claim("r1", _ELSEWHERE, 60) is None

    def test_the_claim_of_a_dead_process_is_free_at_once(self, substrate: Substrate) -> None:
        substrate.create("r1")
        ended = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], os.environ)
        assert substrate.claim("r1", local_worker(ended), 60) is not None
        os.waitpid(ended, 0)

        assert substrate.claim("r1", _HERE, 60) is not None

    def test_of_several_threads_that_claim_a_ledger_one_succeeds(
        self, substrate: Substrate
    ) -> None:
        substrate.create("r1")
        claims: list[Claim | None] = []
        barrier = threading.Barrier(8)

        def claim(pid: int) -> None:
            barrier.wait()
            claims.append(substrate.claim("r1", Worker("elsewhere", pid), 60))

        threads = [threading.Thread(target=claim, args=(pid,)) for pid in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert [each for each in claims if each is not None] == [substrate.claim_of("r1")]

    def test_a_lane_has_as_many_slots_as_its_limit(self, substrate: Substrate) -> None:
        slots = [substrate.acquire_slot("a", 2, worker, 60) for worker in (_HERE, _ELSEWHERE)]
        assert None not in slots
        for worker in (_HERE, _ELSEWHERE):
            assert substrate.acquire_slot("a", 2, worker, 60) is None
        other = substrate.acquire_slot("b", 1, _HERE, 60)
        assert other is not None
        assert [(slot.lane, slot.worker) for slot in substrate.slots("b")] == [("b", _HERE)]
        assert {slot.worker for slot in substrate.slots("a")} == {_HERE, _ELSEWHERE}
        assert substrate.slots("c") == []

        for _ in range(2):
            substrate.release_slot(other)
        assert substrate.slots("b") == []
        assert not substrate.renew_slot(other, 60)
        assert substrate.acquire_slot("a", 2, _HERE, 60) is None
        assert substrate.acquire_slot("b", 1, _HERE, 60) is not None

    def test_the_weights_of_the_slots_of_a_lane_do_not_exceed_its_limit(
        self, substrate: Substrate
    ) -> None:
        first = substrate.acquire_slot("a", 1, _HERE, 60, 0.7)
        assert first is not None
        assert substrate.acquire_slot("a", 1, _ELSEWHERE, 60, 0.4) is None
        second = substrate.acquire_slot("a", 1, _ELSEWHERE, 60, 0.3)
        assert second is not None
        assert substrate.renew_slot(first, 60)
        assert sorted(slot.weight for slot in substrate.slots("a")) == [0.3, 0.7]
        assert substrate.acquire_slot("a", 1, _HERE, 60, 0.1) is None
        substrate.release_slot(second)
        assert substrate.acquire_slot("a", 1, _HERE, 60, 0.2) is not None

    def test_a_slot_ends_with_its_lease_unless_it_is_renewed(self, substrate: Substrate) -> None:
        first = substrate.acquire_slot("a", 1, _ELSEWHERE, -1)
        assert first is not None
        assert substrate.slots("a") == []

        assert substrate.renew_slot(first, 60)
        assert substrate.acquire_slot("a", 1, _HERE, 60) is None
        assert substrate.renew_slot(first, -1)
        assert substrate.acquire_slot("a", 1, _HERE, 60) is not None
        assert not substrate.renew_slot(first, 60)

    def test_the_slot_of_a_dead_process_is_free_at_once(self, substrate: Substrate) -> None:
        ended = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], os.environ)
        assert substrate.acquire_slot("a", 1, local_worker(ended), 60) is not None
        os.waitpid(ended, 0)

        assert substrate.acquire_slot("a", 1, _HERE, 60) is not None

    def test_of_several_threads_that_acquire_slots_as_many_succeed_as_there_are(
        self, substrate: Substrate
    ) -> None:
        slots: list[Slot | None] = []
        barrier = threading.Barrier(8)

        def acquire(pid: int) -> None:
            barrier.wait()
            slots.append(substrate.acquire_slot("a", 3, Worker("elsewhere", pid), 60))

        threads = [threading.Thread(target=acquire, args=(pid,)) for pid in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        acquired = {slot.token for slot in slots if slot is not None}
        assert len(acquired) == 3
        assert {slot.token for slot in substrate.slots("a")} == acquired

    def test_ledgers_of_a_substrate_share_their_parts(
        self, substrate: Substrate, tmp_path: Path
    ) -> None:
        said = conversation(20)
        substrate.create("r1").append([with_parts(said[:20]), with_parts(said[:30])])
        branch = substrate.fork("r1", 1, "b1")
        branch.append([with_parts(said)])
        run = substrate.create("r2")
        run.append([with_parts(said)])

        for ledger, expected in ((branch, [said[:20], said]), (run, [said])):
            assert [e.data["messages"] for e in ledger.read_all()] == expected
            assert verify(ledger).is_intact
        if not self.is_durable:
            return
        with self.open_substrate(tmp_path / "store") as again:
            assert [e.data["messages"] for e in again.open("b1").read_all()] == [said[:20], said]
            again.open("b1").append([with_parts([*said, *said])])
        assert branch.at(2) is not None
        assert verify(branch).is_intact

    def test_the_last_snapshot_of_each_ledger_is_kept(self, substrate: Substrate) -> None:
        substrate.create("r1")
        substrate.fork("r1", 0, "b1")
        assert substrate.snapshot("r1") is None

        for body in (b"first", bytes(range(256)) * 50):
            substrate.store_snapshot("r1", body)
        if substrate.snapshot("r1") is None:
            pytest.skip("the substrate does not store snapshots")
        assert substrate.snapshot("r1") == bytes(range(256)) * 50
        assert substrate.snapshot("b1") is None
        with pytest.raises(LedgerNotFound):
            substrate.store_snapshot("nobody", b"")

    def test_closing_twice_is_allowed(self, substrate: Substrate) -> None:
        substrate.close()
        substrate.close()

        assert substrate.close() is None

    def test_all_content_persists_when_the_substrate_is_reopened(
        self, substrate: Substrate, tmp_path: Path
    ) -> None:
        if not self.is_durable:
            pytest.skip("the substrate is not durable")
        substrate.create("r1").append([event(n) for n in range(3)])
        substrate.fork("r1", 1, "b1").append([event(9)])
        substrate.cache("r1", "k", b"v")
        epoch = self._claimed_and_released(substrate)
        before = list(substrate.ledgers())

        with self.open_substrate(tmp_path / "store") as again:
            assert list(again.ledgers()) == before
            claim = again.claim("r1", _ELSEWHERE, 60)
            assert claim is not None
            assert claim.epoch > epoch
            assert [e.data["n"] for e in again.open("b1").read_all()] == [0, 9]
            assert again.cached("b1", "k") == b"v"

    @staticmethod
    def _claimed_and_released(substrate: Substrate) -> int:
        claim = substrate.claim("r1", _HERE, 60)
        assert claim is not None
        substrate.release(claim)
        return claim.epoch
