"""Options of a request: each is sent, named in `dropped`, or refused when the kit is made."""

from __future__ import annotations

import pytest

from kando.emit import ask
from kando.errors import ConfigurationError
from kando.kit import Kit
from kando.responders.options import merge_options, options_in
from kando.schema.events import LLM_REQUEST, LLM_RESPONSE, OBSERVED
from kando_llm.anthropic import open_anthropic
from kando_llm.offline_provider import open_echo
from kando_llm.openai import open_compatible, open_openai, open_openrouter
from wire import Says, reaching

HI = [{"role": "user", "content": "Hi"}]
TOOL = {"name": "look", "description": "", "schema": {"type": "object", "properties": {}}}
OPENERS = {
    "anthropic": open_anthropic,
    "openai": open_openai,
    "openai_compatible": open_compatible,
    "openrouter": open_openrouter,
}

#: Every option that Kando knows, and one that it does not.
OPTIONS = {
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "seed": 7,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "stop": ["END"],
    "max_tokens": 99,
    "effort": "high",
    "thinking": 2048,
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "service_tier": "auto",
    "something_new": {"a": 1},
}
#: How servers spell those that have another name.
SPELLING = {
    "effort": ("reasoning_effort", '"effort": "high"'),
    "thinking": ("2048",),
    "stop": ("stop_sequences", '"stop"'),
    "parallel_tool_calls": ("disable_parallel_tool_use", "parallel_tool_calls"),
}


@pytest.fixture
def sent(wire):
    """Return a function that sends a request, and returns the answer and the body."""

    def send(provider, model="some-model", **options):
        server = wire(Says())
        complete = OPENERS[provider](model, reaching(provider, server.url))
        try:
            return complete({"messages": HI, **options}), server.seen[0]
        finally:
            complete.close()

    return send


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("provider", OPENERS)
@pytest.mark.parametrize("tools", [[], [TOOL]], ids=["alone", "with tools"])
def test_an_option_is_sent_or_named_in_dropped(sent, provider, option, tools):
    answer, seen = sent(provider, **{option: OPTIONS[option], "tools": tools})

    is_sent = any(word in seen.text for word in SPELLING.get(option, (f'"{option}"',)))
    assert is_sent != (option in answer.get("dropped", []))


def test_options_of_an_older_model_of_anthropic_reach_it(sent):
    _, seen = sent("anthropic", "claude-haiku-4-5", temperature=0.0, top_k=3)

    assert (seen.body["temperature"], seen.body["top_k"]) == (0.0, 3)


@pytest.mark.parametrize(
    ("model", "asked", "expected"),
    [
        ("claude-haiku-4-5", True, {"type": "enabled", "budget_tokens": 4096}),
        ("claude-opus-5", True, {"type": "adaptive"}),
        ("claude-opus-5", False, {"type": "disabled"}),
        ("claude-opus-5", 5000, {"type": "enabled", "budget_tokens": 5000}),
        ("claude-opus-5", {"type": "between-tools"}, {"type": "between-tools"}),
    ],
)
def test_thinking_is_sent_as_anthropic_takes_it(sent, model, asked, expected):
    _, seen = sent("anthropic", model, thinking=asked)

    assert seen.body["thinking"] == expected
    assert seen.body["max_tokens"] > expected.get("budget_tokens", 0)


def test_thinking_and_effort_are_sent_as_openrouter_takes_them(sent):
    _, seen = sent("openrouter", thinking=True, effort="low")

    assert seen.body["reasoning"] == {"enabled": True, "effort": "low"}


def test_a_request_without_a_limit_sends_none_unless_the_price_or_the_server_needs_one(sent):
    assert "max_tokens" not in sent("openai_compatible")[1].body
    assert sent("anthropic")[1].body["max_tokens"] == 8192


def test_offline_providers_name_the_options_that_steer_no_model():
    answer = open_echo("", {})({"messages": HI, "temperature": 0.5, "max_tokens": 3})

    assert answer["dropped"] == ["temperature"]


@pytest.mark.parametrize("option", ["stream", "n", "stream_options", "extra_headers", "base_url"])
def test_an_option_that_cannot_be_honoured_is_refused_when_the_kit_is_made(option):
    kit = Kit("wishes", version="1", prompts={"p": "Hi"})

    with pytest.raises(ConfigurationError, match=f"{option} of kit 'wishes' cannot be honoured"):
        kit.llm_responder("object.created", prompt="p", **{option: 3})
    with pytest.raises(ConfigurationError, match=f"{option} of the request"):
        ask(HI, **{option: 3})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_tokens", 0),
        ("max_tokens", "many"),
        ("temperature", "hot"),
        ("thinking", "deeply"),
        ("stop", [1]),
        ("effort", 3),
        ("parallel_tool_calls", "no"),
    ],
)
def test_an_option_of_another_type_is_refused_when_the_kit_is_made(option, value):
    kit = Kit("wishes", version="1", prompts={"p": "Hi"})

    with pytest.raises(ConfigurationError, match=f"{option} of kit 'wishes' must be"):
        kit.llm_responder("object.created", prompt="p", **{option: value})


def test_a_later_layer_of_settings_takes_precedence():
    kit, file = {"max_tokens": 10, "temperature": 0.1}, {"max_tokens": 20, "effort": "low"}
    environment, line = {"effort": "high"}, {"max_tokens": 40}

    assert merge_options(kit, file, environment, line) == {
        "max_tokens": 40,
        "temperature": 0.1,
        "effort": "high",
    }
    assert merge_options(kit, None, {"temperature": None})["temperature"] is None


@pytest.mark.parametrize("text", ["{", "3", '{"model": "m"}', '{"max_tokens": -1}', '{"n": 2}'])
def test_malformed_options_in_the_environment_are_refused(text):
    with pytest.raises(ConfigurationError, match="KANDO_LLM_OPTIONS"):
        options_in({"KANDO_LLM_OPTIONS": text})


def test_options_of_the_environment_override_the_kit_and_are_part_of_what_was_asked(runs, wire):
    server = wire(Says())
    options = '{"max_tokens": 4000, "top_p": 0.5}'
    environ = {**reaching("openai", server.url), "KANDO_LLM_OPTIONS": options}

    run, _ = runs.start("sky", "openai:m", **environ)

    assert (server.seen[0].body["max_tokens"], server.seen[0].body["top_p"]) == (4000, 0.5)
    assert runs.events(run, LLM_REQUEST)[0].data["max_tokens"] == 100
    asked = runs.events(run, LLM_RESPONSE)[0].data[OBSERVED]["asked"]
    assert asked["options"] == {"max_tokens": 4000, "top_p": 0.5}


def test_a_branch_is_served_an_answer_unless_it_asks_with_other_options(runs, wire):
    server = wire(Says())
    environ = reaching("openai", server.url)
    first, _ = runs.start("sky", "openai:m", KANDO_LLM_OPTIONS='{"max_tokens": 4000}', **environ)
    at = runs.events(first, LLM_RESPONSE)[0].position
    with runs._store() as store:
        plain, same, other = (store.run(first).fork(at=at).id for _ in range(3))

    runs.resume(plain, "openai:m", **environ)
    runs.resume(same, "openai:m", KANDO_LLM_OPTIONS='{"max_tokens": 4000}', **environ)
    assert len(server.seen) == 1
    runs.resume(other, "openai:m", KANDO_LLM_OPTIONS='{"max_tokens": 5000}', **environ)

    assert [each.body["max_tokens"] for each in server.seen] == [4000, 5000]
