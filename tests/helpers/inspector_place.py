"""A place for servers of the inspector: a store, an installed kit, and server processes."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from inspector_server import LOOK_TOKEN, TOKEN

__all__ = ["SECONDS", "Place", "Server", "events_of", "until"]

#: How long a test waits for something before it fails.
SECONDS = 60

KIT = '''
"""A kit whose goal determines its actions."""

import os
import time
from pathlib import Path

from kando.emit import ask, ask_person, call_tool, create, patch
from kando.kit import Kit
from kando.plugins import KitSpec, ProviderSpec, hookimpl
from kando.responders.policies import Allow, Ask
from kando.schema.events import make_event

kit = Kit("acts", version="1")
PLACE = Path(os.environ["PLACE"])


def wait_for(name):
    while not (PLACE / name).exists():
        time.sleep(0.01)


@kit.seeds
def seeds(goal, run_id):
    print("what a kit prints must not end up among the texts")
    data = {"id": "goal", "type": "Goal", "data": {"text": goal}}
    return [make_event("object.created", f"run:{run_id}", "cli", [], data)]


@kit.responder("object.created", type="Goal")
def on_goal(event, world):
    word, _, rest = event.data["data"]["text"].partition(" ")
    step = yield create("Step", {"of": word, "status": "new"}, id="step")
    if word == "ask":
        yield ask([{"role": "user", "content": rest}], about=step)
    elif word == "gate":
        yield call_tool("pass_gate", {"name": rest}, about=step)
    elif word == "pay":
        yield call_tool("pay", {"amount": int(rest)}, about=step)
    elif word == "question":
        yield ask_person(rest, {"enum": ["boat", "train"]}, about=step)
    elif word == "die":
        os._exit(7)
    elif word == "count":
        yield create("Tick", {"left": int(rest)})


@kit.responder("object.created", type="Tick")
def on_tick(event, world):
    yield call_tool("tick", {"left": event.data["data"]["left"]})


@kit.responder("tool.returned")
def on_returned(event, world):
    left = event.data.get("result", {}).get("left")
    if left:
        yield create("Tick", {"left": left - 1})
    else:
        yield patch("step", {"status": "done", **(event.data.get("result") or {})})


@kit.responder("llm.response", "person.replied")
def on_answer(event, world):
    yield patch("step", {"status": "answered", "text": event.data.get("text", event.data.get("answer"))})


@kit.tool("tick", effect="read")
def tick(left):
    return {"left": left}


@kit.tool("pass_gate", effect="idempotent")
def pass_gate(name):
    with (PLACE / f"{name}.callers").open("a") as file:
        print(os.getpid(), file=file)
    wait_for(name)
    return {"passed": name}


@kit.tool("pay")
def pay(amount: int):
    return {"paid": amount}


@kit.policy
def careful(intent, world):
    return Ask("May it pay?") if intent.data["tool"] == "pay" else Allow()


class Words:
    """A provider that streams two words, the second one when a file exists."""

    def __call__(self, request):
        return self.stream(request, lambda piece: None)

    def stream(self, request, on_text):
        name = request["messages"][-1]["content"]
        on_text("one ")
        wait_for(name)
        on_text("two")
        return {"text": "one two", "model": "words", "cost_usd": 0.0}


def words(argument, environ):
    return Words()


def dear(argument, environ):
    return lambda request: {"text": "dear", "model": "dear", "cost_usd": 0.25}


@hookimpl
def kando_kits():
    return [KitSpec("acts", "acts_plugin:kit", "does what the goal says")]


@hookimpl
def kando_providers():
    return [
        ProviderSpec("words", "acts_plugin:words", is_offline=True),
        ProviderSpec("dear", "acts_plugin:dear", models=("dear-*",)),
    ]
'''


class Place:
    """A folder with a store, a kit, and the files for which its calls wait.

    Args:
        root: of the place; it is created.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = f"sqlite:{root / 'kando.db'}"
        installed = root / "installed"
        metadata = installed / "acts-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acts\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text("[kando]\nacts = acts_plugin\n")
        (installed / "acts_plugin.py").write_text(KIT)

    def open_gate(self, name: str) -> None:
        """Let the calls that wait for a name return."""
        (self.root / name).touch()

    def callers(self, name: str) -> list[int]:
        """Return the ids of the processes that made calls which wait for a name."""
        file = self.root / f"{name}.callers"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def environ(self) -> dict[str, str]:
        """Return the environment of a server."""
        own = {
            "HOME": str(self.root),
            "XDG_DATA_HOME": str(self.root / "data"),
            "PLACE": str(self.root),
            "PYTHONPATH": str(self.root / "installed"),
            "KANDO_INSPECTOR_TOKEN": TOKEN,
            "KANDO_INSPECTOR_LOOK_TOKEN": LOOK_TOKEN,
            "KANDO_GRACE_SECONDS": "20",
        }
        return {**os.environ, **own}

    @contextmanager
    def serving(self, *options: str, port: int = 0) -> Iterator[Server]:
        """Start a server, and end it as an operator does."""
        server = Server(self, options, port)
        try:
            yield server
        finally:
            server.end()


class Server:
    """A process of `kando serve`.

    Args:
        place: of the server.
        options: of the command.
        port: to listen on; 0 for a free one.

    Attributes:
        process: of the server.
        port: that it listens on.
        client: with the token that may act.
    """

    def __init__(self, place: Place, options: tuple[str, ...] = (), port: int = 0) -> None:
        words = [sys.executable, "-m", "kando.cli.main", "serve", "--ledger", place.url]
        with (place.root / "stderr").open("ab") as errors:
            self.process = subprocess.Popen(
                [*words, "--port", str(port), *options],
                env=place.environ(),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], SECONDS)
        address = self.process.stdout.readline().strip() if ready else ""
        assert address, (place.root / "stderr").read_text()
        self.port = int(address.rstrip("/").rpartition(":")[2])
        self.client = self.client_of(TOKEN)

    def client_of(self, token: str) -> httpx2.Client:
        """Return a client with a token."""
        return httpx2.Client(
            base_url=f"http://127.0.0.1:{self.port}/api/v1",
            headers={"authorization": f"Bearer {token}"},
            timeout=SECONDS,
        )

    def get(self, path: str) -> Any:
        """Return the JSON of a resource."""
        response = self.client.get(path)
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path: str, **body: Any) -> Any:
        """Return the JSON that an action answers."""
        response = self.client.post(path, json=body)
        assert response.status_code in (201, 202), response.text
        return response.json()

    def refused(self, path: str, **body: Any) -> tuple[int, str]:
        """Return the status and the code of an action that is refused."""
        response = self.client.post(path, json=body)
        assert response.headers["content-type"] == "application/problem+json", response.text
        return response.status_code, response.json()["code"]

    def start(self, goal: str, **more: Any) -> str:
        """Start a run, and return its id."""
        return str(self.post("/runs", kit="acts", goal=goal, **more)["run_id"])

    def reaches(self, run: str, state: str) -> Any:
        """Wait until a run is in a state, and return its status."""
        return until(lambda: (s := self.get(f"/runs/{run}"))["state"] == state and s)

    def kill(self) -> None:
        """Kill the server, without a chance to end anything."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(SECONDS)

    def end(self) -> int:
        """End the server, and return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(SECONDS)
        finally:
            self.process.kill()
            self.client.close()
            if self.process.stdout is not None:
                self.process.stdout.close()


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


def until(condition: Callable[[], Any]) -> Any:
    """Wait until a condition returns something true, and return that."""
    end = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < end, "the condition did not become true"
        time.sleep(0.05)
    return found


def events_of(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Yield the server-sent events in lines: their fields, with the data decoded."""
    fields: dict[str, Any] = {}
    for line in lines:
        if not line and fields:
            yield {**fields, "data": json.loads(fields.get("data", "null"))}
            fields = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
