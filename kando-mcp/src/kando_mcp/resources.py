"""Resources: the results of the read-only tools, at URIs that a person can attach."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError

from kando.app.store import Store
from kando.errors import AmbiguousName, NotFoundError, PositionOutOfRange
from kando.schema.events import RecordedEvent
from kando_mcp.access import Access
from kando_mcp.results.paging import page, to_json, truncate, without_surrogates
from kando_mcp.results.run_state import run_state
from kando_mcp.results.runs import run_page
from kando_mcp.results.worlds import world_page

__all__ = ["add_resources", "reader_of"]

_JSON = "application/json"
_LIMIT = 100


def add_resources(server: MCPServer, access: Access) -> None:
    """Add the resources to a server.

    Args:
        server: the server.
        access: access to the runs.
    """
    chars = access.settings.max_result_chars
    read = reader_of(access)

    async def answer(work: Callable[[Store], Any]) -> str:
        return to_json(without_surrogates(await read(work)))

    @server.resource(
        "kando://runs",
        title="Runs",
        description="The newest runs and branches, with their state.",
        mime_type=_JSON,
    )
    async def runs() -> str:
        return await answer(lambda store: run_page(store, None, _LIMIT, chars))

    @server.resource(
        "kando://runs/{run_id}",
        title="Run",
        description="The state of a run or branch.",
        mime_type=_JSON,
    )
    async def run(run_id: str) -> str:
        return await answer(
            lambda store: run_state(store, run_id, is_read_only=access.settings.limits.is_read_only)
        )

    @server.resource(
        "kando://runs/{run_id}/events{?after,limit}",
        title="Events",
        description="Events of a run, oldest first, starting at position `after`.",
        mime_type=_JSON,
    )
    async def events(run_id: str, after: str = "", limit: str = "") -> str:
        start, wanted = _number("after", after or "0"), _number("limit", limit or str(_LIMIT))
        return await answer(lambda store: _events(store, run_id, start, wanted, chars))

    @server.resource(
        "kando://runs/{run_id}/world",
        title="World",
        description="The objects and relations of a run.",
        mime_type=_JSON,
    )
    async def world(run_id: str) -> str:
        return await answer(
            lambda store: world_page(store, access.worlds, run_id, None, None, None, _LIMIT, chars)
        )


def reader_of(access: Access) -> Callable[[Callable[[Store], Any]], Awaitable[Any]]:
    """Return ``read(work)``, which returns what `work` does with the store, with errors of resources.

    Args:
        access: access to the runs.
    """

    async def read(work: Callable[[Store], Any]) -> Any:
        try:
            return await access.call(work)
        except ToolError as error:
            cause = error.__cause__
            is_missing = isinstance(cause, NotFoundError | AmbiguousName | PositionOutOfRange)
            raise (ResourceNotFoundError if is_missing else ResourceError)(str(error)) from cause

    return read


def _number(name: str, text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 16:
        return int(text)
    msg = f"{name} must be a non-negative integer, not {truncate(text, 50)!r}."
    raise ResourceNotFoundError(msg)


def _events(store: Store, run: str, start: int, limit: int, chars: int) -> dict[str, Any]:
    named, end = store.run_at(run)
    found = named.events(start, at=end)
    wanted = max(1, min(limit, 1_000))
    events, stop = page(islice(found, wanted + 1), 0, wanted, chars, _event)
    return {
        "run": named.source,
        "events": events,
        "next_after": start + stop if stop is not None else None,
    }


def _event(event: RecordedEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "actor": event.actor,
        "cause": event.cause,
        "timestamp": event.timestamp.isoformat(),
        "data": event.data,
        "position": event.position,
    }
