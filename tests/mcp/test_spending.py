"""The money that a ledger records is the same sum for every face that reports it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kando.app.builtin import installed_plugins
from kando.app.compare import compare_outcomes
from kando.app.daily_spending import DailySpending
from kando.app.opened import open_run
from kando.app.store import Store, open_store
from kando.branch.fork import fork
from kando.ledger.interface import LedgerStore
from kando.responders.budget import Budget, BudgetEnforcer
from kando.schema.events import KandoEvent, make_event

COSTS = st.sampled_from([0.25, 0.1, 3, 0, None, -1, "dear", True, 10**400])
USAGE = st.sampled_from([{"input_tokens": 4, "output_tokens": 2}, {}, None, {"input_tokens": -3}])
ANSWER = st.fixed_dictionaries(
    {},
    optional={
        "text": st.just("words"),
        "cost_usd": COSTS,
        "usage": USAGE,
        "cached": st.sampled_from([True, False, 1, "yes"]),
        "answers": st.booleans(),
        "error": st.sampled_from(
            [{"type": "Denied", "message": ""}, {"type": "Misfit", "message": ""}, "odd"]
        ),
        "model": st.sampled_from(["m", 7]),
    },
)
FAILURE = st.builds(
    lambda spent, fields: {**fields, **spent},
    st.fixed_dictionaries({}, optional={"cost_usd": COSTS, "usage": USAGE}),
    st.fixed_dictionaries(
        {
            "responder": st.sampled_from(["llm", "plain"]),
            "trigger": st.sampled_from(["llm.request-0", "note-1"]),
            "outcome": st.sampled_from(["retried", "parked", "raised"]),
            "error": st.just({"type": "E", "message": "m"}),
            "call": st.booleans(),
        }
    ),
)
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("llm.request"), st.just({"messages": [], "model": "m"})),
        st.tuples(st.just("tool.called"), st.just({"tool": "t"})),
        st.tuples(st.just("llm.response"), ANSWER),
        st.tuples(st.just("tool.returned"), ANSWER),
        st.tuples(st.just("responder.failed"), FAILURE),
    ),
    max_size=12,
)
_IDS = count()


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    plugins = installed_plugins({"KANDO_PLUGINS": ""})
    with open_store("memory:", plugins=plugins, environ={}) as store:
        yield store


def record(ledger: LedgerStore, story: list[tuple[str, dict[str, Any]]]) -> None:
    """Record a story, in which each answer and failure is about the last request before it."""
    asked = next((e.id for e in ledger.read_all() if e.type == "llm.request"), None)
    for type, data in story:
        cause = [asked] if asked and type not in ("llm.request", "tool.called") else []
        ledger.append([event := make_event(type, "", "x", cause, data)])
        if event.type in ("llm.request", "tool.called"):
            asked = f"{type}-{ledger.length() - 1}"


def sums(store: Store, id: str) -> dict[str, float]:
    """Return the cost of a run as each face reports it, including what a branch shares."""
    run = open_run(store.context, id)
    (outcome,) = compare_outcomes([run])
    account = BudgetEnforcer(Budget())
    for event in run.ledger.read_all():
        _charge(account, event)
    return {
        "status": store.run(id).status().llm_cost_usd,
        "metrics": store.run(id).metrics().llm.cost_usd,
        "compare": outcome.llm.cost_usd,
        "budget": account.accounts.llm_cost_usd,
    }


def _charge(account: BudgetEnforcer, event: KandoEvent) -> None:
    account.accounts = account.accounts.apply(event)


@settings(deadline=None, max_examples=150)
@given(story=EVENTS, tail=EVENTS, data=st.data())
def test_status_metrics_cache_compare_and_the_daily_limit_report_the_same_cost(
    store: Store,
    story: list[tuple[str, dict[str, Any]]],
    tail: list[tuple[str, dict[str, Any]]],
    data: st.DataObject,
) -> None:
    substrate = store.context.substrate(read_only=False)
    id, branch_id = f"r{next(_IDS)}", f"b{next(_IDS)}"
    spent_before = DailySpending().today(store.context)
    record(ledger := substrate.create(id), story)
    at = data.draw(st.integers(0, ledger.length()))
    record(fork(substrate, id, at, branch_id), tail)

    found, whole = sums(store, id), store.run(branch_id).status()
    cost = found["status"]
    assert found == pytest.approx(dict.fromkeys(found, cost))
    assert store.run(id).cache().spent_usd == pytest.approx(cost)
    of_branch = sums(store, branch_id)
    assert of_branch == pytest.approx(dict.fromkeys(of_branch, whole.llm_cost_usd))
    assert whole.own is not None
    own = whole.own["llm_cost_usd"]
    assert store.run(branch_id).cache().spent_usd == pytest.approx(own)
    difference = store.run(id).diff(store.run(branch_id))
    assert difference.b.tail.llm.cost_usd == pytest.approx(own)
    assert DailySpending().today(store.context) == pytest.approx(spent_before + cost + own)
