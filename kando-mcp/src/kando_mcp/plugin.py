"""The plugin: the protocol of tool servers that this distribution speaks."""

from __future__ import annotations

from kando.plugins import ToolProtocolSpec, hookimpl

__all__ = ["kando_tool_protocols"]


@hookimpl
def kando_tool_protocols() -> list[ToolProtocolSpec]:
    """Offer MCP, for the servers that `kando.kit.Kit.mcp` declares."""
    summary = "Tools of MCP servers, by stdio and streamable HTTP"
    return [ToolProtocolSpec("mcp", "kando_mcp.client:open_session", summary=summary)]
