"""The tools that start, continue and stop runs."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from kando.app.store import Store
from kando_mcp.access import Access
from kando_mcp.results.shapes import RunState
from kando_mcp.tools.make import make_tool, writes
from kando_mcp.tools.wait import DEFAULT_WAIT, RunId, WaitSeconds, awaited_state
from kando_mcp.worker.order import Order
from kando_mcp.worker.pool import Workers
from kando_mcp.worker.start import go_on, order_for, require_allowed

__all__ = ["BudgetUsd", "Llm", "cancel_tool", "resume_tool", "start_tool"]


BudgetUsd = Annotated[
    float | None,
    Field(
        ge=0,
        allow_inf_nan=False,
        description="Most that the run may spend on models in all, in US dollars.",
    ),
]
Llm = Annotated[
    str | None,
    Field(description="Who answers requests: a provider of list_kits, or PROVIDER:ARGUMENT."),
]


def start_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that starts a run."""

    async def start_run(
        ctx: Context,
        kit: Annotated[str, Field(description="Name of an installed kit; list_kits lists them.")],
        goal: Annotated[
            str | None,
            Field(min_length=1, description="What the run is for, in words. A demo has one."),
        ] = None,
        demo: Annotated[
            bool,
            Field(description="Work from what the kit ships to be tried with; costs nothing."),
        ] = False,
        wait_s: WaitSeconds = DEFAULT_WAIT,
        budget_usd: BudgetUsd = None,
        llm: Llm = None,
    ) -> RunState:
        """Start a run of a kit from a goal.

        It goes on in a process of its own, whatever becomes of this call or this host. After
        wait_s seconds at most you get its state; its run_id is the handle for all other tools.
        """

        def start(app: Store) -> str:
            # What cannot be answered as asked must leave no run behind.
            require_allowed(access, app, llm)
            run_id = app.start(kit, goal, demo=demo, work=False).id
            workers.start(app, order_for(access, app, run_id, llm, budget_usd, 0.0))
            return run_id

        run_id = await access.ask(start)
        return await awaited_state(access, workers, run_id, wait_s, ctx)

    return make_tool(start_run, "Start run", writes(is_open_world=True))


def resume_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that continues a run."""

    async def resume_run(
        ctx: Context,
        run_id: RunId,
        wait_s: WaitSeconds = DEFAULT_WAIT,
        budget_usd: BudgetUsd = None,
        llm: Llm = None,
    ) -> RunState:
        """Go on with a run or branch from wherever it stopped; nothing is done twice.

        Requests that nobody could answer are asked now. A run that is being worked on, or is
        finished, stays as it is.
        """
        known = await access.ask(lambda app: go_on(access, workers, app, run_id, llm, budget_usd))
        return await awaited_state(access, workers, known, wait_s, ctx)

    annotations = writes(is_idempotent=True, is_open_world=True)
    return make_tool(resume_run, "Resume run", annotations)


def cancel_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that stops a run for good."""

    async def cancel_run(ctx: Context, run_id: RunId, wait_s: WaitSeconds = 10) -> RunState:
        """Stop a run for good, after the step it is at; it can still be read and forked."""

        def cancel(app: Store) -> str:
            delivery = app.run(run_id).cancel()
            if app.context.substrate().inbox(delivery.run_id):
                # If nobody is there to hear it, somebody is sent to write it down.
                workers.start(app, Order(delivery.run_id, app.url))
            return delivery.run_id

        known = await access.ask(cancel)
        return await awaited_state(access, workers, known, wait_s, ctx)

    annotations = writes(is_destructive=True, is_idempotent=True)
    return make_tool(cancel_run, "Cancel run", annotations)
