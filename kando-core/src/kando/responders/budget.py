"""Budgets: what a run may use, and the account of what it has used."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from kando.errors import ConfigurationError
from kando.responders.base import Effect
from kando.schema.events import (
    BUDGET_EXHAUSTED,
    LLM_RESPONSE,
    RESPONDER_FAILED,
    KandoEvent,
    RecordedEvent,
)
from kando.views.pending import answered_by, failed_intent
from kando.views.spending import CHARGED, Accounts, amount_of, charge_of

__all__ = ["DEFAULT_FALLBACK_USD", "Budget", "BudgetEnforcer"]

#: What an LLM call of unknown price counts for, in US dollars, if the budget does not say.
DEFAULT_FALLBACK_USD = 0.01

_DEFAULT_MAX_TOKENS = 1024

# Room for what a server adds to the text of a request, in tokens.
_ADDED_TOKENS = 1024

# Sums of prices are no exact sums.
_EXACTNESS = 1e-9


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
        max_wall_seconds: seconds of work on the run; time in which it waits for a person or a timer
            does not count.
        max_recursion_depth: longest chain of causes; a root has depth 0.
        max_llm_calls: LLM calls, apart from answers of the cache.
        max_llm_tokens: tokens that these take in and give out.
        max_tool_calls: calls of tools.
        fallback_usd_per_call: what an LLM call of unknown price counts for, in US dollars;
            `DEFAULT_FALLBACK_USD` if None.
    """

    max_events: int | None = attrs.field(default=None, validator=_check_limit)
    max_llm_cost_usd: float | None = attrs.field(default=None, validator=_check_limit)
    max_wall_seconds: float | None = attrs.field(default=None, validator=_check_limit)
    max_recursion_depth: int | None = attrs.field(default=None, validator=_check_limit)
    max_llm_calls: int | None = attrs.field(default=None, validator=_check_limit)
    max_llm_tokens: int | None = attrs.field(default=None, validator=_check_limit)
    max_tool_calls: int | None = attrs.field(default=None, validator=_check_limit)
    fallback_usd_per_call: float | None = attrs.field(default=None, validator=_check_limit)

    def limits(self) -> dict[str, float]:
        """Return the limits there are, by name."""
        return {name: limit for name, limit in attrs.asdict(self).items() if limit is not None}

    def over(self, other: Budget) -> Budget:
        """Return these limits; of those that are open here, the ones of `other`."""
        return Budget(**(other.limits() | self.limits()))  # type: ignore[arg-type]

    def within(self, other: Budget) -> Budget:
        """Return the stricter of both for each limit."""
        mine, theirs = self.limits(), other.limits()
        both = {name: min(mine[name], theirs[name]) for name in mine if name in theirs}
        # What counts for more is stricter.
        if (named := "fallback_usd_per_call") in both:
            both[named] = max(mine[named], theirs[named])
        return Budget(**(theirs | mine | both))  # type: ignore[arg-type]


class BudgetEnforcer:
    """The account of one run against its budget.

    The account is a fold over the ledger: it is charged through `count` for each event, whether it
    was just recorded or read back. What calls in flight may cost at most is reserved beside it.

    Args:
        budget: the limits; None for none.
        clock: returns seconds; only differences matter.

    Attributes:
        is_unlimited: whether nothing can be passed.
        accounts: what was spent on calls.
        last_reasons: why the budget was exhausted last.
    """

    def __init__(
        self, budget: Budget | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.budget = budget or Budget()
        self.is_unlimited = attrs.evolve(self.budget, fallback_usd_per_call=None) == Budget()
        self.accounts = Accounts()
        self.event_count = 0
        self.depth = 0
        self.last_reasons: list[str] = []
        self._reserved: dict[str, Accounts] = {}
        # Of these the price was guessed.
        self._guessed: set[str] = set()
        self._clock = clock
        self._worked = 0.0
        self._started: float | None = None

    def start(self) -> None:
        """Have the clock run: the run is being worked on."""
        self._started = self._clock()

    def stop(self) -> None:
        """Stop the clock: the run is not being worked on."""
        if self._started is not None:
            self._worked += self._clock() - self._started
        self._started = None

    @property
    def elapsed_seconds(self) -> float:
        """Seconds of work: those this account was open for, and those the ledger tells of."""
        running = 0.0 if self._started is None else self._clock() - self._started
        return self.accounts.seconds + self._worked + running

    def seconds_left(self) -> float | None:
        """Return how long the run may still be worked on, or None if there is no limit."""
        limit = self.budget.max_wall_seconds
        return None if limit is None else limit - self.elapsed_seconds

    @property
    def llm_cost_usd(self) -> float:
        """What LLM calls cost, in US dollars; those of unknown price count as the budget says."""
        return self._cost_of(self.accounts)

    @property
    def has_reserved(self) -> bool:
        """Whether a call is in flight that may still cost something."""
        return bool(self._reserved)

    def count(self, event: KandoEvent, depth: int) -> None:
        """Charge a recorded event."""
        if event.type in CHARGED:
            self.accounts = self.accounts.apply(event)
            for id in self._settled_by(event):
                self.release(id)
            if event.type == BUDGET_EXHAUSTED:
                self.last_reasons = event.data["reasons"]
                # The accounts tell of it from now on.
                self._worked = 0.0
                if self._started is not None:
                    self._started = self._clock()
                return
        self.event_count += 1
        if depth > self.depth:
            self.depth = depth

    def _settled_by(self, event: KandoEvent) -> list[str]:
        """Return the ids of the intents whose calls an event ends: a bystander's ends none."""
        if event.type != RESPONDER_FAILED:
            return answered_by(event)
        intent = failed_intent(event.data)
        return [intent] if intent is not None else []

    def count_firing(self, events: Iterable[KandoEvent], depth: int) -> None:
        """Charge the recorded events of a firing: what `count` does for each, in less time.

        Args:
            events: all of them.
            depth: the greatest recursion depth among them.
        """
        plain = 0
        for event in events:
            if event.type in CHARGED:
                self.count(event, depth)
            else:
                plain += 1
        self.event_count += plain
        if depth > self.depth:
            self.depth = depth

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
        if limits.max_llm_cost_usd is not None and cost > limits.max_llm_cost_usd + _EXACTNESS:
            reasons.append("max_llm_cost_usd")
        if limits.max_wall_seconds is not None and self.elapsed_seconds > limits.max_wall_seconds:
            reasons.append("max_wall_seconds")
        if limits.max_recursion_depth is not None and depth > limits.max_recursion_depth:
            reasons.append("max_recursion_depth")
        return reasons

    def reasons_against_call(self, charge: Accounts) -> list[str]:
        """Return the limits that a call might pass, together with all that are in flight.

        Args:
            charge: what it may be charged at most.
        """
        if self.is_unlimited:
            return []
        limits, after = self.budget, sum(self._reserved.values(), self.accounts + charge)
        passed = (
            ("max_llm_cost_usd", limits.max_llm_cost_usd, self._cost_of(after), charge.llm_calls),
            ("max_llm_calls", limits.max_llm_calls, after.llm_calls, charge.llm_calls),
            ("max_llm_tokens", limits.max_llm_tokens, after.llm_tokens, charge.llm_calls),
            ("max_tool_calls", limits.max_tool_calls, after.tool_calls, charge.tool_calls),
        )
        # A tool is not to blame for what models cost.
        return [
            name
            for name, limit, value, concerns in passed
            if concerns and limit is not None and value > limit + _EXACTNESS
        ]

    def admits(self, intent: RecordedEvent, effect: Effect, depth: int) -> bool:
        """Whether a call may start beside those in flight; if so, its worst case is reserved.

        Args:
            intent: what is asked.
            effect: how it is answered.
            depth: of its answer.
        """
        if self.is_unlimited:
            return True
        charge, is_guess = self.worst_case(intent, effect)
        # Of calls whose price nobody knows the first one runs alone, to tell it.
        if is_guess and self._guessed:
            return False
        firings = len(self._reserved) + 1
        if self.reasons_against_call(charge) or self.reasons_against(3 * firings, depth):
            return False
        self.reserve(intent.id, charge, is_guess=is_guess)
        return True

    def worst_case(self, intent: RecordedEvent, effect: Effect) -> tuple[Accounts, bool]:
        """Return what a call may be charged at most, and whether its price was guessed."""
        if effect.answer_type != LLM_RESPONSE:
            return Accounts(tool_calls=1), False
        asked = intent.data
        limit = asked.get("max_tokens")
        out = limit if isinstance(limit, int) and limit > 0 else _DEFAULT_MAX_TOKENS
        # A token stands for at least one byte of what is sent.
        tokens = len(intent.encoded) + _ADDED_TOKENS + out
        if "output_schema" in asked:
            # What does not fit is read back and answered once more.
            tokens = 2 * tokens + 2 * out + _ADDED_TOKENS * 4
        is_limited = self.budget.max_llm_cost_usd is not None
        # Of a number that is none, such as NaN, no limit would ever be passed.
        cost = amount_of(effect.worst_case_usd(asked)) if is_limited else 0.0
        dearest = self.accounts.llm_dearest_usd
        is_guess = cost is None and self.budget.fallback_usd_per_call is None and not dearest
        if cost is None:
            cost = max(self._fallback, dearest)
        return Accounts(llm_calls=1, llm_tokens=tokens, llm_cost_usd=cost), is_guess

    def reserve(self, intent_id: str, charge: Accounts, *, is_guess: bool = False) -> None:
        """Set aside what a call may be charged, until its answer is recorded."""
        if not self.is_unlimited:
            self._reserved[intent_id] = charge
            if is_guess:
                self._guessed.add(intent_id)

    def settle(self, intent_id: str, answer_type: str, answer: dict[str, Any]) -> None:
        """Set aside what an answer that is not recorded yet will be charged."""
        if intent_id in self._reserved:
            self._reserved[intent_id] = charge_of(answer_type, answer)

    def release(self, intent_id: str) -> None:
        """Set nothing aside for a call any more."""
        self._reserved.pop(intent_id, None)
        self._guessed.discard(intent_id)

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
            "llm_calls": self.accounts.llm_calls,
            "llm_tokens": self.accounts.llm_tokens,
            "tool_calls": self.accounts.tool_calls,
        }

    @property
    def _fallback(self) -> float:
        told = self.budget.fallback_usd_per_call
        return DEFAULT_FALLBACK_USD if told is None else told

    def _cost_of(self, accounts: Accounts) -> float:
        return accounts.llm_cost_usd + accounts.llm_unpriced * self._fallback
