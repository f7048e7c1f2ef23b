"""The prefix of a conversation stays the same, and is marked for servers that want a mark."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from kando_llm.anthropic import open_anthropic
from kando_llm.openai import open_compatible, open_openrouter
from wire import Says

TOOL = {"name": "look", "description": "", "schema": {"type": "object", "properties": {}}}


def talk(turns: int) -> list[dict[str, Any]]:
    """Return the messages of the request after so many turns."""
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is up?"},
    ]
    for n in range(turns):
        call = {"id": f"c{n}", "name": "look", "arguments": {"at": f"place {n}"}}
        messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"c{n}", "content": f"thing {n}"})
    return messages


def unmarked(value: Any) -> Any:
    """Return a body as the server's cache compares it: without marks."""
    if isinstance(value, list):
        parts = [unmarked(each) for each in value]
        is_text = len(parts) == 1 and isinstance(parts[0], dict) and [*parts[0]] == ["type", "text"]
        return parts[0]["text"] if is_text else parts
    if isinstance(value, dict):
        return {name: unmarked(v) for name, v in value.items() if name != "cache_control"}
    return value


@pytest.fixture
def bodies(wire):
    """Return a function that sends a conversation turn by turn, and returns the bodies."""

    def send(provider: str, model: str = "m", **options: Any) -> list[dict[str, Any]]:
        server = wire(Says())
        openers = {
            "anthropic": (open_anthropic, server.url),
            "openrouter": (open_openrouter, f"{server.url}/v1"),
            "openai_compatible": (open_compatible, f"{server.url}/v1"),
        }
        opener, url = openers[provider]
        complete = opener(model, {f"{provider.upper()}_BASE_URL": url})
        for turns in range(5):
            complete({"messages": talk(turns), "tools": [TOOL], **options})
        complete.close()
        return [each.body for each in server.seen]

    return send


KINDS = [
    ("anthropic", "claude-opus-5"),
    ("openrouter", "anthropic/claude-opus-5"),
    ("openai_compatible", "m"),
]


@pytest.mark.parametrize(("provider", "model"), KINDS)
def test_the_prefix_of_a_conversation_stays_the_same_byte_for_byte(bodies, provider, model):
    sent = bodies(provider, model)

    for before, after in pairwise(sent):
        first, second = (json.dumps(unmarked(each["messages"])) for each in (before, after))
        assert second.startswith(first.removesuffix("]"))
        for field in ("system", "tools"):
            assert unmarked(before.get(field)) == unmarked(after.get(field))


@pytest.mark.parametrize(("provider", "model"), KINDS[:2])
def test_the_ends_of_the_prefix_are_marked(bodies, provider, model):
    sent = bodies(provider, model)

    assert all(1 <= json.dumps(each).count('"cache_control"') <= 4 for each in sent)
    for each in sent:
        assert each["messages"][-1]["content"][-1]["cache_control"] == {"type": "ephemeral"}


@pytest.mark.parametrize(("provider", "model"), [*KINDS[2:], ("openrouter", "openai/gpt-5.4")])
def test_servers_that_want_no_mark_get_none(bodies, provider, model):
    assert "cache_control" not in json.dumps(bodies(provider, model))


@pytest.mark.parametrize(("provider", "model"), KINDS[:2])
def test_the_marks_can_be_left_out(bodies, provider, model):
    assert "cache_control" not in json.dumps(bodies(provider, model, prompt_cache=False))


def test_a_request_that_no_other_continues_is_not_marked(wire):
    server = wire(Says())
    complete = open_anthropic("claude-opus-5", {"ANTHROPIC_BASE_URL": server.url})
    complete({"messages": talk(0)})
    complete.close()

    assert "cache_control" not in server.seen[0].text
