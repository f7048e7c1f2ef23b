"""The approvals that a run is waiting for."""

from __future__ import annotations

from kando.app.store import Store
from kando.views.approvals import Approval
from kando_mcp.results.paging import truncate, truncate_data
from kando_mcp.results.shapes import ApprovalShape

__all__ = ["pending_approvals"]

#: Number of approvals in a state, and characters of the reason and the request of each.
_SHOWN, _CHARS = 10, 500


def pending_approvals(store: Store, run: str) -> list[ApprovalShape]:
    """Return the first pending approvals of a run, each with the request that it would allow.

    Args:
        store: the store of the run.
        run: an id, a unique prefix, or ``@last``.
    """
    return [_shape(store, run, each) for each in store.run(run).approvals()[:_SHOWN]]


def _shape(store: Store, run: str, approval: Approval) -> ApprovalShape:
    intent = (
        store.context.ledger(run).find(approval.intent) if approval.intent is not None else None
    )
    waiting = {"data": intent.data} if intent is not None else {"held": approval.held}
    return {
        "event_id": approval.event_id,
        "type": approval.type,
        "reason": truncate(approval.reason, _CHARS),
        "waiting": truncate_data(waiting, _CHARS),
    }
