"""Runs that outlive the call, the server and the host that started them."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from mcp import Client

from kando.app.builtin import installed_plugins
from kando.app.resume import RunResult
from kando.app.run import Run
from kando.app.store import open_store
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.ledger.verification import verify
from kando_mcp.server import create_server
from kando_mcp.worker import process
from kando_mcp.worker.order import Order
from mcp_host import HANG_SECONDS, MODES, Place, calling, refusal

both_modes = pytest.mark.parametrize("mode", MODES)

# A host in a separate process that can be killed: it starts a run and keeps running.
HOST = """
import sys
from pathlib import Path

import anyio

sys.path.insert(0, {helpers!r})
from mcp_host import HANG_SECONDS, Place, calling


async def story(client):
    state = await calling(client)("start_run", kit="tiny", goal="gate", wait_s=0)
    print(state["run_id"], state["state"], flush=True)
    await anyio.sleep_forever()


place = Place.__new__(Place)
place.root, place.environ = Path({root!r}), {environ!r}
place.drive(story, mode={mode!r})
"""


def store_of(place: Place) -> SQLiteSubstrate:
    return SQLiteSubstrate(place.root / "store.sqlite", read_only=True)


def event_types(place: Place, run_id: str) -> list[str]:
    with store_of(place) as store:
        ledger = store.open(run_id)
        assert verify(ledger).is_intact
        ids = [event.id for event in ledger.read_all()]
        assert len(set(ids)) == len(ids)
        return [event.type for event in ledger.read_all()]


def kill_worker(place: Place, run_id: str) -> None:
    with store_of(place) as store:
        claim = store.claim_of(run_id)
    assert claim is not None
    os.kill(claim.worker.pid, signal.SIGKILL)


@both_modes
def test_a_run_survives_the_sigkill_of_its_host_and_finishes(
    place: Place, mode: Literal["auto", "legacy"], tmp_path: Path
) -> None:
    script = tmp_path / "host.py"
    helpers = str(Path(__file__).parents[1] / "helpers")
    script.write_text(
        HOST.format(helpers=helpers, root=str(place.root), environ=place.environ, mode=mode)
    )
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as host:
        assert host.stdout is not None
        run_id, state = host.stdout.readline().split()
        os.kill(host.pid, signal.SIGKILL)
    assert state == "running"
    place.open_gate()

    async def another_host(client: Client) -> None:
        call = calling(client)
        state = await call("get_run", run_id=run_id, wait_s=45)
        assert (state["state"], state["objects"]["Gate"]) == ("finished", 3)
        whole = await call("start_run", kit="tiny", goal="gate", wait_s=45)
        assert event_types(place, run_id) == event_types(place, whole["run_id"])

    place.drive(another_host, mode=mode)


def test_a_run_whose_worker_was_killed_resumes_without_loss(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        run_id = (await call("start_run", kit="tiny", goal="gate", wait_s=0))["run_id"]
        kill_worker(place, run_id)
        killed = await call("get_run", run_id=run_id, wait_s=45)
        assert killed["state"] in ("stopped", "waiting")
        assert "resume_run" in killed["next_steps"][0]
        place.open_gate()

        resumed = await call("resume_run", run_id=run_id, wait_s=45)

        assert resumed["state"] == "finished"
        whole = await call("start_run", kit="tiny", goal="gate", wait_s=45)
        assert event_types(place, run_id) == event_types(place, whole["run_id"])
        again = await call("resume_run", run_id=run_id, wait_s=45)
        assert again["events"] == resumed["events"]

    place.within(story)


@both_modes
def test_cancelling_a_call_stops_the_wait_and_cancel_run_stops_the_run(
    place: Place, mode: Literal["auto", "legacy"]
) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        messages: list[str] = []
        waiting = anyio.CancelScope()

        async def progress(done: float, total: float | None, message: str | None) -> None:
            messages.append(message or "")
            assert total == 45
            waiting.cancel()

        run_id = (await call("start_run", kit="tiny", goal="gate", wait_s=0))["run_id"]
        with waiting:
            arguments = {"run_id": run_id, "wait_s": 45}
            await client.call_tool("get_run", arguments, progress_callback=progress)
        assert waiting.cancelled_caught
        assert run_id in messages[0]
        assert (await call("get_run", run_id=run_id))["state"] == "running"
        assert (await call("resume_run", run_id=run_id, wait_s=0))["state"] == "running"

        assert (await call("cancel_run", run_id=run_id, wait_s=0))["state"] == "running"
        place.open_gate()
        cancelled = await call("get_run", run_id=run_id, wait_s=45)
        assert cancelled["state"] == "cancelled"
        assert cancelled["objects"].get("Gate", 0) < 3
        assert "fork_run" in await refusal(client, "resume_run", run_id=run_id)

    place.within(story, mode=mode)


def test_cancel_run_cancels_a_run_without_a_worker(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        waiting = await call("start_run", kit="tiny", goal="ask why", wait_s=45)
        assert (waiting["state"], waiting["unanswered"]) == ("waiting", 1)
        assert (await call("cancel_run", run_id=waiting["run_id"]))["state"] == "cancelled"
        assert (await call("cancel_run", run_id=waiting["run_id"]))["state"] == "cancelled"

    place.within(story)


def test_a_run_with_a_timer_resumes_when_it_is_due(place: Place) -> None:
    async def story(client: Client) -> None:
        state = await calling(client)("start_run", kit="tiny", goal="wait 0.2", wait_s=45)
        assert (state["state"], state["timers"]) == ("finished", 0)

    place.within(story)


def test_an_answer_is_read_while_the_previous_worker_is_exiting(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        state = await call("start_run", kit="tiny", goal="pay 7", wait_s=0)
        while not (state["state"] == "waiting" and state["approvals"]):
            state = await call("get_run", run_id=state["run_id"], wait_s=0.1)
        run_id, (asked,) = state["run_id"], state["approvals"]
        answer = {"event_id": asked["event_id"], "approved": True, "wait_s": 0}
        await call("answer_approval", run_id=run_id, **answer)
        place.open_gate()
        assert (await call("get_run", run_id=run_id, wait_s=45))["state"] == "finished"

    place.within(story, LINGER="1")


def test_a_worker_that_starts_slowly_keeps_its_claim(place: Place) -> None:
    slow = "import os, time\ntime.sleep(float(os.environ.get('SLOW_START', 0)))\n"
    (place.root / "installed" / "sitecustomize.py").write_text(slow)

    async def story(client: Client) -> None:
        # Longer than the lease: without a claim, another host would start a second worker.
        call = calling(client)
        state = await call("start_run", kit="tiny", goal="plain", wait_s=0)
        while state["state"] == "running":
            state = await call("get_run", run_id=state["run_id"], wait_s=0.2)
        assert state["state"] == "finished"

    place.within(story, SLOW_START="4", KANDO_LEASE_SECONDS="1")


def test_a_worker_reads_an_answer_sent_as_it_stops(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"KANDO_LEDGER": place.environ["KANDO_LEDGER"]}
    with open_store(plugins=installed_plugins(environ), environ=environ) as store:
        run_id = store.start("tiny", "pay 7", work=False).id

        def resume_then_answer(run: Run, **options: Any) -> RunResult:
            """Answer after the process has read its inbox for the last time."""
            result = resume(run, **options)
            for asked in store.run(run_id).approvals():
                store.run(run_id).approve(asked.event_id)
            return result

        resume = Run.resume
        monkeypatch.setattr(Run, "resume", resume_then_answer)
        assert process.work(Order(run_id, store.url)) is None
        assert store.run(run_id).status().state == "finished"


def test_a_second_host_does_not_start_a_worker_for_a_run_that_waits_for_a_timer(
    place: Place,
) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        run_id = (await call("start_run", kit="tiny", goal="wait 3000", wait_s=0))["run_id"]
        state = await call("get_run", run_id=run_id, wait_s=0)
        while not state["timers"]:
            state = await call("get_run", run_id=run_id, wait_s=0.1)
        with store_of(place) as store:
            first = store.claim_of(run_id)
        assert first is not None

        async def another(host: Client) -> None:
            state = await calling(host)("resume_run", run_id=run_id, wait_s=0)
            assert (state["state"], state["timers"]) == ("running", 1)

        async with Client(create_server(place.environ)) as host:
            await another(host)
        with store_of(place) as store:
            claim = store.claim_of(run_id)
        assert claim is not None
        assert (claim.worker, claim.epoch) == (first.worker, first.epoch)
        assert (await call("cancel_run", run_id=run_id, wait_s=45))["state"] == "cancelled"

    place.within(story)


def test_two_hosts_on_one_store_see_all_runs_and_start_one_worker_per_run(place: Place) -> None:
    async def connected(first: Client, second: Client) -> None:
        one, two = calling(first), calling(second)
        started: list[str] = []

        async def start(call: Any) -> None:
            started.append((await call("start_run", kit="tiny", goal="plain", wait_s=0))["run_id"])

        async with anyio.create_task_group() as tasks:
            for call in (one, two, one, two):
                tasks.start_soon(start, call)
        assert len(set(started)) == 4
        for call in (one, two):
            assert {item["run_id"] for item in (await call("list_runs"))["items"]} == set(started)
        for run_id in started:
            assert (await two("get_run", run_id=run_id, wait_s=45))["state"] == "finished"

        run_id = (await one("start_run", kit="tiny", goal="gate", wait_s=0))["run_id"]
        assert (await two("resume_run", run_id=run_id, wait_s=0))["state"] == "running"
        kill_worker(place, run_id)
        await one("get_run", run_id=run_id, wait_s=45)
        async with anyio.create_task_group() as tasks:
            for call in (one, two):
                tasks.start_soon(lambda call=call: call("resume_run", run_id=run_id, wait_s=0))
        place.open_gate()
        for call in (one, two):
            state = await call("get_run", run_id=run_id, wait_s=45)
            assert (state["state"], state["objects"]["Gate"]) == ("finished", 3)
        assert event_types(place, run_id).count("tool.returned") == 3

    async def both() -> None:
        with anyio.fail_after(HANG_SECONDS):
            async with (
                Client(place.parameters()) as first,
                Client(place.parameters(), mode="legacy") as second,
            ):
                await connected(first, second)

    anyio.run(both)
