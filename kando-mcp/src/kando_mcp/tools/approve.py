"""The tool that hands over what a person has answered to a run."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from kando.app.store import Store
from kando.errors import EventNotFound
from kando_mcp.access import Access
from kando_mcp.results.shapes import RunState
from kando_mcp.tools.make import make_tool, writes
from kando_mcp.tools.start import BudgetUsd, Llm
from kando_mcp.tools.wait import DEFAULT_WAIT, RunId, WaitSeconds, awaited_state
from kando_mcp.worker.pool import Workers
from kando_mcp.worker.start import go_on

__all__ = ["answer_tool"]

_SHOWN = 10

Question = Annotated[str, Field(description="event_id of one of get_run's approvals.")]
IsApproved = Annotated[bool, Field(description="Whether the person has agreed.")]
Reason = Annotated[
    str | None, Field(max_length=2_000, description="Why not, in the person's words.")
]


def answer_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that hands over what a person has decided."""

    async def answer_approval(
        ctx: Context,
        run_id: RunId,
        event_id: Question,
        approved: IsApproved,
        reason: Reason = None,
        wait_s: WaitSeconds = DEFAULT_WAIT,
        budget_usd: BudgetUsd = None,
        llm: Llm = None,
    ) -> RunState:
        """Hand over a person's answer to what a run asks: never answer it yourself.

        Show the person what waits, from get_run's approvals, and call this with what they said.
        The first answer counts, and the run goes on with it.
        """

        def answer(app: Store) -> str:
            run = app.run(run_id)
            try:
                delivery = run.approve(event_id) if approved else run.deny(event_id, reason=reason)
            except EventNotFound as error:
                open_ids = ", ".join(each.event_id for each in run.approvals()[:_SHOWN])
                hint = f"What waits is {open_ids}." if open_ids else "Nothing waits in this run."
                raise EventNotFound(error.message, hint=hint) from error
            return go_on(access, workers, app, delivery.run_id, llm, budget_usd)

        known = await access.ask(answer)
        return await awaited_state(access, workers, known, wait_s, ctx)

    annotations = writes(is_destructive=True, is_idempotent=True, is_open_world=True)
    return make_tool(answer_approval, "Answer approval", annotations)
