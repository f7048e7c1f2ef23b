"""Situations of providers, and their rows in a table of the docs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from kando.schema.events import LLM_RESPONSE, RESPONDER_FAILED
from live_runs import Runs
from wire import Fails, Reply, Says, Stalls, completion, message, response

#: The page with the table.
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "providers.md"

_CALLS = (("c1", "look", {"at": "sky"}), ("c2", "look", {"at": "sea"}))
_EQUAL = (("c1", "look", {"at": "sky"}), ("c1", "look", {"at": "sea"}))


@attrs.frozen
class Situation:
    """The replies of a server, by the name of the dialect.

    Attributes:
        replies: to the request; a dialect that is not in it cannot be in the situation.
        streams: whether the answer is streamed.
        timeout: of silence, in seconds.
    """

    replies: dict[str, Reply]
    streams: bool = False
    timeout: str = "20"


#: The wire forms, by the provider that stands for them in the docs.
DIALECTS = ("anthropic", "openai", "openai-responses")


def _all(reply: Reply, **more: Any) -> Situation:
    return Situation(dict.fromkeys(DIALECTS, reply), **more)


def _bodies(*bodies: dict[str, Any]) -> Situation:
    return Situation({name: Fails(200, body) for name, body in zip(DIALECTS, bodies, strict=True)})


def _all_forms(says: Says) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    return message(says), completion(says), response(says)


def _error(status: int, kind: str, words: str, headers: dict[str, str] | None = None) -> Situation:
    body = {"type": "error", "error": {"type": kind, "message": words}}
    return _all(Fails(status, body, headers or {}))


def _with_thoughts() -> Situation:
    one, other, third = _all_forms(Says("", "tool", _CALLS))
    one["content"].insert(0, {"type": "thinking", "thinking": "Hm.", "signature": "x"})
    other["choices"][0]["message"]["reasoning_content"] = "Hm."
    summary = [{"type": "summary_text", "text": "Hm."}]
    reasoning = {"id": "rs-1", "type": "reasoning", "summary": summary, "encrypted_content": "x"}
    third["output"].insert(0, reasoning)
    return _bodies(one, other, third)


def _in_parts() -> Situation:
    one, other, third = _all_forms(Says())
    parts = [{"type": "text", "text": "Ye"}, {"type": "text", "text": "s."}]
    one["content"] = parts
    other["choices"][0]["message"]["content"] = parts
    third["output"][0]["content"] = [{**part, "type": "output_text"} for part in parts]
    return _bodies(one, other, third)


def _one_malformed() -> Situation:
    one, other, third = _all_forms(Says("", "tool", _CALLS))
    one["content"][0]["input"] = "sky"
    other["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] = '{"at": "s'
    third["output"][0]["arguments"] = '{"at": "s'
    return _bodies(one, other, third)


def _filtered() -> Situation:
    _, other, third = _all_forms(Says("It is", "content_filter"))
    return Situation({"openai": Fails(200, other), "openai-responses": Fails(200, third)})


SITUATIONS: dict[str, Situation] = {
    "complete answer": _all(Says()),
    "text cut off at its limit": _all(Says("It is bl", "length")),
    "call cut off at its limit": _all(Says("", "length", _CALLS)),
    "cut off before any text": _all(Says("", "length")),
    "refusal": _all(Says("I will not.", "refusal")),
    "ended by a filter of the server": _filtered(),
    "unknown reason to end": _all(Says("Half", "something_new")),
    "error in a body with status 200": _error(200, "error", "The upstream server broke off."),
    "page of HTML with status 200": _all(Fails(200, "<html>Sign in</html>", {})),
    "400: invalid key": _error(400, "invalid_request_error", "API key not valid."),
    "400: refused parameter": _error(400, "invalid_request_error", "Unknown parameter 'flavour'."),
    "400: `max_tokens` refused": _error(
        400, "invalid_request_error", "Unsupported parameter: 'max_tokens'."
    ),
    "400: unknown model": _error(400, "invalid_request_error", "Unknown model 'm'."),
    "400: name of a tool": _error(400, "invalid_request_error", "tools.0.name is not valid."),
    "400: prompt too long": _error(400, "invalid_request_error", "The prompt is too long."),
    "401": _error(401, "authentication_error", "Bad key."),
    "402": _error(402, "billing_error", "No credit."),
    "429 with `retry-after`": _error(429, "rate_limit_error", "Slow.", {"retry-after": "0.01"}),
    "429 without it": _error(429, "rate_limit_error", "Slow."),
    "500": _error(500, "api_error", "Broken."),
    "529": _error(529, "overloaded_error", "Busy."),
    "silence": _all(Stalls(), timeout="0.3"),
    "stream cut off": _all(Says("It is blue. " * 20, cut=600), streams=True),
    "reasoning, then tool calls": _with_thoughts(),
    "parallel calls with equal ids": _all(Says("", "tool", _EQUAL)),
    "malformed call next to a good one": _one_malformed(),
    "empty content": _all(Says("")),
    "content as a list of parts": _in_parts(),
    "usage missing": _all(Says(usage=None)),
}


def outcome(runs: Runs, run: str) -> str:
    """Return what the ledger of a run holds about its first request, as the table says it."""
    failed = runs.events(run, RESPONDER_FAILED)
    if failed:
        return f"`responder.failed`, `{failed[0].data['error']['type']}`"
    (answer,) = (event.data for event in runs.events(run, LLM_RESPONSE))
    parts = ["`llm.response`"]
    if "stop" in answer:
        parts.append(f"`stop` `{answer['stop']}`")
    if "error" in answer:
        parts.append(f"`error` `{answer['error']['type']}`")
    calls = answer.get("tool_calls", [])
    if calls:
        ids = ", ".join(each["id"] for each in calls)
        parts.append(f"calls {ids}" if len(calls) > 1 else f"call {ids}")
    if "malformed_calls" in answer:
        parts.append(f"malformed call {answer['malformed_calls'][0]['id']}")
    if "reasoning" in answer["observed"]:
        parts.append("`observed.reasoning`")
    if "error" not in answer and not calls:
        parts.append("text" if answer["text"] else "empty text")
    if "dropped" in answer:
        parts.append("`dropped` names it")
    if answer.get("usage") == {}:
        parts.append("no usage")
    return ", ".join(parts)


def rows_of(situation: str, found: dict[str, tuple[str, str]]) -> list[str]:
    """Return the rows of a situation.

    Args:
        situation: its name.
        found: what the ledger holds, and what a resume does, by dialect.
    """
    who: dict[tuple[str, str], list[str]] = {}
    for dialect, outcome_of_it in found.items():
        who.setdefault(outcome_of_it, []).append(dialect)
    return [
        f"| {situation} | {'all' if len(names) == len(DIALECTS) else ', '.join(names)} "
        f"| {holds} | {then} |"
        for (holds, then), names in who.items()
    ]


def rows_in_docs(situation: str) -> list[str]:
    """Return the rows of a situation in the docs."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith(f"| {situation} | ")]


def described() -> list[str]:
    """Return the situations in the docs, in order."""
    text = PAGE.read_text(encoding="utf-8")
    _, _, rest = text.partition("| situation | provider |")
    rows = rest.partition("\n\n")[0].splitlines()[2:]
    return list(dict.fromkeys(row.split(" | ")[0].removeprefix("| ") for row in rows))
