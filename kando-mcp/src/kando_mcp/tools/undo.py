"""The tool that has a run take a call of a tool back."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from kando.app.store import Store
from kando_mcp.access import Access
from kando_mcp.results.shapes import RunState
from kando_mcp.tools.approve import By
from kando_mcp.tools.make import make_tool, write_annotations
from kando_mcp.tools.wait import DEFAULT_WAIT_SECONDS, RunId, WaitSeconds, wait_for_run
from kando_mcp.worker.pool import Workers
from kando_mcp.worker.start import ensure_worker

__all__ = ["undo_tool"]


def undo_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that takes a call back."""

    async def undo_call(
        ctx: Context,
        run_id: RunId,
        event_id: Annotated[
            str, Field(description="Id of the tool.called, or of its tool.returned.")
        ],
        by: By = "mcp",
        wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS,
    ) -> RunState:
        """Take a call of a tool back, by the tool that undoes it; ask the person first.

        The run calls the tool that the kit names in undo= with the same arguments. Policies judge
        this call as any other. The run resumes.
        """

        def undo(store: Store) -> str:
            run = store.run(run_id)
            run.undo(event_id, by=by)
            return ensure_worker(access, workers, store, run.id, None, None)

        known = await access.call(undo)
        return await wait_for_run(access, workers, known, wait_s, ctx)

    annotations = write_annotations(is_destructive=True, is_idempotent=True, is_open_world=True)
    return make_tool(undo_call, "Undo call", annotations)
