"""Servers of the inspector for tests: a kit, clients of an application, and a process."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from kando.emit import ask, ask_person, call_tool, create, patch, relate
from kando.kit import Kit
from kando.responders.policies import Ask
from kando.schema.events import OBJECT_CREATED, KandoEvent, RecordedEvent, make_event
from kando.world.graph import World

__all__ = ["LOOK_TOKEN", "TOKEN", "asking_kit", "client_of", "process", "waiting_kit", "worked_kit"]

#: Tokens of a client that may act, and of one that may only look.
TOKEN, LOOK_TOKEN = "act-" + "a" * 20, "look-" + "l" * 20

#: How long a test waits for a process before it fails.
_SECONDS = 60


def worked_kit() -> Kit:
    """Return a kit that compares two cities: objects, a relation, a patch and a report."""
    kit = Kit("worked", "1.0")

    @kit.seeds
    def seed(goal: str, run_id: str) -> list[KandoEvent]:
        data = {"type": "Goal", "id": "goal", "data": {"text": goal}}
        return [make_event(OBJECT_CREATED, f"run:{run_id}", "cli", [], data)]

    @kit.responder(OBJECT_CREATED, type="Goal")
    def plan(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        for name in ("Bern", "Riga"):
            yield create("City", {"name": name}, id=f"city/{name.lower()}")
        yield create("Report", _report("draft"), id="report")

    @kit.responder(OBJECT_CREATED, type="Report")
    def finish(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        yield relate("near", "city/bern", "city/riga", id="near-1")
        yield patch("report", {"text": "# Two cities\n\nBern and Riga."})

    return kit


def asking_kit() -> Kit:
    """Return a kit that asks a model once."""
    kit = Kit("asking", "1.0")

    @kit.seeds
    def seed(goal: str, run_id: str) -> list[KandoEvent]:
        data = {"type": "Goal", "id": "goal", "data": {"text": goal}}
        return [make_event(OBJECT_CREATED, f"run:{run_id}", "cli", [], data)]

    @kit.responder(OBJECT_CREATED, type="Goal")
    def wonder(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        yield ask([{"role": "user", "content": event.data["data"]["text"]}])

    return kit


def waiting_kit() -> Kit:
    """Return a kit that asks a person two questions, and whether it may call a tool."""
    kit = Kit("waiting", "1.0")

    @kit.tool("book", effect="write")
    def book(place: str) -> str:
        return f"booked {place}"

    @kit.policy
    def careful(event: RecordedEvent) -> Ask:
        return Ask("it costs money")

    @kit.seeds
    def seed(goal: str, run_id: str) -> list[KandoEvent]:
        data = {"type": "Goal", "id": "goal", "data": {"text": goal}}
        return [make_event(OBJECT_CREATED, f"run:{run_id}", "cli", [], data)]

    @kit.responder(OBJECT_CREATED, type="Goal")
    def wonder(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        yield ask_person("Where to?", about="goal")
        yield call_tool("book", {"place": "Riga"})
        yield ask_person("When?", about="goal")

    return kit


def _report(text: str) -> dict[str, str]:
    return {"name": "report.md", "media_type": "text/markdown", "text": text}


def client_of(app: ASGIApp, host: str = "127.0.0.1:8350") -> TestClient:
    """Return a client that raises no exception of the application, as a browser would not."""
    return TestClient(app, base_url=f"http://{host}", raise_server_exceptions=False)


@contextmanager
def process(
    home: Path, *arguments: str, command: str = "serve", **environ: str
) -> Iterator[tuple[httpx2.Client, str]]:
    """Start `kando serve` at a free port, and yield a client with its token, and its address.

    Args:
        home: folder of the user.
        arguments: of the command.
        command: the command.
        environ: further variables.
    """
    words = [sys.executable, "-m", "kando.cli.main", command, "--port", "0", *arguments]
    settings = {**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(home / "data"), **environ}
    started = subprocess.Popen(
        words, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    assert started.stderr is not None
    try:
        ready, _, _ = select.select([started.stdout], [], [], _SECONDS)
        address = started.stdout.readline().strip() if ready else ""
        assert address, started.stderr.read() if started.poll() is not None else "no address"
        parts = urlsplit(address)
        token = parse_qs(parts.fragment).get("token", [environ.get("KANDO_INSPECTOR_TOKEN", "")])
        base = f"{parts.scheme}://{parts.netloc}"
        bearer = {"authorization": f"Bearer {token[0]}"}
        with httpx2.Client(base_url=base, headers=bearer, timeout=_SECONDS) as client:
            yield client, address
    finally:
        started.terminate()
        try:
            started.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
        started.stdout.close()
        started.stderr.close()
