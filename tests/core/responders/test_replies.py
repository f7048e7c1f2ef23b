"""Answers are judged in one place, whichever provider returned them."""

from __future__ import annotations

from typing import Any

import pytest

from kando.errors import BadReply, RequestRejected
from kando.responders.answers import failure_of, text_of
from kando.responders.llm_executor import provider_executor
from kando.responders.replies import STOPS, answer_from, judged, stop_of
from kando.schema.events import OBSERVED, make_event
from kando.schema.exact_json import exact

TOOL = {
    "name": "look_up",
    "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
}
BARE = {"name": "now", "parameters": {"type": "object", "properties": {}}}
REQUEST: dict[str, Any] = {"messages": [{"role": "user", "content": "?"}], "tools": [TOOL, BARE]}
GOOD = {"id": "good", "name": "look_up", "arguments": {"word": "hat"}}


def called(*calls: Any, stop: str | None = "tool", **more: Any) -> dict[str, Any]:
    answer = {"text": "", "model": "m", "cost_usd": 0.5, "tool_calls": list(calls), **more}
    return judged(answer if stop is None else {**answer, "stop": stop}, REQUEST)


def test_an_answer_in_its_proper_form_is_returned_unchanged() -> None:
    answer = {"text": "Yes.", "model": "m", "cost_usd": 0.5, "stop": "end", OBSERVED: {"a": 1}}

    assert judged(answer, REQUEST) == answer


def test_judging_an_answer_again_changes_nothing() -> None:
    calls = [GOOD, {"id": "good", "name": "look_up", "arguments": "{"}, "junk"]
    answer = {"text": "<think>a</think>b</think>\nc", "stop": "tool", "tool_calls": calls}

    once = judged(answer, REQUEST)

    assert judged(once, REQUEST) == once


@pytest.mark.parametrize("stop", ["length", "refusal", "filtered"])
def test_no_call_of_an_answer_that_was_cut_off_or_refused_is_made(stop: str) -> None:
    answer = called(GOOD, stop=stop)

    assert "tool_calls" not in answer
    assert failure_of(answer) is not None
    assert answer[OBSERVED]["calls_not_made"] == ["look_up"]


@pytest.mark.parametrize("stop", ["tool", "end", None])
def test_the_calls_of_a_complete_answer_are_made(stop: str | None) -> None:
    answer = called(GOOD, stop=stop)

    assert answer["tool_calls"] == [GOOD]
    assert answer.get("stop", "tool") == "tool"


def test_a_call_next_to_an_error_is_not_made() -> None:
    assert "tool_calls" not in called(GOOD, error={"type": "BadReply", "message": "broken"})


@pytest.mark.parametrize("stop", ["error", "other", "something_new", 3, ["end"]])
def test_an_answer_that_failed_or_ended_for_an_unknown_reason_is_not_an_answer(stop: Any) -> None:
    answer = {"text": "Half", "model": "m", "cost_usd": 0.5, "stop": stop, "usage": {}}

    with pytest.raises(BadReply) as caught:
        judged(answer, REQUEST)

    assert caught.value.spent == {"usage": {}, "cost_usd": 0.5}


def test_the_words_of_a_broken_answer_are_reported() -> None:
    with pytest.raises(BadReply, match="Upstream timeout"):
        judged({"text": "", "stop": "error", "error": {"message": "Upstream timeout"}}, REQUEST)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ('{"word": "x"', "not valid JSON"),
        ('"{\\"word\\": \\"x\\"}"', "JSON text inside JSON text"),
        ("null", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ([1], "not a JSON object"),
        (3, "not a JSON object"),
        (None, "no arguments"),
        ("", "no arguments"),
        ("[" * 5000, "not valid JSON"),
    ],
)
def test_a_malformed_call_is_set_apart_and_the_good_ones_are_made(
    arguments: Any, problem: str
) -> None:
    answer = called({"id": "bad", "name": "look_up", "arguments": arguments}, GOOD)

    assert answer["tool_calls"] == [GOOD]
    (malformed,) = answer["malformed_calls"]
    assert (malformed["place"], malformed["id"], malformed["name"]) == (0, "bad", "look_up")
    assert problem in malformed["error"]
    assert exact(answer, "answer") == answer
    assert failure_of(answer) is None


def test_a_tool_without_parameters_needs_no_arguments() -> None:
    (call,) = called({"id": "a", "name": "now", "arguments": ""})["tool_calls"]

    assert call["arguments"] == {}


@pytest.mark.parametrize("call", [None, "look_up", 3, ["look_up"]])
def test_a_call_that_is_not_an_object_is_malformed(call: Any) -> None:
    answer = called(call, GOOD)

    assert answer["tool_calls"] == [GOOD]
    assert answer["malformed_calls"][0]["error"] == "The call is not an object."


def test_each_call_has_an_id_of_its_own() -> None:
    plain = {"name": "look_up", "arguments": {"word": "x"}}
    ids = ["a", "a", None, "", 3, "a-2"]

    answer = called(*({**plain, "id": id} for id in ids))

    assert [each["id"] for each in answer["tool_calls"]] == [
        "a",
        "a-2",
        "call-2",
        "call-3",
        "call-4",
        "a-2-2",
    ]


def test_an_answer_whose_calls_are_all_malformed_has_failed_for_a_kit() -> None:
    answer = called({"id": "bad", "name": "look_up", "arguments": "{"})

    assert (failure_of(answer) or {})["type"] == "MalformedCalls"
    assert text_of(answer) is None


def test_an_answer_that_announces_a_call_and_makes_none() -> None:
    assert judged({"text": "Yes.", "stop": "tool"}, REQUEST)["stop"] == "end"
    with pytest.raises(BadReply, match="contains no call"):
        judged({"text": " ", "stop": "tool", "tool_calls": []}, REQUEST)


@pytest.mark.parametrize(
    ("content", "text", "thought"),
    [
        ("<think>\nLet me see.\n</think>\n\nYes.", "Yes.", "Let me see."),
        ("Let me see.\n</think>\n\nYes.", "Yes.", "Let me see."),
        ("<think>Let me", "", "Let me"),
        ("<think>a</think><think>b</think>Yes.", "Yes.", "a\n\nb"),
        ("Yes.\n<reasoning>Why</reasoning>\nNo.", "Yes.\nNo.", "Why"),
        ([{"type": "text", "text": "Y"}, "e", {"type": "text", "text": "s."}], "Yes.", None),
        (
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
                {"type": "text", "text": "Yes."},
            ],
            "Yes.",
            "Hm.",
        ),
        (None, "", None),
        ("Write <think> to think.", "Write <think> to think.", None),
        ("A </think> tag.", "A </think> tag.", None),
    ],
)
def test_content_is_one_text_without_thoughts(content: Any, text: str, thought: str | None) -> None:
    answer = judged({"text": content, "stop": "end"}, REQUEST)

    assert answer["text"] == text
    assert answer.get(OBSERVED, {}).get("reasoning") == thought


def test_a_part_of_an_unknown_kind_is_shown() -> None:
    answer = judged({"text": [{"type": "chart", "points": [1, 2]}], "stop": "end"}, REQUEST)

    assert "points" in answer["text"]


def test_thoughts_that_are_known_already_are_kept() -> None:
    known = {"text": "<think>b</think>Yes.", "stop": "end", OBSERVED: {"reasoning": "a"}}

    assert judged(known, REQUEST)[OBSERVED]["reasoning"] == "a\n\nb"


def test_a_text_that_was_cut_off_says_so() -> None:
    cut = {"text": "It is bl", "stop": "length"}

    assert text_of(cut) == "It is bl\n\n[The answer was cut off at its limit of tokens.]"
    assert failure_of(cut) is None


def test_an_answer_that_was_cut_off_before_its_text_has_failed() -> None:
    error = failure_of({"text": " ", "stop": "length"})

    assert error is not None
    assert error["type"] == "Truncated"
    assert "raise max_tokens" in error["message"]


@pytest.mark.parametrize(
    ("word", "stop"),
    [
        ("stop", "end"),
        ("STOP", "end"),
        ("end_turn", "end"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("tool_calls", "tool"),
        ("content_filter", "filtered"),
        ("SAFETY", "filtered"),
        ("refusal", "refusal"),
        ("error", "error"),
        ("something_new", "error"),
        (None, "error"),
        (7, "error"),
    ],
)
def test_the_words_of_servers_stand_for_a_stop_of_a_closed_set(word: Any, stop: str) -> None:
    assert stop_of(word) == stop
    assert stop in STOPS


def test_a_request_that_cannot_be_sent_is_answered_with_an_error() -> None:
    def complete(request: dict[str, Any]) -> dict[str, Any]:
        raise RequestRejected("The request has no messages.", hint="Give it some.")

    answer = answer_from(complete, {})

    assert answer == {
        "cost_usd": 0.0,
        "error": {"type": "RequestRejected", "message": "The request has no messages."},
    }


def test_the_provider_of_another_package_is_judged_too() -> None:
    def complete(request: dict[str, Any]) -> dict[str, Any]:
        return {"text": "", "stop": "length", "tool_calls": [GOOD], "model": "m", "cost_usd": 1.0}

    effect = provider_executor(complete).effect
    assert effect is not None
    answer = effect.call(make_event("llm.request", "run:r", "x", [], REQUEST))

    assert "tool_calls" not in answer
    assert answer["error"]["type"] == "Truncated"


def test_an_empty_answer_that_was_cut_off_is_recorded_as_an_error() -> None:
    answer = judged({"text": "<think>Long", "stop": "length"}, REQUEST)

    assert answer["error"]["type"] == "Truncated"
    assert answer[OBSERVED]["reasoning"] == "Long"
