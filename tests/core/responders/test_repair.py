"""Structured answers: a valid one is used, an invalid one is sent back to the model once."""

from __future__ import annotations

from typing import Any

import pytest

from kando.cache.llm import LLMCache
from kando.emit import ask
from kando.ledger.memory import MemoryLedgerStore
from kando.responders._repair import SchemaRepair
from kando.responders.base import responder
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime
from kando.schema.events import LLM_RESPONSE, OBSERVED, make_event

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
USAGE = {"input_tokens": 10, "output_tokens": 2}


class Model:
    """Returns the answers in order and records the requests."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[dict[str, Any]] = []

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def worst_case_usd(self, request: dict[str, Any]) -> float | None:
        return sum(len(message["content"]) for message in request["messages"]) / 100


def response(text: str, **more: Any) -> dict[str, Any]:
    observed = {"attempts": 1, "request_id": text, "seconds": 0.5}
    answer = {"text": text, "model": "m", "cost_usd": 0.25, "usage": USAGE, "stop": "end"}
    return {**answer, OBSERVED: observed, **more}


def request(**more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "How many?"}]
    return {"messages": messages, "max_tokens": 50, "output_schema": SCHEMA, **more}


@pytest.mark.parametrize("text", ['{"n": 3}', '```json\n{"n": 3}\n```', '\n```\n{"n": 3}\n```\n'])
def test_a_valid_answer_has_parsed_data(text):
    model = Model(response(text))

    answer = SchemaRepair(model)(request())

    assert answer == {**response(text), "data": {"n": 3}}
    assert len(model.requests) == 1


def test_an_invalid_answer_is_sent_back_once_and_both_calls_are_charged():
    model = Model(response('{"n": "three"}'), response('{"n": 3}'))

    answer = SchemaRepair(model)(request())

    assert (answer["data"], answer["cost_usd"]) == ({"n": 3}, 0.5)
    assert answer["usage"] == {"input_tokens": 20, "output_tokens": 4}
    assert answer[OBSERVED] == {
        "attempts": 2,
        "request_id": '{"n": 3}',
        "seconds": 1.0,
        "repairs": 1,
    }
    question, first, complaint = model.requests[1]["messages"]
    assert question == request()["messages"][0]
    assert first == {"role": "assistant", "content": '{"n": "three"}'}
    assert "data.n must be integer, not 'three'" in complaint["content"]


def test_an_answer_that_is_invalid_twice_has_an_error_and_no_data():
    model = Model(response("three"), response('{"m": 3}'))

    answer = SchemaRepair(model)(request())

    assert "data" not in answer
    assert answer["error"]["type"] == "Misfit"
    assert "data.n is missing" in answer["error"]["message"]
    assert (answer["text"], answer["cost_usd"]) == ('{"m": 3}', 0.5)


def test_usage_that_one_answer_does_not_report_is_unknown_for_the_sum():
    second = response('{"n": 3}', cost_usd=None, usage={"input_tokens": 1})

    answer = SchemaRepair(Model(response("three"), second))(request())

    assert answer["cost_usd"] is None
    assert answer["usage"] == {"input_tokens": 11}


def test_a_failed_repair_returns_the_first_answer_with_an_error():
    answer = SchemaRepair(Model(response("three"), OSError("no network")))(request())

    assert answer["text"] == "three"
    assert "OSError" in answer["error"]["message"]
    assert answer["cost_usd"] == 0.25


def test_usage_of_a_failed_repair_is_added_to_the_first_answer():
    error = OSError("cut off")
    error.spent = {"usage": USAGE, "cost_usd": 0.5}  # type: ignore[attr-defined]

    answer = SchemaRepair(Model(response("three"), error))(request())

    assert (answer["cost_usd"], answer["text"]) == (0.75, "three")
    assert answer["usage"] == {"input_tokens": 20, "output_tokens": 4}
    assert answer[OBSERVED] == response("three")[OBSERVED]


@pytest.mark.parametrize(
    "answer",
    [
        response("I will not.", stop="refusal"),
        response("", stop="tool", tool_calls=[{"id": "1", "name": "t", "arguments": {}}]),
        {"error": {"type": "RequestRejected", "message": "no"}, "cost_usd": 0.0},
    ],
    ids=["refusal", "tool calls", "error"],
)
def test_refusals_tool_calls_and_errors_are_passed_through(answer):
    model = Model(answer)

    assert SchemaRepair(model)(request()) == answer
    assert len(model.requests) == 1


def test_a_truncated_answer_is_not_sent_back():
    model = Model(response('{"n": ', stop="length"))

    answer = SchemaRepair(model)(request())

    assert "truncated at max_tokens" in answer["error"]["message"]
    assert len(model.requests) == 1


def test_a_request_for_text_is_passed_through():
    assert SchemaRepair(Model(response("three")))({"messages": []}) == response("three")


def test_the_worst_case_cost_includes_the_repair():
    plain = Model().worst_case_usd(request())
    whole = SchemaRepair(Model()).worst_case_usd

    assert whole({**request(), "output_schema": None}) == plain
    assert whole(request()) >= 2 * plain + 2 * 50 / 100
    assert SchemaRepair(lambda request: {}).worst_case_usd(request()) is None
    assert whole({"messages": "malformed"}) is None


@responder("test.on_go", {"go"})
def on_go(event, world):
    """Send the same structured request twice."""
    for _ in range(2):
        yield ask(request()["messages"], max_tokens=50, output_schema=SCHEMA)


def test_a_run_records_one_response_for_both_calls_and_caches_its_data():
    store, model = MemoryLedgerStore("r1"), Model(response("three"), response('{"n": 3}'))
    runtime = Runtime(store, [on_go, provider_executor(model)], cache=LLMCache())

    runtime.run([make_event("go", "run:r1", "cli", [], {})])

    first, second = [e.data for e in store.read_all() if e.type == LLM_RESPONSE]
    assert (first["data"], first["cost_usd"]) == ({"n": 3}, 0.5)
    assert (second["data"], second["cost_usd"], second["cached"]) == ({"n": 3}, 0.0, True)
    runtime.replay(strict=True)


def test_an_invalid_answer_is_not_cached():
    store = MemoryLedgerStore("r1")
    model = Model(response("three"), response("four"), response("five"), response('{"n": 5}'))

    Runtime(store, [on_go, provider_executor(model)], cache=LLMCache()).run(
        [make_event("go", "run:r1", "cli", [], {})]
    )

    first, second = [e.data for e in store.read_all() if e.type == LLM_RESPONSE]
    assert "error" in first
    assert second["data"] == {"n": 5}


@pytest.mark.parametrize(
    "text",
    [
        '<think>\nIs {"n": 1} right?\n</think>\n\n{"n": 3}',
        'Sure! Here it is:\n```json\n{"n": 3}\n```\nAnything else?',
        'A draft is {"n": 1}. The answer is {"n": 3}.',
        '{"n": 3} Note [1]: counted twice.',
        'Not {this} but {"n": 3}',
    ],
)
def test_json_is_found_in_thoughts_and_prose(text):
    model = Model(response(text))

    answer = SchemaRepair(model)(request())

    assert answer["data"] == {"n": 3}
    assert len(model.requests) == 1


def test_a_second_attempt_shows_the_schema():
    model = Model(response("three"), response('{"n": 3}'))

    SchemaRepair(model)(request())

    assert '"required": ["n"]' in model.requests[1]["messages"][-1]["content"]


def test_prose_full_of_brackets_takes_no_time():
    answer = SchemaRepair(Model(response("{[" * 200_000), response("[" * 300_000)))(request())

    assert answer["error"]["type"] == "Misfit"


def test_attempts_that_brought_no_answer_are_those_of_both_calls():
    lost = {"usage": {"input_tokens": 3, "output_tokens": 5}, "cost_usd": 0.5, "calls": 1}
    bad = {"text": "?", "model": "m", "cost_usd": 0.1, "usage": {}, "stop": "end", "lost": lost}
    answers = iter([bad, {**bad, "text": '{"n": 1}'}])
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    request = {"messages": [{"role": "user", "content": "?"}], "output_schema": schema}

    answer = SchemaRepair(lambda asked: next(answers))(request)

    assert answer["data"] == {"n": 1}
    assert answer["lost"]["calls"] == 2
    assert answer["lost"]["cost_usd"] == 1.0
