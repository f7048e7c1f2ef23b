"""The status of a run reports unread messages and parked firings, and when it has not finished."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kando.app.builtin import installed_plugins
from kando.app.inbox import answer_key
from kando.app.store import Store, open_store
from kando.emit import ask, call_tool, create, patch
from kando.kit import Kit
from kando.ledger.claims import Worker
from kando.ledger.inbox import InboxEntry
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.policies import Ask
from kando.schema.events import KandoEvent, RecordedEvent, make_event
from kando.views.status import StatusFold
from kando.world.graph import World


def kit() -> Kit:
    kit = Kit("k", version="1")

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [create("Goal", {"text": goal}, id="goal")]

    @kit.tool("pay")
    def pay() -> str:
        return "paid"

    @kit.policy
    def careful(intent: KandoEvent) -> Ask | None:
        return Ask("pay?") if intent.type == "tool.called" else None

    @kit.responder("object.created", type="Goal")
    def on_goal(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        if event.data["data"]["text"] == "pay":
            yield call_tool("pay", {}, about="goal")
        if event.data["data"]["text"] == "ask":
            yield ask([{"role": "user", "content": "?"}], about="goal")

    @kit.responder("note")
    def on_note(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        yield patch("goal", {"note": event.data["text"]})

    @kit.responder("object.created", type="Goal", on_error="park")
    def watch(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        if event.data["data"]["text"] == "park":
            raise ValueError("no luck")
        yield from ()

    # Fires about the goal if the world is as it is after a note.
    @kit.responder("object.created", type="Goal")
    def late(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        if "note" in world.objects["goal"].data:
            yield create("Late", {})

    return kit


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    plugins = installed_plugins({"KANDO_PLUGINS": ""})
    with open_store(f"sqlite:{tmp_path / 'runs.db'}", plugins=plugins, environ={}) as store:
        store.context.kits["k"] = kit()
        yield store


def test_a_run_with_unread_messages_has_not_finished_and_says_how_many(store: Store) -> None:
    run = store.start("k", "plain")
    assert (run.status().state, run.status().unread) == ("finished", 0)
    run.send("other")
    run.send("other")

    status = run.status()
    assert (status.state, status.unread) == ("stopped", 2)
    assert status.problem == "2 messages are unread"
    assert next(iter(store.runs(limit=1))).unread == 2
    assert [each.run_id for each in store.runs(limit=9, state="finished")] == []
    run.resume()
    assert (run.status().state, run.status().unread, run.status().problem) == ("finished", 0, None)


def test_a_finished_run_stays_finished_after_a_message_that_no_responder_handles(
    store: Store,
) -> None:
    run = store.start("k", "plain")
    run.send("other")
    run.resume()

    assert run.status().state == "finished"
    branch = run.fork(at=run.length())
    assert branch.status().state == "finished"


def test_messages_of_a_branch_are_not_those_of_its_parent(store: Store) -> None:
    run = store.start("k", "plain")
    branch = run.fork(at=run.length())
    branch.send("other")

    assert (run.status().unread, branch.status().unread) == (0, 1)
    assert (run.status().state, branch.status().state) == ("finished", "stopped")


def test_answers_of_workers_and_messages_that_are_recorded_are_not_unread(store: Store) -> None:
    run = store.start("k", "ask")
    substrate = store.context.substrate(read_only=False)
    (request,) = [each for each in run.events() if each.type == "llm.request"]
    answer = make_event("llm.response", "", "llm", [request.id], {"text": "!"})
    substrate.deliver(run.id, InboxEntry(answer_key(request.id), answer))
    assert (run.status().state, run.status().unread) == ("waiting", 0)

    # A process was killed after it had recorded a message, and before it removed it.
    run.send("other", key="k1")
    (entry,) = [each for each in substrate.inbox(run.id) if each.key == "k1"]
    run.resume()
    substrate.open(run.id).append([make_event("x", run.source, "x", [], {})])
    assert run.status().unread == 0
    substrate.deliver(run.id, entry)
    assert run.status().unread == 0


@pytest.mark.parametrize("goal", ["pay", "ask"])
def test_a_run_that_waits_is_stopped_once_a_message_waits_for_it(store: Store, goal: str) -> None:
    run = store.start("k", goal)
    assert run.status().state == "waiting"
    run.send("other")

    assert (run.status().state, run.status().unread) == ("stopped", 1)
    run.pause()
    run.resume()
    run.send("other")
    assert run.status().state == "paused"
    assert run.status().unread >= 1


def test_resume_with_wait_stays_while_a_person_is_asked_and_reads_messages_by_itself(
    store: Store,
) -> None:
    run = store.start("k", "pay")
    done: list[Any] = []
    waiting = threading.Thread(target=lambda: done.append(run.resume(wait=True)))
    waiting.start()
    run.send("note", {"text": "hi"})
    for _ in range(1200):
        if "note" in run.world().objects["goal"].data:
            break
        time.sleep(0.05)
    assert waiting.is_alive()
    assert run.world().objects["goal"].data["note"] == "hi"

    (approval,) = run.approvals()
    run.approve(approval.event_id)
    waiting.join(30)
    assert done[0].status.unread == 0
    assert [each.data["result"] for each in run.events() if each.type == "tool.returned"] == [
        "paid"
    ]


def test_parked_firings_are_counted_with_their_reasons(store: Store) -> None:
    run = store.start("k", "park")

    status = run.status()
    assert (status.state, status.parked) == ("finished", 1)
    assert status.parked_reasons == ["object.created-1: k.watch: ValueError: no luck"]
    assert status.problem == f"1 firing is parked: {status.parked_reasons[0]}"
    assert run.fork(at=run.length()).status().parked == 1
    assert run.fork(at=2).status().parked == 0


def test_a_parked_call_that_is_answered_after_all_is_not_parked() -> None:
    failed = {
        "responder": "llm",
        "trigger": "llm.request-0",
        "outcome": "parked",
        "call": True,
        "error": {"type": "E", "message": "m"},
    }
    ledger, fold = MemoryLedgerStore("r"), StatusFold()
    ledger.append(
        [
            make_event("llm.request", "", "x", [], {"messages": []}),
            make_event("responder.failed", "", "llm", ["llm.request-0"], failed),
            make_event("llm.response", "", "watcher", ["llm.request-0"], {"answers": False}),
            make_event("llm.response", "", "person", ["llm.request-0"], {"text": "!"}),
        ]
    )
    counts = []
    for event in ledger.read_all():
        fold.observe(event)
        counts.append(len(fold.parked))

    assert counts == [0, 1, 1, 0]


def test_a_run_whose_process_has_died_is_stopped_and_names_it(store: Store) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    run = store.start("k", "ask", work=False)
    worker = Worker(socket.gethostname(), int(ended.stdout))
    store.context.substrate(read_only=False).claim(run.id, worker, 600)

    status = run.status()

    assert (status.state, status.claim) == ("stopped", None)
    assert status.problem == f"{worker} has died while it worked on the run"
    assert run.resume().status.problem is None
