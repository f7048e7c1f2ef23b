"""While a live process works on a run, no other process makes a call of it or appends to it."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gated_runs import Scene, until
from kando.ledger.claims import Worker
from kando.ledger.sqlite_substrate import SQLiteSubstrate

Run = Callable[..., Any]
Start = Callable[..., subprocess.Popen[str]]

ELSEWHERE = Worker("elsewhere", 1)


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


@pytest.mark.parametrize("second", ["resume", "worker"])
@pytest.mark.parametrize("first", ["run", "resume", "worker"])
def test_of_two_live_processes_one_makes_a_call_of_a_run(
    scene: Scene, first: str, second: str
) -> None:
    owner, run_id = scene.owner(by=first)
    if second == "worker":
        scene.do("resume", run_id, "--group", "g")

    other = scene.start(*scene.command(second, run_id))
    if second == "worker":
        scene.wait_for_a_free_worker()
    else:
        other.communicate(timeout=60)
    assert scene.callers() == {owner.pid: 1}

    scene.gate.touch()
    for process in (owner, other):
        process.communicate(timeout=60)
    assert (owner.returncode, other.returncode) == (0, 8 if second == "resume" else 0)
    # Two workers of a group share the calls.
    assert scene.callers().total() == scene.types(run_id)["llm.response"] == 3
    assert first == second == "worker" or scene.callers() == {owner.pid: 3}
    assert scene.status(run_id)["state"] == "finished"


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


@pytest.mark.parametrize(("goal", "in_flight"), [("several", 4), ("api", 1)])
def test_an_owner_of_several_calls_makes_no_other_call_after_a_take_over(
    scene: Scene, tmp_path: Path, goal: str, in_flight: int
) -> None:
    owner, run_id = scene.owner(goal=goal, KANDO_LEASE_SECONDS="1")
    until(lambda: scene.callers()[owner.pid] == in_flight)
    os.kill(owner.pid, signal.SIGSTOP)
    until(lambda: (claim := scene.claim(run_id)) is not None and not claim.is_live())
    later = tmp_path / "later"
    second = scene.start("resume", run_id, "--llm", "gate", GATE=str(later))
    until(lambda: scene.callers()[second.pid] == in_flight)
    events = scene.types(run_id)

    scene.gate.touch()
    os.kill(owner.pid, signal.SIGCONT)
    _, err = owner.communicate(timeout=60)

    assert owner.returncode == 8
    assert "was taken over" in err
    assert scene.types(run_id) == events
    later.touch()
    second.communicate(timeout=60)
    assert second.returncode == 0
    assert scene.callers() == {owner.pid: in_flight, second.pid: 4}
    answers = "llm.response" if goal == "several" else "tool.returned"
    assert scene.types(run_id)[answers] == 4
    assert scene.status(run_id)["unread"] == 0
    assert scene.do("replay", run_id, "--strict")[0] == 0


def is_stopped(process: subprocess.Popen[str]) -> bool:
    """Whether SIGSTOP has stopped a process."""
    stat = Path(f"/proc/{process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


def test_a_worker_that_continues_after_its_job_was_taken_makes_no_call_of_it(scene: Scene) -> None:
    # With a limit, a worker asks what the request may cost before it makes the call.
    start = ["run", "chain", "--goal", "x", "--group", "g", "--budget-usd", "100"]
    run_id = scene.do(*start)[1].strip()
    worker = ["worker", "--group", "g", "--lease", "1", "--llm", "gate"]
    slow = scene.start(*worker, STOPS_IN=run_id)
    until(lambda: is_stopped(slow))
    fast = scene.start(*worker, "--until-idle")
    until(scene.callers)

    os.kill(slow.pid, signal.SIGCONT)
    scene.wait_for_a_free_worker()

    assert scene.callers() == {fast.pid: 1}
    scene.gate.touch()
    until(lambda: scene.status(run_id)["state"] == "finished")
    assert scene.callers().total() == scene.types(run_id)["llm.response"] == 3


def test_a_worker_that_continues_in_a_call_delivers_no_second_answer(scene: Scene) -> None:
    slow, run_id = scene.owner(by="worker", options=("--lease", "1"))
    os.kill(slow.pid, signal.SIGSTOP)
    fast = scene.start(*scene.command("worker", run_id), "--lease", "1")
    until(lambda: fast.pid in scene.callers())

    os.kill(slow.pid, signal.SIGCONT)
    scene.gate.touch()
    for process in (slow, fast):
        process.communicate(timeout=60)

    assert (slow.returncode, fast.returncode) == (0, 0)
    assert scene.callers().total() == 4
    assert scene.types(run_id)["llm.response"] == 3
    assert scene.status(run_id)["state"] == "finished"
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
    until(scene.callers)
    scene.gate.touch()
    for owner in owners:
        owner.communicate(timeout=60)

    assert [owner.returncode for owner in owners] == [0] * 3
    assert most_at_once(scene) == 1
    assert scene.callers() == {owner.pid: 4 for owner in owners}


def test_a_killed_process_holds_no_slot(scene: Scene) -> None:
    owner = scene.start("run", "chain", "--goal", "api")
    until(scene.callers)
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
    until(scene.callers)

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
