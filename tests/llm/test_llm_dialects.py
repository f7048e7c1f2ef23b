"""How each dialect puts a request on the wire, and how a stream becomes an answer."""

from __future__ import annotations

from typing import Any

import pytest

from kando_llm.anthropic import open_anthropic
from kando_llm.errors import BadReply, Overloaded, ProviderError
from kando_llm.openai import open_compatible, open_ollama, open_openai, open_openrouter
from wire import Fails, Says, reaching

OPENERS = {"anthropic": open_anthropic, "openai": open_openai}
LOOK = {"name": "look", "description": "Looks.", "schema": {"type": "object", "properties": {}}}
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
TALK: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is up?"},
    {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [
            {"id": "c1", "name": "look", "arguments": {"at": "sky"}},
            {"id": "c2", "name": "look", "arguments": {"at": "sea"}},
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "blue"},
    {"role": "tool", "tool_call_id": "c2", "content": "wet", "is_error": True},
]


@pytest.fixture
def asking(wire, dialect):
    """Return a function that calls a loopback server and returns the answer and the body sent."""
    opened = []

    def ask(says=None, *, on_text=None, **options):
        server = wire(says or Says())
        provider = OPENERS[dialect]("some-model", reaching(dialect, server.url))
        opened.append(provider)
        request = {"messages": TALK, "model": "default", "max_tokens": 50, **options}
        answer = provider.stream(request, on_text) if on_text else provider(request)
        return answer, server.seen[-1].body

    yield ask
    for provider in opened:
        provider.close()


def test_messages_tools_schema_and_limits_are_sent_on_the_wire(asking, dialect):
    _, body = asking(tools=[LOOK], output_schema=SCHEMA, stop=["END"])

    assert body["model"] == "some-model"
    calls = [("c1", {"at": "sky"}), ("c2", {"at": "sea"})]
    if dialect == "anthropic":
        uses = [{"type": "tool_use", "id": i, "name": "look", "input": a} for i, a in calls]
        mark = {"cache_control": {"type": "ephemeral"}}
        assert body["system"] == [{"type": "text", "text": "Be brief.", **mark}]
        assert body["messages"] == [
            {"role": "user", "content": [{"type": "text", "text": "What is up?", **mark}]},
            {"role": "assistant", "content": [{"type": "text", "text": "I look."}, *uses]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "blue"},
                    {
                        "type": "tool_result",
                        "tool_use_id": "c2",
                        "content": "wet",
                        "is_error": True,
                        **mark,
                    },
                ],
            },
        ]
        schema = {"type": "object", "properties": {}}
        assert body["tools"] == [{"name": "look", "description": "Looks.", "input_schema": schema}]
        assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
        assert (body["max_tokens"], body["stop_sequences"]) == (50, ["END"])
    else:
        assert [each["role"] for each in body["messages"]] == [
            "system",
            "user",
            "assistant",
            "tool",
            "tool",
        ]
        assert [c["function"]["arguments"] for c in body["messages"][2]["tool_calls"]] == [
            '{"at": "sky"}',
            '{"at": "sea"}',
        ]
        assert body["messages"][3] == {"role": "tool", "tool_call_id": "c1", "content": "blue"}
        assert body["tools"][0]["function"]["parameters"] == LOOK["schema"]
        assert body["response_format"]["json_schema"] == {
            "name": "answer",
            "schema": SCHEMA,
            "strict": True,
        }
        assert (body["max_tokens"], body["stop"]) == (50, ["END"])


def test_a_schema_that_openai_cannot_enforce_is_not_sent_as_strict(wire):
    loose = {**SCHEMA, "required": []}
    server = wire(Says())
    provider = open_openai("m", reaching("openai", server.url))

    provider({"messages": TALK, "output_schema": loose})
    provider.close()

    assert server.seen[0].body["response_format"]["json_schema"]["strict"] is False


def test_a_choice_without_a_type_gets_one_in_the_schemas_that_are_sent(asking, dialect):
    grade = {"enum": ["good", "bad", None]}
    schema = {
        **SCHEMA,
        "properties": {"n": {"anyOf": [{"const": 1}, {"type": "array", "items": grade}]}},
    }
    tool = {**LOOK, "schema": {"type": "object", "properties": {"enum": {"enum": [1.5, 2.5]}}}}

    _, plain = asking(output_schema=schema)
    _, called = asking(tools=[tool])

    if dialect == "anthropic":
        sent = plain["output_config"]["format"]["schema"]
        parameters = called["tools"][0]["input_schema"]
    else:
        sent = plain["response_format"]["json_schema"]["schema"]
        parameters = called["tools"][0]["function"]["parameters"]
        assert plain["response_format"]["json_schema"]["strict"] is True
    one, several = sent["properties"]["n"]["anyOf"]
    assert one == {"type": "integer", "const": 1}
    assert several["items"] == {"type": ["string", "null"], **grade}
    assert parameters["properties"]["enum"] == {"type": "number", "enum": [1.5, 2.5]}


def test_a_temperature_of_zero_is_sent_and_an_absent_one_is_not(asking, dialect):
    old = {"anthropic": "claude-haiku-4-5", "openai": "gpt-4o"}[dialect]

    assert asking(temperature=0.0, model=old)[1]["temperature"] == 0.0
    assert "temperature" not in asking()[1]


def test_an_answer_lists_the_options_that_were_dropped(wire):
    server = wire(Says())
    provider = open_anthropic("claude-opus-5-5", reaching("anthropic", server.url))

    answer = provider({"messages": TALK, "temperature": 0.5})
    provider.close()

    assert answer["dropped"] == ["temperature"]


def test_a_stream_arrives_in_pieces_and_gives_the_same_answer(asking):
    says = Says(
        "It is a blue sky.", usage=(11, 7, 3, 2), stop="tool", calls=(("c", "t", {"a": 1}),)
    )
    pieces: list[str] = []

    streamed, body = asking(says, on_text=pieces.append)
    whole, _ = asking(says)

    assert body["stream"] is True
    assert len(pieces) > 1
    assert "".join(pieces) == "It is a blue sky."
    del streamed["observed"], whole["observed"]
    assert streamed == whole
    assert streamed["tool_calls"] == [{"id": "c", "name": "t", "arguments": {"a": 1}}]


@pytest.mark.parametrize("cut", [0, 150, 500, 700])
def test_a_truncated_stream_is_a_bad_reply(asking, cut):
    with pytest.raises(BadReply, match="incomplete answer"):
        asking(Says("It is blue. " * 20, cut=cut), on_text=lambda piece: None)


@pytest.mark.parametrize("limit", [5, 30_000])
def test_every_answer_is_streamed(asking, limit):
    answer, body = asking(max_tokens=limit)

    assert answer["text"] == "Yes."
    assert body["stream"] is True


def test_an_error_inside_a_stream_is_raised_as_the_servers(wire, dialect):
    error = {"type": "overloaded_error", "message": "Too much."}
    event = f'event: error\ndata: {{"type": "error", "error": {str(error).replace(chr(39), chr(34))}}}\n\n'
    server = wire(Fails(200, event, {"content-type": "text/event-stream"}))
    provider = OPENERS[dialect]("m", reaching(dialect, server.url))

    with pytest.raises(Overloaded, match="Too much"):
        provider.stream({"messages": TALK}, lambda piece: None)
    provider.close()


def test_unreported_usage_is_absent_and_its_cost_unknown(asking):
    answer, _ = asking(Says(usage=None))

    assert (answer["usage"], answer["cost_usd"]) == ({}, None)


def test_a_malformed_call_is_returned_with_the_reason_and_is_not_a_call(wire):
    call = {"id": "c", "type": "function", "function": {"name": "t", "arguments": "{oops"}}
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    body = {"id": "1", "model": "m", "object": "chat.completion", "choices": [choice]}
    provider = open_openai("m", reaching("openai", wire(Fails(200, body)).url))

    answer = provider({"messages": TALK})
    provider.close()

    assert "tool_calls" not in answer
    (malformed,) = answer["malformed_calls"]
    assert (malformed["id"], malformed["name"], malformed["arguments"]) == ("c", "t", "{oops")
    assert "not valid JSON" in malformed["error"]


def test_openrouter_reports_the_cost_and_has_a_default_model(wire):
    server = wire(Says(cost=0.0125))
    environ = {"OPENROUTER_BASE_URL": f"{server.url}/api/v1"}
    provider = open_openrouter("", environ)

    answer = provider({"messages": TALK})
    named = open_openrouter("", {**environ, "OPENROUTER_MODEL": "maker/model:free"})
    named({"messages": TALK})
    provider.close()
    named.close()

    assert answer["cost_usd"] == 0.0125
    assert server.seen[0].path == "/api/v1/chat/completions"
    assert server.seen[0].body["usage"] == {"include": True}
    assert [each.body["model"] for each in server.seen] == [
        "anthropic/claude-haiku-4-5",
        "maker/model:free",
    ]


def test_a_local_server_needs_a_model_and_no_key(wire):
    server = wire(Says())
    environ = {"OLLAMA_BASE_URL": f"{server.url}/v1"}
    provider, nameless = open_ollama("qwen3:8b", environ), open_ollama("", environ)

    provider({"messages": TALK, "max_tokens": 9})
    with pytest.raises(ProviderError, match=r"without a model.*ollama:MODEL"):
        nameless({"messages": TALK})
    provider.close()
    nameless.close()

    assert (server.seen[0].body["model"], server.seen[0].body["max_tokens"]) == ("qwen3:8b", 9)
    assert server.seen[0].headers["authorization"] == "Bearer none"


def test_a_provider_without_a_server_cannot_be_opened():
    with pytest.raises(ProviderError, match="Set OPENAI_COMPATIBLE_BASE_URL"):
        open_compatible("m", {})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("messages", [{"role": "tool", "content": "x"}]),
        ("messages", [{"role": "robot", "content": "x"}]),
        ("messages", [{"role": "assistant", "content": None}]),
        ("messages", [{"role": "assistant", "content": "", "tool_calls": [{"id": 1}]}]),
        ("model", 3),
        ("temperature", "hot"),
        ("tools", [{"description": "nameless"}]),
        ("tools", "look"),
        ("output_schema", "int"),
        ("stop", [1]),
        ("max_tokens", 0),
    ],
)
def test_a_malformed_request_is_refused_before_anything_is_sent(wire, field, value):
    server = wire(Says())
    provider = open_openai("m", reaching("openai", server.url))

    with pytest.raises(ProviderError):
        provider({"messages": TALK, field: value})
    provider.close()

    assert server.seen == []
