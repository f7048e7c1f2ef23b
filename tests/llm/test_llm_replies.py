"""Replies of servers, good and bad, through the SDKs: what is an answer, and what is a failure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kando_llm.anthropic import open_anthropic
from kando_llm.errors import BadReply, NotAllowed, Overloaded, ProviderError, RateLimited
from kando_llm.openai import (
    open_compatible,
    open_openai,
    open_openai_responses,
    open_openrouter,
)
from wire import Fails, Says, Seen, message, message_events, reaching, response

TALK = [{"role": "user", "content": "What is up?"}]
LOOK = {
    "name": "look",
    "schema": {"type": "object", "properties": {"at": {"type": "string"}}},
}
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
RESPONSES = (open_openai_responses, "OPENAI")
EVENTS = {"content-type": "text/event-stream"}


@pytest.fixture
def opened(wire):
    """Return a function that opens a provider on a server with given replies, and the server."""
    providers = []

    def open_on(opener, prefix, *replies, answer=None):
        server = wire(*replies, answer=answer)
        base = server.url if prefix == "ANTHROPIC" else f"{server.url}/v1"
        environ = {f"{prefix}_BASE_URL": base, "KANDO_LLM_RETRIES": "0"}
        providers.append(opener("some-model", environ))
        return providers[-1], server

    yield open_on
    for provider in providers:
        provider.close()


def chat(message: dict[str, Any], finish: Any = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 11, "completion_tokens": 7}
    return {"id": "1", "model": "m", "choices": [{**choice, **more}], "usage": usage}


def call(arguments: Any, id: Any = "a", name: str = "look", **more: Any) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}} | more


def chunks(*choices: dict[str, Any]) -> Fails:
    events = [{"id": "1", "model": "m", "choices": [{"index": 0, **each}]} for each in choices]
    stream = "".join(f"data: {json.dumps(each)}\n\n" for each in events) + "data: [DONE]\n\n"
    return Fails(200, stream, EVENTS)


def sse(*events: dict[str, Any]) -> Fails:
    stream = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)
    return Fails(200, stream, EVENTS)


def ask(provider: Any, *, streams: bool = False, **more: Any) -> dict[str, Any]:
    request = {"messages": TALK, "max_tokens": 50, **more}
    answer: dict[str, Any] = (
        provider.stream(request, lambda piece: None) if streams else provider(request)
    )
    return answer


HALF = {"content": "Half of an ans"}
BROKEN = {
    "a choice-level error": (
        chat(HALF, "error", error={"code": 400, "message": "Upstream idle timeout"}),
        "Upstream idle timeout",
    ),
    "finish_reason error": (chat(HALF, "error"), "finish_reason 'error'"),
    "an unknown finish_reason": (chat(HALF, "something_new"), "something_new"),
    "an error body": ({"error": {"message": "Cold start."}}, "Cold start"),
    "a list of errors": ([{"error": {"message": "Cold start."}}], "Cold start"),
    "an error as text": ({"error": "Cold start."}, "Cold start"),
    "a page of HTML": ("<html><title>Sign in</title><p>Please log in</p>", "Please log in"),
    "an empty body": ("", "sent no answer"),
    "JSON without choices": ({"ok": True}, "sent no answer"),
    "no choices": ({**chat({}), "choices": []}, "sent no answer"),
    "no finish_reason": (chat(HALF, None), "no finish reason"),
    "a call that is announced and missing": (chat({"content": ""}, "tool_calls"), "no call"),
}


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_answer_is_a_failure_with_the_words_of_the_server(opened, name, streams):
    body, words = BROKEN[name]
    provider, _ = opened(open_compatible, "OPENAI_COMPATIBLE", Fails(200, body))

    with pytest.raises(ProviderError) as caught:
        ask(provider, streams=streams)

    assert words in str(caught.value)


def test_an_error_inside_an_answer_has_the_status_that_it_names(opened):
    for code, kind in ((402, NotAllowed), (429, RateLimited), (502, Overloaded)):
        body = chat(HALF, "error", error={"code": code, "message": "No."})
        provider, _ = opened(open_openrouter, "OPENROUTER", Fails(200, body))

        with pytest.raises(kind) as caught:
            ask(provider)

        assert caught.value.spent["usage"]["output_tokens"] == 7


@pytest.mark.parametrize(
    "reply",
    [
        Fails(200, 'data: {"error": {"message": "Upstream broke."}}\n\n', EVENTS),
        chunks({"delta": HALF, "error": {"message": "Upstream broke."}, "finish_reason": "error"}),
    ],
)
def test_an_error_inside_a_stream_of_chunks_is_a_failure(opened, reply):
    provider, _ = opened(open_compatible, "OPENAI_COMPATIBLE", reply)

    with pytest.raises(BadReply, match="Upstream broke"):
        ask(provider, streams=True)


FAULTS: dict[str, tuple[int, Any]] = {
    "a list": (400, [{"error": {"code": 400, "message": "API key not valid."}}]),
    "an error as text": (400, {"error": "model 'x' not found"}),
    "detail": (422, {"detail": "Invalid token"}),
    "details": (422, {"detail": [{"loc": ["body", "tools"], "msg": "Bad tool name"}]}),
    "errors": (400, {"errors": [{"message": "Unknown model"}]}),
    "message": (400, {"object": "error", "message": "Unknown model", "code": 404}),
    "text": (400, "Bad API key"),
    "HTML": (403, "<html><body>Forbidden</body></html>"),
    "nothing": (400, ""),
    "credit": (429, {"error": {"type": "insufficient_quota", "message": "No credit."}}),
    "a 402": (402, {"error": {"message": "Payment required"}}),
    "a key at 500": (500, {"error": {"message": "Invalid API key provided"}}),
    "a tool name": (400, {"error": {"param": "tools[0].function.name", "message": "Bad name."}}),
    "too many tokens asked": (400, {"error": {"message": "max_tokens: 50 exceeds the maximum"}}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_settings_is_not_an_answer(opened, name):
    status, body = FAULTS[name]
    provider, server = opened(open_compatible, "OPENAI_COMPATIBLE", Fails(status, body))

    with pytest.raises(NotAllowed):
        ask(provider)

    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "This model's maximum context length is 8192 tokens"),
        (413, "Request entity too large"),
        (400, "messages.3: tool_use ids must be unique"),
        (403, "Your input was flagged by moderation"),
    ],
)
def test_a_fault_of_one_request_is_its_answer(opened, status, message):
    reply = Fails(status, {"error": {"message": message}})
    provider, _ = opened(open_compatible, "OPENAI_COMPATIBLE", reply)

    answer = ask(provider)

    assert answer["error"]["type"] == "RequestRejected"
    assert message in answer["error"]["message"]


def refusing(*refused: str, says: Says | None = None) -> Any:
    """Return a server that refuses these options, one in each reply."""

    def answer(seen: Seen, before: int) -> Any:
        for name in refused:
            if name in seen.body:
                error = {"message": f"Unsupported parameter: '{name}'.", "param": name}
                return Fails(400, {"error": error})
        return says or Says()

    return answer


@pytest.mark.parametrize(
    ("refused", "sent"), [("max_tokens", "max_completion_tokens"), ("temperature", None)]
)
def test_a_refused_option_is_sent_in_another_spelling_or_left_out(opened, refused, sent):
    provider, server = opened(open_compatible, "OPENAI_COMPATIBLE", answer=refusing(refused))

    first, second = ask(provider, temperature=0.5), ask(provider, temperature=0.5)

    assert first["dropped"] == second["dropped"] == [refused]
    assert first["observed"]["attempts"] == 2
    # It is remembered.
    assert len(server.seen) == 3
    assert refused not in server.seen[2].body
    assert sent is None or server.seen[2].body[sent] == 50


def test_several_options_may_be_refused_one_after_another(opened):
    answer = refusing("max_tokens", "temperature", "stop")
    provider, _ = opened(open_compatible, "OPENAI_COMPATIBLE", answer=answer)

    found = ask(provider, temperature=0.5, stop=["END"])

    assert found["text"] == "Yes."
    assert found["dropped"] == ["max_tokens", "temperature", "stop"]
    assert ask(provider)["dropped"] == ["max_tokens"]


def test_an_option_that_is_refused_in_both_spellings_is_a_fault_of_the_settings(opened):
    answer = refusing("max_tokens", "max_completion_tokens")
    provider, server = opened(open_compatible, "OPENAI_COMPATIBLE", answer=answer)

    with pytest.raises(NotAllowed):
        ask(provider)

    assert len(server.seen) < 10


def test_a_server_without_json_schema_gets_the_schema_in_the_last_message(opened):
    def answer(seen: Seen, before: int) -> Any:
        kind = (seen.body.get("response_format") or {}).get("type")
        if kind == "json_schema" or (kind == "json_object" and "{" not in seen.text[20:]):
            return Fails(400, {"error": {"message": "json_schema is not supported"}})
        return Says('{"n": 3}')

    provider, server = opened(open_compatible, "OPENAI_COMPATIBLE", answer=answer)

    found = ask(provider, output_schema=SCHEMA)

    assert found["dropped"] == ["response_format"]
    assert server.seen[-1].body["response_format"] == {"type": "json_object"}
    assert '"required": ["n"]' in server.seen[-1].body["messages"][-1]["content"]


def test_a_server_without_any_response_format_gets_none(opened):
    provider, server = opened(
        open_openai, "OPENAI", answer=refusing("response_format", says=Says('{"n": 3}'))
    )

    ask(provider, output_schema=SCHEMA)

    formats = [seen.body.get("response_format") for seen in server.seen]
    kinds = [each and each["type"] for each in formats]
    assert kinds == ["json_schema", "json_schema", "json_object", None]
    assert [each["json_schema"]["strict"] for each in formats[:2]] == [True, False]


def test_a_model_of_anthropic_without_structured_output_gets_the_schema_as_text(opened):
    def answer(seen: Seen, before: int) -> Any:
        if "output_config" in seen.body:
            message = "output_config.format: Extra inputs are not permitted"
            return Fails(400, {"error": {"type": "invalid_request_error", "message": message}})
        return Says('{"n": 3}')

    provider, server = opened(open_anthropic, "ANTHROPIC", answer=answer)

    found = ask(provider, output_schema=SCHEMA)

    assert found["dropped"] == ["output_config"]
    assert '"required": ["n"]' in server.seen[-1].body["messages"][-1]["content"][-1]["text"]


def test_a_local_server_gets_a_schema_next_to_tools_as_text(opened):
    provider, server = opened(open_compatible, "OPENAI_COMPATIBLE", Says('{"n": 3}'))

    ask(provider, output_schema=SCHEMA, tools=[LOOK])

    assert "response_format" not in server.seen[0].body
    assert '"required": ["n"]' in server.seen[0].body["messages"][-1]["content"]


def test_a_schema_is_strict_only_for_servers_that_enforce_it(opened):
    provider, server = opened(open_compatible, "OPENAI_COMPATIBLE", Says('{"n": 3}'))

    ask(provider, output_schema=SCHEMA)

    assert server.seen[0].body["response_format"]["json_schema"]["strict"] is False


@pytest.mark.parametrize("form", ["choice", "message", "delta", "block", "piece", "item"])
def test_text_in_place_of_an_object_is_a_bad_reply_and_not_an_empty_answer(opened, form):
    where, body = (open_compatible, "OPENAI_COMPATIBLE"), dict[str, Any]()
    if form in ("choice", "message"):
        body = chat({})
        body["choices"] = ["It is blue."] if form == "choice" else body["choices"]
        if form == "message":
            body["choices"][0]["message"] = "It is blue."
    elif form == "item":
        body, where = {**response(Says()), "output": ["It is blue."]}, RESPONSES
    elif form == "block":
        body, where = {**message(Says()), "content": [5]}, (open_anthropic, "ANTHROPIC")
    reply = Fails(200, body)
    if form == "delta":
        reply = chunks({"delta": "It is blue."}, {"delta": {}, "finish_reason": "stop"})
    if form == "piece":
        where, events = (open_anthropic, "ANTHROPIC"), "".join(message_events(Says()))
        piece = '{"type": "text_delta", "text": "Yes."}'
        assert piece in events
        reply = Fails(200, events.replace(piece, '"Yes."'), EVENTS)
    provider, _ = opened(*where, reply)

    with pytest.raises(BadReply, match="not an object"):
        ask(provider)


def test_a_choice_without_a_message_is_not_an_answer(opened):
    body = chat({})
    body["choices"][0]["message"] = ""
    provider, _ = opened(open_compatible, "OPENAI_COMPATIBLE", Fails(200, body))

    with pytest.raises(BadReply, match="sent no answer"):
        ask(provider)


def test_text_that_is_not_text_is_shown_as_it_is(opened):
    body = message(Says())
    body["content"][0]["text"] = {"said": "Yes."}
    provider, _ = opened(open_anthropic, "ANTHROPIC", Fails(200, body))

    assert ask(provider)["text"] == '{"said": "Yes."}'


def test_a_refusal_next_to_text_is_kept(opened):
    body = chat({"content": "I could, but", "refusal": "I will not."})
    provider, _ = opened(open_compatible, "OPENAI_COMPATIBLE", Fails(200, body, {}))

    found = ask(provider)

    assert (found["stop"], found["text"]) == ("refusal", "I could, but\n\nI will not.")


def test_calls_that_share_an_index_of_a_stream_are_separated(opened):
    pieces = [
        {"delta": {"tool_calls": [call('{"at": "sky"}', "a", index=0)]}},
        {"delta": {"tool_calls": [call('{"at": ', "b", index=0)]}},
        {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '"sea"}'}}]}},
        {"delta": {"tool_calls": [call('{"at": "land"}', "b", index=0)]}},
        {"delta": {}, "finish_reason": "tool_calls"},
    ]
    provider, _ = opened(open_compatible, "OPENAI_COMPATIBLE", chunks(*pieces))

    answer = ask(provider, streams=True, tools=[LOOK])

    found = [(each["id"], each["arguments"]["at"]) for each in answer["tool_calls"]]
    assert found == [("a", "sky"), ("b", "sea"), ("b-2", "land")]


def test_a_server_that_repeats_the_name_in_each_piece_makes_one_call(opened):
    first, rest = call('{"at": ', "a", index=0), call('"sky"}', "a", index=0)
    pieces = [
        {"delta": {"tool_calls": [first]}},
        {"delta": {"tool_calls": [rest]}, "finish_reason": "tool_calls"},
    ]
    provider, _ = opened(open_compatible, "OPENAI_COMPATIBLE", chunks(*pieces))

    (one,) = ask(provider, streams=True, tools=[LOOK])["tool_calls"]

    assert (one["name"], one["arguments"]) == ("look", {"at": "sky"})


def test_content_in_parts_is_joined_and_reasoning_is_observed(opened):
    parts = [{"type": "text", "text": "Ye"}, {"type": "text", "text": "s."}]
    body = chat({"content": parts, "reasoning_content": "Hm."})
    provider, _ = opened(open_compatible, "OPENAI_COMPATIBLE", Fails(200, body))

    answer = ask(provider)

    assert answer["text"] == "Yes."
    assert answer["observed"]["reasoning"] == "Hm."


def test_arguments_that_are_an_object_already_are_taken(opened):
    body = chat({"content": None, "tool_calls": [call({"at": "sky"})]}, "tool_calls")
    provider, _ = opened(open_compatible, "OPENAI_COMPATIBLE", Fails(200, body))

    assert ask(provider, tools=[LOOK])["tool_calls"][0]["arguments"] == {"at": "sky"}


def test_a_server_that_does_not_stream_is_read_as_a_whole(opened):
    for opener, prefix in ((open_compatible, "OPENAI_COMPATIBLE"), (open_anthropic, "ANTHROPIC")):
        body = chat({"content": "Yes."})
        if prefix == "ANTHROPIC":
            content = [{"type": "text", "text": "Yes."}]
            body = {"type": "message", "model": "m", "content": content, "stop_reason": "end_turn"}
        provider, _ = opened(opener, prefix, Fails(200, body))

        assert ask(provider, streams=True)["text"] == "Yes."


START = {"type": "message_start", "message": {"model": "m", "content": [], "usage": {}}}
USE = {"type": "tool_use", "id": "t1", "name": "look", "input": {}}
ENDED = ({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}, {"type": "message_stop"})


@pytest.mark.parametrize("json_text", ['{"at": "/tm', '{"at" 3}', '"{}"'])
def test_the_sdk_does_not_complete_the_arguments_of_a_call(opened, json_text):
    piece = {"type": "input_json_delta", "partial_json": json_text}
    events = [
        START,
        {"type": "content_block_start", "index": 0, "content_block": USE},
        {"type": "content_block_delta", "index": 0, "delta": piece},
        {"type": "content_block_stop", "index": 0},
        *ENDED,
    ]
    provider, _ = opened(open_anthropic, "ANTHROPIC", sse(*events))

    answer = ask(provider, streams=True, tools=[LOOK])

    assert "tool_calls" not in answer
    assert answer["malformed_calls"][0]["arguments"] == json_text


def test_thinking_of_anthropic_is_observed(opened):
    content = [
        {"type": "thinking", "thinking": "Hm.", "signature": "x"},
        {"type": "text", "text": "Yes."},
    ]
    body = {"type": "message", "model": "m", "content": content, "stop_reason": "end_turn"}
    provider, _ = opened(open_anthropic, "ANTHROPIC", Fails(200, body))

    answer = ask(provider)

    assert (answer["text"], answer["observed"]["reasoning"]) == ("Yes.", "Hm.")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"type": "error", "error": {"type": "api_error", "message": "Cold start."}}, "Cold start"),
        ("<html>Sign in</html>", "Sign in"),
        ({"type": "message", "content": [], "stop_reason": "something_new"}, "something_new"),
        ({"type": "message", "content": None, "stop_reason": "end_turn"}, "sent no answer"),
    ],
)
def test_a_broken_message_is_a_failure_with_the_words_of_the_server(opened, body, words):
    provider, _ = opened(open_anthropic, "ANTHROPIC", Fails(200, body))

    with pytest.raises(ProviderError, match=words):
        ask(provider)


def test_a_run_whose_requests_were_all_rejected_says_so(runs, wire, dialect):
    server = wire(Fails(400, {"error": {"message": "prompt is too long"}}))

    _, done = runs.start("sky sea", dialect, **reaching(dialect, server.url))

    assert "2 requests have no answer" in done.status.problem
    assert "prompt is too long" in done.status.problem
    assert done.status.got_no_answer


def test_a_run_with_one_answer_has_no_problem(runs, wire, dialect):
    server = wire(Fails(400, {"error": {"message": "prompt is too long"}}), Says())

    _, done = runs.start("sky sea", dialect, **reaching(dialect, server.url))

    assert done.status.problem is None
