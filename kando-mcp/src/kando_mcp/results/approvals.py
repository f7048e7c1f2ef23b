"""What a run asks a person, as the tools tell it."""

from __future__ import annotations

from kando.app.store import Store
from kando.views.approvals import Approval
from kando_mcp.results.paging import clip, cut
from kando_mcp.results.shapes import ApprovalShape

__all__ = ["open_questions"]

#: How many questions a state shows, and the characters of what waits.
_SHOWN, _CHARS = 10, 500


def open_questions(app: Store, run: str) -> list[ApprovalShape]:
    """Return the first of what waits for a person, with what would be done.

    Args:
        app: where.
        run: an id, a unique prefix, or ``@last``.
    """
    return [_shape(app, run, each) for each in app.run(run).approvals()[:_SHOWN]]


def _shape(app: Store, run: str, asked: Approval) -> ApprovalShape:
    intent = app.context.ledger(run).find(asked.intent) if asked.intent is not None else None
    waiting = {"data": intent.data} if intent is not None else {"held": asked.held}
    return {
        "event_id": asked.event_id,
        "type": asked.type,
        "reason": clip(asked.reason, _CHARS),
        "waiting": cut(waiting, _CHARS),
    }
