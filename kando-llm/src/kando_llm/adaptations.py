"""Options that a server refuses: sent in the other spelling, or left out, and named in `dropped`.

Servers differ in what they take: ``max_tokens`` or ``max_completion_tokens``, a temperature, a JSON
Schema. Each refusal is remembered for the model, so that it happens once.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from kando_llm.server_words import words_of

__all__ = [
    "MAX_ATTEMPTS",
    "Adaptations",
    "has_option",
    "refused_option",
    "with_schema_in_last_turn",
    "without",
]

_Arguments = dict[str, Any]

#: How often one request is sent at the most, each time without another option.
MAX_ATTEMPTS = 8

# The request itself, and features without which the answer would be another.
_NEVER_DROPPED = frozenset(
    {
        *("model", "messages", "system", "input", "instructions", "tools"),
        # Without it, the cost of an answer would have no bound.
        "max_output_tokens",
        *("stream", "extra_headers", "extra_query", "timeout"),
    }
)
_SPELLINGS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_FORMATS = ("response_format", "output_config", "text")
#: Options whose names are common words: a message is about them only if it names them as such.
_COMMON = frozenset({"text", "include", "store"})
_FORMAT_WORDS = re.compile(
    r"json.?schema|json.?mode|json.?object|structured.?output|response.?format|response.?schema"
    r"|response.?mime|output.?format|guided|grammar|invalid schema",
    re.IGNORECASE,
)
# The server does not take the option; it does not just dislike the value.
_REFUSES = re.compile(
    r"unsupported|not.{0,12}support|unknown|unrecogni[sz]ed|unexpected|not permitted|extra|invalid"
    r"|not allowed|instead|deprecated|cannot|can't|not.{0,8}valid|does not|doesn't|not.{0,8}accept"
    r"|not available|only",
    re.IGNORECASE,
)
_DISLIKES_VALUE = re.compile(
    r"too (large|high|big|low|small)|at most|at least|maximum|minimum|exceed|range|less than"
    r"|greater than|between",
    re.IGNORECASE,
)
# A key, an account and a model have these statuses, and so does a server that is down.
_OTHER_STATUSES = frozenset({401, 402, 403, 408, 409, 413, 429, 502, 503, 504, 529})

_SCHEMA_PROMPT = "Answer with JSON that matches this JSON Schema, and with nothing else:\n{schema}"
_SCHEMA_PROMPT_WITH_TOOLS = (
    "Call tools first if you need them. Then answer with JSON that matches this JSON Schema, and "
    "with nothing else:\n{schema}"
)


@attrs.define
class Adaptations:
    """The refusals of a server.

    Attributes:
        refused: names of options in the order in which they were refused, by model.
        only_responses: models that the server has in OpenAI's Responses API only.
    """

    refused: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    only_responses: set[str] = attrs.field(factory=set)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def of(self, model: str) -> tuple[str, ...]:
        """Return the options that the server has refused for a model."""
        return self.refused.get(model, ())

    def has_only_responses(self, model: str) -> bool:
        """Whether the server has sent a model to OpenAI's Responses API."""
        return model in self.only_responses

    def note_only_responses(self, model: str) -> None:
        """Note that the server has sent a model to OpenAI's Responses API."""
        with self._lock:
            self.only_responses.add(model)

    def note(self, model: str, before: tuple[str, ...], name: str) -> None:
        """Note an option that the server has refused, after others."""
        with self._lock:
            # Another thread may have found out the same.
            if self.of(model) == before:
                self.refused[model] = (*before, name)


def without(arguments: _Arguments, name: str) -> _Arguments | None:
    """Return arguments in which an option is replaced or left out; None if it is not in them."""
    if name in _SPELLINGS and name in arguments:
        other = _SPELLINGS[name]
        if other in arguments:
            return None
        return {other if each == name else each: value for each, value in arguments.items()}
    if name == "response_format" and name in arguments:
        return _with_simpler_format(arguments)
    if name == "text" and "format" in (arguments.get(name) or {}):
        return _with_simpler_text(arguments)
    if name == "output_config" and "format" in (arguments.get(name) or {}):
        rest = {each: value for each, value in arguments[name].items() if each != "format"}
        schema = arguments[name]["format"].get("schema")
        bare = {each: value for each, value in arguments.items() if each != name}
        return with_schema_in_last_turn({**bare, **({name: rest} if rest else {})}, schema)
    if name in arguments:
        return {each: value for each, value in arguments.items() if each != name}
    extra = _extra(arguments)
    if name in extra:
        rest = {each: value for each, value in extra.items() if each != name}
        bare = {each: value for each, value in arguments.items() if each != "extra_body"}
        return {**bare, **({"extra_body": rest} if rest else {})}
    return None


def _with_simpler_format(arguments: _Arguments) -> _Arguments:
    """Return arguments with the next simpler response format.

    They are: a strict schema, one that is not strict, any JSON object, no format. Without a schema
    in the format, the last message shows it.
    """
    format = arguments["response_format"]
    if isinstance(format, Mapping) and format.get("type") == "json_schema":
        about = format["json_schema"]
        if about.get("strict"):
            simpler = {**format, "json_schema": {**about, "strict": False}}
            return {**arguments, "response_format": simpler}
        shown = with_schema_in_last_turn(arguments, about.get("schema"))
        # Any JSON object would keep a model from calling tools.
        if not arguments.get("tools"):
            return {**shown, "response_format": {"type": "json_object"}}
        arguments = shown
    return {each: value for each, value in arguments.items() if each != "response_format"}


def _with_simpler_text(arguments: _Arguments) -> _Arguments:
    """Return the same for the Responses API, which has the format in ``text``."""
    format, rest = arguments["text"]["format"], dict(arguments["text"])
    del rest["format"]
    if format.get("type") == "json_schema":
        if format.get("strict"):
            return {**arguments, "text": {"format": {**format, "strict": False}, **rest}}
        shown = with_schema_in_last_turn(arguments, format.get("schema"))
        if not arguments.get("tools"):
            return {**shown, "text": {"format": {"type": "json_object"}, **rest}}
        arguments = shown
    bare = {each: value for each, value in arguments.items() if each != "text"}
    return {**bare, **({"text": rest} if rest else {})}


def with_schema_in_last_turn(arguments: _Arguments, schema: object) -> _Arguments:
    """Return arguments whose last message says which JSON Schema the answer has to match."""
    form = _SCHEMA_PROMPT_WITH_TOOLS if arguments.get("tools") else _SCHEMA_PROMPT
    prompt = form.format(schema=json.dumps(schema, ensure_ascii=False))
    name = "input" if "input" in arguments else "messages"
    *others, last = arguments[name]
    content = last.get("content")
    if last.get("role") != "user":
        return {**arguments, name: [*others, last, {"role": "user", "content": prompt}]}
    if isinstance(content, list):
        kind = "input_text" if name == "input" else "text"
        content = [*content, {"type": kind, "text": prompt}]
    else:
        content = f"{content}\n\n{prompt}"
    return {**arguments, name: [*others, {**last, "content": content}]}


def refused_option(error: Exception, sent: _Arguments) -> str | None:
    """Return the option that an error refuses; None if it is about something else."""
    status, body = getattr(error, "status_code", None), getattr(error, "body", None)
    if status is None:
        inner = getattr(error, "error", None)
        return refused_option(inner, sent) if isinstance(inner, Exception) else None
    if status in _OTHER_STATUSES:
        return None
    words = " ".join(words_of(body)) or str(error)
    names, named = [*_options_in(sent)], [*_named_by(body)]
    for name in [*named, *names]:
        is_common = name in _COMMON and name not in named
        if name not in names or not _names(words, name, is_common=is_common):
            continue
        is_refused = _REFUSES.search(words) is not None
        if name in _SPELLINGS and _DISLIKES_VALUE.search(words):
            is_refused = False
        if is_refused:
            return name
    formats = [name for name in _FORMATS if name in names]
    if formats and _FORMAT_WORDS.search(words):
        return formats[0]
    return None


def _names(words: str, name: str, *, is_common: bool) -> bool:
    """Whether words name an option; one whose name is a common word is quoted, or has a part."""
    name = re.escape(name)
    form = rf"['\"`]{name}['\"`.]|(?<![\w-]){name}\.\w" if is_common else ""
    return re.search(form or rf"(?<![\w-]){name}(?![\w-])", words) is not None


def has_option(arguments: _Arguments, name: str) -> bool:
    """Whether arguments have an option, of the SDK or in addition to it."""
    return name in arguments or name in _extra(arguments)


def _options_in(sent: _Arguments) -> Iterator[str]:
    for name in (*sent, *_extra(sent)):
        if name not in _NEVER_DROPPED and name != "extra_body":
            yield name


def _extra(arguments: _Arguments) -> Mapping[str, Any]:
    extra = arguments.get("extra_body")
    return extra if isinstance(extra, Mapping) else {}


def _named_by(body: object) -> Iterator[str]:
    """Yield the parameters that the body of an error is about, according to its own fields."""
    if isinstance(body, list):
        for each in body:
            yield from _named_by(each)
    elif isinstance(body, Mapping):
        if isinstance(param := body.get("param"), str):
            yield re.split(r"[.\[]", param)[0]
        if isinstance(place := body.get("loc"), list):
            yield from (each for each in place if isinstance(each, str))
        for name in ("error", "detail", "errors", "details"):
            yield from _named_by(body.get(name))
