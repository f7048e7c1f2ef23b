"""The read-only tools for kits, runs and worlds."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from kando.app.store import Store
from kando_mcp.access import Access
from kando_mcp.results.paging import truncate
from kando_mcp.results.runs import run_page
from kando_mcp.results.shapes import KitList, RunList, RunState, WorldResult
from kando_mcp.results.worlds import world_page
from kando_mcp.tools.make import READ_ONLY, make_tool
from kando_mcp.tools.wait import RunId, WaitSeconds, wait_for_run
from kando_mcp.worker.pool import Workers

__all__ = [
    "AnyRun",
    "Cursor",
    "Limit",
    "get_run_tool",
    "list_kits_tool",
    "list_runs_tool",
    "query_world_tool",
]

Position = Annotated[
    int | None, Field(ge=0, le=2**31, description="Number of events to project; all if omitted.")
]
Cursor = Annotated[str | None, Field(description="next_cursor of the previous page.")]
Limit = Annotated[int, Field(ge=1, le=500, description="Maximum number of items.")]
AnyRun = Annotated[
    str, Field(description="Id of a run or branch, or RUN@N for its first N events.")
]


def list_kits_tool(access: Access) -> Tool:
    """Return the tool that lists the installed kits and providers."""

    async def list_kits() -> KitList:
        """List the installed kits for start_run, and the LLM providers for the argument llm."""
        return await access.call(lambda store: _kits(store, access))

    return make_tool(list_kits, "List kits", READ_ONLY)


def _kits(store: Store, access: Access) -> KitList:
    kits, providers = store.context.plugins.kits(), store.context.plugins.providers()
    names = ", ".join(kit.spec.name for kit in kits)
    return {
        "summary": f"{len(kits)} kits: {truncate(names, 500)}" if kits else "No kits installed.",
        "kits": [
            {
                "name": kit.spec.name,
                "about": truncate(kit.spec.summary, 200),
                "distribution": kit.distribution,
                "version": kit.version,
            }
            for kit in kits[:50]
        ],
        "providers": [
            {
                "name": provider.spec.name,
                "about": truncate(provider.spec.summary, 200),
                "is_offline": provider.spec.is_offline,
                "is_allowed": provider.spec.is_offline or access.settings.limits.allows_live_llm,
            }
            for provider in providers[:50]
        ],
    }


def list_runs_tool(access: Access) -> Tool:
    """Return the tool that lists runs and branches."""

    async def list_runs(
        cursor: Cursor = None,
        limit: Limit = 20,
        labels: Annotated[
            dict[str, str] | None, Field(description="Only runs with all of these.")
        ] = None,
    ) -> RunList:
        """List runs and branches, newest first, with state, goal and cost."""
        chars = access.settings.max_result_chars
        return await access.call(lambda store: run_page(store, cursor, limit, chars, labels))

    return make_tool(list_runs, "List runs", READ_ONLY)


def get_run_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that shows the state of a run."""

    async def get_run(ctx: Context, run_id: RunId, wait_s: WaitSeconds = 0) -> RunState:
        """Show the state of a run: its progress, its cost, and the calls that may follow.

        With wait_s, it waits until the run stops, up to that many seconds.
        """
        return await wait_for_run(access, workers, run_id, wait_s, ctx)

    return make_tool(get_run, "Get run", READ_ONLY)


def query_world_tool(access: Access) -> Tool:
    """Return the tool that shows the world of a run."""

    async def query_world(
        run_id: AnyRun,
        at: Position = None,
        type: Annotated[
            str | None, Field(description="Only objects or relations of this type.")
        ] = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> WorldResult:
        """Show the objects and relations of a run or branch, now or at an earlier position.

        Long texts are truncated. If there are more pages, the result has a next_cursor.
        """
        chars = access.settings.max_result_chars
        return await access.call(
            lambda store: world_page(store, access.worlds, run_id, at, type, cursor, limit, chars)
        )

    return make_tool(query_world, "Query world", READ_ONLY)
