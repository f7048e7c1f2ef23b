"""Random budgets with random runs: no limit is ever exceeded, and no work is ever lost."""

import os
import threading
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from kando.cache.llm import LLMCache
from kando.emit import ask, call_tool, create, patch
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.base import Responder
from kando.responders.budget import Budget
from kando.responders.executor import ToolExecutorResponder
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime
from kando.schema.events import (
    BUDGET_EXHAUSTED,
    LLM_RESPONSE,
    OBJECT_CREATED,
    TOOL_RETURNED,
    KandoEvent,
    make_event,
)
from kando.world.graph import World

pytestmark = pytest.mark.long


@attrs.frozen
class Program:
    """A kit as a table: how many objects, requests and tool calls follow each object."""

    seeds: int
    rows: tuple[tuple[int, int, int], ...]
    prices: tuple[float, ...]
    tokens: tuple[int, ...]
    tells_worst_case: bool


programs = st.builds(
    Program,
    st.integers(1, 2),
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=3
    ).map(tuple),
    st.lists(st.integers(0, 40).map(lambda n: n / 100), min_size=1, max_size=5).map(tuple),
    st.lists(st.integers(0, 300), min_size=1, max_size=5).map(tuple),
    st.booleans(),
)


def limit(largest: int, unit: float = 1) -> st.SearchStrategy[Any]:
    return st.none() | st.integers(0, largest).map(lambda n: n * unit if unit != 1 else n)


budgets = st.builds(
    Budget,
    max_events=limit(90),
    max_llm_cost_usd=limit(200, 0.01),
    max_recursion_depth=limit(12),
    max_llm_calls=limit(12),
    max_llm_tokens=limit(15_000),
    max_tool_calls=limit(8),
)


class Provider:
    """A local model with random prices, which counts the calls that reach it."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.lock = threading.Lock()
        self.calls = 0
        self.cost_usd = 0.0
        self.tools = 0
        if program.tells_worst_case:
            # At least the cost of any answer; sometimes far more.
            self.worst_case_usd = lambda request: max(program.prices)

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        program, n = self.program, sum(request["messages"][-1]["content"].encode())
        cost = program.prices[n % len(program.prices)]
        with self.lock:
            self.calls += 1
            self.cost_usd += cost
        used = program.tokens[n % len(program.tokens)]
        usage = {"input_tokens": used // 2, "output_tokens": used - used // 2}
        return {"text": f"answer {n}", "model": "m", "cost_usd": cost, "usage": usage}

    def tool(self, n: int) -> int:
        with self.lock:
            self.tools += 1
        return n * 2


def runtime_on(
    ledger: MemoryLedgerStore, provider: Provider, cache: LLMCache, **options: Any
) -> Runtime:
    program = provider.program

    def on_thing(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        level, path = event.data["data"]["level"], event.data["data"]["path"]
        things, questions, calls = program.rows[level % len(program.rows)]
        for n in range(things if level < 2 else 0):
            yield create("Thing", {"level": level + 1, "path": f"{path}/{n}"})
        for n in range(questions):
            yield ask([{"role": "user", "content": f"{path} {n}"}], about=event, max_tokens=300)
        for n in range(calls):
            yield call_tool("double", {"n": level + n}, about=event)

    def on_answer(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        about = event.data["cause_object_id"]
        yield patch(about, {"answers": world.objects[about].data.get("answers", 0) + 1})

    responders = [
        Responder("things", OBJECT_CREATED, on_thing, object_type="Thing"),
        Responder("answers", {LLM_RESPONSE, TOOL_RETURNED}, on_answer),
        ToolExecutorResponder({"double": provider.tool}),
        provider_executor(provider),
    ]
    return Runtime(ledger, responders, cache=cache, edge_logic=(), save_interval=0, **options)


def seeds_of(program: Program) -> list[KandoEvent]:
    data = [{"level": 0, "path": str(n)} for n in range(program.seeds)]
    return [
        make_event(OBJECT_CREATED, "", "cli", [], {"type": "Thing", "data": each}) for each in data
    ]


def steps(ledger: MemoryLedgerStore) -> list[Any]:
    """Return a ledger without its exhaustion events, with ids independent of positions."""
    events = [event for event in ledger.read_all() if event.type != BUDGET_EXHAUSTED]
    key_of = {event.id: event.lineage_key for event in events}
    named = ("trigger",)
    return [
        (
            event.lineage_key,
            event.type,
            event.actor,
            [key_of[cause] for cause in event.cause],
            {k: key_of[v] if k in named else v for k, v in event.data.items()},
        )
        for event in events
    ]


def spent_in(ledger: MemoryLedgerStore) -> dict[str, float]:
    events = [event for event in ledger.read_all() if event.type != BUDGET_EXHAUSTED]
    answers = [e.data for e in events if e.type == LLM_RESPONSE and not e.data.get("cached")]
    return {
        "max_events": len(events),
        "max_llm_cost_usd": sum(data["cost_usd"] for data in answers),
        "max_llm_calls": len(answers),
        "max_llm_tokens": sum(sum(data["usage"].values()) for data in answers),
        "max_tool_calls": sum(e.type == TOOL_RETURNED for e in events),
    }


@settings(max_examples=100 if "TOX_ENV_NAME" in os.environ else 1000, deadline=None)
@given(programs, budgets, st.integers(1, 6))
def test_no_limit_is_exceeded_and_a_resumed_run_ends_like_an_unlimited_one(
    program: Program, budget: Budget, parallel: int
) -> None:
    provider, cache = Provider(program), LLMCache()
    ledger = MemoryLedgerStore("r")
    seeds = seeds_of(program)
    runtime = runtime_on(ledger, provider, cache, budget=budget, max_parallel_calls=parallel)
    runtime.run(seeds)

    spent = spent_in(ledger)
    for name, value in spent.items():
        limit = getattr(budget, name)
        # The limit can only be exceeded by a model without a worst case, with its dearest call.
        if limit is not None and (program.tells_worst_case or name != "max_llm_cost_usd"):
            assert value <= limit + 1e-6, name
    # The calls that reached the model do not exceed the limits either, recorded or not.
    if program.tells_worst_case and budget.max_llm_cost_usd is not None:
        assert provider.cost_usd <= budget.max_llm_cost_usd + 1e-6
    if budget.max_llm_calls is not None:
        assert provider.calls <= budget.max_llm_calls
    if budget.max_tool_calls is not None:
        assert provider.tools <= budget.max_tool_calls
    event(f"exhausted: {ledger.at(ledger.length() - 1).type == BUDGET_EXHAUSTED}")
    exhausted = [e for e in ledger.read_all() if e.type == BUDGET_EXHAUSTED]
    assert len(exhausted) <= 1
    assert all(event.data["reasons"] for event in exhausted)

    is_started = any(event.type == OBJECT_CREATED for event in ledger.read_all())
    again = runtime_on(ledger, provider, cache, max_parallel_calls=parallel)
    again.run([] if is_started else seeds)

    whole = MemoryLedgerStore("r")
    enough = runtime_on(whole, Provider(program), LLMCache(), max_parallel_calls=1)
    enough.run(seeds)
    assert steps(ledger) == steps(whole)
    if parallel == 1:
        assert again.replay(strict=True) == again.load() == enough.load()
