"""MCP servers of a kit: which of them its models use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from kando.responders.llm_responder import LLMResponder

if TYPE_CHECKING:
    from kando.kit._kit import Kit

__all__ = ["calls_tools", "takes_added_servers", "tools_and_servers"]


def tools_and_servers(
    kit: Kit, named: Sequence[str]
) -> tuple[list[dict[str, Any]], list[str] | None]:
    """Return the schemas of named tools, and the named servers; None if `named` is empty.

    Args:
        kit: has declared them.
        named: names of tools and of MCP servers.

    Raises:
        NotFoundError: the kit has no such tool.
    """
    servers = [each for each in named if each in kit.tool_servers]
    schemas = kit.tool_schemas(each for each in named if each not in servers)
    return schemas, servers if named else None


def takes_added_servers(kit: Kit) -> bool:
    """Whether a model of a kit may call tools, also of servers that a person adds to a run."""
    return any(each.servers is not None for each in _asking(kit))


def calls_tools(kit: Kit) -> bool:
    """Whether a run of a kit needs an executor of tools."""
    return bool(kit.tools or kit.tool_servers) or takes_added_servers(kit)


def _asking(kit: Kit) -> Iterable[LLMResponder]:
    owners = (getattr(each.fn, "__self__", None) for each in kit.responders)
    return (each for each in owners if isinstance(each, LLMResponder))
