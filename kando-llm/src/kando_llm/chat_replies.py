"""Read answers of Chat Completions, whole or as a stream."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from kando.responders.replies import stop_of
from kando_llm.live_provider import OnText, Reply, is_token_count
from kando_llm.sdk import BrokenAnswer, IncompleteAnswer, NotAnAnswer, field_of, require_object
from kando_llm.thoughts import kept_fields, merge_fields

__all__ = ["read_completion", "read_stream"]

# Fields in which servers return what a model thought.
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")


@attrs.define
class _Call:
    """A tool call as its server sent it.

    Attributes:
        id: as sent; None if it was not.
        name: of the tool.
        arguments: JSON text, or whatever else was sent.
        kept: fields that return with the call in the next turn.
    """

    id: Any = None
    name: Any = ""
    arguments: Any = None
    kept: dict[str, Any] = attrs.field(factory=dict)

    def raw(self) -> dict[str, Any]:
        """Return the call for `kando.responders.replies`, which judges it."""
        return {"id": self.id, "name": self.name, "arguments": self.arguments}


@attrs.define
class _SoFar:
    """The content of the pieces of an answer so far."""

    model: Any = None
    usage: Any = None
    finish: Any = None
    texts: list[Any] = attrs.field(factory=list)
    refusals: list[str] = attrs.field(factory=list)
    thoughts: list[str] = attrs.field(factory=list)
    calls: list[_Call] = attrs.field(factory=list)
    # Fields that return with the message in the next turn.
    kept: dict[str, Any] = attrs.field(factory=dict)


def read_completion(completion: Any) -> Reply:
    """Read a whole answer.

    Raises:
        IncompleteAnswer: it is broken or malformed; with the usage that it reports.
    """
    so_far = _SoFar()
    try:
        return _read_completion(completion, so_far)
    except Exception as error:
        failure = _failed_with_usage(so_far, error)
    raise failure


def read_stream(chunks: Iterable[Any], on_text: OnText) -> Reply:
    """Read a stream, and pass each piece of text to `on_text`.

    Raises:
        IncompleteAnswer: as for `read_completion`.
    """
    so_far = _SoFar()
    try:
        return _read_chunks(chunks, on_text, so_far)
    except Exception as error:
        failure = _failed_with_usage(so_far, error)
    raise failure


def _failed_with_usage(so_far: _SoFar, error: Exception) -> IncompleteAnswer:
    """Return the error for an unusable answer, with the usage that it reports."""
    usage, _ = _usage(so_far.usage)
    return IncompleteAnswer(error, so_far.model or "", usage)


def _read_completion(completion: Any, so_far: _SoFar) -> Reply:
    so_far.model, so_far.usage = field_of(completion, "model"), field_of(completion, "usage")
    _check_error(completion)
    choices = field_of(completion, "choices")
    if not isinstance(choices, list) or not choices or choices[0] is None:
        raise NotAnAnswer
    choice = choices[0]
    require_object(choice, "the choice")
    _check_error(choice)
    message = field_of(choice, "message")
    require_object(message, "the message")
    if not isinstance(message, Mapping):
        raise NotAnAnswer
    so_far.finish = field_of(choice, "finish_reason")
    so_far.texts.append(field_of(message, "content"))
    so_far.refusals.append(_text(field_of(message, "refusal")))
    so_far.thoughts.append(_thoughts(message))
    so_far.kept = kept_fields(_further(message))
    calls = field_of(message, "tool_calls")
    for call in calls if isinstance(calls, list) else [calls] if calls else []:
        so_far.calls.append(_whole_call(call))
    if (older := field_of(message, "function_call")) is not None and not so_far.calls:
        so_far.calls.append(_whole_call({"function": older}))
    return _reply(so_far)


def _whole_call(call: Any) -> _Call:
    function = field_of(call, "function")
    if function is None:
        function = field_of(call, "custom") or call
    id, name, arguments = (
        field_of(call, "id"),
        field_of(function, "name"),
        field_of(function, "arguments"),
    )
    return _Call(id, name, arguments, kept_fields(_further(call)))


def _further(of: Any) -> Mapping[str, Any]:
    """Return the fields of an object that the SDK does not know."""
    if isinstance(of, Mapping):
        return of
    return getattr(of, "model_extra", None) or {}


def _read_chunks(chunks: Iterable[Any], on_text: OnText, so_far: _SoFar) -> Reply:
    at: dict[Any, _Call] = {}
    seen = False
    for chunk in chunks:
        seen = True
        so_far.model = field_of(chunk, "model") or so_far.model
        so_far.usage = field_of(chunk, "usage") or so_far.usage
        _check_error(chunk)
        choices = field_of(chunk, "choices")
        for choice in choices if isinstance(choices, list) else ():
            require_object(choice, "a choice of the stream")
            so_far.finish = field_of(choice, "finish_reason") or so_far.finish
            _check_error(choice)
            _read_delta(
                field_of(choice, "delta") or field_of(choice, "message"), so_far, at, on_text
            )
    if not seen:
        msg = "the stream has no content"
        raise ValueError(msg)
    return _reply(so_far)


def _read_delta(delta: Any, so_far: _SoFar, at: dict[Any, _Call], on_text: OnText) -> None:
    require_object(delta, "a piece of the stream")
    content = field_of(delta, "content")
    if content:
        so_far.texts.append(content)
        if isinstance(content, str):
            on_text(content)
    so_far.refusals.append(_text(field_of(delta, "refusal")))
    so_far.thoughts.append(_thoughts(delta))
    merge_fields(so_far.kept, kept_fields(_further(delta)))
    pieces = field_of(delta, "tool_calls")
    for piece in pieces if isinstance(pieces, list) else [pieces] if pieces else []:
        _read_piece(piece, so_far, at)


def _read_piece(piece: Any, so_far: _SoFar, at: dict[Any, _Call]) -> None:
    """Add a piece of a call to the call that it continues, or begin one."""
    function = field_of(piece, "function")
    index, id = field_of(piece, "index"), field_of(piece, "id")
    name, arguments = field_of(function, "name"), field_of(function, "arguments")
    key = index if isinstance(index, int) else None
    known = at.get(key)
    if known is None or _begins_another(known, id, name):
        known = at[key] = _Call(id, name or "", arguments, kept_fields(_further(piece)))
        so_far.calls.append(known)
        return
    merge_fields(known.kept, kept_fields(_further(piece)))
    known.id = known.id or id
    if isinstance(name, str) and name != known.name:
        known.name = f"{known.name}{name}"
    if isinstance(arguments, str) and isinstance(known.arguments, str | None):
        known.arguments = (known.arguments or "") + arguments
    elif arguments is not None:
        known.arguments = arguments if known.arguments is None else [known.arguments, arguments]


def _begins_another(known: _Call, id: Any, name: Any) -> bool:
    """Whether a piece with the index of a known call begins another one.

    Some servers give all calls the same index. Then a name comes with another id, or after
    arguments that are whole; a server that repeats the name in each piece sends neither.
    """
    if not name:
        return False
    if id and known.id and id != known.id:
        return True
    if not isinstance(known.arguments, str):
        return bool(known.arguments)
    try:
        return json.loads(known.arguments) is not None
    except ValueError:
        return bool(known.arguments) and name != known.name


def _reply(so_far: _SoFar) -> Reply:
    if not isinstance(so_far.finish, str):
        msg = "the answer has no finish reason"
        raise ValueError(msg)
    usage, cost = _usage(so_far.usage)
    refusal, stop = "".join(so_far.refusals), stop_of(so_far.finish)
    if stop == "error":
        raise BrokenAnswer({"message": f"it ended with finish_reason {so_far.finish!r}"})
    contents = [each for each in so_far.texts if each]
    if refusal:
        contents.append(f"\n\n{refusal}" if contents else refusal)
    is_plain = all(isinstance(each, str) for each in contents)
    return Reply(
        text="".join(contents) if is_plain else contents,
        model=str(so_far.model),
        stop="refusal" if refusal and stop == "end" else stop,
        stop_raw=so_far.finish,
        usage=usage,
        tool_calls=tuple(each.raw() for each in so_far.calls),
        cost_usd=cost,
        reasoning="".join(so_far.thoughts),
        thoughts=_kept(so_far),
    )


def _kept(so_far: _SoFar) -> dict[str, Any]:
    """Return what a model gave with its reasoning, in the message and in its tool calls."""
    calls = {str(n): call.kept for n, call in enumerate(so_far.calls) if call.kept}
    message = {"message": so_far.kept} if so_far.kept else {}
    return {**message, **({"calls": calls} if calls else {})}


def _check_error(whole: Any) -> None:
    """Raise the error that a server put into an answer, or next to a choice."""
    error = field_of(whole, "error")
    if error:
        raise BrokenAnswer(error)
    if field_of(whole, "errors") and field_of(whole, "choices") is None:
        raise BrokenAnswer(field_of(whole, "errors"))


def _thoughts(message: Any) -> str:
    return next((text for name in _THOUGHTS if (text := _text(field_of(message, name)))), "")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _usage(reported: Any) -> tuple[dict[str, int], float | None]:
    """Return the usage, with cached tokens counted as input, and the cost if it is reported."""
    prompt = field_of(reported, "prompt_tokens_details")
    completion = field_of(reported, "completion_tokens_details")
    counts = {
        "input_tokens": field_of(reported, "prompt_tokens"),
        "output_tokens": field_of(reported, "completion_tokens"),
        "cache_read_tokens": field_of(prompt, "cached_tokens"),
        "cache_write_tokens": field_of(prompt, "cache_write_tokens"),
        "reasoning_tokens": field_of(completion, "reasoning_tokens"),
    }
    cost = field_of(reported, "cost")
    is_cost = isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < 1e6
    usage = {name: count for name, count in counts.items() if is_token_count(count)}
    return usage, float(cost) if is_cost and cost is not None else None
