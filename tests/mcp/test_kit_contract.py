"""The conformance suite drives kits that use an MCP server."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from kando.emit import call_tool, create
from kando.errors import ConfigurationError
from kando.kit import Kit
from kando.ledger.memory import MemoryLedgerStore
from kando.schema.events import KIT_LOADED, TOOL_CALLED, TOOL_RETURNED, KandoEvent
from kando.testing.kits import KitContract
from kando.testing.runs import KandoRun, ScriptedLLM, run_kit
from kando.world.graph import World

SERVER = str(Path(__file__).parents[1] / "helpers" / "plain_tool_server.py")


@attrs.frozen
class Trip:
    to: str
    text: str = ""


@attrs.frozen
class Seat:
    number: str


def trip_kit(server: str = SERVER) -> Kit:
    """Return a kit that books a place itself, and has a model book another."""
    kit = Kit("trips", prompts={"plan": "Plan a trip to $to."})
    kit.object(Trip)
    kit.object(Seat)
    kit.mcp("plain", command=[sys.executable, "-S", server], env=["PLACE"], effect="idempotent")

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [create(Trip(goal))]

    @kit.responder("object.created", type=Trip)
    def on_trip(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield call_tool("plain__book", {"name": event.object["to"]})

    @kit.responder("tool.returned")
    def on_booked(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        if "cause_object_id" not in event.data:
            yield create(Seat(str(event.data.get("result", "none"))))

    @kit.llm_responder("object.created", type=Trip, prompt="plan", tools=["plain"])
    def plan(event: Any, world: World) -> dict[str, Any]:
        return {"to": event.object["to"]}

    return kit


def answered(request: dict[str, Any]) -> Any:
    if request["messages"][-1]["role"] == "user":
        call = {"id": "c1", "name": "plain__book", "arguments": {"name": "Porto"}}
        return {"text": "", "tool_calls": [call], "stop": "tool"}
    return "Booked."


def log_of(place: Path) -> list[str]:
    file = place / "log"
    return file.read_text().splitlines() if file.exists() else []


def starts(place: Path) -> list[int]:
    return [int(line.split()[1]) for line in log_of(place) if line.startswith("start")]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class TestTripKit(KitContract):
    """Interrupted by a cut of the finished ledger at every event."""

    goal = "Lisbon"
    is_installed = False

    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """Check that each server has ended after a test."""
        monkeypatch.setenv("PLACE", str(tmp_path))
        self.folder = tmp_path
        yield tmp_path
        assert [pid for pid in starts(tmp_path) if is_alive(pid)] == []

    def make_kit(self) -> Kit:
        return trip_kit()

    def answer(self, request: dict[str, Any]) -> Any:
        return answered(request)


class TestResetTripKit(TestTripKit):
    """Interrupted by a crash at every event: then the server ends with the process."""

    def reset(self) -> None:
        (self.folder / "booked").unlink(missing_ok=True)

    def test_the_tools_are_recorded_and_the_calls_are_made(self, place: Path) -> None:
        run = self.finished_run()

        assert run.events[0].type == KIT_LOADED
        (tool,) = run.events[0].data["tool_servers"]["plain"]["tools"]
        assert (tool["name"], tool["tool"]) == ("plain__book", "book")
        results = [e.data["result"] for e in run.events if e.type == TOOL_RETURNED]
        assert sorted(results) == ["Lisbon is number 1", "Porto is number 2"]
        assert len(starts(place)) == 1

    def test_a_strict_replay_starts_no_server(self, place: Path) -> None:
        run = self.finished_run()
        before = log_of(place)

        assert run.runtime().replay(strict=True) == run.world
        assert log_of(place) == before

    def test_a_resumed_run_starts_the_server_for_calls_only(self, place: Path) -> None:
        run = self.finished_run()
        events = run.events
        last = max(e.position for e in events if e.type == TOOL_RETURNED)
        before = log_of(place)

        ledger = MemoryLedgerStore("r1")
        ledger.append(list(events[: last + 1]))
        self._finish(self.run_on(ledger))
        assert log_of(place) == before

        called = max(e.position for e in events if e.type == TOOL_CALLED)
        ledger = MemoryLedgerStore("r1")
        ledger.append(list(events[: called + 1]))
        self._finish(self.run_on(ledger))
        assert next(line.split()[0] for line in log_of(place)[len(before) :]) == "start"


def test_a_server_that_cannot_be_started_ends_the_run_with_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", str(tmp_path))
    ledger = MemoryLedgerStore("r1")

    with pytest.raises(ConfigurationError, match="MCP server 'plain'"):
        run_kit(trip_kit(str(tmp_path / "absent.py")), "Lisbon", ledger=ledger)
    assert ledger.length() == 0


def test_a_scripted_run_of_a_kit_has_its_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", str(tmp_path))

    run: KandoRun = run_kit(trip_kit(), "Lisbon", llm=ScriptedLLM({}, default="No."))

    assert [seat.number for seat in run.world.all(Seat)] == ["Lisbon is number 1"]
    assert [pid for pid in starts(tmp_path) if is_alive(pid)] == []
