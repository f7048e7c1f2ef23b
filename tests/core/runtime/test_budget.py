"""Limits of a run: what each counts, what it interrupts, and what it leaves pending."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kando.branch.fork import fork
from kando.cache.llm import LLMCache
from kando.emit import ask, call_tool, emit
from kando.errors import ConfigurationError, InvalidData
from kando.ledger.memory import MemoryLedgerStore, MemorySubstrate
from kando.responders.base import Responder
from kando.responders.budget import Budget, BudgetEnforcer
from kando.responders.executor import ToolExecutorResponder
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime
from kando.schema.events import (
    BUDGET_EXHAUSTED,
    BUDGET_SET,
    LLM_RESPONSE,
    TOOL_RETURNED,
    KandoEvent,
)
from kando.views.spending import Accounts, charge_of
from kando.world.graph import World


def question(n: int, **options: Any) -> KandoEvent:
    return ask([{"role": "user", "content": str(n)}], max_tokens=10, **options)


def answering(cost: float | None = 0.0, **more: Any) -> Any:
    def complete(request: dict[str, Any]) -> dict[str, Any]:
        return {"text": "x", "model": "m", "cost_usd": cost, **more}

    return complete


def run(
    events: list[KandoEvent], *responders: Any, budget: Budget | None = None, **options: Any
) -> tuple[MemoryLedgerStore, dict[str, Any] | None]:
    """Run seeds and return the ledger and the data of its ``budget.exhausted`` events."""
    ledger = options.pop("ledger", None) or MemoryLedgerStore("r1")
    Runtime(ledger, responders, budget, edge_logic=(), **options).run(events)
    last = ledger.at(ledger.length() - 1)
    return ledger, last.data if last.type == BUDGET_EXHAUSTED else None


def answers_in(ledger: MemoryLedgerStore) -> int:
    return sum(event.type in (LLM_RESPONSE, TOOL_RETURNED) for event in ledger.read_all())


@pytest.mark.parametrize("field", [field for field in Budget.__slots__ if field != "__weakref__"])
def test_a_limit_that_is_not_a_number_is_refused(field: str) -> None:
    for wrong in (-1, float("nan"), "3", True):
        with pytest.raises(ConfigurationError, match=field):
            Budget(**{field: wrong})


def test_llm_calls_are_counted_and_cached_answers_are_not() -> None:
    executor = provider_executor(answering())
    same = [question(1), question(1), question(2), question(3)]

    ledger, exhausted = run(same, executor, budget=Budget(max_llm_calls=2), cache=LLMCache())

    assert answers_in(ledger) == 3
    assert exhausted is not None
    assert exhausted["reasons"] == ["max_llm_calls"]
    assert exhausted["llm_calls"] == 2


def test_tokens_are_the_sum_of_input_and_output() -> None:
    usage = {"input_tokens": 30, "output_tokens": 10, "cached_tokens": 5}
    executor = provider_executor(answering(usage=usage))

    ledger, exhausted = run(
        [question(n) for n in range(9)], executor, budget=Budget(max_llm_tokens=1300)
    )

    # The worst case is the request, 1,024 tokens that a server may add, and the answer.
    assert exhausted is not None
    assert exhausted["llm_tokens"] == 40 * answers_in(ledger) <= 1300


def test_tool_calls_are_counted_unless_no_tool_was_called() -> None:
    tools = ToolExecutorResponder({"double": lambda n: 2 * n})
    wrong = [call_tool("double", {}), call_tool("double", {"m": 1})]

    ledger, exhausted = run(
        [*wrong, *(call_tool("double", {"n": n}) for n in range(3))],
        tools,
        budget=Budget(max_tool_calls=2),
    )

    assert answers_in(ledger) == 4
    assert exhausted is not None
    assert (exhausted["reasons"], exhausted["tool_calls"]) == (["max_tool_calls"], 2)


def test_the_cost_of_models_does_not_stop_a_tool_call() -> None:
    tools = ToolExecutorResponder({"double": lambda n: 2 * n})
    executor = provider_executor(answering(0.5))

    ledger, exhausted = run(
        [question(1), call_tool("double", {"n": 1})],
        executor,
        tools,
        budget=Budget(max_llm_cost_usd=0.5),
    )

    assert exhausted is None
    assert answers_in(ledger) == 2


def test_an_unknown_price_counts_as_the_fallback() -> None:
    executor = provider_executor(answering(None))
    budget = Budget(max_llm_cost_usd=1.0, fallback_usd_per_call=0.3)

    ledger, exhausted = run([question(n) for n in range(9)], executor, budget=budget)

    assert answers_in(ledger) == 3
    assert exhausted is not None
    assert exhausted["llm_cost_usd"] == pytest.approx(0.9)


def test_without_a_fallback_a_call_of_unknown_price_counts_as_a_cent() -> None:
    executor = provider_executor(answering(None))

    ledger, _ = run([question(n) for n in range(9)], executor, budget=Budget(max_llm_cost_usd=0.05))

    assert answers_in(ledger) == 5


def test_the_first_call_of_unknown_price_runs_alone_and_its_cost_is_assumed_for_the_others() -> (
    None
):
    lock, flying, most = threading.Lock(), [0], [0]

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        with lock:
            flying[0] += 1
            most[0] = max(most[0], flying[0])
        with lock:
            flying[0] -= 1
        return {"text": "x", "model": "m", "cost_usd": 0.4}

    ledger, exhausted = run(
        [question(n) for n in range(9)],
        provider_executor(complete),
        budget=Budget(max_llm_cost_usd=1.0),
    )

    assert answers_in(ledger) == 2
    assert exhausted is not None
    assert exhausted["llm_cost_usd"] == pytest.approx(0.8)


def test_calls_in_flight_are_reserved_at_their_worst_case() -> None:
    class Dear:
        """A model whose answers cost a cent, with a worst case of a dollar."""

        def __init__(self) -> None:
            self.calls = 0

        def worst_case_usd(self, request: dict[str, Any]) -> float:
            return 1.0

        def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
            self.calls += 1
            return {"text": "x", "model": "m", "cost_usd": 0.01}

    dear = Dear()
    questions = [question(n) for n in range(20)]

    ledger, exhausted = run(
        questions, provider_executor(dear), budget=Budget(max_llm_cost_usd=1.05)
    )

    assert exhausted is not None
    # One at a time, until the rest of the budget is less than the worst case of the next.
    assert answers_in(ledger) == dear.calls == 6


@pytest.mark.parametrize("estimate", [float("nan"), -1.0, "nothing", True, None])
def test_a_worst_case_that_is_not_an_amount_counts_as_unknown(estimate: Any) -> None:
    class Telling:
        def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
            return {"text": "yes", "model": "m", "cost_usd": 0.4}

        def worst_case_usd(self, request: dict[str, Any]) -> Any:
            return estimate

    ledger = MemoryLedgerStore("r1")
    questions = [question(n) for n in range(5)]
    Runtime(ledger, [provider_executor(Telling())], Budget(max_llm_cost_usd=1.0)).run(questions)

    # An unknown price counts as much as the most expensive answer so far.
    assert answers_in(ledger) == 2


@pytest.mark.parametrize("options", [{}, {"output_schema": {"type": "object"}}])
@pytest.mark.parametrize("answer", [None, [], "text", 7])
def test_an_answer_that_is_not_an_object_is_reported_as_such(
    answer: Any, options: dict[str, Any]
) -> None:
    ledger = MemoryLedgerStore("r1")

    Runtime(ledger, [provider_executor(lambda request: answer)]).run([question(0, **options)])

    (recorded,) = (e.data for e in ledger.read_all() if e.type == "llm.response")
    assert "not the data of an llm.response" in recorded["error"]["message"]


def test_a_call_in_flight_is_interrupted_when_time_is_up_and_repeated_on_resume() -> None:
    release, called = threading.Event(), []

    def stalls(request: dict[str, Any]) -> dict[str, Any]:
        called.append(1)
        if len(called) == 1:
            release.wait()
        return {"text": "x", "model": "m", "cost_usd": 0.0}

    executor = provider_executor(stalls)
    ledger, exhausted = run([question(1)], executor, budget=Budget(max_wall_seconds=0.1))
    release.set()

    assert exhausted is not None
    assert exhausted["reasons"] == ["max_wall_seconds"]
    assert answers_in(ledger) == 0
    # The time is also used up for a new process.
    assert run([], executor, ledger=ledger, budget=Budget(max_wall_seconds=0.1))[1] is not None
    assert run([], executor, ledger=ledger, budget=Budget(max_wall_seconds=60))[1] is None
    assert answers_in(ledger) == 1


def test_a_limit_includes_usage_before_a_restart() -> None:
    executor = provider_executor(answering(0.4))
    ledger, _ = run([question(1)], executor)

    _, exhausted = run([question(2)], executor, ledger=ledger, budget=Budget(max_llm_cost_usd=0.5))

    assert answers_in(ledger) == 1
    assert exhausted is not None
    assert exhausted["llm_cost_usd"] == pytest.approx(0.4)
    assert run([], executor, ledger=ledger, budget=Budget(max_llm_cost_usd=0.9))[1] is None
    assert answers_in(ledger) == 2


def test_a_branch_starts_with_the_spending_of_its_parent_at_the_fork() -> None:
    substrate, executor = MemorySubstrate(), provider_executor(answering(0.4))
    parent, _ = run([question(1), question(2)], executor, ledger=substrate.create("r1"))
    at = next(event.position for event in parent.read_all() if event.type == LLM_RESPONSE) + 2
    branch = fork(substrate, "r1", at, "b1")

    _, exhausted = run([], executor, ledger=branch, budget=Budget(max_llm_cost_usd=0.5))

    assert exhausted is not None
    assert exhausted["llm_cost_usd"] == pytest.approx(0.4)
    assert run([], executor, ledger=branch, budget=Budget(max_llm_cost_usd=0.8))[1] is None


def test_reaching_another_limit_is_recorded_again() -> None:
    executor = provider_executor(answering(0.4))
    ledger, _ = run([question(1)], executor, budget=Budget(max_llm_calls=0))

    _, exhausted = run([], executor, ledger=ledger, budget=Budget(max_llm_cost_usd=0))

    assert exhausted is not None
    assert exhausted["reasons"] == ["max_llm_cost_usd"]
    assert ledger.length() == 3


def test_no_call_is_made_whose_answer_could_not_be_recorded() -> None:
    called: list[int] = []
    tools = ToolExecutorResponder({"note": lambda n: called.append(n)})
    calls = [call_tool("note", {"n": n}) for n in range(5)]

    run(calls, tools, budget=Budget(max_events=6))

    assert called == []


def test_recording_events_without_running_makes_no_call() -> None:
    called: list[int] = []
    tools = ToolExecutorResponder({"note": lambda: called.append(1)})
    ledger = MemoryLedgerStore("r1")

    runtime = Runtime(ledger, [tools], save_interval=0)
    runtime.record([call_tool("note", {})])
    assert called == []

    runtime.run([])
    assert called == [1]


def test_only_working_time_counts() -> None:
    now = [0.0]
    account = BudgetEnforcer(Budget(max_wall_seconds=5), clock=lambda: now[0])
    account.start()
    now[0] += 3
    account.stop()
    now[0] += 1000
    account.start()
    now[0] += 1

    assert account.elapsed_seconds == 4
    assert account.seconds_left() == 1


def test_events_recorded_by_hand_are_charged_as_the_runtime_charges_them() -> None:
    ledger = MemoryLedgerStore("r")
    world = Runtime(ledger, [provider_executor(answering(0.5))], edge_logic=()).run(
        [question(1), question(2)]
    )
    by_hand = BudgetEnforcer(Budget(max_llm_cost_usd=0.9, max_events=100), run_id="r")

    for event in ledger.read_all():
        by_hand.record(event, world)

    assert (by_hand.event_count, by_hand.depth) == (ledger.length(), 1)
    assert (by_hand.llm_cost_usd, by_hand.accounts.llm_calls) == (1.0, 2)
    (exhausted,) = by_hand.violations(event)
    assert exhausted.data["reasons"] == ["max_llm_cost_usd"]
    assert by_hand.violations(exhausted) == []


def test_by_hand_the_clock_runs_from_the_start() -> None:
    now = [0.0]
    account = BudgetEnforcer(Budget(max_wall_seconds=5), "r", clock=lambda: now[0])
    event = question(1)

    now[0] += 4
    account.record(event, World())
    assert account.violations(event) == []

    now[0] += 2
    (exhausted,) = account.violations(event)
    assert (exhausted.source, exhausted.data["elapsed_seconds"]) == ("run:r", 6.0)


@pytest.mark.parametrize(
    ("answer", "charged"),
    [
        ({"text": "", "cost_usd": 0.5, "usage": {"input_tokens": 3}}, Accounts(1, 3, 0.5, 0, 0.5)),
        ({"text": "12345678", "cost_usd": 0.5}, Accounts(1, 2, 0.5, 0, 0.5)),
        ({"text": "", "cost_usd": None}, Accounts(1, 0, 0.0, 1)),
        ({"text": ""}, Accounts(1, 0, 0.0, 1)),
        ({"text": "", "cost_usd": 0.0, "cached": True}, Accounts()),
        ({"error": {"type": "Stalled"}}, Accounts(1)),
        ({"error": {"type": "Stalled"}, "cost_usd": None}, Accounts(1, 0, 0.0, 1)),
        ({"error": {"type": "Denied"}}, Accounts()),
        ({"text": "", "cost_usd": float("-1"), "usage": "none"}, Accounts(1, 0, 0.0, 1)),
        ({"text": "", "cost_usd": 3}, Accounts(1, 0, 3.0, 0, 3.0)),
        ({"text": "", "cost_usd": 10**400}, Accounts(1, 0, 0.0, 1)),
    ],
)
def test_an_answer_is_charged_by_its_usage_and_cost(
    answer: dict[str, Any], charged: Accounts
) -> None:
    found = charge_of(LLM_RESPONSE, answer)

    # Also with their types: 3 and 3.0 are equal, but different JSON.
    assert repr(found) == repr(charged)


def test_other_events_are_not_charged() -> None:
    accounts = Accounts(llm_calls=3)

    assert accounts.apply(emit("object.created", {"cost_usd": 3})) is accounts


LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "max_events": st.integers(0, 9),
        "max_llm_cost_usd": st.floats(0, 9),
        "max_tool_calls": st.integers(0, 9),
        "fallback_usd_per_call": st.floats(0, 9),
    },
)


@given(LIMITS, LIMITS)
def test_limits_are_combined_individually(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    one, other = Budget(**mine), Budget(**theirs)

    assert one.limits() == mine
    assert one.with_defaults(other).limits() == {**theirs, **mine}
    assert one.capped_by(other) == other.capped_by(one)
    stricter = one.capped_by(other).limits()
    assert stricter.keys() == mine.keys() | theirs.keys()
    for name, limit in stricter.items():
        known = [limits[name] for limits in (mine, theirs) if name in limits]
        # A larger fallback is stricter.
        assert limit == (max(known) if name == "fallback_usd_per_call" else min(known))


def test_a_responder_cannot_set_limits() -> None:
    def generous(event: Any, world: Any) -> Any:
        yield emit(BUDGET_SET, {"limits": {}})

    ledger = MemoryLedgerStore("r1")
    with pytest.raises(InvalidData, match="only the runtime records"):
        Runtime(ledger, [Responder("generous", {"go"}, generous)], edge_logic=()).run(
            [emit("go", {})]
        )

    assert [event.type for event in ledger.read_all()] == ["go", "responder.failed"]
