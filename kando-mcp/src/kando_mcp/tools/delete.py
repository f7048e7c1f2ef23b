"""The tool that deletes runs."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from kando.app.delete import delete_for_client
from kando.app.store import Store
from kando_mcp.access import Access
from kando_mcp.results.shapes import Deleted
from kando_mcp.tools.make import make_tool, write_annotations
from kando_mcp.worker.pool import Workers

__all__ = ["delete_tool"]


def delete_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that deletes a run."""
    del workers  # No process works on a run that can be deleted.

    async def delete_run(
        run_id: Annotated[str, Field(description="The whole id.")],
    ) -> Deleted:
        """Delete a run and its child runs for good; ask the person first."""

        def delete(store: Store) -> Deleted:
            run_ids = delete_for_client(store.run(run_id), run_id, access.settings.limits)
            return {"summary": f"deleted {', '.join(run_ids)}", "run_ids": run_ids}

        return await access.call(delete)

    return make_tool(delete_run, "Delete run", write_annotations(is_destructive=True))
