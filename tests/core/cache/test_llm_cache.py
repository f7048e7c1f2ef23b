"""Responses are found by what was asked, not by who asked."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kando.cache.llm import LLMCache, ScopedStore, request_key
from kando.emit import ask, create, emit
from kando.errors import ConfigurationError, InvalidData
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime
from kando.schema.events import LLM_RESPONSE, KandoEvent
from kando.schema.exact_json import decode, encode, sorted_encode
from kando.schema.parts import Chains, split

ASKED = {"messages": [{"role": "user", "content": "hi"}], "model": "m", "max_tokens": 5}


def test_a_response_is_served_for_an_equal_request_only() -> None:
    cache = LLMCache()
    cache.put(ASKED, {"text": "hello"})

    assert cache.get(dict(reversed(ASKED.items()))) == {"text": "hello"}
    assert cache.get(ASKED | {"model": "other"}) is None
    assert cache.get(ASKED | {"sample": 2}) is None


def test_the_asking_object_and_open_options_do_not_change_the_key_of_a_request() -> None:
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


class DictStore:
    """A store that keeps its entries in a dict, and cannot count them."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self.kept.get(key)

    def put(self, key: str, response: bytes) -> None:
        self.kept.setdefault(key, response)


@pytest.mark.parametrize("make", [LLMCache, lambda: LLMCache(store=DictStore())])
def test_a_scope_reads_what_is_below_it_and_no_other_scope(make: Callable[[], LLMCache]) -> None:
    cache = make()
    cache.scope("a").put(ASKED, "in a")

    assert cache.scope("a").get(ASKED) == "in a"
    assert cache.scope("b").get(ASKED) is None
    assert cache.get(ASKED) is None
    assert cache.scope("a").scope("b").get(ASKED) == "in a"
    assert cache.scope("ab").get(ASKED) is None

    cache.put(ASKED, "below")
    assert cache.scope("b").get(ASKED) == "below"
    assert cache.scope("a").get(ASKED) == "in a"


def test_scopes_in_one_store_share_nothing() -> None:
    store = DictStore()
    one, other = (LLMCache(store=ScopedStore(store, prefix)) for prefix in ("one", "other"))
    one.put(ASKED, "in one")

    assert one.get(ASKED) == "in one"
    assert other.get(ASKED) is None
    assert LLMCache(store=store).get(ASKED) is None


def test_a_cache_is_true_with_and_without_entries_and_counts_them_if_its_store_does() -> None:
    assert LLMCache()
    assert LLMCache(store=DictStore())
    with pytest.raises(TypeError, match="DictStore does not count"):
        len(LLMCache(store=DictStore()))


def test_a_cache_of_no_entries_keeps_none() -> None:
    cache = LLMCache(max_entries=0)
    cache.put(ASKED, "text")

    assert len(cache) == 0
    assert cache.get(ASKED) is None


@pytest.mark.parametrize("max_entries", [-1, 1.5, True, None, DictStore()])
def test_a_limit_that_is_not_a_number_of_entries_is_refused(max_entries: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_entries"):
        LLMCache(max_entries)


def test_a_limit_for_the_entries_of_a_store_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="does not limit a store"):
        LLMCache(5, store=DictStore())


def test_a_response_that_is_not_json_is_refused() -> None:
    with pytest.raises(InvalidData, match="response"):
        LLMCache().put(ASKED, float("nan"))


def test_a_request_answered_with_an_error_is_sent_again_and_samples_are_sent_separately() -> None:
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


def test_ids_and_times_of_events_do_not_change_the_key_of_a_request() -> None:
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


fields = st.dictionaries(
    st.text(max_size=3)
    | st.sampled_from(["max_tokens", "model", "message", "messagesx", "Z", "é"]),
    st.none() | st.integers() | st.text(max_size=3),
    max_size=4,
)


@given(
    fields,
    st.integers(0, 12),
    st.lists(st.dictionaries(st.text(max_size=2), st.text()), max_size=3),
)
def test_a_request_has_the_same_key_whether_its_messages_were_recorded_or_not(
    options: dict[str, Any], recorded: int, more: list[dict[str, Any]]
) -> None:
    said = [{"role": "user", "n": n, "content": "x" * 500} for n in range(recorded)]
    known, _, _ = split({"messages": said}, Chains())

    for messages in (known["messages"], [*known["messages"], *more]):
        plain = {**options, "messages": decode(encode(messages))}
        expected = request_key(plain)
        assert expected == sha256(sorted_encode(_asked(plain))).hexdigest()
        assert request_key({**options, "messages": messages}) == expected
        assert request_key({"messages": messages, **options}) == expected


def _asked(request: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in request.items() if v is not None}


def test_a_recorded_request_has_the_key_of_what_was_sent_however_often_it_is_asked_for() -> None:
    cache = LLMCache()
    requests = [{**ASKED, "sample": number} for number in range(100)]

    for _ in range(2):
        for request in requests:
            for replaced in ({}, {"model": "other"}, {"max_tokens": 9}):
                assert cache.key_of(request, replaced) == request_key({**request, **replaced})


def test_a_response_is_found_under_each_of_its_keys() -> None:
    cache = LLMCache()
    other = ASKED | {"model": "other"}
    cache.put_at([request_key(ASKED), request_key(other)], "text")

    assert cache.get(ASKED) == cache.get_at(request_key(other)) == "text"
