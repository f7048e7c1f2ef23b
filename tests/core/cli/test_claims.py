"""While a live process works on a run, no other process makes a call of it or appends to it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kando.ledger.claims import Claim, Worker
from kando.ledger.sqlite_substrate import SQLiteSubstrate

Run = Callable[..., Any]
Start = Callable[..., subprocess.Popen[str]]

ELSEWHERE = Worker("elsewhere", 1)

#: A goal that is asked about three times, one after the other. The provider ``gate`` notes who asks,
#: and answers as soon as the gate is open. The tool ``api`` also notes how many calls are in flight.
CHAIN = """
    import os
    import time
    from pathlib import Path

    from kando.emit import ask, call_tool, create
    from kando.kit import Kit
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
        yield ask([{"role": "user", "content": "0"}], about=event)

    @kit.responder("llm.response")
    def on_answer(event, world):
        if int(event.data["text"]) < 3:
            yield ask([{"role": "user", "content": event.data["text"]}], about="goal")

    def open_gate(argument, environ):
        def complete(request):
            with open(environ["CALLS"], "a") as file:
                print(os.getpid(), file=file)
            while not os.path.exists(environ["GATE"]):
                time.sleep(0.01)
            text = str(int(request["messages"][-1]["content"]) + 1)
            return {"text": text, "model": "gate", "cost_usd": 0.5}
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
        room.mkdir()
        self.processes: list[subprocess.Popen[str]] = []
        self.environ = environ | {
            "KANDO_LEDGER": f"sqlite:{self.store}",
            "CALLS": str(self.calls),
            "GATE": str(self.gate),
            "BUSY": str(self.busy),
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

    def owner(self, **variables: str) -> tuple[subprocess.Popen[str], str]:
        """Start a run, and return its process and its id while it waits for its first answer."""
        process = self.start("run", "chain", "--goal", "x", "--llm", "gate", **variables)
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        until(self.calls.exists)
        return process, run_id

    def callers(self) -> Counter[int]:
        """Return how many calls each process made, by process id."""
        return Counter(map(int, self.calls.read_text().split()))

    def claim(self, run_id: str) -> Claim | None:
        with SQLiteSubstrate(self.store, read_only=True) as substrate:
            return substrate.claim_of(run_id)

    def types(self, run_id: str) -> Counter[str]:
        with SQLiteSubstrate(self.store, read_only=True) as substrate:
            return Counter(event.type for event in substrate.open(run_id).read_all())

    def status(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.do("status", run_id, "--json")[1])
        return found


@pytest.fixture
def scene(
    environ: dict[str, str], install: Callable[[str, str], Path], tmp_path: Path
) -> Iterator[Scene]:
    install("chain", CHAIN)
    scene = Scene(environ, tmp_path)
    yield scene
    for process in scene.processes:
        with process:
            if process.poll() is None:
                process.kill()
            process.communicate()


def test_a_second_resume_makes_no_call_and_ends_with_8(scene: Scene) -> None:
    owner, run_id = scene.owner()

    code, out, err = scene.do("resume", run_id, "--llm", "gate")

    assert (code, out) == (8, "")
    assert f"{run_id} is running: process {owner.pid} on " in err
    assert "--take-over" in err
    error = json.loads(scene.do("resume", run_id, "--llm", "gate", "--json")[2])["error"]
    assert error["code"] == "run_busy"
    status = scene.status(run_id)
    assert status["state"] == "running"
    assert (status["claim"]["pid"], status["claim"]["group"]) == (owner.pid, None)
    assert status["claim"]["since"].endswith("Z")
    assert f"process {owner.pid}" in scene.do("status", run_id)[1]

    scene.gate.touch()
    owner.communicate(timeout=60)
    assert owner.returncode == 0
    assert scene.callers() == {owner.pid: 3}
    status = scene.status(run_id)
    assert (status["state"], status["claim"]) == ("finished", None)
    assert scene.do("resume", run_id)[0] == 0


def test_a_run_whose_owner_was_killed_is_resumed_at_once(scene: Scene) -> None:
    owner, run_id = scene.owner()
    owner.kill()
    owner.communicate()
    assert scene.status(run_id)["claim"] is None
    scene.gate.touch()

    second = scene.start("resume", run_id, "--llm", "gate")
    second.communicate(timeout=60)

    assert second.returncode == 0
    # The call that was in flight is made again.
    assert scene.callers() == {owner.pid: 1, second.pid: 3}


def test_a_stopped_owner_keeps_its_run_until_its_lease_ends(scene: Scene) -> None:
    owner, run_id = scene.owner(KANDO_LEASE_SECONDS="600")
    os.kill(owner.pid, signal.SIGSTOP)

    assert scene.do("resume", run_id, "--llm", "gate")[0] == 8

    scene.gate.touch()
    os.kill(owner.pid, signal.SIGCONT)
    owner.communicate(timeout=60)
    assert owner.returncode == 0
    assert scene.callers() == {owner.pid: 3}


def test_an_owner_that_continues_after_a_take_over_makes_no_call_and_no_event(
    scene: Scene, tmp_path: Path
) -> None:
    owner, run_id = scene.owner(KANDO_LEASE_SECONDS="1")
    os.kill(owner.pid, signal.SIGSTOP)
    until(lambda: (claim := scene.claim(run_id)) is not None and not claim.is_live())
    assert scene.status(run_id)["state"] != "running"
    later = tmp_path / "later"
    second = scene.start("resume", run_id, "--llm", "gate", GATE=str(later))
    until(lambda: second.pid in scene.callers())
    events = scene.types(run_id)

    # The owner has its answer. The other process has recorded nothing yet, so that an append of the
    # expected length would succeed.
    scene.gate.touch()
    os.kill(owner.pid, signal.SIGCONT)
    _, err = owner.communicate(timeout=60)

    assert owner.returncode == 8
    assert scene.types(run_id) == events
    later.touch()
    second.communicate(timeout=60)
    assert f"{run_id} was taken over by process {second.pid} on " in err
    assert second.returncode == 0
    assert scene.callers() == {owner.pid: 1, second.pid: 3}
    assert scene.types(run_id)["llm.response"] == 3
    assert scene.do("replay", run_id, "--strict")[0] == 0


def test_take_over_stops_a_live_owner(scene: Scene) -> None:
    owner, run_id = scene.owner(KANDO_LEASE_SECONDS="1")
    second = scene.start("resume", run_id, "--llm", "gate", "--take-over")
    until(lambda: second.pid in scene.callers())
    scene.gate.touch()

    owner.communicate(timeout=60)
    second.communicate(timeout=60)

    assert (owner.returncode, second.returncode) == (8, 0)
    assert scene.callers() == {owner.pid: 1, second.pid: 3}
    assert scene.types(run_id)["llm.response"] == 3


@pytest.mark.parametrize(("seconds", "state", "code"), [(600, "running", 8), (-1, "finished", 0)])
def test_a_claim_from_another_machine_counts_until_its_lease_ends(
    scene: Scene, seconds: float, state: str, code: int
) -> None:
    scene.gate.touch()
    run_id = scene.do("run", "chain", "--goal", "x", "--llm", "gate")[1].strip()
    with SQLiteSubstrate(scene.store) as substrate:
        assert substrate.claim(run_id, ELSEWHERE, seconds) is not None

    assert scene.status(run_id)["state"] == state
    listed = json.loads(scene.do("runs", "--json")[1])["items"][0]
    assert (listed["state"], listed["claim"] is not None) == (state, state == "running")
    assert scene.do("resume", run_id)[0] == code
    assert scene.do("resume", run_id, "--take-over")[0] == 0


def most_at_once(scene: Scene) -> int:
    return max(map(int, scene.busy.read_text().split()))


def test_a_limit_of_a_tool_holds_for_all_workers_of_a_run(scene: Scene) -> None:
    scene.gate.touch()
    run_id = scene.do("run", "chain", "--goal", "api", "--group", "g")[1].strip()

    workers = [scene.start("worker", "--group", "g", "--until-idle") for _ in range(4)]
    for worker in workers:
        worker.communicate(timeout=60)

    assert [worker.returncode for worker in workers] == [0] * 4
    assert most_at_once(scene) == 1
    assert scene.callers().total() == scene.types(run_id)["tool.returned"] == 4
    assert scene.status(run_id)["state"] == "finished"


def test_a_limit_of_a_tool_holds_for_all_runs_of_a_store(scene: Scene) -> None:
    owners = [scene.start("run", "chain", "--goal", "api") for _ in range(3)]
    until(scene.calls.exists)
    scene.gate.touch()
    for owner in owners:
        owner.communicate(timeout=60)

    assert [owner.returncode for owner in owners] == [0] * 3
    assert most_at_once(scene) == 1
    assert scene.callers() == {owner.pid: 4 for owner in owners}


def test_a_killed_process_holds_no_slot(scene: Scene) -> None:
    owner = scene.start("run", "chain", "--goal", "api")
    until(scene.calls.exists)
    owner.kill()
    owner.communicate()
    scene.gate.touch()

    second = scene.start("run", "chain", "--goal", "api")
    second.communicate(timeout=20)

    assert second.returncode == 0
    assert scene.callers() == {owner.pid: 1, second.pid: 4}


def test_a_run_of_which_a_worker_makes_a_call_is_not_resumed_meanwhile(scene: Scene) -> None:
    run_id = scene.do("run", "chain", "--goal", "x", "--group", "g")[1].strip()
    worker = scene.start("worker", "--group", "g", "--llm", "gate", "--until-idle")
    until(scene.calls.exists)

    code, _, err = scene.do("resume", run_id, "--llm", "gate")

    assert code == 8
    assert f"process {worker.pid} on " in err
    assert "makes a call of it" in err
    assert scene.claim(run_id) is None
    scene.gate.touch()
    worker.communicate(timeout=60)
    assert scene.callers() == {worker.pid: 3}
    assert scene.status(run_id)["state"] == "finished"
    assert scene.do("resume", run_id)[0] == 0


def test_a_lease_must_be_a_number(
    kando: Run, tiny: Path, environ: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KANDO_LEASE_SECONDS", "soon")

    done = kando("run", "tiny", "--goal", "x")

    assert done.returncode == 2
    assert "KANDO_LEASE_SECONDS" in done.stderr
