"""Conformance tests that every LLM provider must pass.

The test of a provider is a subclass that opens it::

    class TestMyProvider(ProviderSuite):
        def open_provider(self, path):
            return open_mine("some-model", {"MINE_KEY": "planted-key"})

        secrets = ("planted-key",)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from kando.cache.llm import LLMCache
from kando.emit import ask
from kando.errors import KandoError
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.base import Responder
from kando.responders.llm_executor import provider_executor
from kando.responders.replies import judged
from kando.runtime import Runtime
from kando.schema.events import LLM_RESPONSE, OBSERVED, KandoEvent, make_event
from kando.schema.exact_json import exact
from kando.world.graph import World

__all__ = ["ProviderSuite"]

_Complete = Callable[[dict[str, Any]], dict[str, Any]]

_STOPS = {"end", "length", "tool", "refusal", "filtered"}
_USAGE = {
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
}
_ANSWER = {
    "text",
    "model",
    "cost_usd",
    "usage",
    "window",
    "stop",
    "stop_raw",
    "tool_calls",
    "malformed_calls",
    "data",
    "dropped",
    "error",
    OBSERVED,
}


class ProviderSuite:
    """Tests of the promises of every provider."""

    #: Keys that the provider is opened with; none of them may appear in any output.
    secrets: tuple[str, ...] = ()

    #: Whether equal requests get equal answers.
    is_deterministic = True

    #: The prompt of the tests.
    question = "What is an event log?"

    def open_provider(self, path: Path) -> _Complete:
        """Return the `complete` of a provider that can answer; `path` is an empty folder."""
        raise NotImplementedError  # pragma: no cover

    @pytest.fixture
    def provider(self, tmp_path: Path) -> Iterator[_Complete]:
        complete = self.open_provider(tmp_path)
        yield complete
        close = getattr(complete, "close", None)
        if close is not None:
            close()

    def request_for(self, **more: Any) -> dict[str, Any]:
        """Return the data of an ``llm.request``."""
        messages = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": self.question},
        ]
        return {"messages": messages, "model": "default", "max_tokens": 100, **more}

    def test_an_answer_has_the_required_fields_in_exact_json(self, provider: _Complete) -> None:
        answer = provider(self.request_for())

        assert exact(answer, "answer") == answer
        assert isinstance(answer["text"], str)
        assert isinstance(answer["model"], str)
        assert answer["model"]
        cost = answer["cost_usd"]
        assert cost is None or (isinstance(cost, int | float) and cost >= 0)
        assert "error" not in answer

    def test_an_answer_has_no_other_fields(self, provider: _Complete) -> None:
        answer = provider(self.request_for())

        assert set(answer) <= _ANSWER
        assert answer.get("stop", "end") in _STOPS
        assert type(answer.get("window", 1)) is int
        assert answer.get("window", 1) > 0
        assert all(isinstance(each, str) for each in answer.get("dropped", []))

    def test_a_run_records_an_answer_as_the_provider_returned_it(self, provider: _Complete) -> None:
        # In any other form, calls would not be made, and text would be moved.
        answer = provider(self.request_for())

        assert judged(answer, self.request_for()) == answer

    def test_usage_totals_include_cached_and_reasoning_tokens(self, provider: _Complete) -> None:
        usage = provider(self.request_for()).get("usage", {})

        assert set(usage) <= _USAGE
        assert all(type(count) is int and count >= 0 for count in usage.values())
        cached = usage.get("cache_read_tokens", 0) + usage.get("cache_write_tokens", 0)
        assert cached <= usage.get("input_tokens", cached)
        assert usage.get("reasoning_tokens", 0) <= usage.get("output_tokens", 10**9)

    def test_measurements_are_under_observed(self, provider: _Complete) -> None:
        if not self.is_deterministic:
            pytest.skip("equal requests may get different answers")
        one, other = provider(self.request_for()), provider(self.request_for())

        assert {k: v for k, v in one.items() if k != OBSERVED} == {
            k: v for k, v in other.items() if k != OBSERVED
        }

    def test_a_request_is_not_changed(self, provider: _Complete) -> None:
        request = self.request_for(cause_object_id="claim-1", sample=2)
        before = deepcopy(request)

        provider(request)

        assert request == before

    def test_a_request_without_a_limit_is_answered(self, provider: _Complete) -> None:
        # Options that are not set are absent: `max_tokens`, too.
        request = self.request_for()
        del request["max_tokens"]

        assert isinstance(provider(request)["text"], str)

    def test_it_can_be_called_from_several_threads_at_once(self, provider: _Complete) -> None:
        answers: list[dict[str, Any]] = []
        barrier = threading.Barrier(4)

        def call() -> None:
            barrier.wait()
            answers.append(provider(self.request_for()))

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(answers) == 4
        assert all(isinstance(answer["text"], str) for answer in answers)

    def test_a_call_costs_no_more_than_its_worst_case(self, provider: _Complete) -> None:
        worst_case = getattr(provider, "worst_case_usd", None)
        if worst_case is None:
            pytest.skip("its price is unknown")
        request = self.request_for()
        worst, cost = worst_case(request), provider(request)["cost_usd"]

        assert worst is None or (isinstance(worst, int | float) and worst >= 0)
        assert worst is None or cost is None or cost <= worst

    @pytest.mark.parametrize("messages", [None, [], "text", [{"role": "user"}], ["x"]])
    def test_a_malformed_request_is_refused(self, provider: _Complete, messages: Any) -> None:
        with pytest.raises(KandoError):
            provider({**self.request_for(), "messages": messages})

    def test_no_secret_appears_in_output(self, provider: _Complete) -> None:
        shown = f"{provider!r} {provider(self.request_for())!r}"

        for secret in self.secrets:
            assert secret not in shown

    def test_a_run_replays_strictly_without_another_call(self, provider: _Complete) -> None:
        calls: list[dict[str, Any]] = []

        def counted(request: dict[str, Any]) -> dict[str, Any]:
            calls.append(request)
            return provider(request)

        def on_go(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
            yield ask(self.request_for()["messages"], max_tokens=100)

        responder = Responder("suite.on_go", frozenset({"go"}), on_go)
        store = MemoryLedgerStore("r1")
        runtime = Runtime(store, [responder, provider_executor(counted)], cache=LLMCache())

        runtime.run([make_event("go", "run:r1", "cli", [], {})])
        runtime.replay(strict=True)

        assert len(calls) == 1
        (response,) = [e for e in store.read_all() if e.type == LLM_RESPONSE]
        assert isinstance(response.data["text"], str)
        for secret in self.secrets:
            assert all(secret not in repr(event) for event in store.read_all())
