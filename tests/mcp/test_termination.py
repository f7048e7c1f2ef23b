"""SIGTERM and SIGHUP end a server in order: requests are answered, and its runs continue."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcp_host import HANG_SECONDS, Place
from mcp_wire import Wire

SIGNALS = [signal.SIGTERM, signal.SIGHUP]
SERVER = [sys.executable, "-P", "-m", "kando_mcp.main"]


def until(is_true: Callable[[], object]) -> None:
    end = time.monotonic() + HANG_SECONDS
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.02)


class Server:
    """A server over stdio, whose end the test decides on."""

    def __init__(self, place: Place, *before: str) -> None:
        self.process = subprocess.Popen(
            [*before, *SERVER],
            env=place.environ,
            cwd=place.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.wire = Wire(self.process.stdin, self.process.stdout)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *about: object) -> None:
        self.process.kill()
        self.wire.rest()
        self.process.__exit__(None, None, None)

    def end(self) -> None:
        """Ask it to end, and wait until it has."""
        self.process.terminate()
        assert self.process.wait(HANG_SECONDS) == 0

    def start(self, goal: str, wait_s: float = 0) -> int:
        """Send a call of start_run, and return its number."""
        arguments = {"kit": "tiny", "goal": goal, "wait_s": wait_s}
        return self.wire.send("tools/call", name="start_run", arguments=arguments)

    def state(self) -> dict[str, Any]:
        """Return the state in the next answer."""
        found: dict[str, Any] = self.wire.receive()["result"]["structuredContent"]
        return found


@pytest.mark.parametrize("number", SIGNALS)
def test_a_server_that_is_asked_to_end_answers_first_and_leaves_its_runs_alone(
    place: Place, number: signal.Signals
) -> None:
    with Server(place) as server:
        server.start("gate", wait_s=45)
        until(place.callers)

        for each in (number, *SIGNALS):
            server.process.send_signal(each)

        state = server.state()
        assert state["state"] == "running"
        # Its stdin is still open.
        assert server.process.wait(HANG_SECONDS) == 0
        assert server.wire.rest() == []
    place.open_gate()
    with Server(place) as second:
        assert ask_until_stopped(second, "get_run", state["run_id"])["state"] == "finished"
        assert len(set(place.callers())) == 1
        second.end()


def test_a_worker_process_that_is_asked_to_end_keeps_the_answer_of_its_call(place: Place) -> None:
    with Server(place) as server:
        server.start("gate")
        run_id = server.state()["run_id"]
        until(place.callers)
        (worker,) = place.callers()

        os.kill(worker, signal.SIGTERM)
        until(place.is_ending)
        place.open_gate()

        assert ask_until_stopped(server, "get_run", run_id)["state"] == "stopped"
        assert ask_until_stopped(server, "resume_run", run_id)["state"] == "finished"
        # The call of the first worker is not made again.
        assert place.callers().count(worker) == 1
        assert len(place.callers()) == 3
        server.end()


def ask_until_stopped(server: Server, tool: str, run_id: str) -> dict[str, Any]:
    arguments = {"run_id": run_id, "wait_s": 45}
    while True:
        answer = server.wire.ask("tools/call", name=tool, arguments=arguments)
        state: dict[str, Any] = answer["result"]["structuredContent"]
        if state["state"] != "running":
            return state


def may_unshare() -> bool:
    """Whether this user may give a process a namespace of process ids."""
    found = shutil.which("unshare")
    command = ["unshare", "--pid", "--fork", "true"]
    return found is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not may_unshare(), reason="needs the right to unshare a namespace")
def test_process_1_of_a_container_ends_its_workers_in_order(place: Place) -> None:
    with Server(place, "unshare", "--pid", "--fork") as outside:
        outside.start("gate")
        run_id = outside.state()["run_id"]
        until(place.callers)
        path = Path(f"/proc/{outside.process.pid}/task/{outside.process.pid}/children")

        os.kill(int(path.read_text().split()[0]), signal.SIGTERM)
        until(place.is_ending)
        place.open_gate()

        assert outside.process.wait(HANG_SECONDS) == 0
    with Server(place) as second:
        # The kernel kills the processes of a namespace when its process 1 ends.
        assert ask_until_stopped(second, "resume_run", run_id)["state"] == "finished"
        assert len(place.callers()) == 3
        second.end()
