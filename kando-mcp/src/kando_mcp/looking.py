"""The tools that look at runs; none of them writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from kando.app.context import App
from kando_mcp.access import Access
from kando_mcp.comparing import diff_page
from kando_mcp.fitting import clip
from kando_mcp.listing import run_page
from kando_mcp.registering import READS, make_tool
from kando_mcp.shapes import (
    DiffResult,
    Direction,
    KitList,
    RunList,
    RunState,
    TraceResult,
    WorldResult,
)
from kando_mcp.tracing import DEFAULT_DEPTH, trace_page
from kando_mcp.waiting import RunId, WaitSeconds, awaited_state
from kando_mcp.workers import Workers
from kando_mcp.worlds import world_page

__all__ = ["looking_tools"]

Position = Annotated[
    int | None, Field(ge=0, le=2**31, description="Only the first N events; all if omitted.")
]
Cursor = Annotated[str | None, Field(description="next_cursor of the page before.")]
Limit = Annotated[int, Field(ge=1, le=500, description="How many at most.")]
AnyRun = Annotated[
    str, Field(description="Id of a run or branch, or RUN@N for its first N events.")
]


def looking_tools(access: Access, workers: Workers) -> list[Tool]:
    """Return the tools that read.

    Args:
        access: to the runs.
        workers: what this server has started, to tell why it ended.
    """
    makers: list[Callable[[Access, Workers], Tool]] = [
        _list_kits,
        _list_runs,
        _get_run,
        _query_world,
        _diff_branches,
        _explain_trace,
    ]
    return [make(access, workers) for make in makers]


def _list_kits(access: Access, workers: Workers) -> Tool:
    async def list_kits() -> KitList:
        """List the installed kits that start_run can start, and the providers that llm can name."""
        return await access.ask(lambda app: _kits(app, access))

    return make_tool(list_kits, "List kits", READS)


def _kits(app: App, access: Access) -> KitList:
    kits, providers = app.plugins.kits(), app.plugins.providers()
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


def _list_runs(access: Access, workers: Workers) -> Tool:
    async def list_runs(cursor: Cursor = None, limit: Limit = 20) -> RunList:
        """List runs and branches, newest first, with state, goal and cost."""
        chars = access.settings.max_result_chars
        return await access.ask(lambda app: run_page(app, cursor, limit, chars))

    return make_tool(list_runs, "List runs", READS)


def _get_run(access: Access, workers: Workers) -> Tool:
    async def get_run(ctx: Context, run_id: RunId, wait_s: WaitSeconds = 0) -> RunState:
        """Show the state of a run: how far it is, what it cost, what may be done next.

        With wait_s it waits while the run is worked on, up to that many seconds.
        """
        return await awaited_state(access, workers, run_id, wait_s, ctx)

    return make_tool(get_run, "Get run", READS)


def _query_world(access: Access, workers: Workers) -> Tool:
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


def _diff_branches(access: Access, workers: Workers) -> Tool:
    async def diff_branches(
        run_a: AnyRun, run_b: AnyRun, cursor: Cursor = None, limit: Limit = 100
    ) -> DiffResult:
        """Compare the worlds of two runs or branches: what the second has, lacks and has changed."""
        chars = access.settings.max_result_chars
        return await access.ask(lambda app: diff_page(app, run_a, run_b, cursor, limit, chars))

    return make_tool(diff_branches, "Compare branches", READS)


def _explain_trace(access: Access, workers: Workers) -> Tool:
    async def explain_trace(
        event_id: Annotated[
            str, Field(description="Id of an event, or of an object or relation that it created.")
        ],
        run_id: AnyRun,
        direction: Annotated[
            Direction, Field(description="up: back to its goal. down: what followed from it.")
        ] = "up",
        depth: Annotated[
            int, Field(ge=1, le=10_000, description="How many steps away at most.")
        ] = DEFAULT_DEPTH,
        with_data: Annotated[
            bool, Field(description="Show the data of each event, such as what a model was asked.")
        ] = False,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> TraceResult:
        """Explain why an event, object or relation of a run exists: the chain back to its goal."""
        chars = access.settings.max_result_chars
        return await access.ask(
            lambda app: trace_page(
                app, event_id, run_id, direction, depth, with_data, cursor, limit, chars
            )
        )

    return make_tool(explain_trace, "Explain trace", READS)
