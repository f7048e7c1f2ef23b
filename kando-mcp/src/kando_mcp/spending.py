"""What runs have spent on models, as their ledgers tell it."""

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

__all__ = ["Spending", "allowance"]


@attrs.define
class Spending:
    """What all runs of a substrate spend in a day (UTC); what was counted once is not read again."""

    _midnight: datetime | None = attrs.field(default=None, init=False)
    # By ledger: how many of its events are counted, and what they cost.
    _counted: dict[str, tuple[int, float]] = attrs.field(factory=dict, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def today(self, app: Store) -> float:
        """Return what was spent since midnight, in US dollars.

        What a branch shares with its parent counts once.
        """
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        with self._lock:
            if midnight != self._midnight:
                self._midnight, self._counted = midnight, {}
            for info in app.context.substrate().ledgers():
                self._counted[info.id] = self._count(app, info, midnight)
            return sum(spent for _, spent in self._counted.values())

    def _count(self, app: Store, info: LedgerInfo, midnight: datetime) -> tuple[int, float]:
        counted, spent = self._counted.get(info.id, (None, 0.0))
        own = info.fork_position or 0
        if info.length <= (own if counted is None else counted):
            return info.length, spent
        try:
            ledger = app.context.substrate().open(info.id)
            if counted is None:
                counted = _first_since(ledger, midnight, own, info.length)
            since = islice(ledger.read(counted), info.length - counted)
            spent += sum(spent_by(event).llm_cost_usd for event in since)
        except StoreDamaged:
            # What cannot be read cannot be counted, and must not stop everything else.
            pass
        return info.length, spent


def allowance(
    app: Store,
    spending: Spending,
    spent_by_run: float,
    asked: float | None,
    max_usd_per_run: float | None,
    max_usd_per_day: float | None,
) -> float | None:
    """Return what a run may spend in all, in US dollars, or None for no limit.

    Args:
        app: where the runs are.
        spending: of the day.
        spent_by_run: before.
        asked: what the client wants.
        max_usd_per_run: limit of the operator.
        max_usd_per_day: limit of the operator for all runs of a day.
    """
    limits = [limit for limit in (asked, max_usd_per_run) if limit is not None]
    if max_usd_per_day is not None:
        limits.append(spent_by_run + max(0.0, max_usd_per_day - spending.today(app)))
    return min(limits, default=None)


def _first_since(ledger: LedgerStore, moment: datetime, low: int, high: int) -> int:
    """Return the position of the first event since a moment: events are recorded in time."""
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
