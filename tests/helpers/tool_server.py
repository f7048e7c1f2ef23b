"""An MCP server for tests, written with the official SDK: `python tool_server.py [http PORT]`.

It appends what happens to the file ``log`` in the folder that the variable ``PLACE`` names: its starts,
its calls and their cancellation.
"""

import asyncio
import base64
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)
from pydantic import BaseModel, Field

PLACE = Path(os.environ.get("PLACE", "."))

#: A picture of one pixel.
PIXEL = base64.b64encode(b"\x89PNG one pixel").decode()

server = MCPServer("toy", version="1.2")


def log(text: str) -> None:
    with (PLACE / "log").open("a") as file:
        file.write(f"{text}\n")


class Point(BaseModel):
    x: int
    y: int = 0


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> CallToolResult:
    """Add two numbers."""
    log("add")
    return CallToolResult(content=[TextContent(text=str(a + b))])


@server.tool(annotations=ToolAnnotations(idempotent_hint=True))
def die_once(how: str = "") -> CallToolResult:
    """End the server at the first call."""
    log("die")
    if not (PLACE / "died").exists():
        (PLACE / "died").touch()
        print("the last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return CallToolResult(content=[TextContent(text="alive")])


@server.tool()
async def wait(ctx: Context[Any]) -> str:
    """Report progress, and wait until the file ``go`` exists."""
    log("wait")
    await ctx.report_progress(1, 4, "waiting")
    try:
        while not (PLACE / "go").exists():
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        log("cancelled")
        raise
    return "went"


@server.tool()
def fail(how: Literal["politely", "badly"]) -> str:
    """Fail."""
    if how == "politely":
        raise ToolError("There is no such thing.")
    raise ValueError("a secret of the server")


@server.tool(structured_output=True)
def locate(place: str) -> Point:
    """Return where a place is."""
    return Point(x=len(place))


@server.tool(structured_output=False)
def show() -> list[ContentBlock]:
    """Return content of every kind."""
    return [
        TextContent(text="a picture"),
        ImageContent(data=PIXEL, mime_type="image/png"),
        AudioContent(data=PIXEL, mime_type="audio/wav"),
        ResourceLink(name="report", uri="file:///report.txt", mime_type="text/plain"),
        EmbeddedResource(resource=TextResourceContents(uri="memo://1", text="remember")),
        EmbeddedResource(
            resource=BlobResourceContents(uri="memo://2", blob=PIXEL, mime_type="application/pdf")
        ),
    ]


@server.tool()
def many(count: int) -> CallToolResult:
    """Return a long text."""
    return CallToolResult(content=[TextContent(text="x" * count)])


@server.tool()
def header(ctx: Context[Any]) -> CallToolResult:
    """Return the header that authorises the caller."""
    headers = ctx.request_context.request.headers
    return CallToolResult(content=[TextContent(text=headers.get("authorization", "none"))])


@server.tool()
def variables() -> CallToolResult:
    """Return the names of the variables of the server, and one value."""
    log(" ".join(sorted(os.environ)))
    token = os.environ.get("TOY_TOKEN", "")
    return CallToolResult(content=[TextContent(text=f"token {token}")])


if (PLACE / "changed").exists():

    @server.tool(name="plot")
    def changed_plot(points: list[Point], colour: str) -> str:
        """Plot points in a colour."""
        return colour

else:

    @server.tool()
    def note(text: str) -> str:
        """Write a note."""
        log(f"note {text}")
        return "noted"

    @server.tool()
    def plot(
        points: Annotated[list[Point], Field(min_length=1)], kind: Literal["line", "bar"]
    ) -> str:
        """Plot points."""
        return f"{kind}: {points}"


if __name__ == "__main__":
    log(f"start {os.getpid()}")
    if sys.argv[1:2] == ["http"]:
        server.run("streamable-http", port=int(sys.argv[2]))
    else:
        server.run("stdio")
