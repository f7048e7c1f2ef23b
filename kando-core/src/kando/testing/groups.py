"""Conformance tests that every responder group must pass.

The test of a group is a subclass that opens its substrate::

    class TestMyGroups(GroupContract):
        def open_substrate(self, path):
            return MySubstrate(path)
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kando.errors import ConfigurationError, LedgerNotFound
from kando.ledger.claims import Worker, this_process
from kando.ledger.groups import (
    MAX_ATTEMPTS,
    GroupInfo,
    HandOver,
    Job,
    Lease,
    ResponderGroup,
)
from kando.ledger.inbox import InboxEntry
from kando.ledger.substrate import Substrate
from kando.schema.events import make_event

__all__ = ["GroupContract"]

_LEASE = 60.0
_PATIENCE = 20.0

_ENTRY = InboxEntry("answer", make_event("note", "", "worker", [], {"text": "done"}))


class GroupContract:
    """Tests of the promises of every responder group; each open group acts as one worker."""

    def open_substrate(self, path: Path) -> Substrate:
        """Return the substrate at `path`; create it if it does not exist."""
        raise NotImplementedError  # pragma: no cover

    @pytest.fixture
    def substrate(self, tmp_path: Path) -> Iterator[Substrate]:
        with self.open_substrate(tmp_path / "store") as opened:
            for number in range(4):
                opened.create(f"r{number}")
            yield opened

    @pytest.fixture
    def group(self, substrate: Substrate) -> Iterator[ResponderGroup]:
        opened = substrate.group("g")
        yield opened
        opened.close()

    @pytest.fixture
    def other(self, substrate: Substrate) -> Iterator[ResponderGroup]:
        opened = substrate.group("g")
        yield opened
        opened.close()

    def next_job(self, *groups: ResponderGroup, worker: Worker | None = None) -> Lease:
        """Wait for the next job that one of the groups gets, and return it."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            for group in groups:
                lease = group.take(worker or this_process(), _LEASE)
                if lease is not None:
                    return lease
        raise AssertionError("no job was delivered")

    def test_a_job_is_taken_and_done_once(self, group: ResponderGroup) -> None:
        group.offer(Job("r1"))
        group.offer(Job("r1", "llm.request-3"))
        group.offer(Job("r1", "llm.request-3"))

        done = []
        for _ in range(2):
            lease = self.next_job(group)
            done.append(lease)
            group.finish(lease)

        assert {lease.job for lease in done} == {Job("r1"), Job("r1", "llm.request-3")}
        assert [lease.attempt for lease in done] == [1, 1]
        assert group.take(this_process(), _LEASE) is None
        self.eventually(lambda: group.info() == GroupInfo("g", 0, 0, 0))

    def test_two_workers_never_hold_one_job(
        self, group: ResponderGroup, other: ResponderGroup
    ) -> None:
        group.offer(Job("r1"))
        lease = self.next_job(group)
        other.offer(Job("r2"))

        taken = self.next_job(other)

        assert (lease.job, taken.job) == (Job("r1"), Job("r2"))
        assert other.take(this_process(), _LEASE) is None
        assert group.info().in_flight == 2
        other.finish(taken)
        group.finish(lease)

    def test_a_job_offered_again_while_in_flight_is_done_again(
        self, group: ResponderGroup, other: ResponderGroup
    ) -> None:
        group.offer(Job("r1"))
        lease = self.next_job(group)

        other.offer(Job("r1"))
        assert other.take(this_process(), _LEASE) is None
        group.finish(lease)

        again = self.next_job(group, other)
        assert (again.job, again.attempt) == (Job("r1"), 1)
        for each in (group, other):
            each.finish(again)
            assert each.take(this_process(), _LEASE) is None

    def test_a_failing_job_is_retried_then_parked_and_replayed_on_request(
        self, group: ResponderGroup
    ) -> None:
        group.offer(Job("r1", "x-1"))
        attempts = []
        for _ in range(MAX_ATTEMPTS):
            lease = self.next_job(group)
            attempts.append(lease.attempt)
            is_tried_again = group.retry(lease, "it did not work")

        assert attempts == list(range(1, MAX_ATTEMPTS + 1))
        assert not is_tried_again
        self.eventually(lambda: [each.job for each in group.parked()] == [Job("r1", "x-1")])
        assert group.info().parked == 1

        assert group.replay_parked() == 1
        lease = self.next_job(group)
        assert lease.job == Job("r1", "x-1")
        group.finish(lease)
        assert group.parked() == []

    def test_a_parked_job_has_a_reason(self, group: ResponderGroup) -> None:
        group.offer(Job("r1"))
        group.park(self.next_job(group), "ValueError: never")

        self.eventually(lambda: len(group.parked()) == 1)
        assert group.parked()[0].reason == "ValueError: never"
        assert group.take(this_process(), _LEASE) is None

    def test_the_job_of_a_dead_worker_goes_to_another(
        self, group: ResponderGroup, substrate: Substrate
    ) -> None:
        leaving = substrate.group("g")
        leaving.offer(Job("r1"))
        self.next_job(leaving, worker=self.dead_worker())
        leaving.close()

        lease = self.next_job(group)

        assert (lease.job, lease.attempt) == (Job("r1"), 2)
        group.finish(lease)

    def test_a_worker_whose_job_was_taken_over_cannot_change_it(
        self, group: ResponderGroup, substrate: Substrate
    ) -> None:
        lost = substrate.group("g")
        lost.offer(Job("r1"))
        lease = self.next_job(lost, worker=self.dead_worker())
        lost.close()
        again = self.next_job(group)

        assert not lost.extend(lease, _LEASE)
        lost.finish(lease)

        assert group.extend(again, _LEASE)
        assert group.info().in_flight == 1
        group.finish(again)

    def test_a_delayed_job_is_delivered_after_the_others(self, group: ResponderGroup) -> None:
        group.offer(Job("r1"), 0.3)
        group.offer(Job("r2"))

        jobs = []
        for _ in range(2):
            lease = self.next_job(group)
            jobs.append(lease.job.ledger_id)
            group.finish(lease)

        assert jobs == ["r2", "r1"]

    def test_delayed_jobs_are_counted_and_the_next_is_known(self, group: ResponderGroup) -> None:
        group.offer(Job("r1"))
        group.offer(Job("r2"), 7200)
        group.offer(Job("r3"), 3600)
        before = datetime.now(UTC)

        self.eventually(lambda: group.info().waiting == 3)

        info = group.info()
        assert (info.in_flight, info.parked, info.delayed) == (0, 0, 2)
        assert info.next_due is not None
        assert abs(info.next_due - before - timedelta(hours=1)) < timedelta(minutes=5)
        assert not info.is_idle(60)
        group.finish(self.next_job(group))
        self.eventually(lambda: group.info().waiting == 2)
        assert group.info().is_idle(60)
        assert not group.info().is_idle(7200)

    def test_a_delayed_job_outlives_the_worker_that_offered_it(
        self, group: ResponderGroup, substrate: Substrate
    ) -> None:
        leaving = substrate.group("g")
        leaving.offer(Job("r1"), 0.3)
        leaving.offer(Job("r1"), 0.4)
        leaving.close()

        assert group.info().waiting > 0
        lease = self.next_job(group)
        assert lease.job == Job("r1")
        group.finish(lease)
        while (lease_again := group.take(this_process(), _LEASE)) or group.info().waiting:
            if lease_again is not None:
                assert lease_again.job == Job("r1")
                group.finish(lease_again)
        self.eventually(lambda: group.info() == GroupInfo("g", 0, 0, 0))

    def test_a_hand_over_finishes_a_job_delivers_its_result_and_offers_what_follows(
        self, group: ResponderGroup, substrate: Substrate
    ) -> None:
        group.offer(Job("r1", "x-1"))
        lease = self.next_job(group)
        handed = HandOver([lease], [("r1", _ENTRY)], [(Job("r1"), 0.0), (Job("r2"), 0.0)])

        assert group.hand_over(handed, substrate, this_process(), _LEASE) == []

        assert [entry.key for entry in substrate.inbox("r1")] == ["answer"]
        following = []
        for _ in range(2):
            lease = self.next_job(group)
            following.append(lease.job)
            group.finish(lease)
        assert set(following) == {Job("r1"), Job("r2")}
        self.eventually(lambda: group.info() == GroupInfo("g", 0, 0, 0))

    def test_a_worker_may_take_what_follows_and_no_other_worker_gets_it(
        self, group: ResponderGroup, other: ResponderGroup, substrate: Substrate
    ) -> None:
        group.offer(Job("r1"))
        lease = self.next_job(group)
        calls = [Job("r1", "x-1"), Job("r1", "x-2")]
        handed = HandOver([lease], jobs=[(each, 0.0) for each in calls], takes=calls[:1])

        taken = group.hand_over(handed, substrate, this_process(), _LEASE)

        assert [each.job for each in taken] in ([], calls[:1])
        left = [self.next_job(other, group).job for _ in range(len(calls) - len(taken))]
        assert sorted([each.job.key for each in taken] + [each.key for each in left]) == [
            "r1/x-1",
            "r1/x-2",
        ]
        assert all(group.extend(each, _LEASE) for each in taken)

    def test_a_job_in_flight_elsewhere_is_not_taken_by_a_hand_over(
        self, group: ResponderGroup, other: ResponderGroup, substrate: Substrate
    ) -> None:
        group.offer(Job("r1"))
        elsewhere = self.next_job(other, group)
        group.offer(Job("r2"))
        lease = self.next_job(group, other)
        handed = HandOver([lease], jobs=[(Job("r1"), 0.0)], takes=[Job("r1")])

        assert group.hand_over(handed, substrate, this_process(), _LEASE) == []

        for each in (group, other):
            each.finish(elsewhere)
        again = self.next_job(group, other)
        assert again.job == Job("r1")

    def test_a_hand_over_that_fails_leaves_its_job_undone(
        self, group: ResponderGroup, substrate: Substrate
    ) -> None:
        group.offer(Job("r1"))
        lease = self.next_job(group)
        handed = HandOver([lease], [("unknown", _ENTRY)], [(Job("r2"), 0.0)])

        with pytest.raises(LedgerNotFound):
            group.hand_over(handed, substrate, this_process(), _LEASE)

        assert group.extend(lease, _LEASE)
        assert group.info().in_flight == 1
        assert group.take(this_process(), _LEASE) is None
        group.finish(lease)

    def test_a_worker_that_dies_in_a_hand_over_loses_no_job(
        self, substrate: Substrate, group: ResponderGroup, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dying = substrate.group("g")
        dying.offer(Job("r1", "x-1"))
        lease = self.next_job(dying, worker=self.dead_worker())
        handed = HandOver([lease], [("r1", _ENTRY)], [(Job("r1"), 0.0)])

        def die(lease: Lease) -> None:
            raise SystemExit

        # A group that hands over in one step never gets here, and has done all of it.
        monkeypatch.setattr(dying, "finish", die)
        with suppress(SystemExit):
            dying.hand_over(handed, substrate, this_process(), _LEASE)
        dying.close()

        assert [entry.key for entry in substrate.inbox("r1")] == ["answer"]
        done = set()
        while Job("r1") not in done:
            lease = self.next_job(group)
            done.add(lease.job)
            group.finish(lease)
        assert done <= {Job("r1"), Job("r1", "x-1")}

    def test_groups_are_independent_and_listed(self, substrate: Substrate) -> None:
        assert substrate.groups() == []
        substrate.group("a").offer(Job("r1"))
        substrate.group("b").offer(Job("r2"))

        assert substrate.groups() == ["a", "b"]
        lease = self.next_job(substrate.group("b"))
        assert lease.job == Job("r2")
        assert substrate.group("a").info().waiting == 1

    @pytest.mark.parametrize("name", ["", "a b", "-a", "a:b", "a" * 61])
    def test_a_malformed_name_is_refused(self, substrate: Substrate, name: str) -> None:
        with pytest.raises(ConfigurationError, match="Use 1 to 60"):
            substrate.group(name)

    def dead_worker(self) -> Worker:
        """Return the notice of a process of this host that has ended."""
        ended = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], os.environ)
        os.waitpid(ended, 0)
        return Worker(socket.gethostname(), ended)

    def eventually(self, condition: object) -> None:
        """Wait until a condition holds; a server may report it with a delay."""
        assert callable(condition)
        deadline = time.monotonic() + _PATIENCE
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert condition()
