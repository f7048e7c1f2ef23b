"""Clients start runs and act on them; worker processes do the work, within the operator's limits."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from inspector_place import Place, Server, until
from inspector_server import LOOK_TOKEN


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("acting") / "place")


@pytest.fixture(scope="module")
def server(place: Place) -> Iterator[Server]:
    with place.serving() as made:
        yield made


def test_a_run_that_is_started_is_worked_on_by_a_worker(place: Place, server: Server) -> None:
    started = server.post("/runs", kit="acts", goal="count 3", max_usd=5)

    assert started["kit"] == "acts"
    done = server.reaches(started["run_id"], "finished")
    assert done["objects"] == {"Goal": 1, "Step": 1, "Tick": 4}
    assert os.getpid() != server.process.pid
    assert done["claim"] is None


def test_runs_are_labelled_and_listed_by_their_labels(server: Server) -> None:
    one = server.start("plain", labels={"tenant": "a", "team": "x=y"})
    two = server.start("plain", labels={"tenant": "a"})
    server.reaches(two, "finished")

    def listed(query: str) -> list[str]:
        return [each["run_id"] for each in server.get(f"/runs?limit=200&{query}")["items"]]

    assert listed("label=tenant%3Da") == [two, one]
    assert listed("label=tenant%3Da&label=team%3Dx%3Dy") == [one]
    assert server.get(f"/runs/{one}")["labels"] == {"tenant": "a", "team": "x=y"}

    changed = server.post(f"/runs/{two}/labels", labels={"tenant": "b", "new": "1"})

    assert (changed["state"], changed["labels"]) == ("finished", {"tenant": "b", "new": "1"})
    assert server.post(f"/runs/{two}/labels", labels={"new": None})["labels"] == {"tenant": "b"}
    assert listed("label=tenant%3Da") == [one]
    branch = server.post(f"/runs/{one}/forks", at=3, labels={"tenant": None})
    assert branch["labels"] == {"team": "x=y"}
    for labels in ({"Tenant": "a"}, {"tenant": 1}, {}):
        assert server.refused(f"/runs/{two}/labels", labels=labels) == (422, "invalid_data")
    assert server.client.get("/runs?label=tenant").json()["code"] == "invalid_data"


def test_what_a_client_asks_for_is_checked_before_a_run_is_created(server: Server) -> None:
    before = len(server.get("/runs?limit=200")["items"])

    for body, expected in (
        ({"kit": "none", "goal": "x"}, (404, "unknown_plugin")),
        ({"kit": "acts"}, (400, "configuration")),
        ({"kit": "acts", "goal": "x", "llm": "dear"}, (400, "configuration")),
        ({"kit": "acts", "goal": "x", "llm": "words:/etc/passwd"}, (400, "configuration")),
        ({"kit": "acts", "goal": "x", "settings": {"a": 1}}, (400, "configuration")),
        ({"kit": "acts", "goal": "x", "max_usd": -1}, (422, "invalid_data")),
        ({"kit": "acts", "goal": "x", "typo": 1}, (422, "invalid_data")),
    ):
        assert server.refused("/runs", **body) == expected, body

    assert len(server.get("/runs?limit=200")["items"]) == before


def test_a_client_that_may_only_look_cannot_act(server: Server) -> None:
    with server.client_of(LOOK_TOKEN) as client:
        for path in ("/runs", "/runs/demo/resume", "/runs/demo/forks"):
            response = client.post(path, json={})
            assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert server.refused("/runs/demo/resume")[0] in (400, 404)


def test_a_call_waits_for_approval_and_is_made_as_the_person_changed_it(server: Server) -> None:
    run = server.start("pay 5")
    server.reaches(run, "waiting")
    (waiting,) = server.get(f"/runs/{run}/approvals")["items"]
    path = f"/runs/{run}/approvals/{waiting['event_id']}"

    assert server.refused(path, decision="deny", args={"amount": 1}) == (400, "configuration")
    sent = server.post(path, decision="approve", args={"amount": 3}, by="ann")

    assert sent["run_id"] == run
    server.reaches(run, "finished")
    step = next(o for o in server.get(f"/runs/{run}/world")["objects"] if o["id"] == "step")
    assert step["data"]["paid"] == 3
    assert server.refused(path, decision="approve")[0] in (404, 422)


def test_a_question_is_answered_once_by_a_person(server: Server) -> None:
    run = server.start("question Which?")
    status = server.reaches(run, "waiting")
    assert status["questions"] == 1
    (asked,) = server.get(f"/runs/{run}/events?type=person.asked")["items"]
    path = f"/runs/{run}/answers/{asked['id']}"

    assert server.refused(path, reply="horse") == (422, "invalid_data")
    assert server.refused(path) == (400, "configuration")
    server.post(path, reply="boat")

    server.reaches(run, "finished")
    assert server.refused(path, reply="train") == (422, "invalid_data")


def test_a_request_is_answered_by_hand_while_no_provider_is_allowed(server: Server) -> None:
    run = server.start("ask why")
    server.reaches(run, "waiting")
    (request,) = server.get(f"/runs/{run}/events?type=llm.request")["items"]

    server.post(f"/runs/{run}/answers/{request['id']}", text="because", by="ann")

    server.reaches(run, "finished")
    (answer,) = server.get(f"/runs/{run}/events?type=llm.response")["items"]
    assert (answer["actor"], answer["data"]["text"]) == ("ann", "because")


def test_a_run_pauses_in_a_call_and_is_resumed(place: Place, server: Server) -> None:
    run = server.start("gate pausing")
    until(lambda: place.callers("pausing"))

    server.post(f"/runs/{run}/pause")
    place.open_gate("pausing")
    server.reaches(run, "paused")
    server.post(f"/runs/{run}/resume")

    server.reaches(run, "finished")
    assert len(place.callers("pausing")) == 1


def test_a_cancelled_run_is_not_resumed_and_can_be_forked(server: Server) -> None:
    run = server.start("pay 9")
    server.reaches(run, "waiting")

    server.post(f"/runs/{run}/cancel")
    server.reaches(run, "cancelled")

    assert server.refused(f"/runs/{run}/resume") == (409, "run_cancelled")
    branch = server.post(f"/runs/{run}/forks", at=2)
    assert (branch["parent_id"], branch["fork_position"]) == (run, 2)


def test_a_run_is_forked_with_changes_while_it_is_worked_on(place: Place, server: Server) -> None:
    run = server.start("gate forking")
    until(lambda: place.callers("forking"))
    step = next(
        event
        for event in server.get(f"/runs/{run}/events?type=object.created")["items"]
        if event["data"]["id"] == "step"
    )

    branch = server.post(
        f"/runs/{run}/forks",
        at=step["position"] + 1,
        patches={"step": {"status": "changed"}},
        events=[{"type": "object.created", "data": {"id": "n", "type": "Note", "data": {}}}],
        resume=True,
    )["run_id"]
    refused = server.refused(
        f"/runs/{run}/forks", at=2, events=[{"type": "llm.response", "data": {}}]
    )
    place.open_gate("forking")

    assert refused == (422, "invalid_data")
    server.reaches(run, "finished")
    server.reaches(branch, "finished")
    assert "Note" in server.get(f"/runs/{branch}")["objects"]
    assert server.refused(f"/runs/{run}/forks", at=10_000)[1] == "position_out_of_range"


def test_an_id_that_no_text_can_have_is_not_found(server: Server) -> None:
    run = server.start("pay 1")

    response = server.client.post(
        f"/runs/{run}/forks",
        content=b'{"before": "a\\ud800"}',
        headers={"content-type": "application/json"},
    )

    assert (response.status_code, response.json()["code"]) == (404, "event_not_found")


def test_a_worker_that_is_killed_in_a_call_is_replaced_and_the_run_continues(
    place: Place, server: Server
) -> None:
    run = server.start("gate killed")
    (pid,) = until(lambda: place.callers("killed"))

    os.kill(pid, signal.SIGKILL)
    again = until(lambda: [each for each in place.callers("killed") if each != pid])
    place.open_gate("killed")

    server.reaches(run, "finished")
    assert again[0] != pid


def test_a_message_is_recorded_once_under_its_key(server: Server) -> None:
    run = server.start("pay 4")
    server.reaches(run, "waiting")
    message = {"type": "note.sent", "data": {"n": 1}, "key": "k1"}

    assert server.post(f"/runs/{run}/messages", **message)["is_new"] is True
    assert server.post(f"/runs/{run}/messages", **message)["is_new"] is False

    until(lambda: server.get(f"/runs/{run}/events?type=note.sent")["items"])
    assert len(server.get(f"/runs/{run}/events?type=note.sent")["items"]) == 1
    assert server.refused(f"/runs/{run}/messages", type="run.paused") == (422, "invalid_data")
    assert server.refused(f"/runs/{run}/messages") == (422, "invalid_data")


def is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        # A zombie has ended.
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def test_a_server_that_is_killed_leaves_no_worker_and_the_next_one_continues(
    tmp_path: Path,
) -> None:
    place = Place(tmp_path / "place")
    with place.serving() as server:
        run = server.start("gate orphan")
        (pid,) = until(lambda: place.callers("orphan"))
        server.kill()
        # The call in flight returns, and is not lost.
        place.open_gate("orphan")
        until(lambda: not is_alive(pid))
    with place.serving() as second:
        second.reaches(run, "finished")
    assert place.callers("orphan") == [pid]


def test_the_limits_of_the_operator_hold_for_the_workers(tmp_path: Path) -> None:
    place = Place(tmp_path / "place")
    limits = ["--allow-live-llm", "--max-usd-per-day", "0.4", "--max-usd-per-run", "0.3"]
    with place.serving(*limits) as server:
        states = [
            server.reaches(run, state)["llm_cost_usd"]
            for state in ("finished", "exhausted")
            for run in [server.start("ask why", llm="dear")]
        ]
    assert states == [0.25, 0.0]


def test_a_read_only_server_starts_no_worker_and_refuses_to_act(tmp_path: Path) -> None:
    place = Place(tmp_path / "place")
    with place.serving("--read-only") as server:
        assert server.get("/session")["role"] == "look"
        assert server.refused("/runs", kit="acts", goal="count 1") == (403, "forbidden")
    assert not (place.root / "kando.db").exists()
