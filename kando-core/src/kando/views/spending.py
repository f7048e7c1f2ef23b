"""The accounts of a run: the calls, tokens and cost that its ledger records."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from math import inf
from typing import Any

import attrs

from kando.schema.events import (
    BUDGET_EXHAUSTED,
    LLM_RESPONSE,
    RESPONDER_FAILED,
    RUN_ENDED,
    TOOL_RETURNED,
    KandoEvent,
)
from kando.views.pending import failed_intent, is_answer, is_by_hand

__all__ = ["CHARGED", "Accounts", "amount_of", "charge_of", "spent_by"]

#: Types of events that change the accounts.
CHARGED = frozenset({LLM_RESPONSE, TOOL_RETURNED, RUN_ENDED, RESPONDER_FAILED, BUDGET_EXHAUSTED})

# Error types of answers for which no model or tool was called.
_NOT_CALLED = frozenset({"Denied", "InvalidArguments", "UnknownTool"})

# Estimate for answers whose provider reports no token counts.
_BYTES_PER_TOKEN = 4


@attrs.frozen
class Accounts:
    """The calls, tokens and cost of a run. Immutable: applying an event returns new accounts.

    Attributes:
        llm_calls: number of answers of models, without those from the cache and those by hand, and of
            attempts that reached a server and brought none.
        llm_tokens: input and output tokens of these answers and, if known, of failed attempts.
        llm_cost_usd: known cost of these answers and failed attempts, in US dollars.
        llm_unpriced: number of these answers and failed attempts whose cost is unknown.
        llm_dearest_usd: cost of the most expensive of them.
        tool_calls: number of answers of tools that were called.
        seconds: that the run had worked when its budget was last exhausted; of what is reserved for a
            child run: that it may work.
    """

    llm_calls: int = 0
    llm_tokens: int = 0
    llm_cost_usd: float = 0.0
    llm_unpriced: int = 0
    llm_dearest_usd: float = 0.0
    tool_calls: int = 0
    seconds: float = 0.0

    def apply(self, event: KandoEvent) -> Accounts:
        """Return the accounts after a recorded event."""
        if event.type == BUDGET_EXHAUSTED:
            return attrs.evolve(self, seconds=amount_of(event.data.get("elapsed_seconds")) or 0.0)
        return self + spent_by(event) if event.type in CHARGED else self

    def __add__(self, other: Accounts) -> Accounts:
        return Accounts(
            self.llm_calls + other.llm_calls,
            self.llm_tokens + other.llm_tokens,
            self.llm_cost_usd + other.llm_cost_usd,
            self.llm_unpriced + other.llm_unpriced,
            max(self.llm_dearest_usd, other.llm_dearest_usd),
            self.tool_calls + other.tool_calls,
            self.seconds,
        )

    def since(self, earlier: Accounts) -> dict[str, Any]:
        """Return the difference to `earlier` accounts, by name."""
        return {
            "llm_calls": self.llm_calls - earlier.llm_calls,
            "llm_tokens": self.llm_tokens - earlier.llm_tokens,
            "llm_cost_usd": self.llm_cost_usd - earlier.llm_cost_usd,
            "llm_unpriced": self.llm_unpriced - earlier.llm_unpriced,
            "tool_calls": self.tool_calls - earlier.tool_calls,
        }


def spent_by(event: KandoEvent) -> Accounts:
    """Return what a recorded event is charged: an answer, or the failure of an executor."""
    if is_answer(event):
        return charge_of(event.type, event.data)
    if event.type == RESPONDER_FAILED and failed_intent(event.data) is not None:
        return _charge_of_failure(event.data)
    return _FREE


def charge_of(answer_type: str, answer: Mapping[str, Any]) -> Accounts:
    """Return the charge for one answer; only calls are charged.

    Args:
        answer_type: ``llm.response``, ``tool.returned`` or ``run.ended``.
        answer: its data.
    """
    error = answer.get("error")
    # Most answers have no error: an instance check of None would be the slow one.
    kind = error.get("type") if error is not None and isinstance(error, Mapping) else None
    if (
        (isinstance(kind, str) and kind in _NOT_CALLED)
        or answer.get("cached") is True
        or is_by_hand(answer)
    ):
        return _FREE
    if answer_type == TOOL_RETURNED:
        return _TOOL_CALL
    if answer_type == RUN_ENDED:
        return _charge_of_child(answer)
    lost = answer.get("lost")
    cost = amount_of(answer.get("cost_usd"))
    # An error without a cost field was free; a cost of null is unknown.
    is_free = error is not None and "cost_usd" not in answer
    charge = Accounts(
        llm_calls=1,
        llm_tokens=_tokens_of(answer),
        llm_cost_usd=cost or 0.0,
        llm_unpriced=int(cost is None and not is_free),
        llm_dearest_usd=cost or 0.0,
    )
    if lost is not None and isinstance(lost, Mapping):
        return _charge_of_failure(lost) + charge
    return charge


_FREE, _TOOL_CALL = Accounts(), Accounts(tool_calls=1)


def _charge_of_child(ended: Mapping[str, Any]) -> Accounts:
    """Return the charge for a child run: what it used, as the answer states it."""
    usage = ended.get("usage")
    used = usage if isinstance(usage, Mapping) else {}

    def count(name: str) -> int:
        return int(amount_of(used.get(name)) or 0)

    return Accounts(
        llm_calls=count("llm_calls"),
        llm_tokens=count("llm_tokens"),
        llm_cost_usd=amount_of(ended.get("cost_usd")) or 0.0,
        llm_unpriced=count("llm_unpriced"),
        tool_calls=count("tool_calls"),
    )


def _charge_of_failure(failed: Mapping[str, Any]) -> Accounts:
    """Return the charge for failed attempts: the usage that they reported, or may have had.

    They are calls if they say so: each that reached the server, whatever came of it.
    """
    if "usage" not in failed:
        return Accounts()
    cost, calls = amount_of(failed.get("cost_usd")), amount_of(failed.get("calls"))
    return Accounts(
        llm_calls=int(calls or 0),
        llm_tokens=_tokens_of(failed),
        llm_cost_usd=cost or 0.0,
        llm_unpriced=int(cost is None),
        llm_dearest_usd=cost or 0.0,
    )


def _tokens_of(answer: Mapping[str, Any]) -> int:
    usage = answer.get("usage")
    if usage is not None and isinstance(usage, Mapping):
        reported = [amount_of(usage.get(field)) for field in ("input_tokens", "output_tokens")]
        if any(each is not None for each in reported):
            return sum(int(each or 0) for each in reported)
    text = answer.get("text")
    size = len(text.encode("utf-8", "replace")) if isinstance(text, str) else 0
    return -(-size // _BYTES_PER_TOKEN)


def amount_of(value: object) -> float | None:
    """Return a finite number of at least 0 as a float, and None for any other value."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < inf:
        with suppress(OverflowError):
            return float(value)
    return None
