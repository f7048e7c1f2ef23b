"""The cost of runs as recorded in their ledgers, for the limits per run and per day."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from itertools import islice

import attrs

from kando.app.store import Store
from kando.errors import StoreDamaged
from kando.ledger.interface import LedgerStore
from kando.ledger.substrate import LedgerInfo
from kando.views.spending import spent_by

__all__ = ["DailySpending", "allowance"]


@attrs.define
class DailySpending:
    """Cost of all runs of a substrate on the current day (UTC); each event is read only once."""

    _midnight: datetime | None = attrs.field(default=None, init=False)
    # By ledger: the number of events that were counted, and their cost.
    _counted: dict[str, tuple[int, float]] = attrs.field(factory=dict, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def today(self, store: Store) -> float:
        """Return the cost since midnight, in US dollars.

        Events that a branch shares with its parent count once.
        """
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        with self._lock:
            if midnight != self._midnight:
                self._midnight, self._counted = midnight, {}
            for info in store.context.substrate().ledgers():
                self._counted[info.id] = self._count(store, info, midnight)
            return sum(spent for _, spent in self._counted.values())

    def _count(self, store: Store, info: LedgerInfo, midnight: datetime) -> tuple[int, float]:
        counted, spent = self._counted.get(info.id, (None, 0.0))
        own = info.fork_position or 0
        if info.length <= (own if counted is None else counted):
            return info.length, spent
        try:
            ledger = store.context.substrate().open(info.id)
            if counted is None:
                counted = _first_since(ledger, midnight, own, info.length)
            since = islice(ledger.read(counted), info.length - counted)
            spent += sum(spent_by(event).llm_cost_usd for event in since)
        except StoreDamaged:
            # A damaged ledger cannot be counted, and must not block the other runs.
            pass
        return info.length, spent


def allowance(
    store: Store,
    spending: DailySpending,
    spent_by_run: float,
    requested: float | None,
    max_usd_per_run: float | None,
    max_usd_per_day: float | None,
) -> float | None:
    """Return the cost limit of a run over its whole life, in US dollars, or None for no limit.

    Args:
        store: the store of the runs.
        spending: cost of the day.
        spent_by_run: cost of the run so far.
        requested: limit given by the client.
        max_usd_per_run: the operator's limit per run.
        max_usd_per_day: the operator's limit per day for all runs.
    """
    limits = [limit for limit in (requested, max_usd_per_run) if limit is not None]
    if max_usd_per_day is not None:
        limits.append(spent_by_run + max(0.0, max_usd_per_day - spending.today(store)))
    return min(limits, default=None)


def _first_since(ledger: LedgerStore, moment: datetime, low: int, high: int) -> int:
    """Return the position of the first event since `moment`: events are in order of time."""
    last = ledger.at(high - 1)
    if last is not None and last.timestamp < moment:
        return high
    while low < high:
        middle = (low + high) // 2
        event = ledger.at(middle)
        if event is not None and event.timestamp < moment:
            low = middle + 1
        else:
            high = middle
    return low
