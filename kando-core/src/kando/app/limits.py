"""The limits of a run, which its ledger remembers: whoever goes on with it is held to them."""

from __future__ import annotations

import attrs

from kando.app.context import App
from kando.app.snapshots import stored_snapshot
from kando.errors import ConfigurationError, InvalidData
from kando.ledger.interface import LedgerStore
from kando.responders.budget import Budget
from kando.schema.events import BUDGET_SET, KandoEvent, RecordedEvent, make_event
from kando.views.stored import status_fold_of

__all__ = ["agreed_limits", "limits_event", "limits_of"]

_NAMES = frozenset(each.name for each in attrs.fields(Budget))


def limits_event(budget: Budget, actor: str) -> KandoEvent:
    """Return the event that gives a run its limits, in place of those that it had."""
    return make_event(BUDGET_SET, "", actor, [], {"limits": budget.limits()})


def agreed_limits(
    app: App, ledger: LedgerStore, named: Budget, actor: str, *, forgets: bool
) -> tuple[Budget, list[KandoEvent]]:
    """Return the limits that a run goes on with, and what is to be recorded of them.

    Args:
        app: where.
        ledger: of the run.
        named: limits that take the place of those that the ledger remembers.
        actor: who names them.
        forgets: whether the others go as well.

    Raises:
        InvalidData: the ledger says of limits what no budget can be, and they are not forgotten.
    """
    try:
        remembered: Budget | None = limits_of(app, ledger)
    except InvalidData:
        if not forgets:
            raise
        remembered = None
    limits = named if forgets or remembered is None else named.over(remembered)
    return limits, [] if limits == remembered else [limits_event(limits, actor)]


def limits_of(app: App, ledger: LedgerStore) -> Budget:
    """Return the limits that a run was given last; a branch inherits those of its parent.

    Raises:
        InvalidData: the ledger says of limits what no budget can be.
    """
    stored = stored_snapshot(app, ledger)
    known = status_fold_of(stored, of_data=False) if stored is not None else None
    start, limits = (known.length, known.budget) if known is not None else (0, {})
    told: RecordedEvent | None = None
    for event in ledger.read(start):
        if event.type == BUDGET_SET:
            told, limits = event, event.data.get("limits", {})
    try:
        if not isinstance(limits, dict) or not limits.keys() <= _NAMES:
            raise ConfigurationError(f"{limits!r:.80} names no limits.", hint="")
        return Budget(**limits)
    except ConfigurationError as error:
        where = f"{told.id} of {ledger.stream_name()}" if told else ledger.stream_name()
        msg = f"The limits in {where} are damaged: {error.message}"
        raise InvalidData(msg, hint="Name the limits anew, with --no-budget.") from error
