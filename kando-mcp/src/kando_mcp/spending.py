"""What runs have spent on models, as their ledgers tell it."""

from __future__ import annotations

from datetime import UTC, datetime

from kando.app.context import App
from kando.errors import StoreDamaged
from kando.ledger.interface import LedgerStore
from kando.responders.budget import cost_of
from kando.schema.events import LLM_RESPONSE

__all__ = ["allowance", "spent_since", "spent_today"]


def spent_today(app: App) -> float:
    """Return what all runs of the substrate have spent since midnight UTC, in US dollars."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return spent_since(app, midnight)


def spent_since(app: App, moment: datetime) -> float:
    """Return what all runs have spent since a moment, in US dollars.

    What a branch shares with its parent counts once. Only events since then are read.
    """
    spent = 0.0
    for info in app.substrate().ledgers():
        own = info.fork_position or 0
        if info.length <= own:
            continue
        try:
            ledger = app.substrate().open(info.id)
            start = _first_since(ledger, moment, own, info.length)
            spent += sum(cost_of(e) for e in ledger.read(start) if e.type == LLM_RESPONSE)
        except StoreDamaged:
            # What cannot be read cannot be counted, and must not stop everything else.
            continue
    return spent


def allowance(
    app: App,
    spent_by_run: float,
    asked: float | None,
    max_usd_per_run: float | None,
    max_usd_per_day: float | None,
) -> float | None:
    """Return what a run may spend in all, in US dollars, or None for no limit.

    Args:
        app: where the runs are.
        spent_by_run: before.
        asked: what the client wants.
        max_usd_per_run: limit of the operator.
        max_usd_per_day: limit of the operator for all runs of a day.
    """
    limits = [limit for limit in (asked, max_usd_per_run) if limit is not None]
    if max_usd_per_day is not None:
        limits.append(spent_by_run + max(0.0, max_usd_per_day - spent_today(app)))
    return min(limits, default=None)


def _first_since(ledger: LedgerStore, moment: datetime, low: int, high: int) -> int:
    """Return the position of the first event since a moment: events are recorded in time."""
    while low < high:
        middle = (low + high) // 2
        event = ledger.at(middle)
        if event is not None and event.timestamp < moment:
            low = middle + 1
        else:
            high = middle
    return low
