"""Decisions of people about questions: which of them may be recorded."""

from __future__ import annotations

from kando.errors import InvalidData
from kando.schema.events import KandoEvent
from kando.views.approvals import decision_in

__all__ = ["not_open"]


def not_open(approval: object, decision: KandoEvent | None) -> InvalidData:
    """Return the error for a decision about an approval that is not open.

    Args:
        approval: its id.
        decision: the first decision about it, if the ledger holds one.
    """
    known = f": {decision_in(decision).text()}" if decision is not None else ""
    msg = f"There is no open approval {approval!r:.80}{known}."
    return InvalidData(msg, hint="`kando approvals RUN` lists the open approvals.")
