"""The view run-metrics: a fold over events with any content."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kando.schema.events import KandoEvent
from kando.views.metrics import ResponderMetrics, Usage, measure

START = datetime(2026, 1, 1, tzinfo=UTC)


def event(
    n: int, type: str, data: dict[str, Any], *, actor: str = "", cause: str = ""
) -> KandoEvent:
    at = START + timedelta(seconds=n)
    return KandoEvent(f"e{n}", type, "run:r", actor, [cause] if cause else [], at, data)


def fired(n: int, responder: str, outputs: int) -> KandoEvent:
    return event(n, "responder.completed", {"responder": responder, "outputs": outputs})


def answer(n: int, cause: str, **data: Any) -> KandoEvent:
    return event(n, "llm.response", {"model": "m", **data}, cause=cause)


def test_metrics_of_no_events_are_zero() -> None:
    metrics = measure([])

    assert (metrics.events, metrics.types, metrics.llm) == (0, {}, Usage())
    assert metrics.elapsed_seconds == 0


def test_types_responders_models_tools_and_time_are_counted() -> None:
    usage = {"input_tokens": 10, "output_tokens": 4}
    metrics = measure(
        [
            event(0, "llm.request", {}, actor="asker"),
            fired(1, "asker", 1),
            answer(2, "e0", cost_usd=0.25, usage=usage),
            event(3, "llm.request", {}, actor="asker"),
            answer(4, "e3", cost_usd=0.0, cached=True, usage=usage),
            event(5, "llm.request", {}, actor="other"),
            answer(6, "e5", error={"type": "X"}, model="n"),
            event(7, "tool.called", {}),
            event(8, "tool.returned", {"error": {}}),
            event(9, "responder.failed", {"responder": "asker"}),
            fired(10, "asker", 2),
        ]
    )

    assert metrics.llm == Usage(3, 3, 1, 1, 0.25, 10, 4)
    assert metrics.models == {"m": Usage(2, 2, 1, 0, 0.25, 10, 4), "n": Usage(1, 1, 0, 1)}
    assert metrics.responders == {
        "asker": ResponderMetrics(2, 3, 1, Usage(2, 2, 1, 0, 0.25, 10, 4)),
        "other": ResponderMetrics(llm=Usage(1, 1, 0, 1)),
    }
    assert (metrics.tool_calls, metrics.tool_errors) == (1, 1)
    assert metrics.types["llm.response"] == 3
    assert metrics.elapsed_seconds == 10


def test_tokens_of_the_cache_of_a_server_are_counted() -> None:
    usage = {"input_tokens": 10, "cache_read_tokens": 7, "cache_write_tokens": 2}
    metrics = measure([event(0, "llm.request", {}), answer(1, "e0", cost_usd=0.1, usage=usage)])

    assert (metrics.llm.cache_read_tokens, metrics.llm.cache_write_tokens) == (7, 2)


def test_an_answer_to_a_request_before_the_measured_events_counts_for_its_model() -> None:
    metrics = measure([answer(5, "e0", cost_usd=1)])

    assert metrics.llm == metrics.models["m"].__class__(0, 1, 0, 0, 1.0)
    assert metrics.responders == {}


json = st.sampled_from(
    [
        *(None, True, -1, 3, 0.5, 1e300, 10**400, "", "3", [], [1], {}, {"input_tokens": -1}),
        *({"input_tokens": True, "output_tokens": 2.5}, {"input_tokens": 2**63}),
    ]
)
fields = ["model", "cost_usd", "usage", "cached", "responder", "outputs", "error"]
data = st.dictionaries(st.sampled_from(fields), json)
types = st.sampled_from(["llm.request", "llm.response", "responder.completed", "responder.failed"])


@settings(deadline=None)
@given(st.lists(st.tuples(types, data), max_size=8))
def test_malformed_values_from_providers_are_tolerated(given: list[tuple[str, Any]]) -> None:
    metrics = measure(
        event(n, type, content, actor="a", cause=f"e{n - 1}" if n else "")
        for n, (type, content) in enumerate(given)
    )

    assert metrics.events == len(given) == sum(metrics.types.values())
    assert metrics.llm.answers == sum(use.answers for use in metrics.models.values())
    assert metrics.llm.input_tokens >= 0
