"""Structured answers in a run: taken if they fit, asked for once more if they do not."""

from __future__ import annotations

from typing import Any

import pytest

from kando.cache.llm import LLMCache
from kando.emit import ask
from kando.ledger.memory import MemoryLedgerStore
from kando.responders._repair import Repairing
from kando.responders.base import responder
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime
from kando.schema.events import LLM_RESPONSE, OBSERVED, make_event

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
USAGE = {"input_tokens": 10, "output_tokens": 2}


class Model:
    """Answers in order, and keeps what it was asked."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def worst_case_usd(self, request: dict[str, Any]) -> float | None:
        return sum(len(message["content"]) for message in request["messages"]) / 100


def said(text: str, **more: Any) -> dict[str, Any]:
    observed = {"attempts": 1, "request_id": text, "seconds": 0.5}
    answer = {"text": text, "model": "m", "cost_usd": 0.25, "usage": USAGE, "stop": "end"}
    return {**answer, OBSERVED: observed, **more}


def asked(**more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "How many?"}]
    return {"messages": messages, "max_tokens": 50, "output_schema": SCHEMA, **more}


@pytest.mark.parametrize("text", ['{"n": 3}', '```json\n{"n": 3}\n```', '\n```\n{"n": 3}\n```\n'])
def test_an_answer_that_fits_has_its_data(text):
    model = Model(said(text))

    answer = Repairing(model)(asked())

    assert answer == {**said(text), "data": {"n": 3}}
    assert len(model.asked) == 1


def test_an_answer_that_does_not_fit_is_sent_back_once_and_both_are_paid_for():
    model = Model(said('{"n": "three"}'), said('{"n": 3}'))

    answer = Repairing(model)(asked())

    assert (answer["data"], answer["cost_usd"]) == ({"n": 3}, 0.5)
    assert answer["usage"] == {"input_tokens": 20, "output_tokens": 4}
    assert answer[OBSERVED] == {
        "attempts": 2,
        "request_id": '{"n": 3}',
        "seconds": 1.0,
        "repairs": 1,
    }
    question, first, complaint = model.asked[1]["messages"]
    assert question == asked()["messages"][0]
    assert first == {"role": "assistant", "content": '{"n": "three"}'}
    assert "data.n must be integer, not 'three'" in complaint["content"]


def test_an_answer_that_fits_neither_time_has_an_error_and_no_data():
    model = Model(said("three"), said('{"m": 3}'))

    answer = Repairing(model)(asked())

    assert "data" not in answer
    assert answer["error"]["type"] == "Misfit"
    assert "data.n is missing" in answer["error"]["message"]
    assert (answer["text"], answer["cost_usd"]) == ('{"m": 3}', 0.5)


def test_what_one_of_both_does_not_tell_is_unknown_of_both():
    second = said('{"n": 3}', cost_usd=None, usage={"input_tokens": 1})

    answer = Repairing(Model(said("three"), second))(asked())

    assert answer["cost_usd"] is None
    assert answer["usage"] == {"input_tokens": 11}


def test_a_repair_that_fails_leaves_the_answer_that_was_paid_for():
    answer = Repairing(Model(said("three"), OSError("no network")))(asked())

    assert answer["text"] == "three"
    assert "OSError" in answer["error"]["message"]
    assert answer["cost_usd"] == 0.25


def test_what_asking_again_used_before_it_failed_is_counted_with_the_first_answer():
    error = OSError("cut off")
    error.spent = {"usage": USAGE, "cost_usd": 0.5}  # type: ignore[attr-defined]

    answer = Repairing(Model(said("three"), error))(asked())

    assert (answer["cost_usd"], answer["text"]) == (0.75, "three")
    assert answer["usage"] == {"input_tokens": 20, "output_tokens": 4}
    assert answer[OBSERVED] == said("three")[OBSERVED]


@pytest.mark.parametrize(
    "answer",
    [
        said("I will not.", stop="refusal"),
        said("", stop="tool", tool_calls=[{"id": "1", "name": "t", "arguments": {}}]),
        {"error": {"type": "RequestRejected", "message": "no"}, "cost_usd": 0.0},
    ],
    ids=["refusal", "tool calls", "error"],
)
def test_what_is_no_answer_yet_is_left_as_it_is(answer):
    model = Model(answer)

    assert Repairing(model)(asked()) == answer
    assert len(model.asked) == 1


def test_an_answer_that_was_cut_off_is_not_sent_back():
    model = Model(said('{"n": ', stop="length"))

    answer = Repairing(model)(asked())

    assert "cut off at max_tokens" in answer["error"]["message"]
    assert len(model.asked) == 1


def test_a_request_for_text_is_passed_through():
    assert Repairing(Model(said("three")))({"messages": []}) == said("three")


def test_the_worst_case_counts_the_repair():
    plain = Model().worst_case_usd(asked())
    whole = Repairing(Model()).worst_case_usd

    assert whole({**asked(), "output_schema": None}) == plain
    assert whole(asked()) >= 2 * plain + 2 * 50 / 100
    assert Repairing(lambda request: {}).worst_case_usd(asked()) is None
    assert whole({"messages": "malformed"}) is None


@responder("test.on_go", {"go"})
def on_go(event, world):
    """Ask for structure twice, in the same words."""
    for _ in range(2):
        yield ask(asked()["messages"], max_tokens=50, output_schema=SCHEMA)


def test_in_a_run_one_response_holds_the_whole_and_is_cached_with_its_data():
    store, model = MemoryLedgerStore("r1"), Model(said("three"), said('{"n": 3}'))
    runtime = Runtime(store, [on_go, provider_executor(model)], cache=LLMCache())

    runtime.run([make_event("go", "run:r1", "cli", [], {})])

    first, second = [e.data for e in store.read_all() if e.type == LLM_RESPONSE]
    assert (first["data"], first["cost_usd"]) == ({"n": 3}, 0.5)
    assert (second["data"], second["cost_usd"], second["cached"]) == ({"n": 3}, 0.0, True)
    runtime.replay(strict=True)


def test_an_answer_that_does_not_fit_is_not_cached():
    store = MemoryLedgerStore("r1")
    model = Model(said("three"), said("four"), said("five"), said('{"n": 5}'))

    Runtime(store, [on_go, provider_executor(model)], cache=LLMCache()).run(
        [make_event("go", "run:r1", "cli", [], {})]
    )

    first, second = [e.data for e in store.read_all() if e.type == LLM_RESPONSE]
    assert "error" in first
    assert second["data"] == {"n": 5}
