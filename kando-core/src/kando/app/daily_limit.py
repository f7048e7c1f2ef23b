"""The cost limit of all runs per day: the worst case of a call is booked before it is made.

A booking is a slot in a lane of the store, whose weight is the highest possible cost of the call. It is
released when the answer is on disk, where it counts with its actual cost. All processes of the store
see both. A booking ends with its process.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

import attrs

from kando.app.context import Context
from kando.app.daily_spending import DailySpending
from kando.app.slots import StoreSlots
from kando.responders.attempts import checked_attempts
from kando.responders.base import AnswerPending, Effect
from kando.responders.budget import Budget, BudgetEnforcer
from kando.responders.cancellation import call_is_cancelled, cancellable
from kando.schema.events import KandoEvent

__all__ = ["DailyLimit", "DailyLimitReached"]

#: Calls in flight, with their worst case.
_BOOKED = "usd/booked"
#: Failed calls that cost something, until the answer is on disk, or the process ends.
_OWED = "usd/owed"

_POLL_SECONDS = 0.1

#: Source and id of an intent.
_Key = tuple[str, str]

# Tolerance, because sums of floating-point prices are not exact.
_EXACTNESS = 1e-9


class DailyLimitReached(AnswerPending):
    """The call of an intent is not made: its worst case is more than is left of the day."""


@attrs.define
class _Booking:
    """The booking of a call.

    Attributes:
        usd: the sum.
        releases: end the parts of the booking.
        attempts: how many attempts at the call have begun.
        may_repeat: for a number of attempts, whether another one fits.
        is_guess: whether the price is unknown: then all that is left of the day is booked.
    """

    usd: float = 0.0
    releases: list[Callable[[], None]] = attrs.field(factory=list)
    attempts: int = 0
    may_repeat: dict[int, bool] = attrs.field(factory=dict)
    is_guess: bool = False

    def add(self, usd: float, release: Callable[[], None]) -> None:
        """Add a part."""
        self.usd += usd
        self.releases.append(release)

    def begin_attempt(self) -> None:
        """Count an attempt."""
        self.attempts += 1

    def release(self) -> None:
        """End the booking."""
        while self.releases:
            self.releases.pop()()


class DailyLimit:
    """Makes calls within the limit per day, which all processes of a store share.

    Args:
        context: the settings and the substrate of the runs.
        usd: the limit, in US dollars.
        fallback_usd_per_call: see `kando.responders.budget.Budget`.

    Attributes:
        usd: the limit.
        is_reached: whether a call was not made because of it.
    """

    def __init__(
        self, context: Context, usd: float, fallback_usd_per_call: float | None = None
    ) -> None:
        self.usd = usd
        self.is_reached = False
        self._context = context
        self._budget = Budget(fallback_usd_per_call=fallback_usd_per_call)
        self._spending = DailySpending()
        self._slots = StoreSlots(context)
        # Several branches may make the call of an intent that they share.
        self._bookings: dict[_Key, list[_Booking]] = {}
        self._owed: dict[_Key, list[Callable[[], None]]] = {}
        self._lock = threading.Lock()

    def over(self, effect: Effect) -> Effect:
        """Return an effect whose calls are made only if their worst case fits."""
        return attrs.evolve(
            effect, call=partial(self._call, effect), on_durable=partial(self._settle, effect)
        )

    def settle_failures(self, intent: KandoEvent) -> None:
        """Count no longer as owed what failed attempts at a call cost: it is on disk."""
        with self._lock:
            owed = self._owed.pop(_key(intent), [])
        for release in owed:
            release()

    def close(self) -> None:
        """Release what is booked: the process makes no more calls."""
        with self._lock:
            ended = [each for bookings in self._bookings.values() for each in bookings]
            owed = [each for releases in self._owed.values() for each in releases]
            self._bookings.clear()
            self._owed.clear()
        for booking in ended:
            booking.release()
        for release in owed:
            release()

    def _call(self, effect: Effect, intent: KandoEvent) -> dict[str, Any]:
        """Make a call as soon as its worst case fits.

        Raises:
            DailyLimitReached: it no longer fits today.
            AnswerPending: it is not wanted any more.
        """
        booking = _Booking()
        self._await_room(effect, intent, booking)
        with self._lock:
            self._bookings.setdefault(_key(intent), []).append(booking)
        may_not_repeat = partial(self._may_not_repeat, effect, intent, booking)
        try:
            with checked_attempts(booking.begin_attempt), cancellable(may_not_repeat):
                return effect.call(intent)
        except Exception as error:
            self._fail(intent, booking, costs=getattr(error, "spent", None) is not None)
            raise

    def _await_room(self, effect: Effect, intent: KandoEvent, booking: _Booking) -> None:
        is_refused = False
        while not call_is_cancelled():
            is_booked = self._book(effect, intent, booking)
            if is_booked:
                return
            # An answer that is being recorded may have counted twice: look again.
            if is_booked is None and is_refused:
                self.is_reached = True
                raise DailyLimitReached(intent.id)
            is_refused = is_booked is None
            time.sleep(_POLL_SECONDS * random.uniform(0.5, 1.5))
        raise AnswerPending(intent.id)

    def _book(self, effect: Effect, intent: KandoEvent, booking: _Booking) -> bool | None:
        """Book the worst case of a call, if it fits next to the calls in flight.

        Returns:
            False if it may fit later; None if it exceeds what is left of the day.
        """
        account, left = self._account(), self._left()
        usd, is_guess = account.worst_cost(intent.data, effect)
        if usd > left + _EXACTNESS:
            return None
        # Of calls with unknown price, the first runs alone: its cost is the estimate for the others.
        usd = left if is_guess else usd
        release = self._slots.reserve(_BOOKED, left, usd)
        if release is None:
            return False
        # A call that was settled in the meantime may have been read neither as booked nor as spent.
        if self._weight(_BOOKED) > self._left() + _EXACTNESS:
            release()
            return False
        booking.is_guess = is_guess
        booking.add(usd, release)
        return True

    def _may_not_repeat(self, effect: Effect, intent: KandoEvent, booking: _Booking) -> bool:
        """Whether another attempt at a call does not fit; if it fits, it is booked."""
        number = booking.attempts
        if booking.is_guess:
            return False
        if number not in booking.may_repeat:
            booking.may_repeat[number] = self._book(effect, intent, booking) is True
        return not booking.may_repeat[number]

    def _left(self) -> float:
        """Return what is left of the day, in US dollars, without regard to the calls in flight."""
        # Read first: what moves from here to a ledger in the meantime counts twice, and not never.
        owed = self._weight(_OWED)
        return self.usd - owed - self._account().llm_cost_usd

    def _account(self) -> BudgetEnforcer:
        account = BudgetEnforcer(self._budget)
        account.accounts = self._spending.accounts(self._context)
        return account

    def _weight(self, lane: str) -> float:
        substrate = self._context.substrate(read_only=False)
        return sum(slot.weight for slot in substrate.slots(lane))

    def _settle(self, effect: Effect, intent: KandoEvent) -> None:
        """End the booking of a call whose answer is on disk, as its failed attempts are by then."""
        key = _key(intent)
        with self._lock:
            bookings = self._bookings.get(key, [])
            ended = bookings.pop(0) if bookings else None
            if not bookings:
                self._bookings.pop(key, None)
        if ended is not None:
            ended.release()
        self.settle_failures(intent)
        effect.on_durable(intent)

    def _fail(self, intent: KandoEvent, booking: _Booking, *, costs: bool) -> None:
        """End the booking of a failed call; what it may have cost is owed until it is recorded."""
        owed = self._slots.reserve(_OWED, inf, booking.usd) if costs else None
        key = _key(intent)
        with self._lock:
            if owed is not None:
                self._owed.setdefault(key, []).append(owed)
            kept = [each for each in self._bookings.pop(key, []) if each is not booking]
            if kept:
                self._bookings[key] = kept
        booking.release()


def _key(intent: KandoEvent) -> _Key:
    return intent.source, intent.id
