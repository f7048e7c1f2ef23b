"""Budgets: the limits of a run, and the account of its usage."""

# long: the table of limits and the account that keeps each of them, side by side.

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import attrs
import msgspec

from kando.errors import ConfigurationError
from kando.responders.base import Effect
from kando.responders.options import DEFAULT_MAX_TOKENS
from kando.schema.content import has_media, media_size, media_tokens
from kando.schema.events import (
    BOOKKEEPING,
    BUDGET_EXHAUSTED,
    LLM_RESPONSE,
    RESPONDER_FAILED,
    RUN_ENDED,
    KandoEvent,
    RecordedEvent,
    exhausted_limits,
    make_event,
)
from kando.schema.firing import Firing
from kando.schema.identity import stream_of
from kando.schema.parts import known_prefix, size_of
from kando.views.pending import answered_by, failed_intent
from kando.views.spending import CHARGED, Accounts, amount_of, charge_of
from kando.world.graph import World

__all__ = ["DEFAULT_FALLBACK_USD", "LIMITS", "Budget", "BudgetEnforcer", "Limit"]

#: Default cost of an LLM call of unknown price, in US dollars.
DEFAULT_FALLBACK_USD = 0.01


# Tokens that a server may add to a request.
_ADDED_TOKENS = 1024

# Tolerance, because sums of floating-point prices are not exact.
_EXACTNESS = 1e-9


# Limits are added and compared as floating-point numbers.
_MOST = 1e18


def _check_limit(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is None:
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= _MOST:  # type: ignore[operator]
        # Python refuses to write out an integer of thousands of digits.
        shown = "a larger one" if is_number and value > _MOST else repr(value)  # type: ignore[operator]
        msg = f"Budget {attribute.name} must be a number from 0 to {_MOST:.0e}, not {shown:.80}."
        raise ConfigurationError(msg, hint="Omit it for no limit.")


@attrs.frozen
class Budget:
    """Limits of a run: numbers from 0 to 1e18. None means no limit.

    Attributes:
        max_events: events in the ledger, apart from ``budget.exhausted``.
        max_llm_cost_usd: cost of the LLM calls, in US dollars.
        max_wall_seconds: seconds of work on the run; waiting for a person or a timer does not
            count.
        max_recursion_depth: length of the longest chain of causes; a root has depth 0.
        max_llm_calls: LLM calls, without answers from the cache.
        max_llm_tokens: input and output tokens of these calls.
        max_tool_calls: tool calls.
        fallback_usd_per_call: cost of an LLM call of unknown price, in US dollars;
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
        """Return the limits that are set, by name."""
        return {name: limit for name, limit in attrs.asdict(self).items() if limit is not None}

    def with_defaults(self, other: Budget) -> Budget:
        """Return these limits, with those of `other` where none is set."""
        return Budget(**(other.limits() | self.limits()))  # type: ignore[arg-type]

    def capped_by(self, other: Budget) -> Budget:
        """Return the stricter of each two limits."""
        mine, theirs = self.limits(), other.limits()
        both = {name: min(mine[name], theirs[name]) for name in mine if name in theirs}
        # A larger fallback is stricter.
        if (named := "fallback_usd_per_call") in both:
            both[named] = max(mine[named], theirs[named])
        return Budget(**(theirs | mine | both))  # type: ignore[arg-type]


@attrs.frozen
class Limit:
    """A limit of a budget, as options, variables and reports name it.

    Attributes:
        name: of the field of `Budget`; ``budget.exhausted`` names it if it is reached.
        word: of its option, after ``--budget-``.
        unit: of its value; ``N`` is a whole number.
        help: of its option.
        usage: what is compared with it: an attribute of `BudgetEnforcer` or of its accounts, and a
            field of ``budget.exhausted``. None if it is not a limit but an assumption.
    """

    name: str
    word: str
    unit: str
    help: str
    usage: str | None

    @property
    def option(self) -> str:
        """Name of its option."""
        return f"--budget-{self.word}"

    @property
    def is_whole(self) -> bool:
        """Whether its value is a whole number."""
        return self.unit == "N"


#: The limits of a budget: one for each field of `Budget`, in their order.
LIMITS = (
    Limit("max_events", "events", "N", "Limit on events in the ledger.", "event_count"),
    Limit("max_llm_cost_usd", "usd", "USD", "Limit on the cost of LLM calls.", "llm_cost_usd"),
    Limit(
        "max_wall_seconds", "seconds", "SECONDS", "Limit on the time of work.", "elapsed_seconds"
    ),
    Limit("max_recursion_depth", "depth", "N", "Limit on the depth of causes.", "depth"),
    Limit("max_llm_calls", "llm-calls", "N", "Limit on LLM calls.", "llm_calls"),
    Limit("max_llm_tokens", "llm-tokens", "N", "Limit on tokens of LLM calls.", "llm_tokens"),
    Limit("max_tool_calls", "tool-calls", "N", "Limit on tool calls.", "tool_calls"),
    Limit(
        "fallback_usd_per_call",
        "fallback-usd",
        "USD",
        f"Assumed cost of an LLM call of unknown price.  [default: {DEFAULT_FALLBACK_USD}]",
        None,
    ),
)


class AccountState(msgspec.Struct, frozen=True):
    """The part of an account that is a fold over the ledger; see `BudgetEnforcer`."""

    accounts: Accounts
    event_count: int
    depth: int
    last_reasons: list[str]


class BudgetEnforcer:
    """The account of one run against its budget.

    The account is a fold over the ledger: it is charged through `count` for each event, whether it
    was just recorded or read back. The worst-case cost of calls in flight is reserved in addition.

    Code outside a runtime calls `record` and `violations` for each event instead.

    Args:
        budget: the limits; None for none.
        run_id: names the source of the events of `violations`; a prefix ``run:`` or ``branch:`` is
            the kind of the ledger.
        clock: returns seconds; only differences matter.

    Attributes:
        is_unlimited: whether no limit is set.
        accounts: usage and cost of calls.
        last_reasons: the limits named by the last ``budget.exhausted``.
    """

    def __init__(
        self,
        budget: Budget | None = None,
        run_id: str | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget = budget or Budget()
        self.is_unlimited = attrs.evolve(self.budget, fallback_usd_per_call=None) == Budget()
        self.accounts = Accounts()
        self.event_count = 0
        self.depth = 0
        self.last_reasons: list[str] = []
        self._reserved: dict[str, Accounts] = {}
        # Ids of intents whose price was guessed.
        self._guessed: set[str] = set()
        self._source = "" if run_id is None else stream_of(run_id)
        # Depths by event id: of what `record` was given.
        self._depths: dict[str, int] = {}
        self._clock = clock
        self._made_at = clock()
        self._worked = 0.0
        self._started: float | None = None

    def state(self) -> AccountState:
        """Return what was charged so far."""
        return AccountState(self.accounts, self.event_count, self.depth, [*self.last_reasons])

    def restore(self, state: AccountState) -> None:
        """Restore what `state` returned."""
        self.accounts, self.event_count = state.accounts, state.event_count
        self.depth, self.last_reasons = state.depth, state.last_reasons

    def start(self) -> None:
        """Start the clock: work on the run begins."""
        self._started = self._clock()

    def stop(self) -> None:
        """Stop the clock: work on the run ends."""
        if self._started is not None:
            self._worked += self._clock() - self._started
        self._started = None

    @property
    def elapsed_seconds(self) -> float:
        """Seconds of work: those on the clock, and those recorded in the ledger before."""
        running = 0.0 if self._started is None else self._clock() - self._started
        return self.accounts.seconds + self._worked + running

    def seconds_left(self) -> float | None:
        """Return the seconds of work until the limit, or None without a limit."""
        limit = self.budget.max_wall_seconds
        return None if limit is None else limit - self.elapsed_seconds

    @property
    def llm_cost_usd(self) -> float:
        """Cost of the LLM calls in US dollars; those of unknown price count as the fallback."""
        return self._cost_of(self.accounts)

    @property
    def has_reserved(self) -> bool:
        """Whether the cost of a call is reserved."""
        return bool(self._reserved)

    def count(self, event: KandoEvent, depth: int) -> None:
        """Charge a recorded event."""
        if event.type in CHARGED:
            self.accounts = self.accounts.apply(event)
            for id in self._settled_by(event):
                self.release(id)
            if event.type == BUDGET_EXHAUSTED:
                self.last_reasons = exhausted_limits(event)
                # From now on the accounts include the elapsed time.
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

    def count_firing(
        self, firing: Firing, depth: int, tracked: Sequence[KandoEvent] | None = None
    ) -> None:
        """Charge a recorded firing: as `count` for each of its events, but faster.

        Args:
            firing: of the ledger.
            depth: the greatest recursion depth among its events.
            tracked: those of its outputs that may be charged; all if None.
        """
        outputs = firing.outputs
        plain = len(outputs) + 2
        for event in outputs if tracked is None else tracked:
            if event.type in CHARGED:
                self.count(event, depth)
                plain -= 1
        self.event_count += plain
        if depth > self.depth:
            self.depth = depth

    def record(self, event: KandoEvent, world: World) -> None:
        """Charge an event, as `count` does; its recursion depth follows from its causes.

        If `start` was not called before, the clock runs from the creation of the enforcer.

        Args:
            event: recorded after its causes; unknown causes are ignored.
            world: the world after the event; not used, because the account is a fold over events.
        """
        if self._started is None and not self._worked:
            self._started = self._made_at
        depth = max((self._depths.get(cause, -1) for cause in event.cause), default=-1)
        depth = max(depth, 0) if event.type in BOOKKEEPING else depth + 1
        if event.id:
            self._depths[event.id] = depth
        self.count(event, depth)

    def violations(self, event: KandoEvent) -> list[KandoEvent]:
        """Return a ``budget.exhausted`` if the events charged so far pass a limit.

        Args:
            event: the cause, usually the event that was charged last. A ``budget.exhausted``
                has no violations.

        Returns:
            At most one event; its ``reasons`` name every limit that is passed.
        """
        if self.is_unlimited or event.type == BUDGET_EXHAUSTED:
            return []
        limits, usage = self.budget.limits(), self._usage()
        reasons = [
            each.name
            for each in LIMITS
            if each.usage and usage[each.usage] > limits.get(each.name, inf) + _EXACTNESS
        ]
        if not reasons:
            return []
        causes, data = [event.id] if event.id else [], self.exhausted_data(reasons, self.depth)
        return [make_event(BUDGET_EXHAUSTED, self._source, "budget", causes, data)]

    def reasons_against(self, events: int, depth: int, cost_usd: float = 0.0) -> list[str]:
        """Return the limits that recording a batch would exceed; empty if it may be recorded.

        Args:
            events: number of events in the batch.
            depth: the greatest depth in it.
            cost_usd: the cost of the LLM calls that it reports.
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
        """Return the limits that a call might exceed, together with the calls in flight.

        Args:
            charge: its worst case.
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
        # The cost of models must not stop a tool call.
        return [
            name
            for name, limit, value, concerns in passed
            if concerns and limit is not None and value > limit + _EXACTNESS
        ]

    def try_reserve(self, intent: RecordedEvent, effect: Effect, depth: int) -> bool:
        """Reserve the worst case of a call, if it fits; return whether the call may start.

        Args:
            intent: the request.
            effect: of its executor.
            depth: of its answer.
        """
        if self.is_unlimited:
            return True
        charge, is_guess = self.worst_case(intent, effect)
        # Of calls with unknown price, the first runs alone: its cost is the estimate for the others.
        if is_guess and self._guessed:
            return False
        firings = len(self._reserved) + 1
        if self.reasons_against_call(charge) or self.reasons_against(3 * firings, depth):
            return False
        self.reserve(intent.id, charge, is_guess=is_guess)
        return True

    def worst_case(self, intent: RecordedEvent, effect: Effect) -> tuple[Accounts, bool]:
        """Return the maximum charge of a call, and whether its price was guessed."""
        if effect.answer_type == RUN_ENDED:
            return self._worst_of_child(intent.data.get("limits")), False
        if effect.answer_type != LLM_RESPONSE:
            return Accounts(tool_calls=1), False
        # Tokens and costs without a limit are not estimated.
        tokens = _most_tokens(intent) if self.budget.max_llm_tokens is not None else 0
        is_limited = self.budget.max_llm_cost_usd is not None
        cost, is_guess = self.worst_cost(intent.data, effect) if is_limited else (0.0, False)
        return Accounts(llm_calls=1, llm_tokens=tokens, llm_cost_usd=cost), is_guess

    def _worst_of_child(self, limits: object) -> Accounts:
        """Return the maximum charge of a child run: its own limits, as far as this run has that left.

        One that has used up a limit gets a charge that exceeds it.

        Args:
            limits: of the child, by name; where none is set, it may use all that is left.
        """
        given = limits if isinstance(limits, dict) else {}

        def most(name: str, used: float, unit: float) -> float:
            limit, own = getattr(self.budget, name), amount_of(given.get(name))
            if limit is None or own == 0:
                return 0
            left = limit - used if limit - used > _EXACTNESS else unit
            return left if own is None else min(left, own)

        mine = self.accounts
        calls = given.get("max_llm_calls")
        return Accounts(
            # At least one, so that the limits on costs and tokens concern it.
            llm_calls=0 if calls == 0 else int(most("max_llm_calls", mine.llm_calls, 1)) or 1,
            llm_tokens=int(most("max_llm_tokens", mine.llm_tokens, 1)),
            llm_cost_usd=most("max_llm_cost_usd", self.llm_cost_usd, self._fallback),
            tool_calls=int(most("max_tool_calls", mine.tool_calls, 1)),
            seconds=max(self.seconds_left() or 0.0, 0.0),
        )

    def reserved_for(self, intent_id: str) -> Accounts | None:
        """Return what is reserved for a call; None if nothing is. Any thread may ask."""
        return self._reserved.get(intent_id)

    def worst_cost(self, request: dict[str, Any], effect: Effect) -> tuple[float, bool]:
        """Return the maximum cost of an LLM call in US dollars, and whether it was guessed.

        A call of unknown price may cost as much as the most expensive one so far.

        Args:
            request: data of the ``llm.request``.
            effect: of its executor.
        """
        # An amount that is not a number, such as NaN, would never exceed a limit.
        cost = amount_of(effect.worst_case_usd(request))
        if cost is not None:
            return cost, False
        dearest = self.accounts.llm_dearest_usd
        is_guess = self.budget.fallback_usd_per_call is None and not dearest
        return max(self._fallback, dearest), is_guess

    def reserve(self, intent_id: str, charge: Accounts, *, is_guess: bool = False) -> None:
        """Reserve the maximum charge of a call, until its answer is recorded."""
        if not self.is_unlimited:
            self._reserved[intent_id] = charge
            if is_guess:
                self._guessed.add(intent_id)

    def settle(self, intent_id: str, answer_type: str, answer: dict[str, Any]) -> None:
        """Replace the reservation of a call by the charge of its answer, before it is recorded."""
        if intent_id in self._reserved:
            self._reserved[intent_id] = charge_of(answer_type, answer)

    def release(self, intent_id: str) -> None:
        """Release the reservation of a call."""
        self._reserved.pop(intent_id, None)
        self._guessed.discard(intent_id)

    def exhausted_data(self, reasons: list[str], depth: int) -> dict[str, Any]:
        """Return the data of the ``budget.exhausted`` event.

        `elapsed_seconds` is a measurement, but not under ``observed``: comparisons leave this event
        out altogether.
        """
        usage = self._usage()
        measured = {
            "elapsed_seconds": round(usage["elapsed_seconds"], 3),
            "depth": max(self.depth, depth),
        }
        return {"reasons": reasons, **usage, **measured}

    def _usage(self) -> dict[str, Any]:
        """Return what is compared with the limits, by the name of `Limit.usage`."""
        names = [each.usage for each in LIMITS if each.usage]
        return {
            name: getattr(self if hasattr(self, name) else self.accounts, name) for name in names
        }

    @property
    def _fallback(self) -> float:
        fallback = self.budget.fallback_usd_per_call
        return DEFAULT_FALLBACK_USD if fallback is None else fallback

    def _cost_of(self, accounts: Accounts) -> float:
        return accounts.llm_cost_usd + accounts.llm_unpriced * self._fallback


def _most_tokens(request: RecordedEvent) -> int:
    """Return the most tokens of a request and its answer together."""
    asked = request.data
    limit = asked.get("max_tokens")
    out = limit if isinstance(limit, int) and limit > 0 else DEFAULT_MAX_TOKENS
    # Each token of the request represents at least one byte.
    tokens = _input_tokens(request) + _ADDED_TOKENS + out
    if "output_schema" in asked:
        # An invalid answer is sent back and answered again.
        tokens = 2 * tokens + 2 * out + _ADDED_TOKENS * 4
    return tokens


def _input_tokens(request: RecordedEvent) -> int:
    """Return the most tokens of a request, of which each stands for at least one byte.

    Those of an image do not depend on its bytes.
    """
    size, messages = size_of(request.encoded), request.data.get("messages")
    if not isinstance(messages, list):
        return size
    node = known_prefix(messages)
    if node is not None and not node.has_media:
        messages = messages[node.count :]
    with_media = [each for each in messages if isinstance(each, dict) and has_media(each)]
    bytes_of_media = sum(media_size(each, once=True) for each in with_media)
    return size - bytes_of_media + media_tokens(with_media, request.data.get("model"))
