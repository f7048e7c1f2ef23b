"""The operator's limits override the arguments of clients."""

import os
import signal
from collections import Counter
from typing import Any

import anyio
import pytest
from mcp import Client

from kando.app.builtin import installed_plugins
from kando.app.daily_spending import DailySpending
from kando.app.store import open_store
from kando.ledger.claims import local_worker
from kando.responders.budget import Budget
from kando.schema.events import KandoEvent, make_event
from kando_mcp.settings import Settings, operator_limits
from mcp_host import Place, calling, refusal


def test_by_default_only_offline_providers_and_the_cache_answer(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        allowed = {p["name"]: p["is_allowed"] for p in (await call("list_kits"))["providers"]}
        assert (allowed["free"], allowed["costly"]) == (True, False)
        text = await refusal(client, "start_run", kit="tiny", goal="ask why", llm="costly")
        assert "--allow-live-llm" in text
        assert "free" in text
        assert (await call("list_runs"))["items"] == []

        waiting = await call("start_run", kit="tiny", goal="ask why", wait_s=45)
        assert (waiting["state"], waiting["unanswered"]) == ("waiting", 1)
        run_id = waiting["run_id"]
        assert "resume_run" in waiting["next_steps"][0]
        answered = await call("resume_run", run_id=run_id, llm="free", wait_s=45)
        assert (answered["state"], answered["llm_answered"]) == ("finished", 1)

        branch = await call("fork_run", run_id=run_id, fork_at=2, wait_s=45, **{"continue": True})
        assert branch["run"]["state"] == "finished"
        assert branch["run"]["llm_cached"] == 1

    # The provider in the environment is live, and is not used either.
    place.within(story, KANDO_LLM="costly")


def test_a_limit_per_run_overrides_a_larger_budget(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        arguments = {"kit": "tiny", "goal": "ask why", "llm": "costly", "wait_s": 45}
        spent = await call("start_run", **arguments, budget_usd=100)
        assert spent["state"] == "exhausted"
        assert spent["llm_cost_usd"] == 0.4
        nothing = await call("start_run", **arguments, budget_usd=0)
        assert (nothing["state"], nothing["llm_answered"]) == ("exhausted", 0)
        more = await call("resume_run", run_id=spent["run_id"], budget_usd=100, wait_s=45)
        assert (more["state"], more["llm_cost_usd"]) == ("exhausted", 0.4)

    place.within(story, Settings(limits=operator_limits(allows_live_llm=True, max_usd_per_run=0.3)))


def test_a_limit_per_day_covers_all_runs_and_servers(place: Place) -> None:
    async def first(client: Client) -> None:
        call = calling(client)
        arguments = {"kit": "tiny", "goal": "ask why", "llm": "costly", "wait_s": 45}
        states = [await call("start_run", **arguments) for _ in range(3)]
        # The price of a call is unknown: another one may cost as much as the first.
        assert [state["llm_cost_usd"] for state in states] == [0.4, 0.0, 0.0]
        assert [state["state"] for state in states] == ["finished", "exhausted", "exhausted"]

    async def second(client: Client) -> None:
        call = calling(client)
        arguments = {"kit": "tiny", "goal": "ask who", "llm": "costly", "wait_s": 45}
        assert (await call("start_run", **arguments))["llm_cost_usd"] == 0.0
        assert (await call("start_run", **{**arguments, "llm": "free"}))["state"] == "exhausted"

    place.within(first, Settings(limits=operator_limits(allows_live_llm=True, max_usd_per_day=0.6)))
    place.within(
        second, Settings(limits=operator_limits(allows_live_llm=True, max_usd_per_day=0.6))
    )


def test_a_run_that_the_limit_per_day_stopped_continues_with_a_higher_one(place: Place) -> None:
    stopped: list[str] = []

    async def first(client: Client) -> None:
        call = calling(client)
        arguments = {"kit": "tiny", "goal": "ask why", "llm": "priced", "wait_s": 45}
        assert (await call("start_run", **arguments))["llm_cost_usd"] == 0.25
        state = await call("start_run", **arguments)
        assert (state["state"], state["llm_cost_usd"]) == ("exhausted", 0.0)
        assert "per day" in state["next_steps"][0]
        stopped.append(state["run_id"])

    async def second(client: Client) -> None:
        state = await calling(client)("resume_run", run_id=stopped[0], llm="priced", wait_s=45)
        assert (state["state"], state["llm_cost_usd"]) == ("finished", 0.25)

    place.within(first, Settings(limits=operator_limits(allows_live_llm=True, max_usd_per_day=0.5)))
    place.within(
        second, Settings(limits=operator_limits(allows_live_llm=True, max_usd_per_day=0.6))
    )


@pytest.mark.parametrize("llm", ["priced", "costly"])
def test_twenty_parallel_runs_never_pass_the_limit_per_day(place: Place, llm: str) -> None:
    # With "priced", whose worst case is 0.3, three runs fit; with "costly", which states none, two.
    fitting, cost, limit = {"priced": (3, 0.25, 1.0), "costly": (2, 0.4, 1.1)}[llm]

    async def story(client: Client) -> None:
        call = calling(client)
        arguments = {"kit": "tiny", "goal": "ask gated", "llm": llm}
        states: list[dict[str, Any]] = []

        async def start() -> None:
            states.append(await call("start_run", **arguments, wait_s=45))

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(start)
            if llm == "priced":
                await _callers(place, fitting)
                place.open_gate()
        assert Counter(state["state"] for state in states) == {
            "finished": fitting,
            "exhausted": 20 - fitting,
        }
        assert sum(state["llm_cost_usd"] for state in states) == pytest.approx(fitting * cost)
        assert len(place.callers()) == (fitting if llm == "priced" else 0)

    place.within(
        story, Settings(limits=operator_limits(allows_live_llm=True, max_usd_per_day=limit))
    )


def test_a_call_in_flight_is_booked_until_its_process_ends(place: Place) -> None:
    settings = Settings(limits=operator_limits(allows_live_llm=True, max_usd_per_day=0.4))

    async def story(client: Client) -> None:
        call = calling(client)
        gated = {"kit": "tiny", "goal": "ask gated", "llm": "priced", "wait_s": 0}
        run_id = (await call("start_run", **gated))["run_id"]
        while not place.callers():
            await anyio.sleep(0.02)
        other = {"kit": "tiny", "goal": "ask why", "llm": "priced"}
        waiting = (await call("start_run", **other, wait_s=2))["run_id"]
        state = await call("get_run", run_id=waiting)
        assert (state["state"], state["llm_answered"]) == ("running", 0)

        os.kill(place.callers()[0], signal.SIGKILL)

        state = await call("get_run", run_id=waiting, wait_s=45)
        assert (state["state"], state["llm_cost_usd"]) == ("finished", 0.25)
        killed = await call("resume_run", run_id=run_id, llm="priced", wait_s=45)
        assert (killed["state"], killed["llm_cost_usd"]) == ("exhausted", 0.0)

    place.within(story, settings)


def test_only_so_many_runs_are_worked_on_at_once(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        gated = {"kit": "tiny", "goal": "gate", "wait_s": 0}
        runs = [(await call("start_run", **gated))["run_id"] for _ in range(2)]
        text = await refusal(client, "start_run", **gated)
        assert "--max-parallel-runs" in text
        assert len((await call("list_runs"))["items"]) == 2

        killed = local_worker((await _callers(place, 2))[0])
        os.kill(killed.pid, signal.SIGKILL)
        while killed.may_be_alive():
            await anyio.sleep(0.02)

        third = await call("start_run", kit="tiny", goal="plain", wait_s=45)
        assert third["state"] == "finished"
        place.open_gate()
        for run_id in runs:
            state = await call("resume_run", run_id=run_id, wait_s=45)
            assert state["state"] == "finished"

    place.within(story, Settings(max_parallel_runs=2))


async def _callers(place: Place, count: int) -> list[int]:
    while len(place.callers()) < count:
        await anyio.sleep(0.02)
    return place.callers()


def test_the_cost_of_a_day_is_counted_once_while_runs_grow(place: Place) -> None:
    environ = {"KANDO_LEDGER": place.environ["KANDO_LEDGER"]}
    spending = DailySpending()

    def answer(cost: float) -> KandoEvent:
        data = {"text": "", "model": "m", "cost_usd": cost}
        return make_event("llm.response", "", "x", [], data)

    with open_store(plugins=installed_plugins(environ), environ=environ) as store:
        substrate = store.context.substrate(read_only=False)
        one = substrate.create("one")
        one.append([answer(1), answer(2)])
        assert spending.today(store.context) == 3
        two = substrate.fork("one", 1, "two")
        assert spending.today(store.context) == 3
        one.append([answer(4)])
        two.append([answer(8)])
        assert spending.today(store.context) == spending.today(store.context) == 15
        assert DailySpending().today(store.context) == 15


def test_runs_in_memory_are_refused_because_no_other_process_can_read_them(place: Place) -> None:
    async def story(client: Client) -> None:
        text = await refusal(client, "start_run", kit="tiny", goal="plain")
        assert "--ledger sqlite:" in text

    place.within(story, KANDO_LEDGER="memory:")


def test_a_client_cannot_name_a_file_or_emit_a_call(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        text = await refusal(client, "start_run", kit="tiny", goal="plain", llm="free:/dev/zero")
        assert "a client must not name" in text
        assert (await call("list_runs"))["items"] == []
        run_id = (await call("start_run", kit="tiny", goal="plain", wait_s=45))["run_id"]
        fork = {"run_id": run_id, "fork_at": 2}
        assert "must not name" in await refusal(client, "fork_run", **fork, model="free:/dev/zero")
        assert "must not name" in await refusal(client, "fork_run", **fork, llm="costly:x")
        for type in ("tool.called", "llm.request", "llm.response"):
            events = [{"type": type, "data": {}}]
            assert "responder" in await refusal(client, "fork_run", **fork, events=events)
        assert len((await call("list_runs"))["items"]) == 1
        named = await call("start_run", kit="tiny", goal="ask why", llm="free:here", wait_s=45)
        assert named["state"] == "finished"

    place.within(
        story, Settings(limits=operator_limits(allows_live_llm=True)), KANDO_LLM="free:here"
    )


def test_the_operators_limits_hold_for_each_run(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        stopped = await call("start_run", kit="tiny", goal="plain hello", wait_s=45)
        assert stopped["state"] == "exhausted"
        assert stopped["problem"] == "max_events"

    place.within(story, Settings(limits=operator_limits(budget=Budget(max_events=3))))
