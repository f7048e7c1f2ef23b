"""Clients follow runs as they happen, without a gap or a double, also through a restart of the server."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from inspector_place import SECONDS, Place, Server, events_of, free_port, until
from inspector_server import TOKEN, worked_kit
from kando.app.run import Run
from kando.app.store import open_store
from kando_inspector.following import Following

READERS = 20


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("streams") / "place")


@pytest.fixture(scope="module")
def server(place: Place) -> Iterator[Server]:
    with place.serving() as made:
        yield made


class Reader(threading.Thread):
    """Follows a run like a browser: it connects again with the id of the last event.

    Args:
        port: of the server.
        path: of the stream.
        is_last: whether an event is the last that it wants.
    """

    def __init__(self, port: int, path: str, is_last: Callable[[dict[str, Any]], bool]) -> None:
        super().__init__(daemon=True)
        self._port, self._path, self._is_last = port, path, is_last
        self.events: list[dict[str, Any]] = []
        self.connections = 0
        self.start()

    def run(self) -> None:
        last = ""
        while True:
            headers = {"authorization": f"Bearer {TOKEN}"} | (
                {"last-event-id": last} if last else {}
            )
            url = f"http://127.0.0.1:{self._port}/api/v1{self._path}"
            try:
                with httpx2.stream("GET", url, headers=headers, timeout=SECONDS) as response:
                    self.connections += response.status_code == 200
                    for event in events_of(response.iter_lines()):
                        self.events.append(event)
                        last = event.get("id", last)
                        if self._is_last(event):
                            return
            except httpx2.TransportError:
                # The server is starting again.
                threading.Event().wait(0.1)

    def positions(self) -> list[int]:
        return [int(each["id"]) for each in self.events if each["event"] == "event"]


def is_finished(event: dict[str, Any]) -> bool:
    return event["event"] == "status" and event["data"]["state"] == "finished"


def test_twenty_readers_get_each_event_once_through_a_restart_of_the_server(
    tmp_path: Path,
) -> None:
    place, port = Place(tmp_path / "place"), free_port()
    with place.serving("--workers", "2", port=port) as server:
        run = server.start("gate middle")
        other = server.start("count 40")
        until(lambda: place.callers("middle"))
        live = [Reader(port, f"/runs/{run}/stream", is_finished) for _ in range(READERS // 2)]
        live += [Reader(port, f"/runs/{other}/stream", is_finished) for _ in range(READERS // 2)]
        until(lambda: all(reader.positions() for reader in live))
        server.kill()
    with place.serving("--workers", "2", port=port) as server:
        place.open_gate("middle")
        for reader in live:
            reader.join(SECONDS)
        for followed, readers in ((run, live[: READERS // 2]), (other, live[READERS // 2 :])):
            length = server.get(f"/runs/{followed}")["events"]
            recorded = server.get(f"/runs/{followed}/events?limit=1000")["items"]
            for reader in readers:
                assert reader.positions() == list(range(length))
                sent = [e["data"] for e in reader.events if e["event"] == "event"]
                assert sent == recorded
    assert any(reader.connections > 1 for reader in live)


def test_a_state_follows_the_events_that_led_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(f"sqlite:{tmp_path / 'runs.db'}", kits=[worked_kit()], environ={}) as store:
        run = store.start("worked", "Compare two cities", work=False)
        status = Run.status

        asked = itertools.count()

        def of_a_run_that_ends_meanwhile(self: Run, **options: Any) -> Any:
            # The first state follows what the client reads by itself.
            if next(asked) == 1:
                store.run(run.id).resume()
            return status(self, **options)

        monkeypatch.setattr(Run, "status", of_a_run_that_ends_meanwhile)

        async def sent() -> list[dict[str, Any]]:
            found = []
            async for each in Following(store).events(run.id, -1):
                found.append(each)
                if each["event"] == "status" and json.loads(each["data"])["state"] == "finished":
                    return found
            return found

        *before, last = asyncio.run(sent())
        positions = [int(each["id"]) for each in before if each["event"] == "event"]
        assert positions == list(range(json.loads(last["data"])["events"]))


def test_a_stream_begins_after_the_event_that_the_client_knows(server: Server) -> None:
    run = server.start("count 2")
    length = server.reaches(run, "finished")["events"]

    reader = Reader(server.port, f"/runs/{run}/stream?after={length - 3}", is_finished)
    reader.join(SECONDS)

    assert reader.positions() == [length - 2, length - 1]
    wrong = server.client.get(f"/runs/{run}/stream", headers={"last-event-id": "x"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "usage")
    assert server.client.get("/runs/none/stream").status_code == 404
    # The position may be of another run, or of one that was deleted and imported again.
    beyond = server.client.get(f"/runs/{run}/stream", headers={"last-event-id": str(length)})
    assert (beyond.status_code, beyond.json()["code"]) == (404, "position_out_of_range")


def test_the_streams_report_that_a_run_was_deleted(server: Server) -> None:
    run = server.start("count 2")
    server.reaches(run, "finished")
    of_run = Reader(server.port, f"/runs/{run}/stream", lambda each: each["event"] == "problem")
    of_all = Reader(server.port, "/stream", lambda each: each["event"] == "deleted")
    # A reader of all runs reports changes since it began.
    until(lambda: of_all.connections and any(is_finished(each) for each in of_run.events))
    other = server.start("count 1")
    until(lambda: any(each["data"]["run_id"] == other for each in of_all.events))

    assert server.client.delete(f"/runs/{run}").status_code == 200

    of_run.join(SECONDS)
    of_all.join(SECONDS)
    assert of_run.events[-1]["data"]["code"] == "run_deleted"
    assert of_all.events[-1]["data"] == {"run_id": run}


def test_a_stream_ends_when_another_run_is_imported_under_its_id(
    place: Place, server: Server
) -> None:
    run, file = server.start("count 2"), place.root / "earlier.jsonl"
    length = server.reaches(run, "finished")["events"]
    reader = Reader(server.port, f"/runs/{run}/stream", lambda each: each["event"] == "problem")
    until(lambda: any(is_finished(each) for each in reader.events))

    # It may be imported before the server reads again.
    with open_store(place.url, environ=place.environ()) as store:
        store.run(run).export(file, at=length - 3)
        lines = file.read_bytes().splitlines(keepends=True)
        store.delete(run)
        store.import_run(lines)

    reader.join(SECONDS)
    assert reader.events[-1]["data"]["code"] == "run_deleted"
    assert reader.positions() == list(range(length))


def test_a_damaged_run_is_streamed_as_such_and_hides_no_other(place: Place, server: Server) -> None:
    damaged = server.start("count 1")
    server.reaches(damaged, "finished")
    wanted = {"run_id": damaged, "state": "damaged"}
    reader = Reader(server.port, "/stream", lambda each: each["data"].items() >= wanted.items())
    until(lambda: reader.connections)

    with sqlite3.connect(place.root / "kando.db") as connection:
        found = connection.execute("SELECT number FROM ledgers WHERE id = ?", [damaged])
        (number,) = found.fetchone()
        connection.execute("UPDATE events SET body = x'00' WHERE address >> 32 = ?", [number])
        connection.execute("UPDATE ledgers SET length = length + 1 WHERE number = ?", [number])

    reader.join(SECONDS)
    assert reader.events[-1]["data"]["state"] == "damaged"
    # A client that knows an earlier state is sent those of all runs since then.
    other = server.start("count 1")
    later = Reader(server.port, "/stream?after=1", lambda each: each["data"]["run_id"] == other)
    later.join(SECONDS)
    states = {each["data"]["run_id"]: each["data"].get("state") for each in later.events}
    assert states[damaged] == "damaged"


def test_an_answer_is_shown_as_it_streams_in_also_to_who_comes_later(
    place: Place, server: Server
) -> None:
    run = server.start("ask streaming", llm="words")

    def texts(reader: Reader) -> list[str]:
        return [e["data"]["text"] for e in reader.events if e["event"] == "text"]

    def is_last() -> Callable[[dict[str, Any]], bool]:
        # The texts come from the worker, the state from the ledger: either may be the last.
        said, ended = [], []

        def is_whole(event: dict[str, Any]) -> bool:
            said.append(event["data"]["text"] if event["event"] == "text" else "")
            ended.append(is_finished(event))
            return any(ended) and "".join(said) == "one two"

        return is_whole

    early = Reader(server.port, f"/runs/{run}/stream", is_last())
    until(lambda: "one " in "".join(texts(early)))
    late = Reader(server.port, f"/runs/{run}/stream", is_last())
    until(lambda: texts(late))
    assert server.get(f"/runs/{run}")["llm_answered"] == 0
    place.open_gate("streaming")
    early.join(SECONDS)
    late.join(SECONDS)

    (request,) = server.get(f"/runs/{run}/events?type=llm.request")["items"]
    for reader in (early, late):
        assert "".join(texts(reader)) == "one two"
        about = {e["data"]["request_id"] for e in reader.events if e["event"] == "text"}
        assert about == {request["id"]}
        assert all("id" not in e for e in reader.events if e["event"] == "text")


def test_the_states_of_all_runs_are_streamed_and_resumed(server: Server) -> None:
    def is_of(run: list[str]) -> Callable[[dict[str, Any]], bool]:
        return lambda event: event["data"]["run_id"] in run and event["data"]["state"] == "waiting"

    wanted: list[str] = []
    reader = Reader(server.port, "/stream", is_of(wanted))
    until(lambda: reader.connections)
    wanted.append(server.start("pay 2"))
    reader.join(SECONDS)
    assert {event["event"] for event in reader.events} == {"run"}

    last = reader.events[-1]["id"]
    again = Reader(server.port, f"/stream?after={last}", is_of(wanted))
    again.join(SECONDS)
    assert again.events[-1]["data"] | {"unread": 0} == reader.events[-1]["data"] | {"unread": 0}


def test_a_reader_that_does_not_read_holds_up_no_other(server: Server) -> None:
    run = server.start("count 60")
    with httpx2.stream(
        "GET",
        f"http://127.0.0.1:{server.port}/api/v1/runs/{run}/stream",
        headers={"authorization": f"Bearer {TOKEN}"},
        timeout=SECONDS,
    ) as idle:
        reader = Reader(server.port, f"/runs/{run}/stream", is_finished)
        reader.join(SECONDS)
        positions = reader.positions()
        assert positions == list(range(len(positions)))
        lines = idle.iter_lines()
        read = [next(events_of(lines)) for _ in range(len(positions))]
        assert [int(each["id"]) for each in read if "id" in each] == list(
            range(len([each for each in read if "id" in each]))
        )


def test_a_server_that_is_asked_to_end_ends_its_streams(tmp_path: Path) -> None:
    place = Place(tmp_path / "place")
    server = Server(place)
    ended: list[bool] = []

    def follow() -> None:
        url = f"http://127.0.0.1:{server.port}/api/v1/runs/demo/stream"
        headers = {"authorization": f"Bearer {TOKEN}"}
        with httpx2.stream("GET", url, headers=headers, timeout=SECONDS) as response:
            for line in response.iter_lines():
                if line.startswith("data:") and "state" in json.loads(line[5:]):
                    started.set()
        ended.append(True)

    started = threading.Event()
    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    assert started.wait(SECONDS)

    assert server.end() == 0

    thread.join(SECONDS)
    assert ended == [True]
