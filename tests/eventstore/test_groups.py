"""Groups on a server, in addition to their contract: truncated streams and dropped connections."""

from functools import partial
from pathlib import Path

from kando.ledger.claims import this_process
from kando.ledger.groups import GroupInfo, Job, Lease, ResponderGroup
from kando.testing.groups import GroupContract
from kando_eventstore._connection import Connection
from kando_eventstore.substrate import EventStoreSubstrate, open_eventstore
from kando_eventstore.testing import Behaviour, FakeEventStoreServer

CONTRACT = GroupContract()


def test_a_parked_job_whose_event_was_truncated_is_not_mistaken_for_another(tmp_path: Path) -> None:
    with FakeEventStoreServer(tmp_path / "store") as server, open_eventstore(server.url) as opened:
        group = opened.group("g")
        for run in ("r1", "r2", "r3"):
            group.offer(Job(run))
            group.park(CONTRACT.next_job(group), f"{run} failed")
        CONTRACT.eventually(lambda: len(group.parked()) == 3)

        opened.connection.client().set_stream_metadata("group:g", metadata={"$tb": 2})

        assert [each.job for each in group.parked()] == [Job("r3")]
        group.close()


def test_a_group_keeps_working_after_its_done_events_were_truncated(tmp_path: Path) -> None:
    with FakeEventStoreServer(tmp_path / "store") as server, open_eventstore(server.url) as opened:
        group = opened.group("g")
        for run in ("r1", "r2"):
            group.offer(Job(run))
            group.finish(CONTRACT.next_job(group))
        CONTRACT.eventually(lambda: group.info() == GroupInfo("g", 0, 0, 0))

        opened.connection.client().set_stream_metadata("group:g", metadata={"$tb": 2})
        group.offer(Job("r1"))

        lease = CONTRACT.next_job(group)
        assert (lease.job, lease.attempt) == (Job("r1"), 1)
        group.finish(lease)
        CONTRACT.eventually(lambda: group.info() == GroupInfo("g", 0, 0, 0))
        group.close()


def test_jobs_are_counted_by_their_own_states_however_late_the_checkpoint_is(
    tmp_path: Path,
) -> None:
    late = Behaviour(checkpoint_seconds=3600)
    with (
        FakeEventStoreServer(tmp_path / "store", behaviour=late) as server,
        open_eventstore(server.url) as opened,
    ):
        group = opened.group("g")
        for number in range(4):
            group.offer(Job(f"r{number}"))
        assert group.info() == GroupInfo("g", 4, 0, 0)
        for _ in range(2):
            group.finish(CONTRACT.next_job(group))
        lease = CONTRACT.next_job(group)

        assert group.info() == GroupInfo("g", 1, 1, 0)
        group.park(lease, "it failed")
        CONTRACT.eventually(lambda: group.info() == GroupInfo("g", 1, 0, 1))
        assert group.replay_parked() == 1
        assert group.info() == GroupInfo("g", 2, 0, 0)
        for _ in range(2):
            group.finish(CONTRACT.next_job(group))

        assert group.info() == GroupInfo("g", 0, 0, 0)
        assert group.take(this_process(), 60) is None
        group.close()


def test_jobs_that_were_done_or_parked_are_not_taken_again_after_the_server_was_restarted(
    tmp_path: Path,
) -> None:
    late = Behaviour(checkpoint_seconds=3600)
    with (
        FakeEventStoreServer(tmp_path / "store", behaviour=late) as server,
        open_eventstore(server.url) as opened,
    ):
        group = opened.group("g")
        for run in ("done", "parked", "again"):
            group.offer(Job(run))
        for _ in range(3):
            lease = CONTRACT.next_job(group)
            settle = group.finish if lease.job.ledger_id == "done" else partial(park, group)
            settle(lease)
        CONTRACT.eventually(lambda: len(group.parked()) == 2)
        assert group.replay_parked() == 2
        for _ in range(2):
            lease = CONTRACT.next_job(group)
            settle = group.finish if lease.job.ledger_id == "again" else partial(park, group)
            settle(lease)
        CONTRACT.eventually(lambda: len(group.parked()) == 1)
        group.close()

    with FakeEventStoreServer(tmp_path / "store") as again, open_eventstore(again.url) as opened:
        group = opened.group("g")
        group.offer(Job("new"))

        assert CONTRACT.next_job(group).job == Job("new")
        assert [each.job for each in group.parked()] == [Job("parked")]
        assert group.info() == GroupInfo("g", 0, 1, 1)
        group.close()


def park(group: ResponderGroup, lease: Lease) -> None:
    group.park(lease, "it failed")


def test_workers_get_jobs_after_a_node_dropped_their_connects(tmp_path: Path) -> None:
    connection = partial(Connection, confirm_seconds=0.3)
    with (
        FakeEventStoreServer(tmp_path / "store") as server,
        EventStoreSubstrate(connection(server.url)) as opened,
    ):
        group = opened.group("g")
        group.offer(Job("r1"))
        server.faults.dropped_connects = 2

        lease = CONTRACT.next_job(group)

        assert lease.job == Job("r1")
        assert server.faults.dropped_connects == 0
        group.finish(lease)
        group.close()


def test_workers_get_jobs_after_a_cluster_had_no_leader_and_appends_timed_out(
    tmp_path: Path,
) -> None:
    with FakeEventStoreServer(tmp_path / "store") as server, open_eventstore(server.url) as opened:
        group = opened.group("g")
        for fault in ("leaderless_calls", "redirected_calls", "timed_out_appends"):
            group.offer(Job(fault))
            setattr(server.faults, fault, 3)

            lease = CONTRACT.next_job(group)
            group.finish(lease)

            assert lease.job == Job(fault)
            assert getattr(server.faults, fault) == 0
        group.close()
        assert group.info() == GroupInfo("g", 0, 0, 0)


def test_a_delivery_from_a_dropped_connection_does_not_end_the_worker(tmp_path: Path) -> None:
    with FakeEventStoreServer(tmp_path / "store") as server, open_eventstore(server.url) as opened:
        group, other = opened.group("g"), opened.group("g")
        group.offer(Job("r1"))
        group.finish(CONTRACT.next_job(group))
        group.offer(Job("r2"))
        client = opened.connection.client()
        CONTRACT.eventually(
            lambda: (
                client.get_subscription_info(
                    "workers", "group:g", timeout=10
                ).total_in_flight_messages
                == 1
            )
        )

        # The first group has received it, but not opened it, when its connection ends.
        group.close()
        lease = CONTRACT.next_job(other)
        assert lease.job == Job("r2")
        other.finish(lease)

        assert group.take(this_process(), 60) is None
        other.close()
