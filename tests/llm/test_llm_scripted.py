"""The scripted provider answers from a file that matches answers to requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kando_llm.errors import ProviderError
from kando_llm.offline_provider import Complete, open_scripted


def request(content: str, system: str = "be brief") -> dict[str, Any]:
    """Return a request with a system message and a user message."""
    messages = [{"role": "system", "content": system}, {"role": "user", "content": content}]
    return {"messages": messages, "model": "default", "max_tokens": 1}


@pytest.fixture
def scripted(tmp_path: Path) -> Callable[[object], Complete]:
    """Return a function that opens a provider from the content of a script."""

    def opened(content: object) -> Complete:
        path = tmp_path / "script.json"
        path.write_text(
            content if isinstance(content, str) else json.dumps(content), encoding="utf-8"
        )
        return open_scripted(str(path), {})

    return opened


def test_the_first_answer_that_matches_a_request_is_given(scripted):
    complete = scripted(
        {
            "answers": [
                {"contains": ["tides", "moon"], "text": "both"},
                {"contains": "tides", "text": "tides", "cost_usd": 0.5},
                {"contains": "tides and", "text": "never"},
            ],
            "default": "neither",
        }
    )

    asked = ["moon, tides", "tides and sun", "moon"]
    assert [complete(request(each))["text"] for each in asked] == ["both", "tides", "neither"]


def test_an_answer_is_given_in_full_with_its_cost_and_usage(scripted):
    complete = scripted({"answers": [{"contains": "x", "text": "one two", "cost_usd": 0.5}]})

    assert complete(request("x y")) == {
        "text": "one two",
        "model": "scripted",
        "cost_usd": 0.5,
        "usage": {"input_tokens": 4, "output_tokens": 2},
        "stop": "end",
        "stop_raw": "end",
    }


def test_all_messages_of_a_request_are_searched(scripted):
    complete = scripted({"answers": [{"contains": ["brief", "tides"], "text": "found"}]})

    assert complete(request("tides"))["text"] == "found"


def test_equal_requests_get_equal_answers_in_any_order(scripted):
    complete = scripted({"answers": [{"contains": "a", "text": "A"}], "default": "D"})

    forth = [complete(request(each)) for each in "abab"]
    back = [complete(request(each)) for each in "baba"]

    assert forth == back[::-1]


def test_a_script_is_read_once(scripted, tmp_path):
    complete = scripted({"default": "read"})
    (tmp_path / "script.json").unlink()

    assert complete(request("x"))["text"] == "read"


def test_a_request_that_no_answer_matches_is_named_and_the_hint_works(scripted):
    script: dict[str, Any] = {"answers": [{"contains": "moon", "text": "A"}]}

    with pytest.raises(
        ProviderError, match=r"no answer to 'The tides\? \.\.\. More\.'.*\"default\""
    ):
        scripted(script)(request("\nThe tides?\nMore.", system="A system."))

    script["default"] = "D"
    assert scripted(script)(request("The tides?"))["text"] == "D"


def test_a_missing_script_is_named(tmp_path):
    with pytest.raises(ProviderError, match=r"none\.json' does not exist.*scripted:FILE"):
        open_scripted(str(tmp_path / "none.json"), {})


def test_a_script_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ProviderError, match="cannot be read"):
        open_scripted(str(tmp_path), {})


def test_scripted_needs_a_script():
    with pytest.raises(ProviderError, match="scripted:FILE"):
        open_scripted("", {})


@pytest.mark.parametrize("content", ["", "{", '{"default": NaN}', "[" * 100_000])
def test_a_script_that_is_not_json_is_refused(scripted, content):
    with pytest.raises(ProviderError, match="is not JSON"):
        scripted(content)


def test_a_script_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "script.json"
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(ProviderError, match="is not JSON"):
        open_scripted(str(path), {})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([], "expected an object, not list"),
        ({"answer": []}, "unknown field 'answer'"),
        ({"answers": [{"contains": "x"}]}, r"'text' is missing @ script\.answers\[0\]"),
        ({"answers": [{"text": "x"}]}, "'contains' is missing"),
        ({"answers": ["x"]}, "expected an object, not str 'x'"),
        ({"answers": 5}, r"@ script\.answers"),
        (
            {"answers": [{"contains": 3, "text": "x"}]},
            r"int 3 @ script\.answers\[0\]\.contains",
        ),
        ({"answers": [{"contains": [], "text": "x"}]}, "expected a non-empty string"),
        ({"answers": [{"contains": "", "text": "x"}]}, "expected a non-empty string"),
        ({"answers": [{"contains": ["x", 1], "text": "x"}]}, "or a list of them"),
        ({"answers": [{"contains": "x", "text": 1}]}, "expected a string, not int 1"),
        ({"answers": [{"contains": "x", "text": "x", "cost": 1}]}, "unknown field 'cost'"),
        ({"answers": [{"contains": "x", "text": "x", "cost_usd": "1"}]}, "a number of at least 0"),
        ({"answers": [{"contains": "x", "text": "x", "cost_usd": -1}]}, "a number of at least 0"),
        ({"answers": [{"contains": "x", "text": "x", "cost_usd": True}]}, "a number of at least 0"),
        ('{"answers": [{"contains": "x", "text": "x", "cost_usd": 1e999}]}', "not float inf"),
        ({"default": 3}, r"expected a string, not int 3 @ script\.default"),
    ],
)
def test_a_malformed_script_is_refused_and_the_field_is_named(scripted, content, problem):
    with pytest.raises(ProviderError, match=problem):
        scripted(content)


def test_every_problem_of_a_script_is_named_at_once(scripted):
    content = {"answers": [{"contains": 3, "text": "x"}, {"contains": "x"}]}

    with pytest.raises(ProviderError, match=r"answers\[0\].*answers\[1\]"):
        scripted(content)


def test_an_answer_may_be_data_or_request_tools_or_refuse(scripted):
    complete = scripted(
        {
            "answers": [
                {"contains": "result", "data": {"n": [1, "é"]}},
                {"contains": "look", "tool_calls": [{"name": "see", "arguments": {"at": 1}}]},
                {"contains": "steal", "text": "No.", "stop": "refusal"},
            ]
        }
    )

    looked, again = complete(request("look")), complete(request("look"))
    other = complete(request("look here"))

    assert (looked["stop"], looked["text"]) == ("tool", "")
    (call,) = looked["tool_calls"]
    assert (call["name"], call["arguments"]) == ("see", {"at": 1})
    assert again == looked
    assert other["tool_calls"][0]["id"] != call["id"]
    assert complete(request("result"))["text"] == '{"n": [1, "é"]}'
    assert complete(request("steal"))["stop"] == "refusal"


def test_the_result_of_a_tool_is_searched_as_well(scripted):
    complete = scripted({"answers": [{"contains": "blue", "text": "seen"}], "default": "blind"})
    asked = request("look")
    call = {"id": "c1", "name": "see", "arguments": {}}
    asked["messages"] += [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": {"colour": "blue"}},
    ]

    assert complete(asked)["text"] == "seen"


def test_the_worst_case_of_an_answer_is_its_cost(scripted):
    complete = scripted({"answers": [{"contains": "x", "text": "y", "cost_usd": 0.5}]})

    assert complete.worst_case_usd(request("x")) == 0.5
    assert complete.worst_case_usd(request("nothing")) == 0.0
