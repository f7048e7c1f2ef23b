"""The limits of a run, which its ledger remembers: they hold in every process that resumes it."""

from __future__ import annotations

from kando.app.opened import OpenedRun
from kando.errors import InvalidData
from kando.responders.budget import Budget
from kando.schema.events import BUDGET_SET, KandoEvent, make_event

__all__ = ["agreed_limits", "limits_event"]


def limits_event(budget: Budget, actor: str) -> KandoEvent:
    """Return the event that replaces the limits of a run."""
    return make_event(BUDGET_SET, "", actor, [], {"limits": budget.limits()})


def agreed_limits(
    run: OpenedRun, named: Budget, actor: str, *, forgets: bool
) -> tuple[Budget, list[KandoEvent]]:
    """Return the limits for resuming a run, and the events that record a change of them.

    Args:
        run: the opened run.
        named: limits that replace those that the ledger remembers.
        actor: that sets them.
        forgets: whether to remove all other limits.

    Raises:
        InvalidData: the ledger contains limits that no budget can have, and `forgets` is false.
    """
    try:
        remembered: Budget | None = run.limits
    except InvalidData:
        if not forgets:
            raise
        remembered = None
    limits = named if forgets or remembered is None else named.with_defaults(remembered)
    return limits, [] if limits == remembered else [limits_event(limits, actor)]
