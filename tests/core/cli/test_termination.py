"""SIGTERM and SIGHUP end a process in order: the calls in flight return first, and are kept."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gated_runs import Scene, until
from kando.app.store import open_store

SIGNALS = [signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def default_signals() -> Iterator[None]:
    """Give the processes of a test Python's reaction to signals, even if the tests run under nohup."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def announced(process: subprocess.Popen[str]) -> str:
    """Return the line with which a process reacts to a signal."""
    assert process.stderr is not None
    for line in process.stderr:
        if "ending" in line:
            return line
    raise AssertionError("it ended without an announcement")


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(("command", "code"), [("run", 130), ("resume", 130), ("worker", 0)])
def test_a_process_that_is_asked_to_end_keeps_the_answer_of_its_call(
    scene: Scene, command: str, code: int, number: signal.Signals
) -> None:
    first, run_id = scene.owner(by=command, options=["--grace", "600"])

    first.send_signal(number)
    assert "600 s" in announced(first)
    # Service managers send both signals; the second one changes nothing.
    for again in SIGNALS:
        first.send_signal(again)
    scene.gate.touch()
    first.communicate(timeout=60)

    assert first.returncode == code
    assert scene.callers() == {first.pid: 1}
    assert scene.status(run_id)["claim"] is None
    second = scene.start(*scene.command("worker" if command == "worker" else "resume", run_id))
    second.communicate(timeout=60)
    assert second.returncode == 0
    assert scene.callers() == {first.pid: 1, second.pid: 2}
    assert scene.types(run_id)["llm.response"] == 3
    assert scene.status(run_id)["state"] == "finished"


def test_a_run_that_is_asked_to_end_keeps_the_answers_of_parallel_calls(scene: Scene) -> None:
    first, run_id = scene.owner(goal="several")
    until(lambda: scene.callers()[first.pid] == 4)

    first.send_signal(signal.SIGTERM)
    announced(first)
    scene.gate.touch()
    first.communicate(timeout=60)

    assert first.returncode == 130
    assert scene.do("resume", run_id, "--llm", "gate")[0] == 0
    assert scene.callers() == {first.pid: 4}
    assert scene.types(run_id)["llm.response"] == 4


@pytest.mark.parametrize("command", ["run", "worker"])
def test_a_process_ends_when_its_grace_has_passed(scene: Scene, command: str) -> None:
    first, run_id = scene.owner(by=command, options=["--grace", "0.2"])

    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=60)

    assert first.returncode == 130
    scene.gate.touch()
    second = scene.start(*scene.command("worker" if command == "worker" else "resume", run_id))
    second.communicate(timeout=60)
    assert second.returncode == 0
    # Its call is made again.
    assert scene.callers() == {first.pid: 1, second.pid: 3}
    assert scene.status(run_id)["state"] == "finished"


def test_a_worker_without_a_job_ends_at_once(scene: Scene) -> None:
    worker = scene.start("worker", "--group", "g", "--llm", "gate")
    scene.wait_for_a_free_worker()

    worker.send_signal(signal.SIGTERM)
    out, _ = worker.communicate(timeout=60)

    assert (worker.returncode, out) == (0, "1 jobs done\n")


def test_a_process_under_nohup_ignores_sighup(scene: Scene) -> None:
    ignoring = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        owner, run_id = scene.owner()
    finally:
        signal.signal(signal.SIGHUP, ignoring)

    owner.send_signal(signal.SIGHUP)
    scene.gate.touch()
    owner.communicate(timeout=60)

    assert owner.returncode == 0
    assert scene.callers() == {owner.pid: 3}
    assert scene.status(run_id)["state"] == "finished"


def may_unshare() -> bool:
    """Whether this user may give a process a namespace of process ids."""
    found = shutil.which("unshare")
    command = ["unshare", "--pid", "--fork", "true"]
    return found is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not may_unshare(), reason="needs the right to unshare a namespace")
@pytest.mark.parametrize(("command", "code"), [("run", 130), ("worker", 0)])
def test_process_1_of_a_container_ends_in_order(scene: Scene, command: str, code: int) -> None:
    group = ["--group", "g"] if command == "worker" else []
    words = ["run", "chain", "--goal", "x", "--llm", "gate"]
    if command == "worker":
        run_id = scene.do("run", "chain", "--goal", "x", *group)[1].strip()
        words = ["worker", *group, "--llm", "gate"]
    with subprocess.Popen(
        ["unshare", "--pid", "--fork", sys.executable, "-m", "kando.cli.main", *words],
        env=scene.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as outside:
        scene.processes.append(outside)
        until(scene.callers)
        assert scene.callers() == {1: 1}
        children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        announced(outside)
        scene.gate.touch()
        out, _ = outside.communicate(timeout=60)

    assert outside.returncode == code
    assert scene.callers() == {1: 1}
    run_id = run_id if command == "worker" else out.split()[0]
    assert scene.do(*scene.command("worker" if group else "resume", run_id))[0] == 0
    assert scene.types(run_id)["llm.response"] == 3
    assert scene.callers().total() == 3


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_the_handles_and_the_memory_of_a_worker_do_not_grow_with_its_jobs(scene: Scene) -> None:
    scene.gate.touch()
    with open_store(f"sqlite:{scene.store}", environ={}) as store:
        for _ in range(34):
            store.start("chain", "several", group="g")

    _, out, _ = scene.do("worker", "--group", "g", "--until-idle", KANDO_LLM="gate")

    jobs = int(out.split()[0])
    assert jobs >= 200
    measured = [line.split() for line in scene.resources.read_text().splitlines()]
    handles, pages = zip(*[(int(each), int(more)) for each, more in measured], strict=True)
    assert len(measured) == 4 * 34
    # A job that is done meanwhile may have a few open.
    assert max(handles[20:]) <= min(handles[20:]) + 6
    assert min(handles[-20:]) == min(handles[20:])
    # In pages: the heap may be divided otherwise, but holds nothing of each job.
    assert max(pages[50:]) - max(pages[20:50]) < 500
