"""The page of kando-inspector as an MCP App: a host that shows such apps shows a run in it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

from mcp.server.apps import APP_MIME_TYPE, Apps
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError
from mcp.server.mcpserver.resources import FunctionResource
from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from kando.app.store import Store
from kando_mcp.access import Access
from kando_mcp.resources import reader_of
from kando_mcp.results.shapes import ShownRun
from kando_mcp.tools.make import READ_ONLY, make_tool

__all__ = ["has_page", "page_app", "page_resource", "show_run_tool"]

_URI = "ui://kando/inspector.html"

#: Most hosts cannot pass on the data of longer runs.
_MAX_EVENTS = 20_000


def has_page() -> bool:
    """Whether kando-inspector is installed."""
    return find_spec("kando_inspector") is not None


def page_app() -> Apps:
    """Return the extension that offers the page to hosts."""

    def html() -> str:
        # Only if kando-inspector is installed, and a host shows the page.
        from kando_inspector.page_file import hosted_page

        return hosted_page()

    apps = Apps()
    about = "A page that shows a run: its timeline, its world at any event, and its traces."
    apps.add_resource(
        FunctionResource(
            uri=_URI, name=_URI, title="Run", description=about, mime_type=APP_MIME_TYPE, fn=html
        )
    )
    return apps


def page_resource(server: MCPServer, access: Access) -> None:
    """Add the resource from which the page reads a run.

    Args:
        server: the server.
        access: access to the runs.
    """
    read = reader_of(access)

    @server.resource(
        "kando://runs/{run_id}/page",
        title="Page",
        description="A run as the page of kando-inspector reads it; {run_id} may be RUN@N.",
        mime_type="application/json",
    )
    async def page(run_id: str) -> str:
        return str(await read(lambda store: _page_data(store, run_id)))


def _page_data(store: Store, run_id: str) -> str:
    from kando_inspector.page_file import page_data

    run, at = store.run_at(run_id)
    if at > _MAX_EVENTS:
        msg = f"The run has more than {_MAX_EVENTS} events. `kando ui {run.id}` shows it."
        raise ResourceError(msg)
    return b"".join(page_data(run, at)).decode()


def show_run_tool(access: Access) -> Tool:
    """Return the tool that has a host show the page."""

    async def show_run(
        run_id: Annotated[
            str, Field(description="Id of a run or branch, or RUN@N for its first N events.")
        ],
    ) -> ShownRun:
        """Show a run to the person, as a page."""
        return await access.call(lambda store: _shown(store, run_id))

    tool = make_tool(show_run, "Show run", READ_ONLY)
    tool.meta = {"ui": {"resourceUri": _URI}}
    return tool


def _shown(store: Store, run_id: str) -> ShownRun:
    run, at = store.run_at(run_id)
    shown = f"{run.id}@{at}" if at < run.length() else run.id
    return {
        "summary": f"The host shows {shown} if it can; else `kando ui {shown}` does.",
        "run_id": shown,
        "events": at,
    }
