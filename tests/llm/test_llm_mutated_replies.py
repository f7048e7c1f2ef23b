"""500 mutated replies: no crash, no hang, and no text or call is lost without a word."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kando.errors import ProviderError
from kando.responders.answers import failure_of
from kando.responders.llm_executor import provider_executor
from kando.responders.replies import STOPS
from kando.schema.events import make_event
from kando.schema.exact_json import exact
from kando_llm.anthropic import open_anthropic
from kando_llm.openai import open_compatible, open_openai_responses
from wire import (
    Fails,
    Says,
    Wire,
    completion,
    completion_events,
    message,
    message_events,
    response,
    response_events,
)

CALLS = (("c1", "look", {"at": "sky"}), ("c2", "look", {"at": "sea"}))
SAYS = (Says("A marked text."), Says("A marked text.", "tool", CALLS), Says("Cut", "length", CALLS))
TOOL = {"name": "look", "schema": {"type": "object", "properties": {"at": {"type": "string"}}}}
REQUEST = {"messages": [{"role": "user", "content": "?"}], "max_tokens": 50, "tools": [TOOL]}
#: The whole answer and the events of a stream, in each wire form.
FORMS = {
    "anthropic": (message, message_events),
    "openai": (completion, completion_events),
    "openai-responses": (response, response_events),
}
#: Of each form, so that there are more than 500.
EXAMPLES = 170
TEXTS = ("text", "refusal")
#: Values that servers have put where others belong.
JUNK: list[Any] = [
    None,
    "",
    "x",
    0,
    -1,
    2.5,
    True,
    [],
    {},
    [None],
    {"a": 1},
    "null",
    "{",
    "é\ud83d",
]


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of each part of JSON."""
    yield path
    inner: Any = ()
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in inner:
        yield from paths(each, (*path, key))


def mutated(value: Any, path: tuple[Any, ...], how: str, junk: Any) -> Any:
    """Return JSON with one part replaced, removed or repeated."""
    if not path:
        return junk if how == "replace" else value
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    key, *rest = path
    if rest:
        copy[key] = mutated(copy[key], tuple(rest), how, junk)
    elif how == "replace":
        copy[key] = junk
    elif how == "remove":
        del copy[key]
    elif isinstance(copy, list):
        copy.insert(key, copy[key])
    else:
        copy[f"{key}2"] = copy[key]
    return copy


@st.composite
def bodies(draw: st.DrawFn, dialect: str) -> Fails:
    says, (whole, parts) = draw(st.sampled_from(SAYS)), FORMS[dialect]
    if draw(st.booleans()):
        events = list(parts(says))
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, len(events) - 1))
            how = draw(st.sampled_from(["replace", "remove", "repeat", "move", "mutate"]))
            if how == "remove" and len(events) > 1:
                del events[at]
            elif how == "move":
                events.insert(draw(st.integers(0, len(events) - 1)), events.pop(at))
            elif how == "repeat":
                events.insert(at, events[at])
            elif how == "mutate" and "{" in events[at]:
                head, _, text = events[at].partition("data: ")
                # An event may have been cut before.
                with suppress(ValueError):
                    changed = json.dumps(mutate(draw, json.loads(text)))
                    events[at] = f"{head}data: {changed}\n\n"
            else:
                cut = draw(st.integers(0, len(events[at])))
                events[at] = events[at][:cut]
        return Fails(200, "".join(events), {"content-type": "text/event-stream"})
    body = whole(says)
    for _ in range(draw(st.integers(1, 3))):
        body = mutate(draw, body)
    text = json.dumps(body)
    if draw(st.integers(0, 9)) == 0:
        text = text[: draw(st.integers(0, len(text)))]
    return Fails(draw(st.sampled_from([200, 200, 200, 200, 400, 422])), text, {})


def mutate(draw: st.DrawFn, body: Any) -> Any:
    path = draw(st.sampled_from(list(paths(body))))
    how = draw(st.sampled_from(["replace", "replace", "remove", "repeat"]))
    return mutated(body, path, how, draw(st.sampled_from(JUNK)))


class Asked:
    """A provider on a server that sends one reply after another."""

    def __init__(self, dialect: str) -> None:
        self.reply = Fails()
        self.server = Wire(lambda seen, before: self.reply).__enter__()
        opener, prefix, base = {
            "anthropic": (open_anthropic, "ANTHROPIC", self.server.url),
            "openai": (open_compatible, "OPENAI_COMPATIBLE", f"{self.server.url}/v1"),
            "openai-responses": (open_openai_responses, "OPENAI", f"{self.server.url}/v1"),
        }[dialect]
        environ = {f"{prefix}_BASE_URL": base, "KANDO_LLM_RETRIES": "0", "KANDO_LLM_TIMEOUT": "5"}
        self.provider = opener("m", environ)
        #: The text that was shown while the last answer arrived.
        self.shown = ""

    def _show(self, piece: str) -> None:
        self.shown += piece

    def ask(self, reply: Fails, *, streams: bool) -> dict[str, Any]:
        self.reply, self.shown = reply, ""

        def complete(request: dict[str, Any]) -> dict[str, Any]:
            return self.provider.stream(request, self._show if streams else None)

        effect = provider_executor(complete).effect
        assert effect is not None
        return effect.call(make_event("llm.request", "run:r", "x", [], REQUEST))

    def close(self) -> None:
        self.provider.close()
        self.server.__exit__()


@pytest.mark.parametrize("mutated_dialect", FORMS)
def test_a_mutated_reply_is_an_answer_or_a_failure_and_loses_nothing_in_silence(
    mutated_dialect: str,
) -> None:
    asked = Asked(mutated_dialect)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        reply = data.draw(bodies(mutated_dialect))
        streams = "content-type" in reply.headers
        started = time.monotonic()
        try:
            answer = asked.ask(reply, streams=streams)
        except ProviderError:
            return
        finally:
            # A hang, also on a machine that is busy with other things.
            assert time.monotonic() - started < 60
        assert exact(answer, "answer") == answer
        assert answer.get("stop", "end") in STOPS
        assert "error" in answer or isinstance(answer["text"], str)
        if failure_of(answer) is None and not streams:
            body = json.loads(reply.body)
            assert _is_kept(body, answer)
        if failure_of(answer) is None and streams:
            # The last event of the Responses API has the final word on the text.
            is_final = mutated_dialect == "openai-responses"
            assert answer["text"] or not asked.shown
            assert is_final or _is_within(asked.shown, answer["text"])
        for call in answer.get("tool_calls", ()):
            assert answer["stop"] == "tool"
            assert isinstance(call["arguments"], dict)
        ids = [c["id"] for c in (*answer.get("tool_calls", ()), *answer.get("malformed_calls", ()))]
        assert len(ids) == len(set(ids))

    try:
        check()
    finally:
        asked.close()


def _is_within(shown: str, text: str) -> bool:
    """Whether a text has all characters that were shown, in their order."""
    # JSON can hold a lone surrogate, which is replaced in an answer.
    rest = iter(text)
    return all(each in rest for each in shown.encode("utf-8", "replace").decode())


def _is_kept(body: dict[str, Any], answer: dict[str, Any]) -> bool:
    """Whether the text and each call of a whole body are in an answer, or are named in it."""
    if isinstance(body.get("output"), list):
        items = [each for each in body["output"] if isinstance(each, dict)]
        contents = [each.get("content") for each in items if each.get("type") == "message"]
        parts = [part for each in contents if isinstance(each, list) for part in each]
        texts = [part.get(name) for part in parts if isinstance(part, dict) for name in TEXTS]
        calls = [each for each in items if each.get("type") == "function_call"]
    elif "choices" in body:
        said = body["choices"][0]["message"]
        texts, calls = [said.get("content")], said.get("tool_calls") or []
    else:
        content = body["content"] if isinstance(body["content"], list) else []
        blocks = [each for each in content if isinstance(each, dict)]
        texts = [each.get("text") for each in blocks if each.get("type") == "text"]
        calls = [each for each in blocks if each.get("type") == "tool_use"]
    kept = len(answer.get("tool_calls", ())) + len(answer.get("malformed_calls", ()))
    known = [text for text in texts if isinstance(text, str) and text.isascii()]
    found = all(text in answer["text"] for text in known)
    return found and (not isinstance(calls, list) or kept >= len(calls))
