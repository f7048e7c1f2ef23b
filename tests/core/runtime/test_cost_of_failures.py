"""The known usage of a failed attempt is charged."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from kando.emit import ask
from kando.errors import KandoError
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.base import Retry
from kando.responders.budget import Budget
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime
from kando.schema.events import (
    BUDGET_EXHAUSTED,
    LLM_RESPONSE,
    RESPONDER_FAILED,
    KandoEvent,
)
from kando.views.metrics import measure
from kando.views.spending import Accounts


class CutOff(KandoError):
    """An answer was truncated, but its usage is known."""

    def __init__(self, spent: Any) -> None:
        super().__init__("cut off")
        self.spent = spent


class Model:
    """Fails first, answers then; a call costs 0.3 US dollars at most.

    Args:
        spent: what the error of the first call says that it used.
    """

    def __init__(self, spent: Any) -> None:
        self.spent = spent
        self.calls = 0

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        self.calls += 1
        if self.calls == 1:
            raise CutOff(self.spent)
        return {"text": "yes", "model": "m", "cost_usd": 0.2, "usage": {"output_tokens": 3}}

    def worst_case_usd(self, request: dict[str, Any]) -> float:
        return 0.3


USED = {"usage": {"input_tokens": 7, "output_tokens": 1}, "cost_usd": 0.4}


def failing_first(ledger: MemoryLedgerStore, spent: Any) -> Callable[[float], list[KandoEvent]]:
    """Run into the failure; return a function that resumes the run with a cost limit."""
    model = Model(spent)
    question = attrs.evolve(ask([{"role": "user", "content": "?"}]), actor="cli")
    with pytest.raises(CutOff):
        Runtime(ledger, [provider_executor(model)], edge_logic=()).run([question])

    def go_on(limit: float) -> list[KandoEvent]:
        budget = Budget(max_llm_cost_usd=limit)
        Runtime(ledger, [provider_executor(model)], budget, edge_logic=()).run([])
        return list(ledger.read_all())

    return go_on


def spent_in(events: list[KandoEvent]) -> Accounts:
    accounts = Accounts()
    for event in events:
        accounts = accounts.apply(event)
    return accounts


def test_usage_of_a_failed_attempt_is_recorded_and_charged() -> None:
    ledger = MemoryLedgerStore("r1")
    go_on = failing_first(ledger, USED)

    (failed,) = (e for e in ledger.read_all() if e.type == RESPONDER_FAILED)
    assert {name: failed.data[name] for name in USED} == USED
    exhausted = go_on(0.5)[-1]
    assert exhausted.type == BUDGET_EXHAUSTED
    assert exhausted.data["reasons"] == ["max_llm_cost_usd"]
    assert exhausted.data["llm_cost_usd"] == 0.4

    events = go_on(0.7)
    assert LLM_RESPONSE in [event.type for event in events]
    spent = spent_in(events)
    assert (spent.llm_calls, spent.llm_tokens, round(spent.llm_cost_usd, 9)) == (1, 11, 0.6)
    measured = measure(events)
    assert (measured.llm.answers, round(measured.llm.cost_usd, 9)) == (1, 0.6)
    assert measured.responders["cli"].llm.input_tokens == 7


def test_a_failed_attempt_of_unknown_price_counts_as_the_fallback() -> None:
    ledger = MemoryLedgerStore("r1")
    failing_first(ledger, USED | {"cost_usd": None})

    spent = spent_in(list(ledger.read_all()))
    assert (spent.llm_tokens, spent.llm_unpriced) == (8, 1)


def test_an_attempt_that_is_retried_at_once_is_charged_too() -> None:
    ledger = MemoryLedgerStore("r1")
    executor = provider_executor(Model(USED))
    question = ask([{"role": "user", "content": "?"}])

    insisting = attrs.evolve(executor, retry=Retry(2, 0))
    Runtime(ledger, [insisting], Budget(max_llm_cost_usd=0.7), edge_logic=()).run([question])

    assert round(spent_in(list(ledger.read_all())).llm_cost_usd, 9) == 0.6


@pytest.mark.parametrize("spent", [None, "much", {}, {"usage": "x"}, {"usage": {"a": object()}}])
def test_an_error_without_usage_is_not_charged(spent: Any) -> None:
    ledger = MemoryLedgerStore("r1")
    go_on = failing_first(ledger, spent)

    assert spent_in(go_on(0.3)).llm_cost_usd == 0.2
