"""The tool that explains why an event, object or relation exists."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from kando_mcp.access import Access
from kando_mcp.results.shapes import Direction, TraceResult
from kando_mcp.results.trace import DEFAULT_DEPTH, trace_page
from kando_mcp.tools.inspect import AnyRun, Cursor, Limit
from kando_mcp.tools.make import READ_ONLY, make_tool

__all__ = ["trace_tool"]


def trace_tool(access: Access) -> Tool:
    """Return the tool that explains why an event, object or relation exists."""

    async def explain_trace(
        event_id: Annotated[str, Field(description="Id of an event, object or relation.")],
        run_id: AnyRun,
        direction: Annotated[
            Direction, Field(description="up: its causes, to the goal. down: its effects.")
        ] = "up",
        depth: Annotated[
            int, Field(ge=1, le=10_000, description="Maximum distance from the event.")
        ] = DEFAULT_DEPTH,
        with_data: Annotated[
            bool,
            Field(
                description="Include the data of each event, such as the messages sent to a model."
            ),
        ] = False,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> TraceResult:
        """Explain why an event, object or relation of a run exists: the chain back to its goal."""
        chars = access.settings.max_result_chars
        return await access.call(
            lambda store: trace_page(
                store, event_id, run_id, direction, depth, with_data, cursor, limit, chars
            )
        )

    return make_tool(explain_trace, "Explain trace", READ_ONLY)
