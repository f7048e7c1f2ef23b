"""The echo provider answers with the request's own words, and says so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kando.errors import KandoError
from kando_llm.errors import ProviderError
from kando_llm.offline_provider import open_echo


def request(*contents: str, **options: Any) -> dict[str, Any]:
    """Return a request with these messages of a user."""
    messages = [{"role": "user", "content": content} for content in contents]
    return {"messages": messages, "model": "default", "max_tokens": 100, **options}


def test_an_echo_repeats_the_last_user_message_and_identifies_itself():
    asked = request("first", "second  message\nin lines")
    asked["messages"].append({"role": "assistant", "content": "ignored"})

    answer = open_echo("", {})(asked)

    assert answer["text"] == "Echo, no model answered: second message in lines"
    assert (answer["model"], answer["cost_usd"]) == ("echo", 0.0)


@pytest.mark.parametrize("limit", [1, 4, 6, 7])
def test_an_echo_has_at_most_max_tokens_words(limit):
    answer = open_echo("", {})(request("one two three", max_tokens=limit))

    words = ["Echo,", "no", "model", "answered:", "one", "two", "three"]
    assert answer["text"].split() == words[:limit]
    assert answer["usage"]["output_tokens"] == limit


def test_usage_counts_words():
    asked = request("one two", "three")
    asked["messages"].insert(0, {"role": "system", "content": "be brief"})

    usage = open_echo("", {})(asked)["usage"]

    assert usage == {"input_tokens": 5, "output_tokens": 5}


def test_an_echo_without_max_tokens_is_not_limited():
    asked = request("word " * 5000)
    del asked["max_tokens"]

    assert len(open_echo("", {})(asked)["text"].split()) > 5000


def test_an_echo_without_a_user_message_only_identifies_itself():
    asked = {"messages": [{"role": "system", "content": "be brief"}]}

    assert open_echo("", {})(asked)["text"] == "Echo, no model answered:"


def test_equal_requests_get_equal_answers_in_any_order():
    one, two = request("one"), request("two")
    complete, other = open_echo("", {}), open_echo("", {})

    assert [complete(one), complete(two), complete(one)] == [other(one), other(two), other(one)]
    assert other(two) == complete(two)


def test_a_request_is_not_modified():
    asked = request("one")

    open_echo("", {})(asked)

    assert asked == request("one")


def test_echo_refuses_an_argument():
    with pytest.raises(ProviderError, match=r"takes no argument.* Leave it out: echo\."):
        open_echo("gpt", {})


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "9"])
def test_a_limit_that_is_not_a_whole_number_of_at_least_one_is_refused(limit):
    with pytest.raises(ProviderError, match="max_tokens"):
        open_echo("", {})(request("one", max_tokens=limit))


@pytest.mark.parametrize(
    "messages",
    [
        None,
        [],
        "text",
        [{"role": "user"}],
        [{"role": "user", "content": 3}],
        [{"content": "x"}],
        ["x"],
    ],
)
def test_malformed_messages_are_refused(messages):
    with pytest.raises(ProviderError, match="messages"):
        open_echo("", {})({"messages": messages, "max_tokens": 9})


def test_provider_errors_are_kando_errors():
    assert issubclass(ProviderError, KandoError)
    assert ProviderError.code == "provider"


SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"type": "string", "enum": ["a", "b"]},
        "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
        "maybe": {"anyOf": [{"type": "string", "maxLength": 9}, {"type": "null"}]},
        "number": {"type": "integer", "minimum": 3},
        "when": {"type": "string", "format": "date"},
        "optional": {"type": "string"},
    },
    "required": ["kind", "items", "maybe", "number", "when"],
    "$defs": {
        "Item": {
            "type": "object",
            "properties": {"text": {"type": "string"}, "items": {"type": "array"}},
            "required": ["text"],
        }
    },
}


def test_the_echo_of_a_request_with_a_schema_matches_it():
    answer = open_echo("", {})(request("one\ntwo", output_schema=SCHEMA))

    assert json.loads(answer["text"]) == {
        "kind": "a",
        "items": [{"text": "Echo, no model answered: one"}],
        "maybe": "Echo, no ",
        "number": 3,
        "when": "2000-01-01",
    }


def test_a_schema_that_contains_itself_has_a_sample_that_ends():
    tree = {"type": "array", "items": {"$ref": "#/$defs/tree"}}

    answer = open_echo("", {})(request("x", output_schema={**tree, "$defs": {"tree": tree}}))

    assert str(answer["text"]).count("[") < 30
