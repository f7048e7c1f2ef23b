"""Structured answers: what fits the schema is taken, what does not is sent back once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec

from kando.errors import InvalidData
from kando.responders._schema_errors import misfits
from kando.schema.events import OBSERVED

__all__ = ["Repairing"]

_Complete = Callable[[dict[str, Any]], dict[str, Any]]

_FENCED = re.compile(r"\s*```(?:json)?\s*\n(?P<inside>.*)\n\s*```\s*", re.DOTALL)
_MAX_PROBLEMS = 20
# An answer of n tokens is read back as about n; a bound on the price counts a byte as a token.
_READ_BACK = 2
_ASK_AGAIN = (
    "Your answer does not fit the JSON Schema that was asked for: {problems}. "
    "Answer again, with JSON that fits it and nothing else."
)


@attrs.frozen
class Repairing:
    """A provider's `complete` whose structured answers are checked, and asked for once more.

    Attributes:
        complete: the provider's.
    """

    complete: _Complete

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer, with ``data`` that fits the request's ``output_schema`` if it has one.

        An answer that does not fit either time has an ``error`` instead. Usage and cost are those of
        both calls.
        """
        answer = self._answer(request)
        schema = request.get("output_schema")
        if not isinstance(schema, Mapping) or "error" in answer or not _is_final(answer):
            return answer
        fitted, problems = _fitted(answer, schema)
        if not problems:
            return fitted
        if answer.get("stop") == "length":
            return _misfit(fitted, ["it was cut off at max_tokens"])
        try:
            second = self._answer(_again(request, answer, problems))
        except Exception as error:
            # The first was answered and paid for: raising would ask for it again.
            both = _with_spent(fitted, getattr(error, "spent", None))
            return _misfit(both, [*problems, f"asking again failed ({type(error).__name__})"])
        both = _sum(answer, second)
        if "error" in both or not _is_final(both):
            return both
        fitted, problems = _fitted(both, schema)
        return _misfit(fitted, problems) if problems else fitted

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        answer: object = self.complete(request)
        if isinstance(answer, dict):
            return answer
        msg = f"The provider returned {answer!r:.60}, which is no data of an llm.response."
        raise InvalidData(msg, hint="Report it to the authors of the provider.")

    def worst_case_usd(self, request: dict[str, Any]) -> float | None:
        """Return what answering may cost at most, in US dollars; None if the price is unknown."""
        try:
            return self._worst_case_usd(request)
        except Exception:
            # What is wrong with the request, the call itself says.
            return None

    def _worst_case_usd(self, request: dict[str, Any]) -> float | None:
        worst = getattr(self.complete, "worst_case_usd", None)
        if worst is None:
            return None
        first: float | None = worst(request)
        if first is None or not isinstance(request.get("output_schema"), Mapping):
            return first
        longest = "x" * (_READ_BACK * int(request.get("max_tokens") or 1024))
        second: float | None = worst(
            _again(request, {"text": longest}, ["x" * 100] * _MAX_PROBLEMS)
        )
        return None if second is None else first + second


def _is_final(answer: Mapping[str, Any]) -> bool:
    return not answer.get("tool_calls") and answer.get("stop", "end") in ("end", "length")


def _fitted(answer: dict[str, Any], schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the answer with what it says as ``data``, or as it is with what is wrong with it."""
    bare = {name: value for name, value in answer.items() if name != "data"}
    if "data" in answer:
        data = answer["data"]
    else:
        text = str(answer.get("text", ""))
        fenced = _FENCED.fullmatch(text)
        try:
            data = msgspec.json.decode(fenced["inside"] if fenced else text)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            return bare, ["it is not JSON"]
    problems = misfits(schema, data)
    return (bare, problems[:_MAX_PROBLEMS]) if problems else ({**bare, "data": data}, [])


def _misfit(answer: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    message = f"The answer does not fit the output_schema: {'; '.join(problems)}."
    return {**answer, "error": {"type": "Misfit", "message": message}}


def _again(
    request: dict[str, Any], answer: Mapping[str, Any], problems: list[str]
) -> dict[str, Any]:
    said = str(answer.get("text") or "(nothing)")
    complaint = _ASK_AGAIN.format(problems="; ".join(problems))
    messages = [
        *request.get("messages", ()),
        {"role": "assistant", "content": said},
        {"role": "user", "content": complaint},
    ]
    return {**request, "messages": messages}


def _with_spent(answer: dict[str, Any], spent: object) -> dict[str, Any]:
    """Return an answer with what a failed attempt used as well, if that is known."""
    if not isinstance(spent, Mapping):
        return answer
    both = _sum(answer, dict(spent))
    return {**answer, "usage": both["usage"], "cost_usd": both["cost_usd"]}


def _sum(first: Mapping[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return the second answer with the usage and the cost of both."""
    one, two = first.get("usage") or {}, second.get("usage") or {}
    costs = [first.get("cost_usd"), second.get("cost_usd")]
    seen = [first.get(OBSERVED) or {}, second.get(OBSERVED) or {}]
    measured = {
        name: round(sum(each[name] for each in seen), 3)
        for name in ("attempts", "seconds")
        if all(isinstance(each.get(name), int | float) for each in seen)
    }
    return {
        **second,
        # What one of them does not tell, nobody knows of both.
        "usage": {name: one[name] + two[name] for name in one if name in two},
        "cost_usd": None if None in costs else sum(costs),
        OBSERVED: {**seen[1], **measured, "repairs": 1},
    }
