"""Replies of models: the one place that decides what an answer of a provider is worth.

`answer_from` asks every provider, ours and those of other packages. It reads the answer as the
provider returned it, and returns the data of an ``llm.response``, or raises:

- ``stop`` is one of `STOPS`. An answer that ended with ``error``, or with an unknown word, is not an
  answer: `BadReply` is raised with the server's words, so that the request stays pending.
- A tool call is in ``tool_calls`` only if the answer ended to make calls, and if its arguments are
  whole. A malformed call is in ``malformed_calls``, with the reason, to be returned to the model.
- Content in parts is joined. The thoughts of the model are in ``observed``, not in the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kando.errors import BadReply, ContextOverflow, RequestRejected
from kando.responders.event_loop import awaited
from kando.schema.events import OBSERVED

__all__ = ["STOPS", "answer_from", "judged", "rejected", "stop_of", "without_thoughts"]

END, TOOL, LENGTH, REFUSAL, FILTERED, ERROR = (
    "end",
    "tool",
    "length",
    "refusal",
    "filtered",
    "error",
)

#: Why an answer ends: it is complete, it calls tools, it reached its limit of tokens, the model
#: refused, a filter of the server intervened, or the server failed.
STOPS = (END, TOOL, LENGTH, REFUSAL, FILTERED, ERROR)

# The words of servers, in lower case. A word that is not here is an error: what it means for the
# answer is unknown.
_WORDS = {
    END: "end stop end_turn endturn stop_sequence stopsequence eos eos_token end_of_text complete "
    "completed finish_reason_stop",
    TOOL: "tool tool_calls tool_call tool_use tooluse function_call function_calls",
    LENGTH: "length max_tokens maxtokens max_output_tokens max_completion_tokens token_limit "
    "model_length model_context_window_exceeded finish_reason_max_tokens",
    REFUSAL: "refusal refused",
    FILTERED: "filtered content_filter content_filtered safety recitation blocklist "
    "prohibited_content spii image_safety language guardrail_intervened finish_reason_safety",
}
_STOP_OF_WORD = {word: stop for stop, words in _WORDS.items() for word in words.split()}

_THOUGHT = re.compile(
    r"^[ \t]*<(?P<tag>think|thinking|thought|reasoning)>(?P<thought>.*?)(</(?P=tag)>\s*|\Z)",
    re.DOTALL | re.MULTILINE,
)
# Some servers put the opening tag into the prompt, so that only the closing one is in the answer.
_UNOPENED = re.compile(
    r"\A(?P<thought>.*?)</(think|thinking|thought|reasoning)>[ \t]*(\n\s*|\Z)", re.DOTALL
)

_MAX_THOUGHTS = 100
_MAX_REASONING_CHARS = 20_000
_MAX_QUOTED_CHARS = 500
_MAX_ARGUMENT_CHARS = 2000


def stop_of(word: object) -> str:
    """Return the stop that a server's own word stands for; ``error`` for an unknown word."""
    return _STOP_OF_WORD.get(word.lower(), ERROR) if isinstance(word, str) else ERROR


def answer_from(
    complete: Callable[[dict[str, Any]], Any], request: dict[str, Any]
) -> dict[str, Any]:
    """Return the data of an ``llm.response`` from a provider, for the data of an ``llm.request``.

    Args:
        complete: the provider; an async function runs on the event loop of the process.
        request: sent to it. If it cannot be sent at all, the answer has an ``error``.

    Raises:
        BadReply: the provider or its server marked the answer as broken.
        Exception: the error of the provider; a later retry may succeed.
    """
    try:
        answer: object = awaited(complete(request))
    except RequestRejected as error:
        return rejected(error)
    if isinstance(answer, dict):
        return judged(answer, request)
    msg = f"The provider returned {_shown(answer):.60}, which is not the data of an llm.response."
    return {"error": {"type": "Unrecordable", "message": msg}}


def rejected(error: RequestRejected) -> dict[str, Any]:
    """Return the answer to a request that cannot be sent, or that its server rejects."""
    status = {} if error.status is None else {"status": error.status}
    about = {"type": type(error).__name__, "message": error.message, **status}
    if isinstance(error, ContextOverflow):
        about |= {"type": RequestRejected.__name__, "code": error.code}
    return {"cost_usd": 0.0, **(error.spent or {}), "error": about}


def judged(answer: dict[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer with its text, its calls and its stop in the form of an ``llm.response``.

    An answer in that form is returned unchanged.

    Args:
        answer: as a provider returned it. The arguments of a call may be JSON text.
        request: that it answers.

    Raises:
        BadReply: it ended with ``error``, or with an unknown word.
    """
    stop = answer.get("stop")
    if stop is not None and (stop == ERROR or stop not in STOPS):
        raise _broken(answer, stop)
    found = _with_text(answer)
    called = found.pop("tool_calls", None)
    calls = called if isinstance(called, list) else [called] if called else []
    if not calls:
        if stop == TOOL and not found.get("malformed_calls"):
            return _without_calls(found)
        return _with_error_if_empty(found)
    if "error" in found or stop in (LENGTH, REFUSAL, FILTERED):
        return _with_calls_not_made(found, calls)
    good, malformed = _shaped(calls, request)
    return {
        **found,
        **({} if stop is None else {"stop": TOOL}),
        **({"tool_calls": good} if good else {}),
        **({"malformed_calls": malformed} if malformed else {}),
    }


def _broken(answer: Mapping[str, Any], stop: object) -> BadReply:
    error = answer.get("error")
    words = error.get("message") if isinstance(error, Mapping) else error
    if words:
        quoted = words if isinstance(words, str) else _shown(words)
        msg = f"The provider broke its answer off: {quoted[:_MAX_QUOTED_CHARS]}"
    else:
        word = answer.get("stop_raw") or stop
        quoted = repr(word) if isinstance(word, str) else _shown(word)
        msg = f"The provider ended its answer with {quoted:.100}, which is not a known reason."
    spent = {name: answer[name] for name in ("usage", "cost_usd") if name in answer}
    hint = "The request stays pending, and is sent again when the run is resumed."
    return BadReply(msg, hint=hint, spent=spent or None)


def _without_calls(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer that ended to make calls and made none: it is complete if it has text."""
    if str(answer.get("text") or "").strip() or "error" in answer:
        return {**answer, "stop": END}
    raise _broken({**answer, "error": "it ended to call tools, and contains no call"}, TOOL)


def _with_calls_not_made(answer: dict[str, Any], calls: list[Any]) -> dict[str, Any]:
    """Return an answer that did not end to make calls, without its calls."""
    if "error" not in answer and answer["stop"] == LENGTH:
        names = ", ".join(dict.fromkeys(_name_of(call) or "?" for call in calls))
        message = f"The answer was cut off at its limit of tokens in a call of {names:.200}."
        answer = {**answer, "error": {"type": "Truncated", "message": message}}
    return _observing(answer, calls_not_made=[_name_of(call) for call in calls])


def _with_error_if_empty(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer with an error if it was cut off before it had any text."""
    is_cut = answer.get("stop") == LENGTH and "error" not in answer and "data" not in answer
    if not is_cut or str(answer.get("text") or "").strip():
        return answer
    message = "The answer reached its limit of tokens before it had any text: raise max_tokens."
    return {**answer, "error": {"type": "Truncated", "message": message}}


def _with_text(answer: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of an answer whose content is one text, without what the model thought."""
    if not isinstance(answer.get("text", 0), str | list | None):
        # It has no text, or something that is not one: it is recorded as it is.
        return dict(answer)
    text, thoughts = _joined(answer["text"])
    shown, more = without_thoughts(text)
    thought = "\n\n".join(filter(None, (*thoughts, more)))
    found = {**answer, "text": shown}
    if not thought:
        return found
    observed = answer.get(OBSERVED)
    known = observed.get("reasoning") if isinstance(observed, dict) else None
    whole = f"{known}\n\n{thought}" if isinstance(known, str) and known else thought
    return _observing(found, reasoning=_shortened(whole))


def _observing(answer: dict[str, Any], **more: Any) -> dict[str, Any]:
    known = answer.get(OBSERVED)
    return {**answer, OBSERVED: {**(known if isinstance(known, dict) else {}), **more}}


def _shortened(text: str) -> str:
    if len(text) <= _MAX_REASONING_CHARS:
        return text
    return f"{text[:_MAX_REASONING_CHARS]}\n[{len(text) - _MAX_REASONING_CHARS:,} more characters]"


def _joined(content: str | list[Any] | None) -> tuple[str, list[str]]:
    """Return the text of a content that may come in parts, and what the model thought."""
    if isinstance(content, str):
        return content, []
    if content is None:
        return "", []
    texts, thoughts = list[str](), list[str]()
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        is_thought = kind in ("thinking", "reasoning", "thought", "redacted_thinking")
        (thoughts if is_thought else texts).extend(_texts_in(part, 0))
    return "".join(texts), thoughts


def _texts_in(part: object, depth: int) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, list) and depth < 5:
        for each in part:
            yield from _texts_in(each, depth + 1)
    elif isinstance(part, Mapping) and depth < 5:
        names = ("text", "thinking", "reasoning", "content", "refusal", "output_text")
        known = next((part[name] for name in names if part.get(name)), None)
        if known is not None:
            yield from _texts_in(known, depth + 1)
        elif "text" not in part:
            # A part of an unknown kind is shown as it is, so that nothing is lost.
            yield json.dumps(part, ensure_ascii=False, default=str)
    elif part is not None:
        yield json.dumps(part, ensure_ascii=False, default=str)


def without_thoughts(text: str) -> tuple[str, str]:
    """Return a text without the thoughts that the model wrote into it, and these thoughts.

    Thoughts are in ``<think>`` or a similar tag, at the start of a line; or all that precedes a
    closing tag.
    """
    thoughts = list[str]()
    while "<" in text and len(thoughts) < _MAX_THOUGHTS:
        found, unopened = _THOUGHT.search(text), _UNOPENED.match(text)
        if unopened is not None and (found is None or found.start() >= unopened.end()):
            found = unopened
        if found is None:
            break
        thoughts.append(found["thought"].strip())
        text = text[: found.start()] + text[found.end() :]
    return text, "\n\n".join(filter(None, thoughts))


def _name_of(call: object) -> str:
    name = call.get("name") if isinstance(call, Mapping) else None
    return name if isinstance(name, str) else ""


def _shown(value: object) -> str:
    """Return a value as text for a message, whatever it is."""
    try:
        return json.dumps(value, default=repr)
    except (ValueError, TypeError, RecursionError):
        # A circle, an integer of thousands of digits, or a key that is not a string.
        return f"a value of type {type(value).__name__}"


def _shaped(
    calls: list[Any], request: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the calls that can be made, and the malformed ones; each has an id of its own."""
    good, malformed, ids = list[dict[str, Any]](), list[dict[str, Any]](), set[str]()
    for place, call in enumerate(calls):
        fields = call if isinstance(call, Mapping) else {}
        id, given = _own_id(fields.get("id"), place, ids), fields.get("arguments")
        arguments, problem = _arguments(given, _name_of(call), request)
        if not isinstance(call, Mapping):
            given, problem = call, "The call is not an object."
        elif not _name_of(call):
            problem = "The call names no tool."
        if problem is None:
            good.append({**fields, "id": id, "name": _name_of(call), "arguments": arguments})
            continue
        shown = given if isinstance(given, str) else _shown(given)
        malformed.append(
            {
                "place": place,
                "id": id,
                "name": _name_of(call),
                "arguments": shown[:_MAX_ARGUMENT_CHARS],
                "error": problem,
            }
        )
    return good, malformed


def _own_id(given: object, place: int, ids: set[str]) -> str:
    id = given if isinstance(given, str) and given else f"call-{place}"
    number = 2
    own = id
    while own in ids:
        own, number = f"{id}-{number}", number + 1
    ids.add(own)
    return own


def _arguments(
    given: object, name: str, request: Mapping[str, Any]
) -> tuple[dict[str, Any], str | None]:
    """Return the arguments of a call; or none, and what is wrong with them."""
    if isinstance(given, dict):
        return given, None
    if given is None or (isinstance(given, str) and not given.strip()):
        # Many servers send no arguments for a tool that takes none.
        if _takes_arguments(name, request):
            return {}, "The call has no arguments. Send a JSON object, {} for none."
        return {}, None
    if not isinstance(given, str):
        return {}, f"The arguments are not a JSON object: {given!r:.200}."
    try:
        parsed = json.loads(given)
    except (ValueError, RecursionError):
        return {}, f"The arguments are not valid JSON: {given!r:.200}."
    if isinstance(parsed, dict):
        return parsed, None
    if isinstance(parsed, str):
        return {}, f"The arguments are JSON text inside JSON text: {given!r:.200}."
    return {}, f"The arguments are not a JSON object: {given!r:.200}."


def _takes_arguments(name: str, request: Mapping[str, Any]) -> bool:
    tools = request.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, Mapping) and tool.get("name") == name:
            names = ("parameters", "schema", "input_schema")
            schema: Mapping[str, Any]
            schema = next((tool[each] for each in names if isinstance(tool.get(each), Mapping)), {})
            return bool(schema.get("properties"))
    return False
