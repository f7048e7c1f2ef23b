"""The tools that list what waits for a person, and record a person's decision."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from kando.app.store import Store
from kando.errors import ConfigurationError, EventNotFound
from kando_mcp.access import Access
from kando_mcp.results.approvals import approval_page
from kando_mcp.results.shapes import ApprovalList, RunState
from kando_mcp.tools.inspect import Cursor, Limit
from kando_mcp.tools.make import READ_ONLY, make_tool, write_annotations
from kando_mcp.tools.start import BudgetUsd, Llm, MaxTokens
from kando_mcp.tools.wait import DEFAULT_WAIT_SECONDS, RunId, WaitSeconds, wait_for_run
from kando_mcp.worker.pool import Workers
from kando_mcp.worker.start import ensure_worker

__all__ = ["answer_tool", "list_approvals_tool"]

_MAX_LISTED = 10

ApprovalId = Annotated[str, Field(description="event_id of an approval that get_run lists.")]
IsApproved = Annotated[bool, Field(description="Whether the person approved.")]
Reason = Annotated[
    str | None, Field(max_length=2_000, description="Reason for a denial, in the person's words.")
]


Arguments = Annotated[
    dict[str, Any] | None,
    Field(description="With approval: all arguments of the call, as the person changed them."),
]
By = Annotated[str, Field(max_length=200, description="Name of the person who decides.")]


def list_approvals_tool(access: Access) -> Tool:
    """Return the tool that lists the pending approvals of all runs."""

    async def list_approvals(cursor: Cursor = None, limit: Limit = 20) -> ApprovalList:
        """List what waits for a person's decision in all runs, with its deadlines."""
        chars = access.settings.max_result_chars
        return await access.call(lambda store: approval_page(store, cursor, limit, chars))

    return make_tool(list_approvals, "List approvals", READ_ONLY)


def answer_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that records a person's decision."""

    async def answer_approval(
        ctx: Context,
        run_id: RunId,
        event_id: ApprovalId,
        approved: IsApproved,
        reason: Reason = None,
        arguments: Arguments = None,
        by: By = "mcp",
        wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS,
        budget_usd: BudgetUsd = None,
        llm: Llm = None,
        max_tokens: MaxTokens = None,
    ) -> RunState:
        """Record a person's decision on an approval. Never decide yourself.

        Show the person the pending approvals from get_run, and pass on the decision. The first
        decision counts, and the run resumes with it.
        """

        def answer(store: Store) -> str:
            if arguments is not None and not approved:
                msg = "A denied call has no arguments."
                raise ConfigurationError(msg, hint="Pass approved=true, or leave out arguments.")
            run = store.run(run_id)
            try:
                if approved:
                    run.approve(event_id, arguments, by=by)
                else:
                    run.deny(event_id, reason=reason, by=by)
            except EventNotFound as error:
                open_ids = ", ".join(each.event_id for each in run.approvals()[:_MAX_LISTED])
                hint = f"Pending: {open_ids}." if open_ids else "The run has no pending approvals."
                raise EventNotFound(error.message, hint=hint) from error
            return ensure_worker(access, workers, store, run.id, llm, budget_usd, max_tokens)

        known = await access.call(answer)
        return await wait_for_run(access, workers, known, wait_s, ctx)

    annotations = write_annotations(is_destructive=True, is_idempotent=True, is_open_world=True)
    return make_tool(answer_approval, "Answer approval", annotations)
