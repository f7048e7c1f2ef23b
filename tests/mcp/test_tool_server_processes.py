"""Processes that work on runs with MCP servers are interrupted, ended or killed: no server is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kando.app.store import open_store
from kando.schema.events import TOOL_RETURNED
from mcp_host import HANG_SECONDS

HELPERS = Path(__file__).parents[1] / "helpers"

KIT = """
import json, os, sys
from kando import Kit, call_tool, create

kit = Kit("toys", version="1")
kit.mcp("toy", command=[sys.executable, os.environ["SERVER"]], env=["PLACE"])


@kit.seeds
def seeds(goal, run_id):
    return [create("Calls", {"calls": json.loads(goal)})]


@kit.responder("object.created", type="Calls")
def on_calls(event, world):
    for tool in event.data["data"]["calls"]:
        yield call_tool(tool, {"text": "hi"} if tool == "toy__note" else {})
"""


class Shell:
    """A folder with a kit and a store, in which `kando` is run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "toys.py").write_text(KIT)
        self.environ = {
            **os.environ,
            "KANDO_LEDGER": f"sqlite:{root / 'runs.db'}",
            "KANDO_QUIET": "1",
            "PLACE": str(root),
            "SERVER": str(HELPERS / "tool_server.py"),
        }

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "kando.cli.main", *words]
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kando(self, *words: str) -> str:
        process = self.start(*words)
        out, err = process.communicate(timeout=HANG_SECONDS)
        assert process.returncode == 0, err
        return out

    def log(self) -> list[str]:
        file = self.root / "log"
        return file.read_text().splitlines() if file.exists() else []

    def alive(self) -> list[int]:
        pids = [int(line.split()[1]) for line in self.log() if line.startswith("start")]
        return [pid for pid in pids if is_alive(pid)]

    def results(self, run: str) -> list[Any]:
        events = map(json.loads, self.kando("events", run, "--json").splitlines())
        found = [each["data"] for each in events if each["type"] == "tool.returned"]
        return [each["result"] if "result" in each else each["error"]["type"] for each in found]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    (tmp_path / "go").touch()
    until(lambda: not made.alive())


def is_alive(pid: int) -> bool:
    try:
        # A process that has ended and that its parent has not waited for yet is still listed.
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def run_that_waits(shell: Shell, *tools: str) -> tuple[subprocess.Popen[str], str]:
    """Return a process whose run waits in a call of a server, and the id of the run."""
    process = shell.start("run", "./toys.py", "--goal", json.dumps(tools), "--grace", "0")
    assert process.stdout is not None
    run = process.stdout.readline().strip()
    until(lambda: "wait" in shell.log())
    return process, run


pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_process_that_gets_a_signal_ends_its_servers(shell: Shell, number: int) -> None:
    process, _ = run_that_waits(shell, "toy__wait")

    process.send_signal(number)
    process.communicate(timeout=HANG_SECONDS)

    assert shell.alive() == []


def test_a_run_whose_process_is_killed_in_a_call_is_resumed(shell: Shell) -> None:
    process, run = run_that_waits(shell, "toy__note", "toy__wait")
    with open_store(shell.environ["KANDO_LEDGER"]) as store:
        until(lambda: any(each.type == TOOL_RETURNED for each in store.run(run).events()))

    process.kill()
    process.communicate(timeout=HANG_SECONDS)
    # Its input has ended, so the server ends with its call.
    (shell.root / "go").touch()
    until(lambda: not shell.alive())
    shell.kando("resume", run, "--kit", "./toys.py")

    assert shell.results(run) == [{"result": "noted"}, {"result": "went"}]
    assert shell.log().count("note hi") == 1
    assert sum(line.startswith("start") for line in shell.log()) == 2
    assert "identical" in shell.kando("replay", run, "--strict", "--kit", "./toys.py")
    assert sum(line.startswith("start") for line in shell.log()) == 2
    assert shell.alive() == []


def test_a_responder_that_raises_leaves_no_server(shell: Shell) -> None:
    kit = (shell.root / "toys.py").read_text()
    bug = (
        '\n\n@kit.responder("tool.returned")\ndef on_result(event, world):\n    raise ValueError\n'
    )
    (shell.root / "toys.py").write_text(kit + bug)
    process = shell.start("run", "./toys.py", "--goal", '["toy__note"]')
    process.communicate(timeout=HANG_SECONDS)

    assert process.returncode == 6
    assert len(shell.log()) == 2
    assert shell.alive() == []


def test_a_server_is_added_on_the_command_line(shell: Shell) -> None:
    added = f"more={sys.executable} {HELPERS / 'tool_server.py'}"
    process = shell.start("run", "./toys.py", "--goal", '["toy__note"]', "--mcp", added)
    _, err = process.communicate(timeout=HANG_SECONDS)

    # The kit has no LLM responder.
    assert process.returncode == 2
    assert "takes no added MCP server" in err
