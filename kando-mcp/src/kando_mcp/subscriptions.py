"""Tell subscribers that a run has changed, whichever process worked on it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import mcp_types as types
from mcp.server import MCPServer
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated, ServerEvent

from kando.app.store import Store
from kando_mcp.access import Access

__all__ = ["Updates"]

_LOOK_SECONDS = 0.5

#: Runs that are looked at closely each time.
_NEWEST = 50

_Lengths = dict[str, tuple[int, bool]]

_logger = logging.getLogger(__name__)


class Updates:
    """Watches the ledgers while somebody has subscribed, and tells of those that grew.

    Clients of 2026-07-28 listen to streams (``subscriptions/listen``), older ones subscribe to
    addresses (``resources/subscribe``).

    Args:
        access: to the runs.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._bus = InMemorySubscriptionBus()
        self._listeners = 0
        self._subscribed_to: dict[Connection, set[str]] = {}
        self._is_wanted = anyio.Event()

    async def publish(self, event: ServerEvent) -> None:
        """Deliver an event to every listening stream."""
        await self._bus.publish(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Register a stream and return what ends it."""
        leave = self._bus.subscribe(listener)
        self._listeners += 1
        self._is_wanted.set()

        is_gone = False

        def left() -> None:
            nonlocal is_gone
            if not is_gone:
                is_gone = True
                leave()
                self._listeners -= 1

        return left

    def serve(self, server: MCPServer) -> None:
        """Answer the subscriptions of clients of earlier revisions."""
        # The server offers no public way to serve a method that the newest revision has removed.
        handlers = server._lowlevel_server
        handlers.add_request_handler(
            "resources/subscribe", types.SubscribeRequestParams, self._subscribe
        )
        handlers.add_request_handler(
            "resources/unsubscribe", types.UnsubscribeRequestParams, self._unsubscribe
        )

    async def _subscribe(
        self, ctx: ServerRequestContext[Any, Any], params: types.SubscribeRequestParams
    ) -> types.EmptyResult:
        connection = _connection_of(ctx)
        if connection not in self._subscribed_to:
            self._subscribed_to[connection] = set()
            connection.exit_stack.callback(self._subscribed_to.pop, connection, None)
        self._subscribed_to[connection].add(str(params.uri))
        self._is_wanted.set()
        return types.EmptyResult()

    async def _unsubscribe(
        self, ctx: ServerRequestContext[Any, Any], params: types.UnsubscribeRequestParams
    ) -> types.EmptyResult:
        self._subscribed_to.get(_connection_of(ctx), set()).discard(str(params.uri))
        return types.EmptyResult()

    @asynccontextmanager
    async def watching(self, server: MCPServer) -> AsyncIterator[dict[str, Any]]:
        """Watch for as long as the server serves."""
        self._is_wanted = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            yield {}
            tasks.cancel_scope.cancel()

    async def _watch(self) -> None:
        while True:
            await self._is_wanted.wait()
            # Nothing is known of what happened between a subscription and the first look, so that
            # one tells of every run.
            known: _Lengths = {}
            while self._listeners or any(self._subscribed_to.values()):
                now = await self._look(known)
                for uri in _changed(known, now):
                    await self._tell(uri)
                known = now
                await anyio.sleep(_LOOK_SECONDS)
            self._is_wanted = anyio.Event()

    async def _look(self, known: _Lengths) -> _Lengths:
        try:
            return await self._access.ask(lambda app: _lengths(app, known))
        except ToolError as error:
            _logger.warning("cannot watch the runs: %s", error)
            return {}

    async def _tell(self, uri: str) -> None:
        await self.publish(ResourceUpdated(uri))
        for connection, uris in list(self._subscribed_to.items()):
            if uri in uris:
                await connection.send_resource_updated(uri)


def _connection_of(ctx: ServerRequestContext[Any, Any]) -> Connection:
    # The session is of one request only, and has no public way to what it belongs to.
    connection: Connection = ctx.session._connection
    return connection


def _lengths(app: Store, known: _Lengths) -> _Lengths:
    """Return how long each ledger is, and whether somebody is at work on it.

    An idle run that has not grown is taken for idle still, unless it is one of the newest: a store
    may hold thousands.
    """
    substrate = app.context.substrate()
    found: _Lengths = {}
    for number, info in enumerate(substrate.ledgers()):
        idle = (info.length, False)
        is_asleep = number >= _NEWEST and known.get(info.id) == idle
        at_work = not is_asleep and substrate.worker(info.id) is not None
        found[info.id] = (info.length, at_work)
    return found


def _changed(known: _Lengths, now: _Lengths) -> list[str]:
    ids = [id for id, state in now.items() if known.get(id) != state]
    parts = ("", "/events", "/world")
    runs = [f"kando://runs/{id}{part}" for id in ids for part in parts]
    return ["kando://runs", *runs] if ids else []
