"""The tool that records a person's decision on an approval."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from kando.app.store import Store
from kando.errors import EventNotFound
from kando_mcp.access import Access
from kando_mcp.results.shapes import RunState
from kando_mcp.tools.make import make_tool, write_annotations
from kando_mcp.tools.start import BudgetUsd, Llm
from kando_mcp.tools.wait import DEFAULT_WAIT_SECONDS, RunId, WaitSeconds, wait_for_run
from kando_mcp.worker.pool import Workers
from kando_mcp.worker.start import ensure_worker

__all__ = ["answer_tool"]

_MAX_LISTED = 10

ApprovalId = Annotated[str, Field(description="event_id of an approval that get_run lists.")]
IsApproved = Annotated[bool, Field(description="Whether the person approved.")]
Reason = Annotated[
    str | None, Field(max_length=2_000, description="Reason for a denial, in the person's words.")
]


def answer_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that records a person's decision."""

    async def answer_approval(
        ctx: Context,
        run_id: RunId,
        event_id: ApprovalId,
        approved: IsApproved,
        reason: Reason = None,
        wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS,
        budget_usd: BudgetUsd = None,
        llm: Llm = None,
    ) -> RunState:
        """Record a person's decision on an approval. Never decide yourself.

        Show the person the pending approvals from get_run, and pass on the decision. The first
        decision counts, and the run resumes with it.
        """

        def answer(store: Store) -> str:
            run = store.run(run_id)
            try:
                delivery = run.approve(event_id) if approved else run.deny(event_id, reason=reason)
            except EventNotFound as error:
                open_ids = ", ".join(each.event_id for each in run.approvals()[:_MAX_LISTED])
                hint = f"Pending: {open_ids}." if open_ids else "The run has no pending approvals."
                raise EventNotFound(error.message, hint=hint) from error
            return ensure_worker(access, workers, store, delivery.run_id, llm, budget_usd)

        known = await access.call(answer)
        return await wait_for_run(access, workers, known, wait_s, ctx)

    annotations = write_annotations(is_destructive=True, is_idempotent=True, is_open_world=True)
    return make_tool(answer_approval, "Answer approval", annotations)
