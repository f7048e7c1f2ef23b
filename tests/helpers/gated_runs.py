"""Runs of a kit whose calls wait for a gate, worked on by processes of the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kando.ledger.claims import Claim
from kando.ledger.sqlite_substrate import SQLiteSubstrate

#: A goal that is asked about three times, one after the other. The provider ``gate`` notes who asks,
#: and answers as soon as the gate is open. The tool ``api`` also notes how many calls are in flight.
CHAIN = """
    import os
    import signal
    import time
    from pathlib import Path

    from kando.emit import ask, call_tool, create
    from kando.kit import Kit
    from kando.ledger.sqlite_substrate import SQLiteSubstrate
    from kando.plugins import KitSpec, ProviderSpec, hookimpl

    kit = Kit("chain", version="1")

    @kit.seeds
    def seeds(goal, run_id):
        return [create("Goal", {"text": goal}, id="goal")]

    @kit.tool("api", max_parallel=1, effect="read")
    def api(n: int) -> int:
        room = Path(os.environ["ROOM"])
        (room / f"{os.getpid()}-{n}").touch()
        with open(os.environ["CALLS"], "a") as file:
            print(os.getpid(), file=file)
        with open(os.environ["BUSY"], "a") as file:
            print(len(list(room.iterdir())), file=file)
        while not os.path.exists(os.environ["GATE"]):
            time.sleep(0.01)
        time.sleep(0.05)
        (room / f"{os.getpid()}-{n}").unlink()
        return n

    @kit.responder("object.created", type="Goal")
    def on_goal(event, world):
        if event.data["data"]["text"] == "api":
            for n in range(4):
                yield call_tool("api", {"n": n})
            return
        if event.data["data"]["text"] == "several":
            for n in range(4, 8):
                yield ask([{"role": "user", "content": str(n)}], about=event)
        if event.data["data"]["text"] in ("several", "nothing"):
            return
        yield ask([{"role": "user", "content": "0"}], about=event)

    @kit.responder("llm.response")
    def on_answer(event, world):
        if int(event.data["text"]) < 3:
            yield ask([{"role": "user", "content": event.data["text"]}], about="goal")

    def open_gate(argument, environ):
        def worst_case_usd(request):
            if "STOPS_IN" in environ:
                with SQLiteSubstrate(environ["STORE"], read_only=True) as store:
                    claim = store.claim_of(environ["STOPS_IN"])
                # The job has begun, and its calls have not.
                if claim is not None and claim.worker.pid == os.getpid():
                    del environ["STOPS_IN"]
                    os.kill(os.getpid(), signal.SIGSTOP)
            return 0.5

        def complete(request):
            with open(environ["CALLS"], "a") as file:
                print(os.getpid(), file=file)
            with open(environ["RESOURCES"], "a") as file:
                pages = Path("/proc/self/statm").read_text().split()[1]
                print(len(os.listdir("/proc/self/fd")), pages, file=file)
            while not os.path.exists(environ["GATE"]):
                time.sleep(0.01)
            text = str(int(request["messages"][-1]["content"]) + 1)
            return {"text": text, "model": "gate", "cost_usd": 0.5}
        # A connection, which ends when the provider is closed.
        connection = os.open(os.devnull, os.O_RDONLY)
        complete.close = lambda: os.close(connection)
        complete.worst_case_usd = worst_case_usd
        return complete

    @hookimpl
    def kando_kits():
        return [KitSpec("chain", "chain_plugin:kit", "three questions")]

    @hookimpl
    def kando_providers():
        return [ProviderSpec("gate", "chain_plugin:open_gate", summary="waits for a gate")]
"""


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


class Scene:
    """The kit ``chain``, its processes, and what they did."""

    def __init__(self, environ: dict[str, str], root: Path) -> None:
        self.store = root / "runs.sqlite"
        self.calls, self.gate = root / "calls", root / "gate"
        self.busy, room = root / "busy", root / "room"
        self.resources = root / "resources"
        room.mkdir()
        self.processes: list[subprocess.Popen[str]] = []
        self.environ = environ | {
            "KANDO_LEDGER": f"sqlite:{self.store}",
            "CALLS": str(self.calls),
            "GATE": str(self.gate),
            "BUSY": str(self.busy),
            "STORE": str(self.store),
            "RESOURCES": str(self.resources),
            "ROOM": str(room),
        }

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "kando.cli.main", *arguments],
            env=self.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def do(self, *arguments: str, **variables: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **variables)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def owner(
        self,
        *,
        by: str = "run",
        goal: str = "x",
        options: Sequence[str] = (),
        **variables: str,
    ) -> tuple[subprocess.Popen[str], str]:
        """Start a run, and return the process that works on it and its id, during its first call.

        Args:
            by: the command of that process: ``run``, ``resume`` or ``worker``.
            goal: of the run.
            options: of that command.
            variables: of the environment of the process.
        """
        if by == "run":
            process = self.start(
                "run", "chain", "--goal", goal, "--llm", "gate", *options, **variables
            )
            assert process.stdout is not None
            run_id = process.stdout.readline().strip()
        else:
            group = ["--group", "g"] if by == "worker" else []
            run_id = self.do("run", "chain", "--goal", goal, *group)[1].strip()
            process = self.start(*self.command(by, run_id), *options, **variables)
        until(self.callers)
        return process, run_id

    def command(self, by: str, run_id: str) -> list[str]:
        """Return the arguments of a command that works on a run."""
        options = ["--llm", "gate"]
        if by == "resume":
            return ["resume", run_id, *options]
        return ["worker", "--group", "g", "--until-idle", *options]

    def wait_for_a_free_worker(self) -> None:
        """Wait until a worker has worked on a new run; by then it has passed the jobs before it."""
        run_id = self.do("run", "chain", "--goal", "nothing", "--group", "g")[1].strip()
        until(lambda: self.status(run_id)["state"] == "finished")

    def callers(self) -> Counter[int]:
        """Return how many calls each process made, by process id."""
        text = self.calls.read_text() if self.calls.exists() else ""
        return Counter(map(int, text.split()))

    def claim(self, run_id: str) -> Claim | None:
        with SQLiteSubstrate(self.store, read_only=True) as substrate:
            return substrate.claim_of(run_id)

    def types(self, run_id: str) -> Counter[str]:
        with SQLiteSubstrate(self.store, read_only=True) as substrate:
            return Counter(event.type for event in substrate.open(run_id).read_all())

    def status(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.do("status", run_id, "--json")[1])
        return found
