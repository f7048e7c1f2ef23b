"""The cost of all runs on a day as recorded in their ledgers, for the limit per day."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice

import attrs

from kando.app.context import Context
from kando.app.status import RunStatus
from kando.errors import KandoError, LedgerDeleted, StoreDamaged
from kando.ledger.interface import LedgerStore
from kando.ledger.substrate import LedgerInfo
from kando.responders.budget import Budget, BudgetEnforcer
from kando.views.spending import Accounts, spent_by

__all__ = ["DailySpending", "kept_by", "spent_budget", "spent_today"]


@attrs.frozen
class _Counted:
    """The counted part of a ledger.

    Attributes:
        length: number of its events that were counted, or are older than the day.
        accounts: of its own events since midnight.
        is_active: whether it has own events since midnight.
    """

    length: int
    accounts: Accounts = attrs.field(factory=Accounts)
    is_active: bool = False


@attrs.define
class DailySpending:
    """Accounts of all runs of a substrate on the current day (UTC); each event is read only once."""

    _midnight: datetime | None = attrs.field(default=None, init=False)
    _counted: dict[str, _Counted] = attrs.field(factory=dict, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def today(self, context: Context) -> float:
        """Return the known cost since midnight, in US dollars; see `accounts`."""
        return self.accounts(context).llm_cost_usd

    def accounts(self, context: Context) -> Accounts:
        """Return the accounts since midnight.

        Events that a branch shares with its parent count once. Answers that are kept in the inbox of
        a run, until they can be recorded, count too.
        """
        midnight = _midnight()
        with self._lock:
            if midnight != self._midnight:
                self._midnight, self._counted = midnight, {}
            # Read before the ledgers: an answer that is recorded in the meantime counts twice, and
            # not never.
            active = [id for id, counted in self._counted.items() if counted.is_active]
            kept = sum((kept_by(context, id) for id in active), Accounts())
            for info in context.substrate().ledgers():
                is_new = info.id not in self._counted
                counted = self._counted[info.id] = self._count(context, info, midnight)
                if is_new and counted.is_active:
                    kept += kept_by(context, info.id)
            return sum((each.accounts for each in self._counted.values()), kept)

    def _count(self, context: Context, info: LedgerInfo, midnight: datetime) -> _Counted:
        known = self._counted.get(info.id)
        own = info.fork_position or 0
        if info.length <= (own if known is None else known.length):
            return known or _Counted(info.length)
        accounts = known.accounts if known is not None else Accounts()
        is_active = known is not None
        try:
            ledger = context.substrate().open(info.id)
            start = (
                known.length
                if known is not None
                else _first_since(ledger, midnight, own, info.length)
            )
            is_active = start < info.length
            for event in islice(ledger.read(start), info.length - start):
                accounts += spent_by(event)
        except (StoreDamaged, LedgerDeleted):
            # Neither a damaged ledger nor one that has just been deleted blocks the other runs.
            pass
        return _Counted(info.length, accounts, is_active)


def spent_today(context: Context, run_ids: Iterable[str]) -> Accounts:
    """Return the accounts of some runs since midnight (UTC), without what branches share."""
    counting, midnight = DailySpending(), _midnight()
    spent = Accounts()
    for id in run_ids:
        # As in `DailySpending.accounts`: what moves to the ledger meanwhile counts twice.
        spent += kept_by(context, id)
        spent += counting._count(context, context.substrate().info(id), midnight).accounts
    return spent


def _midnight() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def kept_by(context: Context, run_id: str) -> Accounts:
    """Return what the answers in the inbox of a run are charged, which are not recorded yet."""
    try:
        inbox = context.substrate().inbox(run_id)
    except KandoError:
        # As for a damaged ledger.
        return Accounts()
    return sum((spent_by(entry.event) for entry in inbox), Accounts())


def spent_budget(context: Context, status: RunStatus, fallback_usd: float | None) -> Budget:
    """Return the limit that allows a run what it has spent, and nothing more.

    Args:
        context: the settings and the substrate.
        status: of the run.
        fallback_usd: assumed cost of a call with unknown price.
    """
    account = BudgetEnforcer(Budget(fallback_usd_per_call=fallback_usd))
    recorded = Accounts(llm_cost_usd=status.llm_cost_usd, llm_unpriced=status.llm_unpriced)
    account.accounts = recorded + kept_by(context, status.run_id)
    return Budget(max_llm_cost_usd=account.llm_cost_usd)


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
