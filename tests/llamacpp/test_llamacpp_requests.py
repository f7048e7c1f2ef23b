"""Requests in the form of llama.cpp, and its answers in the form of Kando.

A module in place of llama.cpp records the requests. `make test-model` asks the real one.
"""

from __future__ import annotations

import importlib.machinery
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from gguf_files import write_gguf
from kando.errors import BadReply, ProviderError, RequestRejected, UnsupportedContent
from kando.testing.providers import ProviderSuite
from kando_llamacpp._gguf import read_model_file
from kando_llamacpp.provider import LlamaProvider, open_llamacpp

LOOK_UP = {
    "name": "look_up",
    "description": "Look a word up.",
    "schema": {
        "type": "object",
        "properties": {"word": {"$ref": "#/$defs/Word"}},
        "required": ["word"],
        "$defs": {"Word": {"type": "string"}},
    },
}
USER = {"role": "user", "content": "What is an apple?"}
ANSWER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@attrs.define
class LlamaCpp:
    """A module in place of `xllamacpp`.

    Attributes:
        chunks: returns the parts of the answer to a body, or raises.
        bodies: of the requests so far.
        params: of the servers that were started.
    """

    chunks: Callable[[dict[str, Any]], list[Any]]
    bodies: list[dict[str, Any]] = attrs.field(factory=list)
    params: list[Any] = attrs.field(factory=list)
    fails: bool = False

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        module = types.ModuleType("xllamacpp")
        module.__spec__ = importlib.machinery.ModuleSpec("xllamacpp", None)
        module.CommonParams = CommonParams
        module.Server = self.server
        module.get_device_info = lambda: [{"name": "CPU", "memory_free": 10**15}]
        monkeypatch.setitem(sys.modules, "xllamacpp", module)

    def server(self, params: Any) -> Any:
        if self.fails:
            raise RuntimeError("Failed to init server, please check the input params.")
        self.params.append(params)
        return types.SimpleNamespace(handle_chat_completions=self.handle)

    def handle(self, body: dict[str, Any], on_chunk: Callable[[Any], bool]) -> None:
        self.bodies.append(body)
        for chunk in self.chunks(body):
            if on_chunk(chunk):
                return


class CommonParams(types.SimpleNamespace):
    def __init__(self) -> None:
        threads = [types.SimpleNamespace(n_threads=-1) for _ in range(2)]
        super().__init__(
            model=types.SimpleNamespace(path=""), cpuparams=threads[0], cpuparams_batch=threads[1]
        )


def said(*pieces: str, finish: str = "stop", **more: Any) -> list[Any]:
    """Return the parts of an answer as llama.cpp streams them."""
    deltas = [{"content": each} for each in pieces]
    if more:
        deltas.append(more)
    usage = {"prompt_tokens": 11, "completion_tokens": 3}
    return [
        {"choices": [{"delta": {"role": "assistant", "content": None}, "finish_reason": None}]},
        *({"choices": [{"delta": delta, "finish_reason": None}]} for delta in deltas),
        {"choices": [{"delta": {}, "finish_reason": finish}]},
        {"choices": [], "usage": {**usage, "prompt_tokens_details": {"cached_tokens": 4}}},
    ]


@pytest.fixture
def llama(monkeypatch: pytest.MonkeyPatch) -> LlamaCpp:
    stands_in = LlamaCpp(lambda body: said("A ", "list."))
    stands_in.install(monkeypatch)
    return stands_in


@pytest.fixture
def provider(llama: LlamaCpp, tmp_path: Path) -> LlamaProvider:
    return open_llamacpp(str(write_gguf(tmp_path / "m.gguf")), {})


@pytest.fixture
def with_tools(llama: LlamaCpp, tmp_path: Path) -> LlamaProvider:
    """Return a provider whose model has a chat template that shows it tools."""
    template = "{% for tool in tools %}{{ tool }}{% endfor %}"
    file = write_gguf(tmp_path / "tools.gguf", tokenizer__chat_template=template)
    return open_llamacpp(str(file), {})


class TestSuite(ProviderSuite):
    @pytest.fixture(autouse=True)
    def _llama(self, llama: LlamaCpp) -> None:
        pass

    def open_provider(self, path: Path) -> LlamaProvider:
        return open_llamacpp(str(write_gguf(path / "m.gguf")), {})


def test_an_answer_names_the_file_but_not_its_folder_and_costs_nothing(provider) -> None:
    answer = provider({"messages": [USER]})

    assert answer["text"] == "A list."
    assert (answer["model"], answer["cost_usd"]) == ("m.gguf", 0.0)
    assert (answer["stop"], answer["stop_raw"]) == ("end", "stop")
    expected = {"input_tokens": 11, "output_tokens": 3, "cache_read_tokens": 4}
    assert answer["usage"] == expected


def test_the_model_is_loaded_by_the_first_request_once_and_closed_to_others(
    llama, provider
) -> None:
    assert llama.params == []

    provider({"messages": [USER]})
    provider({"messages": [USER]})

    (params,) = llama.params
    assert params.n_ctx == 2048
    assert params.hostnames == ["127.0.0.1"]
    assert len(params.api_keys[0]) >= 32


def test_settings_reach_llama_cpp(llama, tmp_path) -> None:
    environ = {"KANDO_LLAMACPP_CONTEXT": "512", "KANDO_LLAMACPP_THREADS": "3"}

    open_llamacpp(str(write_gguf(tmp_path / "m.gguf")), environ)({"messages": [USER]})

    (params,) = llama.params
    assert (params.n_ctx, params.cpuparams.n_threads) == (512, 3)
    assert params.cpuparams_batch.n_threads == 3


def test_options_reach_llama_cpp_and_the_others_are_named(llama, provider) -> None:
    answer = provider(
        {
            "messages": [USER],
            "max_tokens": 7,
            "temperature": 0.5,
            "seed": 3,
            "stop": ["x"],
            "prompt_cache": False,
            "thinking": False,
            "effort": "high",
            "extra_body": {"min_p": 0.1},
        }
    )

    (body,) = llama.bodies
    expected = {"max_tokens": 7, "temperature": 0.5, "seed": 3, "stop": ["x"], "min_p": 0.1}
    assert expected.items() <= body.items()
    assert body["cache_prompt"] is False
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert answer["dropped"] == ["effort"]


def test_an_answer_has_a_limit_though_the_request_has_none(llama, provider) -> None:
    provider({"messages": [USER]})

    assert llama.bodies[0]["max_tokens"] == 8192


def test_a_schema_is_enforced_and_shown_to_the_model(llama, provider) -> None:
    provider({"messages": [USER], "output_schema": ANSWER})

    (body,) = llama.bodies
    assert body["response_format"]["json_schema"]["schema"] == ANSWER
    assert body["messages"][-1]["content"].endswith('\n{"n": 1}')


@pytest.mark.parametrize(
    ("properties", "shown"),
    [
        (
            {"kind": {"enum": ["a", "b"]}, "on": {"type": "boolean"}},
            '{"kind": "a"|"b", "on": true}',
        ),
        ({"names": {"type": "array", "items": {"type": "string"}}}, '{"names": []}'),
        ({"ids": {"type": "array", "items": {"type": "integer"}}}, '{"ids": [1]}'),
        ({"x": {"type": "string", "description": "ISO date"}}, '"description": "ISO date"'),
        ({"x": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, '"anyOf"'),
        ({"x": {"type": "object"}}, '"type": "object"'),
    ],
)
def test_a_schema_is_shown_as_an_example_unless_that_leaves_something_out(
    llama, provider, properties, shown
) -> None:
    schema = {"type": "object", "properties": properties}

    provider({"messages": [USER], "output_schema": schema})

    assert shown in llama.bodies[0]["messages"][-1]["content"]


def test_a_schema_is_enforced_by_a_grammar_of_json_on_one_line(
    llama, provider, monkeypatch
) -> None:
    def grammar_of(schema: dict[str, Any]) -> str:
        assert schema["x-guidance"]["whitespace_flexible"] is False
        return 'root ::= "{" space "}"\nspace ::= | " " | "\\n" [ \\t]{0,20}'

    monkeypatch.setattr(
        sys.modules["xllamacpp"], "json_schema_to_grammar", grammar_of, raising=False
    )

    provider({"messages": [USER], "output_schema": ANSWER})

    (body,) = llama.bodies
    assert body["grammar"] == 'root ::= "{" space "}"\nspace ::= " "?'
    assert "response_format" not in body


def test_a_schema_whose_grammar_might_be_dropped_is_enforced_as_it_is(
    llama, provider, monkeypatch
) -> None:
    made = lambda schema: "start: %json {}"  # noqa: E731
    monkeypatch.setattr(sys.modules["xllamacpp"], "json_schema_to_grammar", made, raising=False)
    schema = {"type": "object", "properties": {"n": {"type": "nonsense"}}}

    provider({"messages": [USER], "output_schema": schema})

    assert llama.bodies[0]["response_format"]["json_schema"]["schema"] == schema


def test_a_schema_is_enforced_as_it_is_if_its_grammar_is_rejected(
    llama, provider, monkeypatch
) -> None:
    def chunks(body: dict[str, Any]) -> list[Any]:
        if "grammar" in body:
            raise ValueError("failed to parse grammar")
        return said('{"n": 1}')

    llama.chunks = chunks
    made = lambda schema: "start: %json {}"  # noqa: E731
    monkeypatch.setattr(sys.modules["xllamacpp"], "json_schema_to_grammar", made, raising=False)

    answer = provider({"messages": [USER], "output_schema": ANSWER})

    assert answer["text"] == '{"n": 1}'
    assert "dropped" not in answer
    assert llama.bodies[1]["response_format"]["type"] == "json_schema"


def test_a_schema_that_llama_cpp_cannot_enforce_is_only_shown(llama, provider) -> None:
    def chunks(body: dict[str, Any]) -> list[Any]:
        if body["response_format"]["type"] == "json_schema":
            raise ValueError("JSON schema error at #: unrecognized type nonsense")
        return said('{"n": 1}')

    llama.chunks = chunks

    answer = provider({"messages": [USER], "output_schema": ANSWER})

    assert answer["text"] == '{"n": 1}'
    assert answer["dropped"] == ["output_schema"]
    assert llama.bodies[1]["response_format"] == {"type": "json_object"}


def test_without_tools_in_its_template_a_model_calls_them_through_a_schema(llama, provider) -> None:
    llama.chunks = lambda body: said('{"tool": "look_up", "arguments": {"word": "apple"}}')

    answer = provider({"messages": [USER], "tools": [LOOK_UP]})

    (call,) = answer["tool_calls"]
    assert (answer["stop"], answer["text"]) == ("tool", "")
    assert (call["name"], call["arguments"]) == ("look_up", {"word": "apple"})
    (body,) = llama.bodies
    assert "tools" not in body
    assert "look_up" in body["messages"][0]["content"]
    schema = body["response_format"]["json_schema"]["schema"]
    called, answered = schema["anyOf"]
    assert called["properties"]["tool"] == {"const": "look_up"}
    # A reference of the tool's schema still leads to its definition.
    reference = called["properties"]["arguments"]["properties"]["word"]["$ref"]
    found: Any = schema
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    assert found == {"type": "string"}
    assert answered["properties"] == {"answer": {"type": "string"}}


@pytest.mark.parametrize(
    ("schema", "written", "text"),
    [
        (None, '{"answer": "A fruit."}', "A fruit."),
        (ANSWER, '{"answer": {"n": 1}}', '{"n": 1}'),
        (None, "A fruit.", "A fruit."),
    ],
)
def test_an_answer_instead_of_a_call_is_taken_out_of_its_json(
    llama, provider, schema, written, text
) -> None:
    llama.chunks = lambda body: said(written)

    answer = provider({"messages": [USER], "tools": [LOOK_UP], "output_schema": schema})

    assert (answer["text"], answer["stop"]) == (text, "end")


@pytest.mark.parametrize("choice", ["required", "look_up", {"function": {"name": "look_up"}}])
def test_a_call_that_is_required_is_the_only_form_of_an_answer(llama, with_tools, choice) -> None:
    llama.chunks = lambda body: said('{"tool": "look_up", "arguments": {"word": "apple"}}')
    other = {**LOOK_UP, "name": "other"}
    tools = [LOOK_UP] if choice == "required" else [LOOK_UP, other]

    answer = with_tools({"messages": [USER], "tools": tools, "tool_choice": choice})

    schema = llama.bodies[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["tool"] == {"const": "look_up"}
    assert answer["stop"] == "tool"


def test_a_tool_that_is_not_there_cannot_be_required(provider) -> None:
    with pytest.raises(RequestRejected, match="names 'other'") as raised:
        provider({"messages": [USER], "tools": [LOOK_UP], "tool_choice": "other"})

    assert raised.value.hint == "Its tools: look_up."


def test_a_call_that_was_cut_off_is_not_made(llama, provider) -> None:
    llama.chunks = lambda body: said('{"tool": "look_up", "argum', finish="length")

    answer = provider({"messages": [USER], "tools": [LOOK_UP]})

    assert answer["stop"] == "length"
    assert answer["error"]["type"] == "Truncated"
    assert "look_up" in answer["error"]["message"]
    assert "tool_calls" not in answer


@pytest.mark.parametrize(
    ("written", "text"),
    [('{"answer": "A fru', "A fru"), ('{"answer": "a \\u00', "a "), ('{"answer": "a\\nb', "a\nb")],
)
def test_a_text_that_was_cut_off_is_taken_out_of_its_json(llama, provider, written, text) -> None:
    llama.chunks = lambda body: said(written, finish="length")

    answer = provider({"messages": [USER], "tools": [LOOK_UP]})

    assert (answer["text"], answer["stop"]) == (text, "length")


def test_calls_and_results_of_earlier_turns_are_text_for_a_model_without_tools(
    llama, provider
) -> None:
    provider({"messages": conversation()})

    _, call, result = llama.bodies[0]["messages"]
    assert call["role"] == "assistant"
    assert json.loads(call["content"]) == {"tool": "look_up", "arguments": {"word": "apple"}}
    assert result == {"role": "user", "content": "Result of the tool look_up:\nA fruit."}


def test_a_model_with_tools_in_its_template_gets_them_there(llama, with_tools) -> None:
    call = {"index": 0, "id": "c2", "function": {"name": "look_up", "arguments": '{"word": '}}
    more = {"index": 0, "function": {"arguments": '"pear"}'}}
    llama.chunks = lambda body: [
        *said(tool_calls=[call])[:2],
        *said(tool_calls=[more], finish="tool_calls")[1:],
    ]

    answer = with_tools({"messages": conversation(), "tools": [LOOK_UP]})

    (body,) = llama.bodies
    assert [each["function"]["name"] for each in body["tools"]] == ["look_up"]
    assert "response_format" not in body
    sent = body["messages"][1]["tool_calls"][0]["function"]
    assert json.loads(sent["arguments"]) == {"word": "apple"}
    assert answer["tool_calls"] == [{"id": "c2", "name": "look_up", "arguments": {"word": "pear"}}]


def conversation() -> list[dict[str, Any]]:
    call = {"id": "c1", "name": "look_up", "arguments": {"word": "apple"}}
    return [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "A fruit."},
    ]


def test_thoughts_are_kept_out_of_the_text(llama, provider) -> None:
    llama.chunks = lambda body: said("A fruit.", reasoning_content="Apples grow.")

    answer = provider({"messages": [USER]})

    assert answer["text"] == "A fruit."
    assert answer["observed"]["reasoning"] == "Apples grow."


def test_a_request_longer_than_the_context_names_the_setting(llama, tmp_path) -> None:
    words = "request (3031 tokens) exceeds the available context size (512 tokens)"
    llama.chunks = lambda body: [{"error": {"code": 400, "message": words}}]
    file = str(write_gguf(tmp_path / "m.gguf"))

    with pytest.raises(RequestRejected, match=r"does not fit .* 512 tokens: .*3031") as raised:
        open_llamacpp(file, {"KANDO_LLAMACPP_CONTEXT": "512"})({"messages": [USER]})
    assert raised.value.hint == "Set KANDO_LLAMACPP_CONTEXT to more tokens, at most 2048."
    with pytest.raises(RequestRejected) as raised:
        open_llamacpp(file, {})({"messages": [USER]})
    assert raised.value.hint == "Shorten the request, or use a model with a longer context."


def test_texts_in_parts_are_joined_and_an_image_is_refused(llama, provider) -> None:
    texts = [{"type": "text", "text": "What is"}, {"type": "text", "text": "an apple?"}]
    image = {"type": "image", "media_type": "image/png", "data": "AAAA"}

    provider({"messages": [{"role": "user", "content": texts}]})
    with pytest.raises(UnsupportedContent, match=r"image/png 3 bytes.*only text"):
        provider({"messages": [{"role": "user", "content": [*texts, image]}]})

    assert llama.bodies[0]["messages"][-1]["content"] == "What is\nan apple?"
    assert len(llama.bodies) == 1


def test_the_image_in_a_result_of_a_tool_is_named_in_words(llama, provider) -> None:
    image = {"type": "image", "media_type": "image/png", "data": "AAAA"}
    call = {"id": "c1", "name": "look_up", "arguments": {}}
    messages = [
        USER,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": [image]},
    ]

    answer = provider({"messages": messages, "tools": [LOOK_UP]})

    assert "[image image/png 3 bytes]" in llama.bodies[0]["messages"][-1]["content"]
    assert answer["dropped"] == ["image"]


def test_a_rejection_and_a_failure_of_llama_cpp_are_not_the_same(llama, provider) -> None:
    llama.chunks = lambda body: [{"error": {"code": 400, "message": "'min_p' must be a number"}}]
    with pytest.raises(RequestRejected, match="min_p"):
        provider({"messages": [USER]})

    llama.chunks = lambda body: [{"error": {"code": 500, "message": "compute failed"}}]
    with pytest.raises(ProviderError, match="failed: compute failed") as raised:
        provider({"messages": [USER]})
    assert not isinstance(raised.value, RequestRejected)


def test_an_answer_without_an_end_is_broken(llama, provider) -> None:
    llama.chunks = lambda body: said("A")[:2]

    with pytest.raises(BadReply, match="without a reason"):
        provider({"messages": [USER]})


def test_a_model_that_cannot_be_loaded_stays_an_error_with_a_next_step(llama, provider) -> None:
    llama.fails = True

    with pytest.raises(
        ProviderError, match=r"cannot load the model 'm\.gguf' \(llama\): "
    ) as raised:
        provider({"messages": [USER]})
    assert "KANDO_LLAMACPP_LOG=1" in (raised.value.hint or "")


def test_a_model_that_does_not_fit_into_memory_is_not_loaded(llama, tmp_path) -> None:
    sizes = {"llama__block_count": 4_000_000, "llama__embedding_length": 4_000_000}
    provider = open_llamacpp(str(write_gguf(tmp_path / "huge.gguf", **sizes)), {})

    with pytest.raises(ProviderError, match=r"'huge\.gguf' needs about .* GB of memory for"):
        provider({"messages": [USER]})
    assert llama.params == []


def test_earlier_prompts_are_kept_in_as_much_memory_as_the_context_takes(llama, tmp_path) -> None:
    sizes = {"llama__block_count": 30, "llama__embedding_length": 512}
    path = write_gguf(tmp_path / "m.gguf", **sizes)

    open_llamacpp(str(path), {})({"messages": [USER]})

    (params,), model = llama.params, read_model_file(path)
    assert params.cache_ram_mib == (model.memory(params.n_ctx) - model.size) >> 20 > 0


def test_text_is_shown_as_it_comes_and_json_around_it_is_not(llama, provider) -> None:
    shown: list[str] = []
    provider.stream({"messages": [USER]}, shown.append)
    assert shown == ["A ", "list."]

    llama.chunks = lambda body: said('{"answer": ', '"A fruit."}')
    provider.stream({"messages": [USER], "tools": [LOOK_UP]}, shown.append)
    assert shown[2:] == ["A fruit."]


def test_an_error_of_the_display_is_raised_though_llama_cpp_ignores_it(provider) -> None:
    def show(text: str) -> None:
        raise OSError("The terminal is closed.")

    with pytest.raises(OSError, match="terminal is closed"):
        provider.stream({"messages": [USER]}, show)
