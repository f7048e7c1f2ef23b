"""The tools that show the files of a run's workspace at a position."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from kando_mcp.access import Access
from kando_mcp.results.shapes import FileResult, WorkspaceResult
from kando_mcp.results.workspace import file_page, workspace_page
from kando_mcp.tools.inspect import AnyRun, Cursor, Limit
from kando_mcp.tools.make import READ_ONLY, make_tool

__all__ = ["list_workspace_tool", "read_file_tool"]

At = Annotated[
    int | None, Field(ge=0, le=2**31, description="The files after N events; all if omitted.")
]
FilePath = Annotated[
    str, Field(max_length=5_000, description="Path of the file, as list_workspace has it.")
]


def list_workspace_tool(access: Access) -> Tool:
    """Return the tool that lists the files of a workspace."""

    async def list_workspace(
        run_id: AnyRun, at: At = None, cursor: Cursor = None, limit: Limit = 100
    ) -> WorkspaceResult:
        """List the files in the workspace of a run, now or at an earlier position."""
        chars = access.settings.max_result_chars
        return await access.call(
            lambda store: workspace_page(store, run_id, at, cursor, limit, chars)
        )

    return make_tool(list_workspace, "List workspace", READ_ONLY)


def read_file_tool(access: Access) -> Tool:
    """Return the tool that reads a file of a workspace."""

    async def read_workspace_file(
        run_id: AnyRun, path: FilePath, at: At = None, cursor: Cursor = None
    ) -> FileResult:
        """Read a file in the workspace of a run, now or at an earlier position.

        A file that is not text is returned as Base64. If there is more of it, the result has a
        next_cursor.
        """
        chars = access.settings.max_result_chars
        return await access.call(lambda store: file_page(store, run_id, path, at, cursor, chars))

    return make_tool(read_workspace_file, "Read workspace file", READ_ONLY)
