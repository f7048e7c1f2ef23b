"""The tool that has a run step over a firing that it cannot get past."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from kando.app.store import Store
from kando_mcp.access import Access
from kando_mcp.results.shapes import RunState
from kando_mcp.tools.make import make_tool, write_annotations
from kando_mcp.tools.wait import DEFAULT_WAIT_SECONDS, RunId, WaitSeconds, wait_for_run
from kando_mcp.worker.pool import Workers
from kando_mcp.worker.start import ensure_worker

__all__ = ["park_tool"]


def park_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that parks a firing."""

    async def park_firing(
        ctx: Context,
        run_id: RunId,
        event_id: Annotated[str, Field(description="Event that the responder handles.")],
        responder: Annotated[str, Field(description="Name of the responder to step over.")],
        reason: Annotated[
            str | None, Field(max_length=2_000, description="Reason, in the person's words.")
        ] = None,
        wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS,
    ) -> RunState:
        """Have a run step over one firing that fails each time; ask the person first.

        The responder never handles the event; all others do. An executor's request is closed without
        an answer. The run resumes.
        """

        def park(store: Store) -> str:
            run = store.run(run_id)
            delivery = run.park(event_id, responder, reason=reason, by="mcp")
            return ensure_worker(access, workers, store, delivery.run_id, None, None)

        known = await access.call(park)
        return await wait_for_run(access, workers, known, wait_s, ctx)

    annotations = write_annotations(is_destructive=True, is_idempotent=True, is_open_world=True)
    return make_tool(park_firing, "Park firing", annotations)
