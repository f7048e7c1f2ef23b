"""Completion of run ids in the arguments of prompts and resources."""

from __future__ import annotations

from mcp.server.mcpserver import MCPServer
from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)

from kando_mcp.access import Access

__all__ = ["add_completion"]

_RUNS = ("run_id", "run_a", "run_b")

#: The protocol allows 100 values.
_MAX_VALUES = 100


def add_completion(server: MCPServer, access: Access) -> None:
    """Add completion of run ids to a server.

    Args:
        server: the server.
        access: access to the runs.
    """

    @server.completion()  # type: ignore[no-untyped-call, untyped-decorator]
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion:
        if argument.name not in _RUNS:
            return Completion(values=[], total=0, has_more=False)
        found = await access.call(
            lambda store: store.context.substrate().ids_starting_with(
                argument.value, _MAX_VALUES + 1
            )
        )
        return Completion(values=found[:_MAX_VALUES], has_more=len(found) > _MAX_VALUES)
