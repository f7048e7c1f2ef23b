"""OpenAI's Responses API: when it is used, what is sent, and how an answer is read."""

from __future__ import annotations

import json

import attrs
import pytest

from kando.app.builtin import installed_plugins
from kando.app.providers import choose_provider
from kando.responders.conversation import assistant_message
from kando_llm.endpoints import SERVERS
from kando_llm.errors import BadReply, NotAllowed, Overloaded, RateLimited
from kando_llm.openai import open_azure, open_compatible, open_openai, open_openai_responses
from wire import Fails, Says, reaching, response, streamed_response

LOOK = {"name": "look", "description": "Looks.", "schema": {"type": "object", "properties": {}}}
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
HI = [{"role": "user", "content": "Hi"}]
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is up?"},
    {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [{"id": "c1", "name": "look", "arguments": {"at": "sky"}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "blue"},
]
CALLS = (("c1", "look", {"at": "sky"}), ("c2", "look", {"at": "sea"}))
REASONING = {
    "id": "rs-1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "I look."}],
    "encrypted_content": "b3BhcXVl",
}
ONLY_RESPONSES = "This model is only supported in v1/responses and not in v1/chat/completions."
STREAM = {"content-type": "text/event-stream"}


@pytest.fixture
def opened():
    providers = []

    def keep(provider):
        providers.append(provider)
        return provider

    yield keep
    for provider in providers:
        provider.close()


@pytest.fixture
def asking(wire, opened):
    """Return a function that asks a loopback server, and returns the answer and the body sent."""

    def ask(reply=None, *, opener=open_openai_responses, model="some-model", **options):
        server = wire(reply or Says())
        provider = opened(opener(model, reaching("openai-responses", server.url)))
        answer = provider({"messages": TALK, "model": "default", "max_tokens": 50, **options})
        return answer, server.seen[-1].body

    return ask


@pytest.fixture
def own(wire, monkeypatch):
    """Return a function that starts a server in place of OpenAI's own."""

    def start(*replies, **more):
        server = wire(*replies, **more)
        kind = attrs.evolve(SERVERS["openai"], base_url=f"{server.url}/v1")
        monkeypatch.setitem(SERVERS, "openai", kind)
        return server, {"OPENAI_API_KEY": "key-of-openai-0123"}

    return start


def failing(message, **fields):
    error = {"message": message, "type": "invalid_request_error", "code": None, **fields}
    return Fails(404, {"error": error}, {})


def streamed(whole):
    return Fails(200, "".join(streamed_response(whole)), STREAM)


def test_a_request_is_sent_in_the_form_of_the_api(asking):
    _, body = asking(tools=[LOOK], output_schema=SCHEMA, effort="high", tool_choice="look")

    assert body["instructions"] == "Be brief."
    assert body["input"] == [
        {"role": "user", "content": "What is up?"},
        {"role": "assistant", "content": "I look."},
        {
            "type": "function_call",
            "call_id": "c1",
            "name": "look",
            "arguments": '{"at": "sky"}',
        },
        {"type": "function_call_output", "call_id": "c1", "output": "blue"},
    ]
    (tool,) = body["tools"]
    assert (tool["name"], tool["parameters"], tool["strict"]) == ("look", LOOK["schema"], False)
    assert body["text"]["format"] == {
        "type": "json_schema",
        "name": "answer",
        "schema": SCHEMA,
        "strict": True,
    }
    assert body["reasoning"] == {"effort": "high"}
    assert body["tool_choice"] == {"type": "function", "name": "look"}
    assert body["max_output_tokens"] == 50
    assert (body["stream"], body["store"]) == (True, False)
    assert body["include"] == ["reasoning.encrypted_content"]


def test_a_schema_next_to_tools_is_sent_as_text_to_a_server_that_may_not_enforce_it(wire, opened):
    def answer(seen, before):
        is_chat = seen.path.endswith("/chat/completions")
        return failing(ONLY_RESPONSES) if is_chat else Says('{"n": 3}')

    server = wire(answer=answer)
    provider = opened(open_compatible("m", {"OPENAI_COMPATIBLE_BASE_URL": f"{server.url}/v1"}))

    provider({"messages": HI, "output_schema": SCHEMA, "tools": [LOOK]})
    provider({"messages": HI, "output_schema": SCHEMA, "verbosity": "low"})

    assert "text" not in server.seen[1].body
    assert '"required": ["n"]' in server.seen[1].body["input"][-1]["content"]
    assert server.seen[2].body["text"]["format"]["strict"] is False
    assert server.seen[2].body["text"]["verbosity"] == "low"


def test_options_that_the_api_lacks_are_named(own, opened):
    server, environ = own(Says())
    provider = opened(open_openai_responses("gpt-5.4", environ))

    answer = provider(
        {"messages": HI, "stop": ["END"], "seed": 1, "temperature": 0.5, "thinking": True}
    )

    assert answer["dropped"] == ["seed", "stop", "temperature", "thinking"]
    assert not {"stop", "seed", "temperature", "thinking"} & set(server.seen[0].body)


def test_a_model_that_does_not_reason_is_not_asked_for_its_reasoning(own, opened):
    server, environ = own(Says())

    opened(open_openai_responses("gpt-4.1-mini", environ))({"messages": HI, "temperature": 0.0})

    assert "include" not in server.seen[0].body
    assert server.seen[0].body["temperature"] == 0.0


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gpt-5-pro", "/v1/responses"),
        ("gpt-5.4-pro-2026-03-05", "/v1/responses"),
        ("o3-pro", "/v1/responses"),
        ("gpt-5.3-codex", "/v1/responses"),
        ("o4-mini-deep-research", "/v1/responses"),
        ("gpt-5.4", "/v1/chat/completions"),
        ("gpt-5.4-mini", "/v1/chat/completions"),
        ("o3", "/v1/chat/completions"),
    ],
)
def test_openai_gets_a_model_that_needs_the_api_by_its_name(own, opened, model, path):
    server, environ = own(Says())

    opened(open_openai(model, environ))({"messages": HI, "max_tokens": 50})

    assert [each.path for each in server.seen] == [path]


@pytest.mark.parametrize(
    "error",
    [
        failing(ONLY_RESPONSES, param="model"),
        failing(
            "This is not a chat model and thus not supported in the v1/chat/completions endpoint. "
            "Did you mean to use v1/completions?",
            param="model",
        ),
        Fails(
            400,
            {
                "error": {
                    "message": "Function tools with reasoning_effort are not supported for m in "
                    "/v1/chat/completions. Please use /v1/responses instead.",
                    "param": "reasoning_effort",
                }
            },
            {},
        ),
        Fails(
            400,
            {
                "error": {
                    "code": "OperationNotSupported",
                    "message": "The chatCompletion operation does not work with the specified "
                    "model, m. Please choose different model and try again.",
                }
            },
            {},
        ),
    ],
    ids=["only-responses", "not-a-chat-model", "tools-and-effort", "azure"],
)
def test_a_server_that_names_the_api_is_asked_there_from_then_on(wire, opened, error):
    def answer(seen, before):
        return error if seen.path.endswith("/chat/completions") else Says()

    server = wire(answer=answer)
    environ = {"OPENAI_COMPATIBLE_BASE_URL": f"{server.url}/v1"}
    provider = opened(open_compatible("m", environ))

    answers = [provider({"messages": HI, "max_tokens": 50, "effort": "low"}) for _ in range(2)]

    paths = [each.path.removeprefix("/v1/") for each in server.seen]
    assert paths == ["chat/completions", "responses", "responses"]
    assert [each["text"] for each in answers] == ["Yes.", "Yes."]
    assert [each["observed"]["attempts"] for each in answers] == [2, 1]
    assert all("dropped" not in each for each in answers)
    assert server.seen[-1].body["reasoning"] == {"effort": "low"}


def test_another_404_is_the_servers_answer(wire, opened):
    server = wire(failing("The model 'm' does not exist.", code="model_not_found"))
    provider = opened(open_openai("m", reaching("openai", server.url)))

    with pytest.raises(NotAllowed, match="does not exist"):
        provider({"messages": HI})

    assert len(server.seen) == 1


def test_azure_has_the_api_outside_of_the_path_of_a_deployment(wire, opened):
    def answer(seen, before):
        return failing(ONLY_RESPONSES) if "/chat/completions" in seen.path else Says()

    server = wire(answer=answer)
    environ = {
        "AZURE_OPENAI_ENDPOINT": server.url,
        "AZURE_OPENAI_API_KEY": "key-of-azure-0123",
        "AZURE_OPENAI_API_VERSION": "2025-04-01-preview",
    }

    opened(open_azure("ours", environ))({"messages": HI})

    assert server.seen[-1].path == "/openai/responses?api-version=2025-04-01-preview"
    assert server.seen[-1].headers["api-key"] == "key-of-azure-0123"
    assert server.seen[-1].body["model"] == "ours"


def test_a_key_of_openai_alone_still_selects_chat_completions():
    chosen = choose_provider(None, installed_plugins({}), {"OPENAI_API_KEY": "sk-0123456789"})

    assert chosen is not None
    chosen.close()
    assert chosen.name == "openai"


def test_an_answer_is_the_same_streamed_and_whole(asking):
    says = Says("It is a blue sky.", "tool", CALLS, usage=(11, 7, 3, 2))

    parts = asking(says)[0]
    whole = asking(Fails(200, response(says), {}))[0]

    del parts["observed"], whole["observed"]
    assert parts == whole
    assert parts["text"] == "It is a blue sky."
    assert [each["id"] for each in parts["tool_calls"]] == ["c1", "c2"]
    assert parts["usage"]["input_tokens"] == 14
    assert parts["usage"]["cache_read_tokens"] == 3
    assert parts["usage"]["reasoning_tokens"] == 2


def test_text_arrives_in_pieces(wire, opened):
    provider = opened(open_openai_responses("m", reaching("openai", wire(Says("It is blue.")).url)))
    pieces: list[str] = []

    answer = provider.stream({"messages": HI}, pieces.append)

    assert len(pieces) > 1
    assert "".join(pieces) == answer["text"] == "It is blue."


@pytest.mark.parametrize("left_out", ["all", "reasoning"])
def test_items_that_the_last_event_leaves_out_are_taken_from_the_stream(asking, left_out):
    whole = response(Says("It is blue.", "tool", CALLS))
    whole["output"].insert(0, REASONING)
    *events, last = streamed_response(whole)
    kept = [] if left_out == "all" else whole["output"][1:]
    end = {"type": "response.completed", "response": {**whole, "output": kept}}
    stream = "".join(events) + f"event: response.completed\ndata: {json.dumps(end)}\n\n"

    answer, _ = asking(Fails(200, stream, STREAM))

    assert last
    assert (answer["text"], answer["stop"]) == ("It is blue.", "tool")
    assert [each["arguments"] for each in answer["tool_calls"]] == [{"at": "sky"}, {"at": "sea"}]
    assert answer["observed"]["reasoning"] == "I look."
    assert answer["thoughts"]["blocks"][0] == {"block": REASONING}


def test_text_next_to_a_refusal_is_kept(asking):
    whole = response(Says("I could, but"))
    whole["output"][0]["content"].append({"type": "refusal", "refusal": "I will not."})

    answer, _ = asking(streamed(whole))

    assert answer["stop"] == "refusal"
    assert answer["text"] == "I could, but\n\nI will not."


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "server_error", "message": "Broken."}, Overloaded),
        ({"code": "rate_limit_exceeded", "message": "Slow down."}, RateLimited),
        ({"code": "something_new", "message": "Who knows?"}, BadReply),
        (None, BadReply),
    ],
)
@pytest.mark.parametrize("streams", [True, False])
def test_a_failed_answer_is_a_failure_with_the_servers_words(wire, opened, error, kind, streams):
    whole = {**response(Says("Half")), "status": "failed", "error": error}
    server = wire(streamed(whole) if streams else Fails(200, whole, {}))
    environ = {**reaching("openai", server.url), "KANDO_LLM_RETRIES": "0"}

    with pytest.raises(kind) as caught:
        opened(open_openai_responses("m", environ))({"messages": HI})

    assert (error or {"message": "names no error"})["message"] in str(caught.value)
    assert caught.value.spent is not None
    assert caught.value.spent["usage"]["output_tokens"] == 7


def test_an_error_event_of_a_stream_is_the_servers_error(wire, opened):
    event = {"type": "error", "code": "rate_limit_exceeded", "message": "Slow down.", "param": None}
    reply = Fails(200, f"event: error\ndata: {json.dumps(event)}\n\n", STREAM)
    environ = {**reaching("openai", wire(reply).url), "KANDO_LLM_RETRIES": "0"}

    with pytest.raises(RateLimited, match="Slow down"):
        opened(open_openai_responses("m", environ))({"messages": HI})


def next_turn(answer):
    """Return the messages of the next request, after the ledger has kept the answer."""
    kept = json.loads(json.dumps(answer))
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": "blue"}
        for call in kept["tool_calls"]
    ]
    return [*HI, assistant_message(kept), *results]


def test_reasoning_returns_unchanged_and_in_order(wire, opened):
    whole = response(Says("", "tool", CALLS))
    second = {**REASONING, "id": "rs-2", "summary": []}
    note = {"id": "m", "type": "message", "role": "assistant", "phase": "commentary"}
    note["content"] = [{"type": "output_text", "text": "So.", "annotations": []}]
    first, last = whole["output"]
    whole["output"] = [REASONING, first, second, note, last]
    server = wire(streamed(whole), Says())
    environ = reaching("openai", server.url)

    answer = opened(open_openai_responses("m", environ))({"messages": HI, "tools": [LOOK]})
    opened(open_openai_responses("m", environ))({"messages": next_turn(answer), "tools": [LOOK]})

    sent = server.seen[1].body["input"][1:6]
    assert [each.get("id", each.get("call_id")) for each in sent] == [
        "rs-1",
        "c1",
        "rs-2",
        None,
        "c2",
    ]
    assert (sent[0], sent[2]) == (REASONING, second)
    assert sent[3] == {"role": "assistant", "content": "So.", "phase": "commentary"}


def test_reasoning_reaches_no_other_model_and_is_not_kept_if_the_server_cannot_read_it(
    wire, opened
):
    whole = response(Says("", "tool", CALLS))
    whole["output"].insert(0, REASONING)
    bare = response(Says("", "tool", CALLS))
    bare["output"].insert(0, {**REASONING, "encrypted_content": None})
    server = wire(streamed(whole), Says(), streamed(bare))
    environ = reaching("openai", server.url)
    provider = opened(open_openai_responses("m", environ))

    answer = provider({"messages": HI, "tools": [LOOK]})
    opened(open_openai_responses("other", environ))({"messages": next_turn(answer)})
    unreadable = provider({"messages": HI, "tools": [LOOK]})

    assert "b3BhcXVl" not in server.seen[1].text
    assert "thoughts" not in unreadable
    assert unreadable["observed"]["reasoning"] == "I look."


def test_a_server_that_refuses_encrypted_reasoning_is_not_asked_for_it_again(wire, opened):
    def answer(seen, before):
        if "include" not in seen.body:
            return Says()
        words = "Encrypted content is not supported with this model."
        return Fails(400, {"error": {"message": words, "param": "include"}}, {})

    server = wire(answer=answer)
    provider = opened(open_openai_responses("m", reaching("openai", server.url)))

    answers = [provider({"messages": HI}) for _ in range(2)]

    assert len(server.seen) == 3
    assert [each["dropped"] for each in answers] == [["include"], ["include"]]


@pytest.mark.parametrize("tools", [[], [LOOK]])
def test_a_refused_schema_is_sent_in_simpler_forms_and_then_in_the_last_turn(wire, opened, tools):
    def answer(seen, before):
        if "text" not in seen.body:
            return Says('{"n": 3}')
        error = {"message": "Invalid schema for response_format 'answer'.", "param": "text.format"}
        return Fails(400, {"error": error}, {})

    server = wire(answer=answer)
    provider = opened(open_openai_responses("m", reaching("openai", server.url)))

    found = provider({"messages": HI, "output_schema": SCHEMA, "tools": tools})

    formats = [(seen.body.get("text") or {}).get("format", {}) for seen in server.seen]
    kinds = [(each.get("type"), each.get("strict")) for each in formats]
    strict = [("json_schema", True), ("json_schema", False)]
    assert kinds == [*strict, *([] if tools else [("json_object", None)]), (None, None)]
    assert '"n"' in server.seen[-1].body["input"][-1]["content"]
    assert found["dropped"] == ["text"]
