"""Responses are found by what was asked, not by who asked."""

import pytest

from kando.cache.llm import LLMCache
from kando.errors import InvalidData

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
