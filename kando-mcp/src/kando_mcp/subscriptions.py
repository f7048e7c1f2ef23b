"""Subscriptions: notify clients when a run changes, in whichever process."""

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
from kando.errors import LedgerDeleted
from kando_mcp.access import Access

__all__ = ["Subscriptions"]

_POLL_SECONDS = 0.5

#: Runs whose worker is looked up in every poll.
_NEWEST = 50

_Lengths = dict[str, tuple[int, bool]]

_logger = logging.getLogger(__name__)


class Subscriptions:
    """Polls the ledgers while there are subscribers, and notifies them of those that changed.

    Clients of 2026-07-28 listen to streams (``subscriptions/listen``); older ones subscribe to
    URIs (``resources/subscribe``).

    Args:
        access: access to the runs.
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
        """Register a stream and return a function that removes it."""
        unsubscribe = self._bus.subscribe(listener)
        self._listeners += 1
        self._is_wanted.set()

        is_removed = False

        def remove() -> None:
            nonlocal is_removed
            if not is_removed:
                is_removed = True
                unsubscribe()
                self._listeners -= 1

        return remove

    def register(self, server: MCPServer) -> None:
        """Register handlers for the subscriptions of clients of earlier revisions."""
        # The SDK has no public interface for a method that the newest revision has removed.
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
    async def lifespan(self, server: MCPServer) -> AsyncIterator[dict[str, Any]]:
        """Poll for as long as the server runs."""
        self._is_wanted = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            yield {}
            tasks.cancel_scope.cancel()

    async def _watch(self) -> None:
        while True:
            await self._is_wanted.wait()
            # Changes between the subscription and the first poll are unknown, so the first poll
            # notifies about every run.
            known: _Lengths = {}
            while self._listeners or any(self._subscribed_to.values()):
                now = await self._poll(known)
                for uri in _changed(known, now):
                    await self._notify(uri)
                known = now
                await anyio.sleep(_POLL_SECONDS)
            self._is_wanted = anyio.Event()

    async def _poll(self, known: _Lengths) -> _Lengths:
        try:
            return await self._access.call(lambda store: _lengths(store, known))
        except ToolError as error:
            _logger.warning("cannot poll the runs: %s", error)
            return known

    async def _notify(self, uri: str) -> None:
        await self.publish(ResourceUpdated(uri))
        for connection, uris in list(self._subscribed_to.items()):
            if uri in uris:
                await connection.send_resource_updated(uri)


def _connection_of(ctx: ServerRequestContext[Any, Any]) -> Connection:
    # The session covers a single request, and has no public reference to its connection.
    connection: Connection = ctx.session._connection
    return connection


def _lengths(store: Store, known: _Lengths) -> _Lengths:
    """Return the length of each ledger, and whether a worker has it.

    The worker of an idle run that has not grown is looked up only if the run is one of the newest:
    a store may contain thousands of runs.
    """
    substrate = store.context.substrate()
    found: _Lengths = {}
    for number, info in enumerate(substrate.ledgers()):
        idle = (info.length, False)
        is_skipped = number >= _NEWEST and known.get(info.id) == idle
        try:
            claim = None if is_skipped else substrate.claim_of(info.id)
        except LedgerDeleted:
            # Since the ledgers were listed.
            continue
        is_active = claim is not None and claim.is_live()
        found[info.id] = (info.length, is_active)
    return found


def _changed(known: _Lengths, now: _Lengths) -> list[str]:
    ids = [id for id, state in now.items() if known.get(id) != state]
    # Those that were deleted.
    ids += [id for id in known if id not in now]
    parts = ("", "/events", "/world")
    runs = [f"kando://runs/{id}{part}" for id in ids for part in parts]
    return ["kando://runs", *runs] if ids else []
