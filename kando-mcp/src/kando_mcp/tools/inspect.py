"""The tools that look at runs; none of them writes."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from kando.app.store import Store
from kando_mcp.access import Access
from kando_mcp.results.paging import clip
from kando_mcp.results.runs import run_page
from kando_mcp.results.shapes import KitList, RunList, RunState, WorldResult
from kando_mcp.results.worlds import world_page
from kando_mcp.tools.make import READS, make_tool
from kando_mcp.tools.wait import RunId, WaitSeconds, awaited_state
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
    int | None, Field(ge=0, le=2**31, description="Only the first N events; all if omitted.")
]
Cursor = Annotated[str | None, Field(description="next_cursor of the page before.")]
Limit = Annotated[int, Field(ge=1, le=500, description="How many at most.")]
AnyRun = Annotated[
    str, Field(description="Id of a run or branch, or RUN@N for its first N events.")
]


def list_kits_tool(access: Access) -> Tool:
    """Return the tool that lists what is installed."""

    async def list_kits() -> KitList:
        """List the installed kits that start_run can start, and the providers that llm can name."""
        return await access.ask(lambda app: _kits(app, access))

    return make_tool(list_kits, "List kits", READS)


def _kits(app: Store, access: Access) -> KitList:
    kits, providers = app.context.plugins.kits(), app.context.plugins.providers()
    names = ", ".join(kit.spec.name for kit in kits)
    return {
        "summary": f"{len(kits)} kits: {clip(names, 500)}" if kits else "No kit is installed.",
        "kits": [
            {
                "name": kit.spec.name,
                "about": clip(kit.spec.summary, 200),
                "distribution": kit.distribution,
                "version": kit.version,
            }
            for kit in kits[:50]
        ],
        "providers": [
            {
                "name": provider.spec.name,
                "about": clip(provider.spec.summary, 200),
                "is_offline": provider.spec.is_offline,
                "is_allowed": provider.spec.is_offline or access.settings.allows_live_llm,
            }
            for provider in providers[:50]
        ],
    }


def list_runs_tool(access: Access) -> Tool:
    """Return the tool that lists runs and branches."""

    async def list_runs(cursor: Cursor = None, limit: Limit = 20) -> RunList:
        """List runs and branches, newest first, with state, goal and cost."""
        chars = access.settings.max_result_chars
        return await access.ask(lambda app: run_page(app, cursor, limit, chars))

    return make_tool(list_runs, "List runs", READS)


def get_run_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that shows the state of a run."""

    async def get_run(ctx: Context, run_id: RunId, wait_s: WaitSeconds = 0) -> RunState:
        """Show the state of a run: how far it is, what it cost, what may be done next.

        With wait_s it waits while the run is worked on, up to that many seconds.
        """
        return await awaited_state(access, workers, run_id, wait_s, ctx)

    return make_tool(get_run, "Get run", READS)


def query_world_tool(access: Access) -> Tool:
    """Return the tool that shows a world."""

    async def query_world(
        run_id: AnyRun,
        at: Position = None,
        type: Annotated[
            str | None, Field(description="Only objects, or relations, of this type.")
        ] = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> WorldResult:
        """Show the objects and relations of a run or branch, now or after its first events.

        Long texts are cut; a page has a next_cursor if more follows.
        """
        chars = access.settings.max_result_chars
        return await access.ask(
            lambda app: world_page(app, access.worlds, run_id, at, type, cursor, limit, chars)
        )

    return make_tool(query_world, "Query world", READS)
