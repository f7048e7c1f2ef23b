"""The approvals and the questions that runs are waiting for."""

from __future__ import annotations

from collections.abc import Iterator

from kando.app.approvals import RunApproval
from kando.app.store import Store
from kando.views.approvals import Approval
from kando_mcp.results.paging import page, truncate, truncate_data
from kando_mcp.results.shapes import ApprovalList, ApprovalShape, QuestionShape, RunApprovalShape

__all__ = ["approval_page", "approval_shape", "pending_approvals", "pending_questions"]

#: Number of approvals in a state, and characters of the reason and the request of each.
_SHOWN, _CHARS = 10, 500

#: Approvals that are looked up together, including any that do not fit on the page.
_BATCH = 20


def pending_approvals(store: Store, run: str) -> list[ApprovalShape]:
    """Return the first pending approvals of a run, each with the request that it would allow.

    Args:
        store: the store of the run.
        run: an id, a unique prefix, or ``@last``.
    """
    return [approval_shape(store, run, each) for each in store.run(run).approvals()[:_SHOWN]]


def approval_page(store: Store, cursor: str | None, limit: int, chars: int) -> ApprovalList:
    """Return a page of the pending approvals of all runs.

    Args:
        store: the store of the runs.
        cursor: cursor of the page; None for the first page.
        limit: maximum number of approvals.
        chars: maximum length of the page, in characters of its JSON.

    Raises:
        ConfigurationError: the cursor is malformed.
    """
    cursors: list[str] = []

    def line(each: RunApproval) -> RunApprovalShape:
        cursors.append(each.cursor)
        return {"run_id": each.run_id, **approval_shape(store, each.run_id, each.approval)}

    items, stop = page(_entries(store, cursor), 0, limit, chars, line)
    more = ", more on the next page" if stop is not None else ""
    return {
        "summary": f"{len(items)} approvals are pending{more}",
        "items": items,
        "next_cursor": cursors[len(items) - 1] if stop is not None else None,
    }


def _entries(store: Store, cursor: str | None) -> Iterator[RunApproval]:
    while True:
        found = store.approvals(limit=_BATCH, cursor=cursor)
        yield from found
        if found.next_cursor is None:
            return
        cursor = found.next_cursor


def approval_shape(store: Store, run: str, approval: Approval) -> ApprovalShape:
    """Return a pending approval with the request that it would allow.

    Args:
        store: the store of the run.
        run: an id, a unique prefix, or ``@last``.
        approval: of the run.
    """
    intent = (
        store.context.ledger(run).find(approval.intent) if approval.intent is not None else None
    )
    waiting = {"data": intent.data} if intent is not None else {"held": approval.held}
    expires_at = approval.expires_at
    return {
        "event_id": approval.event_id,
        "type": approval.type,
        "reason": truncate(approval.reason, _CHARS),
        "waiting": truncate_data(waiting, _CHARS),
        "requested_at": approval.requested_at.isoformat(),
        "expires_at": expires_at.isoformat() if expires_at is not None else None,
    }


def pending_questions(store: Store, run: str) -> list[QuestionShape]:
    """Return the questions of a run that wait for a person, in order.

    Args:
        store: the store of the run.
        run: its id.
    """
    return [
        {
            "event_id": each.event_id,
            "question": truncate(each.question, _CHARS),
            "schema": each.schema,
            "expires_at": each.expires_at.isoformat() if each.expires_at is not None else None,
            "reminded": each.reminded,
            "remind_at": each.remind_at.isoformat() if each.remind_at is not None else None,
        }
        for each in store.run(run).questions()[:_SHOWN]
    ]
