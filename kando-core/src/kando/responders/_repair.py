"""Structured answers: one that does not match its schema is sent back to the model once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import attrs
import msgspec

from kando.responders._schema_errors import schema_errors
from kando.responders.conversation import calls_in
from kando.responders.options import DEFAULT_MAX_TOKENS
from kando.responders.replies import answer_from, without_thoughts
from kando.schema.events import OBSERVED

__all__ = ["SchemaRepair"]

_Complete = Callable[[dict[str, Any]], dict[str, Any]]

_FENCED = re.compile(r"\s*```(?:json)?\s*\n(?P<inside>.*)\n\s*```\s*", re.DOTALL)
_MAX_PROBLEMS = 20
# An answer of n tokens becomes about n tokens of the second request; a bound on the price counts
# each byte as a token.
_BYTES_PER_TOKEN = 2
# The server may know no schemas, so that the model has not seen it.
_REPAIR_PROMPT = (
    "Your answer does not match the required JSON Schema: {problems}. "
    "Answer again with JSON that matches it and nothing else. The JSON Schema:\n{schema}"
)
# How many places of a text are tried as the start of its JSON.
_MAX_STARTS = 200
_START = re.compile(r"[{\[]")


@attrs.frozen
class SchemaRepair:
    """A provider's `complete` that validates structured answers and retries an invalid one once.

    Attributes:
        complete: the function of the provider.
    """

    complete: _Complete

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer; if the request has an ``output_schema``, its ``data`` is valid.

        An answer that is invalid both times has an ``error`` instead. Usage and cost are the sums of
        both calls.
        """
        answer = answer_from(self.complete, request)
        schema = request.get("output_schema")
        if not isinstance(schema, Mapping) or "error" in answer or not _is_final(answer):
            return answer
        validated, problems = _validated(answer, schema)
        if not problems:
            return validated
        if answer.get("stop") == "length":
            return _invalid(validated, ["it was truncated at max_tokens", *problems[:1]])
        try:
            second = answer_from(self.complete, _repair_request(request, answer, problems))
        except Exception as error:
            # The first answer was paid for: raising would cause the request to be sent again.
            both = _with_spent(validated, getattr(error, "spent", None))
            return _invalid(both, [*problems, f"the retry failed ({type(error).__name__})"])
        both = _sum(answer, second)
        if "error" in both or not _is_final(both):
            return both
        validated, problems = _validated(both, schema)
        return _invalid(validated, problems) if problems else validated

    def worst_case_usd(self, request: dict[str, Any]) -> float | None:
        """Return the maximum cost of an answer in US dollars; None if the price is unknown."""
        try:
            return self._worst_case_usd(request)
        except Exception:
            # If the request is malformed, the call itself reports it.
            return None

    def _worst_case_usd(self, request: dict[str, Any]) -> float | None:
        worst = getattr(self.complete, "worst_case_usd", None)
        if worst is None:
            return None
        first: float | None = worst(request)
        if first is None or not isinstance(request.get("output_schema"), Mapping):
            return first
        longest = "x" * (_BYTES_PER_TOKEN * int(request.get("max_tokens") or DEFAULT_MAX_TOKENS))
        second: float | None = worst(
            _repair_request(request, {"text": longest}, ["x" * 100] * _MAX_PROBLEMS)
        )
        return None if second is None else first + second


def _is_final(answer: Mapping[str, Any]) -> bool:
    return not calls_in(answer) and answer.get("stop", "end") in ("end", "length")


def _validated(
    answer: dict[str, Any], schema: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return the answer with its parsed content as ``data``, or without it and with its errors."""
    bare = {name: value for name, value in answer.items() if name != "data"}
    found = [answer["data"]] if "data" in answer else _json_in(str(answer.get("text", "")))
    problems = ["it is not JSON"]
    # The last one: a draft or an example comes before the answer.
    for data in reversed(found):
        wrong = schema_errors(schema, data)
        if not wrong:
            return {**bare, "data": data}, []
        problems = wrong if problems == ["it is not JSON"] else problems
    return bare, problems[:_MAX_PROBLEMS]


def _json_in(text: str) -> list[Any]:
    """Return the JSON in an answer, in order, without thoughts and prose around it."""
    shown, _ = without_thoughts(text)
    fenced = _FENCED.fullmatch(shown)
    for whole in (fenced["inside"],) if fenced else (shown,):
        with suppress(msgspec.MsgspecError, RecursionError, UnicodeError):
            return [msgspec.json.decode(whole)]
    found, at, decoder = list[Any](), 0, json.JSONDecoder()
    for _ in range(_MAX_STARTS):
        start = _START.search(shown, at)
        if start is None:
            break
        at = start.end()
        with suppress(ValueError, RecursionError, msgspec.MsgspecError, UnicodeError):
            _, end = decoder.raw_decode(shown, start.start())
            found.append(msgspec.json.decode(shown[start.start() : end]))
            at = end
    return found


def _invalid(answer: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    message = f"The answer does not match the output_schema: {'; '.join(problems)}."
    return {**answer, "error": {"type": "Misfit", "message": message}}


def _repair_request(
    request: dict[str, Any], answer: Mapping[str, Any], problems: list[str]
) -> dict[str, Any]:
    text = str(answer.get("text") or "(nothing)")
    schema = json.dumps(request.get("output_schema"), ensure_ascii=False)
    prompt = _REPAIR_PROMPT.format(problems="; ".join(problems), schema=schema)
    messages = [
        *request.get("messages", ()),
        {"role": "assistant", "content": text},
        {"role": "user", "content": prompt},
    ]
    return {**request, "messages": messages}


def _with_spent(answer: dict[str, Any], spent: object) -> dict[str, Any]:
    """Return an answer with the usage and cost of a failed attempt added, if they are known."""
    if not isinstance(spent, Mapping):
        return answer
    both = _sum(answer, dict(spent))
    return {**answer, "usage": both["usage"], "cost_usd": both["cost_usd"]}


def _sum(first: Mapping[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return the second answer with the usage and the cost of both."""
    one, two = first.get("usage") or {}, second.get("usage") or {}
    costs = [first.get("cost_usd"), second.get("cost_usd")]
    observed = [first.get(OBSERVED) or {}, second.get(OBSERVED) or {}]
    measured = {
        name: round(sum(each[name] for each in observed), 3)
        for name in ("attempts", "seconds")
        if all(isinstance(each.get(name), int | float) for each in observed)
    }
    lost = _lost_by(first.get("lost"), second.get("lost"))
    return {
        **second,
        **({"lost": lost} if lost else {}),
        # A count that one of the answers lacks is unknown for the sum.
        "usage": {name: one[name] + two[name] for name in one if name in two},
        "cost_usd": None if None in costs else sum(costs),
        OBSERVED: {**observed[1], **measured, "repairs": 1},
    }


def _lost_by(one: object, two: object) -> dict[str, Any]:
    """Return the attempts of two calls that brought no answer, as one; empty if there are none."""
    found = [each for each in (one, two) if isinstance(each, Mapping)]
    if len(found) < 2:
        return dict(found[0]) if found else {}
    usages, costs = [each["usage"] for each in found], [each["cost_usd"] for each in found]
    return {
        "usage": {name: sum(each.get(name, 0) for each in usages) for name in usages[0]},
        "cost_usd": None if None in costs else sum(costs),
        "calls": sum(each["calls"] for each in found),
    }
