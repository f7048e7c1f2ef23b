"""Answers that arrive while a run is failing are stored, and the calls are not repeated."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from kando.cache.llm import LLMCache
from kando.emit import ask
from kando.errors import StoreError
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.base import responder
from kando.responders.budget import Budget
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime
from kando.schema.events import LLM_RESPONSE, RESPONDER_FAILED, make_event

QUESTIONS = ["q0", "q1", "q2", "q3"]


@responder("test.on_go", {"go"})
def on_go(event, world):
    """Send all requests at once."""
    for text in QUESTIONS:
        yield ask([{"role": "user", "content": text}], max_tokens=50)


class Model:
    """Fails at the first request until it is repaired, and answers the others only after that."""

    def __init__(self) -> None:
        self.is_well = False
        self.asked: list[str] = []
        self.has_failed = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, request):
        question = request["messages"][0]["content"]
        with self._lock:
            self.asked.append(question)
        if question == "q0" and not self.is_well:
            # All are in flight when it fails.
            while len(self.asked) < len(QUESTIONS):
                threading.Event().wait(0.001)
            self.has_failed.set()
            raise ConnectionError("the line is cut")
        if not self.is_well:
            self.has_failed.wait(60)
        return {"text": f"answer to {question}", "model": "m", "cost_usd": 0.5}


def texts(store):
    return [
        (e.data["text"], e.data["cost_usd"]) for e in store.read_all() if e.type == LLM_RESPONSE
    ]


def test_answers_that_arrive_while_a_run_fails_are_recorded_on_resume():
    store, cache, model = MemoryLedgerStore("r1"), LLMCache(), Model()
    seed = make_event("go", "run:r1", "cli", [], {})

    with pytest.raises(ConnectionError):
        Runtime(store, [on_go, provider_executor(model)], cache=cache).run([seed])
    assert texts(store) == []
    model.is_well = True
    again = Runtime(store, [on_go, provider_executor(model)], cache=cache)
    again.run([])

    assert texts(store) == [(f"answer to {question}", 0.5) for question in QUESTIONS]
    assert sorted(model.asked) == ["q0", *QUESTIONS]
    whole = MemoryLedgerStore("r1")
    Runtime(whole, [on_go, provider_executor(model)], cache=LLMCache()).run([seed])
    course = [(e.type, e.data) for e in store.read_all() if e.type != RESPONDER_FAILED]
    assert [kind for kind, _ in course] == [e.type for e in whole.read_all()]
    again.replay(strict=True)


class _FullDisk(MemoryLedgerStore):
    """Refuses the first append of an answer."""

    has_refused = False

    def append_firings(self, items, *, expected_length=None):
        outputs = [event for item in items for event in getattr(item, "outputs", ())]
        if not self.has_refused and any(each.type == LLM_RESPONSE for each in outputs):
            self.has_refused = True
            msg = "The disk is full."
            raise StoreError(msg)
        return super().append_firings(items, expected_length=expected_length)


def test_an_answer_whose_append_fails_is_not_cached_and_is_charged_when_it_is_recorded():
    store, cache, model = _FullDisk("r1"), LLMCache(), Model()
    model.is_well = True
    seed = ask([{"role": "user", "content": "q0"}])

    with pytest.raises(StoreError):
        Runtime(store, [provider_executor(model)], cache=cache).run([seed])
    assert (texts(store), len(cache)) == ([], 0)
    Runtime(store, [provider_executor(model)], cache=cache).run([])

    assert texts(store) == [("answer to q0", 0.5)]


def test_a_stored_answer_is_charged_before_another_call_is_made():
    store, cache, model = MemoryLedgerStore("r1"), LLMCache(), Model()
    seed = make_event("go", "run:r1", "cli", [], {})
    with pytest.raises(ConnectionError):
        Runtime(store, [on_go, provider_executor(model)], cache=cache).run([seed])
    model.is_well, model.asked = True, []

    def resumed(calls: int) -> list:
        executor, budget = provider_executor(model), Budget(max_llm_calls=calls)
        Runtime(store, [on_go, executor], budget, cache).run([])
        return texts(store)

    assert resumed(3) == []
    assert model.asked == []
    assert len(resumed(4)) == 4
    assert model.asked == ["q0"]


def test_a_stored_answer_belongs_to_its_request_only():
    cache, model = LLMCache(), Model()
    seed = make_event("go", "run:r1", "cli", [], {})
    with pytest.raises(ConnectionError):
        Runtime(MemoryLedgerStore("r1"), [on_go, provider_executor(model)], cache=cache).run([seed])
    model.is_well, model.asked = True, []
    other = MemoryLedgerStore("r2")

    Runtime(other, [on_go, provider_executor(model)], cache=cache).run([seed])

    assert sorted(model.asked) == QUESTIONS


def test_an_answer_that_has_returned_survives_an_interruption_before_it_is_recorded():
    store, cache, asked = MemoryLedgerStore("r1"), LLMCache(), []

    def complete(request):
        asked.append(request)
        return {"text": "yes", "model": "m", "cost_usd": 0.5}

    def clock():
        # First asked for after the call when its answer is about to be recorded.
        if len(asked) == 1 and not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt
        return datetime.now(UTC)

    interrupted: list[bool] = []
    seed = make_event("go", "run:r1", "cli", [], {})
    one = responder("test.one", {"go"})(
        lambda event, world: [ask([{"role": "user", "content": "x"}])]
    )

    with pytest.raises(KeyboardInterrupt):
        Runtime(store, [one, provider_executor(complete)], cache=cache, clock=clock).run([seed])
    assert texts(store) == []
    Runtime(store, [one, provider_executor(complete)], cache=cache, clock=clock).run([])

    assert (len(asked), texts(store)) == (1, [("yes", 0.5)])
