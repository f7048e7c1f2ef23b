"""The tool that labels runs."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from kando.app.store import Store
from kando_mcp.access import Access
from kando_mcp.results.run_state import run_state
from kando_mcp.results.shapes import RunState
from kando_mcp.tools.make import make_tool, write_annotations
from kando_mcp.tools.wait import RunId
from kando_mcp.worker.pool import Workers

__all__ = ["label_tool"]


def label_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that changes the labels of a run."""

    async def label_run(
        run_id: RunId,
        labels: Annotated[
            dict[str, str | None], Field(description="Values by name; null removes a label.")
        ],
    ) -> RunState:
        """Change the labels of a run; its state stays what it is."""

        def label(store: Store) -> RunState:
            run = store.run(run_id)
            run.label(labels, actor="mcp")
            return run_state(store, run.id, workers.report_of(run.id), is_read_only=False)

        return await access.call(label)

    return make_tool(label_run, "Label run", write_annotations(is_idempotent=True))
