"""A failure between a ledger and its server ends in a clear error, or in a safe retry."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from eventstore_process import FakeEventStoreProcess
from faulty_proxy import CuttingProxy
from kando.branch.fork import fork
from kando.errors import (
    ConcurrencyError,
    LedgerNotFound,
    PayloadTooLarge,
    StoreDamaged,
    StoreError,
)
from kando.ledger.claims import this_process
from kando.ledger.verification import verify
from kando.schema.events import make_event
from kando.testing.ledgers import event
from kando_eventstore._client import _channel_options, client_library
from kando_eventstore._connection import Connection
from kando_eventstore._streams import NewEvent, StoredEvent, Streams
from kando_eventstore.substrate import EventStoreSubstrate, open_eventstore
from kando_eventstore.testing import FakeEventStoreServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeEventStoreServer]:
    with FakeEventStoreServer(tmp_path / "store") as started:
        yield started


@pytest.fixture
def substrate(server: FakeEventStoreServer) -> Iterator[EventStoreSubstrate]:
    with open_eventstore(server.url) as opened:
        yield opened


def numbers(substrate: EventStoreSubstrate, run: str = "r1") -> list[int]:
    return [e.data["n"] for e in substrate.open(run).read_all()]


def test_an_unknown_ledger_is_not_found(substrate: EventStoreSubstrate) -> None:
    with pytest.raises(LedgerNotFound, match="kando runs"):
        substrate.open("typo")


@pytest.mark.parametrize("permanently", [False, True], ids=["deleted", "tombstoned"])
def test_a_ledger_whose_stream_was_deleted_is_damaged_not_empty(
    substrate: EventStoreSubstrate, permanently: bool
) -> None:
    substrate.create("r1").append([event(0), event(1)])
    client = substrate.connection.client()
    delete = client.tombstone_stream if permanently else client.delete_stream
    delete("run:r1", current_version=1)

    for attempt in (
        lambda: substrate.open("r1").length(),
        lambda: list(substrate.open("r1").read_all()),
        lambda: substrate.open("r1").append([event(2)]),
    ):
        with pytest.raises(StoreDamaged, match=r"deleted.*backup"):
            attempt()


def test_a_ledger_whose_beginning_was_truncated_is_damaged(substrate: EventStoreSubstrate) -> None:
    substrate.create("r1").append([event(n) for n in range(4)])
    substrate.connection.client().set_stream_metadata("run:r1", metadata={"$tb": 2})

    with pytest.raises(StoreDamaged, match="is missing 2 of its events 0 to 3"):
        list(substrate.open("r1").read_all())


def test_an_append_whose_answer_is_lost_is_recorded_once(
    server: FakeEventStoreServer, substrate: EventStoreSubstrate
) -> None:
    ledger = substrate.create("r1")
    server.faults.lost_answers = 7

    assert ledger.append([event(0), event(1)], expected_length=0) == 2
    assert ledger.append([event(2)], expected_length=2) == 3

    assert numbers(substrate) == [0, 1, 2]
    assert server.faults.lost_answers == 0


def test_an_append_that_never_reached_the_server_is_recorded_once(
    server: FakeEventStoreServer, substrate: EventStoreSubstrate
) -> None:
    ledger = substrate.create("r1")
    server.faults.refused_calls = 7

    ledger.append([event(0)], expected_length=0)

    assert numbers(substrate) == [0]


def test_an_append_that_times_out_on_the_server_is_recorded_once(
    server: FakeEventStoreServer, substrate: EventStoreSubstrate
) -> None:
    ledger = substrate.create("r1")
    server.faults.timed_out_appends = 3

    assert ledger.append([event(0), event(1)], expected_length=0) == 2

    assert server.faults.timed_out_appends == 0
    assert numbers(substrate) == [0, 1]


def test_calls_wait_while_the_cluster_has_no_leader(
    server: FakeEventStoreServer, substrate: EventStoreSubstrate
) -> None:
    ledger = substrate.create("r1")
    server.faults.leaderless_calls = 3
    ledger.append([event(0)], expected_length=0)
    server.faults.leaderless_calls = 3

    assert numbers(substrate) == [0]
    assert server.faults.leaderless_calls == 0


def test_calls_wait_while_a_node_names_no_leader(
    server: FakeEventStoreServer, substrate: EventStoreSubstrate
) -> None:
    server.faults.redirected_calls = 3
    ledger = substrate.create("r1")
    server.faults.redirected_calls = 3

    ledger.append([event(0)], expected_length=0)

    assert numbers(substrate) == [0]
    assert server.faults.redirected_calls == 0


def test_a_denied_call_names_the_right_that_the_user_lacks(
    server: FakeEventStoreServer, substrate: EventStoreSubstrate
) -> None:
    ledger, group = substrate.create("r1"), substrate.group("g")
    server.faults.denied = frozenset(["run:r1", "$ops"])

    for attempt, right in (
        (ledger.length, "the right to read run:r1"),
        (lambda: ledger.append([event(0)]), "the right to (read|write to) run:r1"),
        (group.info, r"persistent subscriptions, which only members of \$ops and \$admins"),
        (lambda: group.take(this_process(), 60), r"members of \$ops and \$admins"),
    ):
        with pytest.raises(StoreError, match=f"denies access: the user lacks .*{right}"):
            attempt()

    parked = "$persistentsubscription-group:g::workers-parked"
    server.faults.denied = frozenset([parked])
    with pytest.raises(StoreError, match=r"read \$persist.*by default only members of \$admins"):
        group.parked()


@pytest.mark.parametrize("name", ["grpc_proxy", "http_proxy", "https_proxy"])
def test_a_proxy_of_the_environment_is_not_used_for_a_server_on_this_machine(
    server: FakeEventStoreServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for each in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(each, raising=False)
    # Nothing listens there.
    monkeypatch.setenv(name, "http://127.0.0.1:1")

    with open_eventstore(server.url) as substrate:
        substrate.create("r1").append([event(0)])
        assert numbers(substrate) == [0]


@pytest.mark.parametrize(
    ("target", "is_local"),
    [
        ("127.0.0.1:2113", True),
        ("127.8.9.1:2113", True),
        ("[::1]:2113", True),
        ("localhost:2113", True),
        ("db.localhost:2113", True),
        ("0.0.0.0:2113", True),
        ("db:2113", False),
        ("10.0.0.1:2113", False),
        ("localhost.example.com:2113", False),
    ],
)
def test_the_proxy_rule_concerns_this_machine_only(target: str, is_local: bool) -> None:
    assert (("grpc.enable_http_proxy", 0) in _channel_options(target)) == is_local


def test_a_subscription_to_a_server_that_no_longer_answers_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kando_eventstore._client._KEEP_ALIVE_SECONDS", 0.5)
    with FakeEventStoreProcess(tmp_path / "store") as process:
        connection = Connection(process.url)
        subscription = connection.subscribe(lambda client: client.subscribe_to_all())
        process.suspend()

        with pytest.raises((client_library().base_error, StopIteration)):
            next(subscription)
        connection.close()


def test_a_connection_that_is_cut_during_appends_loses_and_duplicates_nothing(
    server: FakeEventStoreServer,
) -> None:
    with (
        CuttingProxy(server.port) as proxy,
        open_eventstore(f"http://127.0.0.1:{proxy.port}") as substrate,
    ):
        ledger = substrate.create("r1")
        for number in range(24):
            if number % 3 == 0:
                proxy.cut_after(number * 11)
            ledger.append([event(number)], expected_length=number)

        assert proxy.cuts == 8
        assert numbers(substrate) == list(range(24))


def test_a_server_that_is_killed_between_and_during_appends_loses_and_duplicates_nothing(
    tmp_path: Path,
) -> None:
    with (
        FakeEventStoreProcess(tmp_path / "store") as process,
        open_eventstore(process.url) as substrate,
    ):
        ledger = substrate.create("r1")
        is_done = threading.Event()

        def append() -> None:
            try:
                for number in range(120):
                    ledger.append([event(number)], expected_length=number)
            finally:
                is_done.set()

        writing = threading.Thread(target=append)
        writing.start()
        for _ in range(2):
            process.restart()
        writing.join()

        assert is_done.is_set()
        assert numbers(substrate) == list(range(120))


def test_a_writer_that_gives_up_raises_and_the_ledger_shows_what_was_written(
    server: FakeEventStoreServer,
) -> None:
    with EventStoreSubstrate(Connection(server.url, patience=0.2)) as substrate:
        ledger = substrate.create("r1")
        server.faults.lost_answers = 10**6
        with pytest.raises(StoreError, match=r"did not answer for 0\.2 s"):
            ledger.append([event(0)], expected_length=0)
        server.faults.lost_answers = 0

        with pytest.raises(ConcurrencyError, match="has 1 events, not 0"):
            ledger.append([event(0)], expected_length=0)
        assert numbers(substrate) == [0]


def test_a_follower_redirects_the_writer_to_the_leader(
    server: FakeEventStoreServer, tmp_path: Path
) -> None:
    with FakeEventStoreServer(tmp_path / "follower") as follower:
        follower.faults.leader = ("127.0.0.1", server.port)
        with open_eventstore(follower.url) as substrate:
            substrate.create("r1").append([event(0)])

    with open_eventstore(server.url) as substrate:
        assert numbers(substrate) == [0]


def test_a_batch_over_the_servers_limit_is_still_appended_atomically(
    substrate: EventStoreSubstrate,
) -> None:
    ledger = substrate.create("r1")
    # Longer texts would be parts, which are not in the batch.
    data = {"texts": ["x" * 1000] * 700}
    large = [make_event("large", "", "", [], {**data, "n": n}) for n in range(4)]

    assert ledger.append([event(0), *large], expected_length=0) == 5
    ledger.append([event(5)], expected_length=5)

    again = substrate.open("r1")
    assert [len(e.encoded) > 700_000 for e in again.read_all()] == [False, *[True] * 4, False]
    assert again.at(3) == ledger.at(3)
    assert verify(again).is_intact


def test_a_batch_with_too_many_events_is_refused_and_writes_nothing(
    substrate: EventStoreSubstrate,
) -> None:
    ledger = substrate.create("r1")

    with pytest.raises(PayloadTooLarge, match=r"5,000 events.*Record less at once"):
        ledger.append([event(n) for n in range(5000)])

    assert ledger.length() == 0


@pytest.mark.parametrize("count", [1, 2])
def test_an_append_that_the_server_finds_too_large_is_refused_at_once(
    substrate: EventStoreSubstrate, count: int
) -> None:
    large = [NewEvent("large", b'"' + b"x" * 1_100_000 + b'"')] * count

    with pytest.raises(PayloadTooLarge, match=r"rejects an append.*MaxAppendSize"):
        Streams(substrate.connection).append("s", large, after=None)


def test_large_responses_and_messages_are_read_back(substrate: EventStoreSubstrate) -> None:
    from kando.ledger.inbox import InboxEntry

    substrate.create("r1")
    response = bytes(range(256)) * 8000
    message = make_event("large", "", "", [], {"text": "y" * 1_500_000})

    substrate.cache("r1", "k", response)
    substrate.deliver("r1", InboxEntry("m", message))

    assert substrate.cached("r1", "k") == response
    assert substrate.inbox("r1")[0].event.data == message.data


def test_a_substrate_that_is_opened_read_only_writes_nothing(
    server: FakeEventStoreServer, substrate: EventStoreSubstrate
) -> None:
    substrate.create("r1").append([event(0)])

    with open_eventstore(server.url, read_only=True) as reading:
        assert numbers(reading) == [0]
        for attempt in (
            lambda: reading.create("r2"),
            lambda: reading.fork("r1", 0, "b1"),
            lambda: reading.open("r1").append([event(1)]),
            lambda: reading.cache("r1", "k", b"v"),
        ):
            with pytest.raises(StoreError, match="read-only"):
                attempt()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("needs the command openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    key, chain = folder / "key.pem", folder / "chain.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-days", "2"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(chain)]
    subprocess.run(command, check=True, capture_output=True)
    return key, chain


def test_tls_works_with_its_authority_and_other_settings_are_refused_with_a_hint(
    certificate: tuple[Path, Path], tmp_path: Path, server: FakeEventStoreServer
) -> None:
    key, chain = certificate
    pair = (key.read_bytes(), chain.read_bytes())

    def ask(url: str) -> None:
        with EventStoreSubstrate(Connection(url, first_patience=0.1)) as substrate:
            substrate.create("r1")

    with FakeEventStoreServer(tmp_path / "tls", certificate=pair) as secured:
        at = f"me:secret@127.0.0.1:{secured.port}"
        ask(f"https://{at}?TlsCaFile={chain}")
        with pytest.raises(StoreError, match=r"TLS.*TlsCaFile") as unknown:
            ask(f"https://{at}")
        with pytest.raises(StoreError, match=r"https:// with TLS"):
            ask(f"http://127.0.0.1:{secured.port}")
    with pytest.raises(StoreError, match=r"use http://|Use http:// for"):
        ask(f"https://me:secret@127.0.0.1:{server.port}?TlsCaFile={chain}")
    assert "secret" not in str(unknown.value)
    assert client_library().name in ("kurrentdbclient", "esdbclient")


def test_a_user_is_admitted_with_an_encoded_password_and_a_wrong_one_is_refused_with_a_hint(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    key, chain = certificate
    pair, user = (key.read_bytes(), chain.read_bytes()), ("me", "p@ss/w?rd#1%")

    with FakeEventStoreServer(tmp_path / "authenticated", certificate=pair, user=user) as server:
        at = f"127.0.0.1:{server.port}?TlsCaFile={chain}"
        with open_eventstore(f"https://me:{quote(user[1], safe='')}@{at}") as substrate:
            substrate.create("r1").append([event(0)])
            assert numbers(substrate) == [0]
        with (
            open_eventstore(f"https://me:changeit@{at}") as substrate,
            pytest.raises(
                StoreError, match=r"denies access.*Check the user, the password"
            ) as denied,
        ):
            substrate.open("r1")
    assert "changeit" not in str(denied.value)


def test_the_cost_of_a_fork_does_not_depend_on_the_length_of_its_parent(
    substrate: EventStoreSubstrate, monkeypatch: pytest.MonkeyPatch
) -> None:
    substrate.create("short").append([event(n) for n in range(2)])
    substrate.create("long").append([event(n) for n in range(900)])
    read: list[int] = []
    page = Streams.page

    def counted(self: Streams, *where: Any, **how: Any) -> list[StoredEvent]:
        found = page(self, *where, **how)
        read.append(len(found))
        return found

    monkeypatch.setattr(Streams, "page", counted)
    costs = []
    for parent in ("short", "long"):
        read.clear()
        fork(substrate, parent, 2, f"of-{parent}")
        costs.append((len(read), sum(read)))

    assert costs[0] == costs[1]
    assert costs[0][1] < 10
    assert substrate.info("of-long").length == 3


def test_a_large_snapshot_is_read_back_and_an_incomplete_one_is_ignored(
    substrate: EventStoreSubstrate,
) -> None:
    substrate.create("r1")
    large = bytes(range(256)) * 6000

    for body in (b"small", large, b"small again", large):
        substrate.store_snapshot("r1", body)
        assert substrate.snapshot("r1") == body

    streams = Streams(substrate.connection)
    last = streams.last("snapshot:r1")
    assert last is not None
    half = NewEvent("snapshot.part", b"x", b'{"part": 0, "of": 2}', is_json=False)
    streams.append("snapshot:r1", [half], after=last.revision)
    assert substrate.snapshot("r1") is None
