"""Thoughts of a model return to it unchanged, after a resume too, and reach no other."""

from __future__ import annotations

import json

import pytest

from kando.responders.conversation import assistant_message
from kando_llm.anthropic import open_anthropic
from kando_llm.openai import open_compatible
from wire import Fails, Says

ASKED = [{"role": "user", "content": "What is up?"}]
TOOL = {"name": "look", "description": "", "schema": {"type": "object", "properties": {}}}
SIGNED = {"type": "thinking", "thinking": "I look.", "signature": "U0lHTg=="}
REDACTED = {"type": "redacted_thinking", "data": "b3BhcXVl"}
USE = {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "sky"}}
USAGE = {"input_tokens": 3, "output_tokens": 2}


def message(*content):
    return {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": list(content),
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": USAGE,
    }


def chunks(*deltas):
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    ends = [*[(delta, None) for delta in deltas], ({}, "tool_calls")]
    parts = [
        {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        for delta, finish in ends
    ]
    return "".join(f"data: {json.dumps(part)}\n\n" for part in parts) + "data: [DONE]\n\n"


def next_turn(answer):
    """Return the messages of the next request, after the ledger has kept the answer."""
    kept = json.loads(json.dumps(answer))
    result = {"role": "tool", "tool_call_id": kept["tool_calls"][0]["id"], "content": "blue"}
    return [*ASKED, assistant_message(kept), result]


def test_blocks_of_anthropic_return_unchanged_and_in_order(wire):
    first, second = {"type": "text", "text": "Let me "}, {"type": "text", "text": "look."}
    content = [SIGNED, first, REDACTED, second, USE]
    server = wire(Fails(200, message(*content), {}), Says())
    environ = {"ANTHROPIC_BASE_URL": server.url}

    complete = open_anthropic("claude-opus-5", environ)
    answer = complete({"messages": ASKED, "tools": [TOOL]})
    complete.close()
    resumed = open_anthropic("claude-opus-5", environ)
    resumed({"messages": next_turn(answer), "tools": [TOOL]})
    resumed.close()

    assert answer["text"] == "Let me look."
    assert server.seen[1].body["messages"][1]["content"] == content


@pytest.mark.parametrize("other", ["model", "server"])
def test_thoughts_reach_no_other_model_and_no_other_server(wire, other):
    server, elsewhere = wire(Fails(200, message(SIGNED, USE), {}), Says()), wire(Says())
    complete = open_anthropic("claude-opus-5", {"ANTHROPIC_BASE_URL": server.url})
    answer = complete({"messages": ASKED, "tools": [TOOL]})
    complete.close()

    asked = elsewhere if other == "server" else server
    model = "claude-opus-4-8" if other == "model" else "claude-opus-5"
    foreign = open_anthropic(model, {"ANTHROPIC_BASE_URL": asked.url})
    foreign({"messages": next_turn(answer), "tools": [TOOL]})
    foreign.close()

    assert "U0lHTg" not in asked.seen[-1].text
    assert [each["type"] for each in asked.seen[-1].body["messages"][1]["content"]] == ["tool_use"]


CALL = {"index": 0, "id": "t1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
SIGNATURE = {"google": {"thought_signature": "c2ln"}}
DETAILS = [
    {"type": "reasoning.text", "text": "I ", "index": 0, "format": "x"},
    {"type": "reasoning.text", "text": "look.", "index": 0, "signature": "c2ln"},
]
WHOLE = [
    {"type": "reasoning.text", "text": "I look.", "index": 0, "format": "x", "signature": "c2ln"}
]

FIELDS = {
    "reasoning_content": ([{"reasoning_content": "I "}, {"reasoning_content": "look."}], "I look."),
    "reasoning_details": ([{"reasoning_details": [each]} for each in DETAILS], WHOLE),
}


@pytest.mark.parametrize("field", FIELDS)
def test_reasoning_fields_of_a_streamed_message_return_unchanged(wire, field):
    deltas, whole = FIELDS[field]
    stream = chunks(*deltas, {"tool_calls": [CALL]})
    server = wire(Fails(200, stream, {"content-type": "text/event-stream"}), Says())
    complete = open_compatible("m", {"OPENAI_COMPATIBLE_BASE_URL": f"{server.url}/v1"})

    answer = complete({"messages": ASKED, "tools": [TOOL]})
    complete({"messages": next_turn(answer), "tools": [TOOL]})
    complete.close()

    assert server.seen[1].body["messages"][1][field] == whole


@pytest.mark.parametrize("streams", [True, False])
def test_the_signature_of_a_tool_call_returns_with_that_call(wire, streams):
    second = {**CALL, "index": 1, "id": "t2", "extra_content": SIGNATURE}
    if streams:
        body = chunks({"tool_calls": [CALL]}, {"tool_calls": [second]})
        reply = Fails(200, body, {"content-type": "text/event-stream"})
    else:
        said = {"role": "assistant", "content": None, "tool_calls": [CALL, second]}
        choice = {"index": 0, "message": said, "finish_reason": "tool_calls"}
        reply = Fails(200, {"id": "c", "model": "m", "choices": [choice]}, {})
    server = wire(reply, Says())
    complete = open_compatible("m", {"OPENAI_COMPATIBLE_BASE_URL": f"{server.url}/v1"})

    answer = complete({"messages": ASKED, "tools": [TOOL]})
    complete({"messages": next_turn(answer), "tools": [TOOL]})
    complete.close()

    calls = server.seen[1].body["messages"][1]["tool_calls"]
    assert [each.get("extra_content") for each in calls] == [None, SIGNATURE]


def test_a_turn_whose_text_was_changed_keeps_its_thoughts_in_front(wire):
    server = wire(Fails(200, message(SIGNED, {"type": "text", "text": "So."}, USE), {}), Says())
    complete = open_anthropic("claude-opus-5", {"ANTHROPIC_BASE_URL": server.url})
    turns = next_turn(complete({"messages": ASKED, "tools": [TOOL]}))
    turns[1]["content"] = "Something else."

    complete({"messages": turns, "tools": [TOOL]})
    complete.close()

    content = server.seen[1].body["messages"][1]["content"]
    assert [each["type"] for each in content] == ["thinking", "text", "tool_use"]
