"""The limits that the operator of a server sets; they override what its clients ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import attrs

from kando.responders.budget import Budget

__all__ = ["OperatorLimits", "daily_limit_reached"]

_Number = TypeVar("_Number", int, float)


@attrs.frozen
class OperatorLimits:
    """The limits of a server. Neither a client nor a ledger lifts one.

    Attributes:
        program: the command that has the options, for error messages.
        is_read_only: whether clients may only read.
        max_usd_per_run: cost limit of each run, in US dollars; None for no limit.
        max_usd_per_day: cost limit of all runs of the substrate per day (UTC); None for no limit.
        allows_live_llm: whether models that cost money or need a network may answer; if not, only
            offline providers and the cache may.
        budget: further limits of each run.
        max_tokens: limit of each answer of a model, in tokens; None for the one of the environment,
            the client or the kit. A client may set a lower one.
    """

    program: str
    is_read_only: bool = False
    max_usd_per_run: float | None = None
    max_usd_per_day: float | None = None
    allows_live_llm: bool = False
    budget: Budget = attrs.field(factory=Budget)
    max_tokens: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the limits in their JSON form, by the names of their options."""
        return {
            "read_only": self.is_read_only,
            "max_usd_per_run": self.max_usd_per_run,
            "max_usd_per_day": self.max_usd_per_day,
            "allow_live_llm": self.allows_live_llm,
            "max_tokens": self.max_tokens,
            **self.budget.limits(),
        }

    def usd_of_run(self, environ: Mapping[str, str], wanted: float | None = None) -> float | None:
        """Return the cost limit of a run, in US dollars; None for no limit.

        Args:
            environ: settings, whose limit no client lifts.
            wanted: limit given by the client.
        """
        # Servers start faster without it.
        from kando.app.limits import default_limits

        return _least([self.max_usd_per_run, default_limits(environ).max_llm_cost_usd, wanted])

    def tokens_of_answer(self, wanted: int | None = None) -> int | None:
        """Return the limit of each answer, in tokens; `wanted` is the one given by the client."""
        return _least([self.max_tokens, wanted])


def _least(limits: Sequence[_Number | None]) -> _Number | None:
    return min((limit for limit in limits if limit is not None), default=None)


def daily_limit_reached(usd: float) -> str:
    """Return the message that the cost limit of all runs per day has been reached."""
    message = f"The limit of {usd:g} US dollars per day (UTC) has been reached:"
    return message + " wait for the next day, or ask a person to raise --max-usd-per-day."
