"""The tool that compares two runs or branches."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from kando_mcp.access import Access
from kando_mcp.results.diff import diff_page
from kando_mcp.results.shapes import DiffResult
from kando_mcp.tools.inspect import AnyRun, Cursor, Limit
from kando_mcp.tools.make import READ_ONLY, make_tool

__all__ = ["diff_tool"]

Files = Annotated[bool, Field(description="Also compare the files of the workspaces.")]


def diff_tool(access: Access) -> Tool:
    """Return the tool that compares two runs or branches."""

    async def diff_branches(
        run_a: AnyRun,
        run_b: AnyRun,
        files: Files = False,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> DiffResult:
        """Compare two runs or branches: what the second added, removed and changed."""
        chars = access.settings.max_result_chars
        return await access.call(
            lambda store: diff_page(store, run_a, run_b, cursor, limit, chars, files=files)
        )

    return make_tool(diff_branches, "Compare branches", READ_ONLY)
