"""Budgets: what a run may use, and the account of what it has used."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import attrs

from kando.errors import ConfigurationError
from kando.schema.events import BUDGET_EXHAUSTED, LLM_RESPONSE, KandoEvent

__all__ = ["Budget", "BudgetEnforcer"]


def _check_limit(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        msg = f"Budget {attribute.name} must be a number of at least 0, not {value!r}."
        raise ConfigurationError(msg, hint="Leave it out for no limit.")


@attrs.frozen
class Budget:
    """Limits of a run. None means no limit.

    Attributes:
        max_events: events in the ledger, apart from ``budget.exhausted``.
        max_llm_cost_usd: cost of the LLM calls, in US dollars.
        max_wall_seconds: seconds this process has worked on the run.
        max_recursion_depth: longest chain of causes; a root has depth 0.
    """

    max_events: int | None = attrs.field(default=None, validator=_check_limit)
    max_llm_cost_usd: float | None = attrs.field(default=None, validator=_check_limit)
    max_wall_seconds: float | None = attrs.field(default=None, validator=_check_limit)
    max_recursion_depth: int | None = attrs.field(default=None, validator=_check_limit)


class BudgetEnforcer:
    """The account of one run against its budget.

    The account is a fold over the ledger: it is charged through `count` for each event, whether it
    was just recorded or read back.

    Args:
        budget: the limits; None for none.
        clock: returns seconds; only differences matter.

    Attributes:
        is_unlimited: whether nothing can be passed.
    """

    def __init__(
        self, budget: Budget | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.budget = budget or Budget()
        self.is_unlimited = self.budget == Budget()
        self.event_count = 0
        self.llm_cost_usd = 0.0
        self.depth = 0
        self._clock = clock
        self._started = clock()

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since this account was opened in this process."""
        return self._clock() - self._started

    def count(self, event: KandoEvent, depth: int) -> None:
        """Charge a recorded event."""
        if event.type == BUDGET_EXHAUSTED:
            return
        self.event_count += 1
        if depth > self.depth:
            self.depth = depth
        if event.type == LLM_RESPONSE:
            self.llm_cost_usd += cost_of(event)

    def reasons_against(self, events: int, depth: int, cost_usd: float = 0.0) -> list[str]:
        """Return the limits that recording a batch would pass; empty if it may be recorded.

        Args:
            events: how many events the batch has.
            depth: the greatest depth in it.
            cost_usd: the cost of the LLM calls it reports.
        """
        reasons: list[str] = []
        if self.is_unlimited:
            return reasons
        limits = self.budget
        if limits.max_events is not None and self.event_count + events > limits.max_events:
            reasons.append("max_events")
        cost = self.llm_cost_usd + cost_usd
        if limits.max_llm_cost_usd is not None and cost > limits.max_llm_cost_usd:
            reasons.append("max_llm_cost_usd")
        if limits.max_wall_seconds is not None and self.elapsed_seconds > limits.max_wall_seconds:
            reasons.append("max_wall_seconds")
        if limits.max_recursion_depth is not None and depth > limits.max_recursion_depth:
            reasons.append("max_recursion_depth")
        return reasons

    def reasons_against_call(self) -> list[str]:
        """Return the limits that forbid to start another LLM call."""
        limit = self.budget.max_llm_cost_usd
        spent = limit is not None and self.llm_cost_usd >= limit
        return ["max_llm_cost_usd"] if spent else []

    def exhausted_data(self, reasons: list[str], depth: int) -> dict[str, Any]:
        """Return the data of the ``budget.exhausted`` event.

        Seconds are a measurement and stand for themselves in `elapsed_seconds`; comparisons leave
        the event out altogether.
        """
        return {
            "reasons": reasons,
            "event_count": self.event_count,
            "llm_cost_usd": self.llm_cost_usd,
            "elapsed_seconds": round(self.elapsed_seconds, 3),
            "depth": max(self.depth, depth),
        }


def cost_of(event: KandoEvent) -> float:
    """Return the cost that an ``llm.response`` reports, in US dollars; 0 if it reports none."""
    cost = event.data.get("cost_usd")
    return float(cost) if isinstance(cost, int | float) and not isinstance(cost, bool) else 0.0
