"""Responses are found by what was asked, not by who asked."""

from typing import Any

import pytest

from kando.cache.llm import LLMCache, request_key
from kando.emit import ask, create, emit
from kando.errors import InvalidData
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime
from kando.schema.events import LLM_RESPONSE, KandoEvent

ASKED = {"messages": [{"role": "user", "content": "hi"}], "model": "m", "max_tokens": 5}


def test_a_response_is_served_for_an_equal_request_only() -> None:
    cache = LLMCache()
    cache.put(ASKED, {"text": "hello"})

    assert cache.get(dict(reversed(ASKED.items()))) == {"text": "hello"}
    assert cache.get(ASKED | {"model": "other"}) is None
    assert cache.get(ASKED | {"sample": 2}) is None


def test_who_asks_and_options_left_open_are_no_part_of_a_request() -> None:
    cache = LLMCache()
    cache.put(ASKED | {"cause_object_id": "a"}, "text")

    assert cache.get(ASKED | {"cause_object_id": "b", "temperature": None}) == "text"


def test_the_first_response_stays() -> None:
    cache = LLMCache()
    cache.put(ASKED, "first")
    cache.put(ASKED, "second")

    assert cache.get(ASKED) == "first"


def test_what_is_served_is_nobodys_to_change() -> None:
    cache = LLMCache()
    cache.put(ASKED, {"list": [1]})
    cache.get(ASKED)["list"].append(2)

    assert cache.get(ASKED) == {"list": [1]}


def test_scopes_share_nothing() -> None:
    cache = LLMCache()
    cache.scope("a").put(ASKED, "in a")

    assert cache.scope("a").get(ASKED) == "in a"
    assert cache.scope("b").get(ASKED) is None
    assert cache.get(ASKED) is None
    assert cache.scope("a").scope("b").get(ASKED) is None
    assert cache.scope("ab").get(ASKED) is None


def test_a_response_that_is_not_json_is_refused() -> None:
    with pytest.raises(InvalidData, match="response"):
        LLMCache().put(ASKED, float("nan"))


def test_an_answer_that_tells_of_an_error_is_asked_for_again_and_samples_are_asked_apart() -> None:
    asked: list[object] = []

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request.get("sample"))
        if len(asked) == 1:
            return {"error": {"message": "overloaded"}}
        return {"text": str(len(asked)), "cost_usd": 0.5}

    def questions(*samples: int) -> list[KandoEvent]:
        return [ask([{"role": "user", "content": "why?"}], sample=sample) for sample in samples]

    ledger = MemoryLedgerStore("r")
    runtime = Runtime(ledger, [provider_executor(complete)], cache=LLMCache(), edge_logic=())
    runtime.run(questions(1))
    runtime.run(questions(1))
    runtime.run(questions(1, 2, 2, 1))

    assert asked == [1, 1, 2]
    answers = [e.data for e in ledger.read_all() if e.type == LLM_RESPONSE]
    assert [a.get("text") for a in answers] == [None, "2", "2", "3", "3", "2"]
    assert [(a["cost_usd"], a["cached"]) for a in answers if a.get("cached")] == [(0, True)] * 3


def test_ids_and_times_of_events_are_no_part_of_what_is_asked() -> None:
    keys: set[str] = set()
    for unrelated in range(3):
        ledger = MemoryLedgerStore("r")
        Runtime(ledger, [], edge_logic=()).run(
            [emit("unrelated", {"n": n}) for n in range(unrelated)]
            + [create("T", {}), ask([{"role": "user", "content": "hi"}], about=f"t{unrelated}")]
        )
        last = ledger.at(ledger.length() - 1)
        assert last is not None
        assert last.id == f"llm.request-{unrelated + 1}"
        keys.add(request_key(last.data))

    assert len(keys) == 1
