"""The stdio transport: a line that is not a message is answered, and every message can be written.

The SDK drops a line that it cannot parse, so that its sender waits for ever, and ends when a message
holds text that UTF-8 cannot encode. It reads stdin in a thread that cannot be stopped.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.from_thread
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream
from mcp.server import MCPServer
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from kando_mcp.ending import Ending
from kando_mcp.results.paging import has_surrogates, truncate, without_surrogates

__all__ = ["Lines", "serve"]

_CHUNK = 65_536
_MAX_QUOTED = 80

#: A request that is answered when its client goes away.
_LISTEN = "subscriptions/listen"
_CANCELLED = "notifications/cancelled"


async def serve(server: MCPServer, ending: Ending) -> None:
    """Serve one client over stdin and stdout, until it closes stdin or the process is to end.

    Args:
        server: the server.
        ending: when it begins, the requests in flight are answered, and no further line is read.
    """
    with _claimed_stdin() as descriptor:
        async with anyio.from_thread.BlockingPortal() as portal:
            lines, loop, begun = Lines(), asyncio.get_running_loop(), anyio.Event()
            # In a signal handler, only this wakes the loop.
            ending.then(lambda: loop.call_soon_threadsafe(begun.set))
            threading.Thread(
                target=_read, args=(descriptor, portal, lines), name="kando-stdin", daemon=True
            ).start()
            # The SDK asks for a file, and iterates over its lines.
            async with stdio_server(stdin=lines) as (incoming, outgoing):  # type: ignore[arg-type]
                lines.refuse = outgoing.send
                send, receive = anyio.create_memory_object_stream[SessionMessage]()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(lines.stop_after, begun)
                    async with anyio.create_task_group() as writing:
                        writing.start_soon(_write, receive, outgoing, lines)
                        # The SDK has no public way to serve over other streams than its own.
                        lowlevel = server._lowlevel_server
                        options = lowlevel.create_initialization_options()
                        await lowlevel.run(incoming, send, options)
                    tasks.cancel_scope.cancel()
            await portal.stop(cancel_remaining=True)


class Lines:
    """The lines of a client that hold a message; each other line is answered with an error.

    Attributes:
        refuse: sends the error.
    """

    def __init__(self) -> None:
        self.refuse: Callable[[SessionMessage], Any] | None = None
        self._send, self._receive = anyio.create_memory_object_stream[str](0)
        self._unanswered: set[str | int] = set()
        self._is_idle = anyio.Event()
        self._is_stopping = False

    async def add(self, line: str) -> None:
        """Add a line that was read."""
        try:
            await self._send.send(line)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            # The server is stopping.
            return

    async def end(self) -> None:
        """End the iteration: the client has closed stdin."""
        self._send.close()

    async def stop_after(self, begun: anyio.Event) -> None:
        """Wait for an event, and end the iteration once the requests that were read are answered."""
        await begun.wait()
        self._is_stopping = True
        while self._unanswered:
            self._is_idle = anyio.Event()
            await self._is_idle.wait()
        self._receive.close()
        self._send.close()

    def answered(self, id: object) -> None:
        """Note that a request was answered."""
        self._unanswered.discard(id)
        if not self._unanswered:
            self._is_idle.set()

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> str:
        while True:
            try:
                line = await self._receive.receive()
            except (anyio.EndOfStream, anyio.ClosedResourceError):
                raise StopAsyncIteration from None
            if not line.strip():
                continue
            try:
                message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValidationError as error:
                if self.refuse is not None:
                    await self.refuse(SessionMessage(_refusal(line, error)))
                continue
            if self._is_stopping:
                continue
            self._note(message)
            return line

    def _note(self, message: types.JSONRPCMessage) -> None:
        if isinstance(message, types.JSONRPCRequest) and message.method != _LISTEN:
            self._unanswered.add(message.id)
        elif isinstance(message, types.JSONRPCNotification) and message.method == _CANCELLED:
            # A cancelled request is not answered.
            self.answered((message.params or {}).get("requestId"))


def _refusal(line: str, cause: ValidationError) -> types.JSONRPCError:
    """Return the answer to a line that is not a message, with the id of its request if it has one."""
    try:
        body = json.loads(line)
        is_text = not has_surrogates(body)
    except (ValueError, RecursionError):
        message = f"The line is not JSON: {truncate(line.strip(), _MAX_QUOTED)!r}."
        return _error(None, types.PARSE_ERROR, message)
    id = body.get("id") if isinstance(body, dict) and "method" in body else None
    if isinstance(id, bool) or not isinstance(id, str | int):
        id = None
    id = None if has_surrogates(id) else id
    if not is_text:
        message = (
            "The message holds a lone surrogate (\\ud800 to \\udfff), which is not a character."
        )
        return _error(id, types.INVALID_REQUEST, f"{message} Send U+FFFD instead.")
    found = cause.errors(include_url=False, include_input=False)[0]
    reason = f" {found['msg']}." if found["type"] == "json_invalid" else ""
    return _error(id, types.INVALID_REQUEST, f"The line is not a JSON-RPC 2.0 message.{reason}")


def _error(id: str | int | None, code: int, message: str) -> types.JSONRPCError:
    # The quoted line may be cut within a pair.
    error = types.ErrorData(code=code, message=without_surrogates(message))
    return types.JSONRPCError(jsonrpc="2.0", id=id, error=error)


async def _write(
    receive: MemoryObjectReceiveStream[SessionMessage],
    outgoing: Any,
    lines: Lines,
) -> None:
    """Pass on the messages of the server, in a form that can be written."""
    async with outgoing, receive:
        async for sent in receive:
            await outgoing.send(SessionMessage(_writable(sent.message), sent.metadata))
            if isinstance(sent.message, types.JSONRPCResponse | types.JSONRPCError):
                lines.answered(sent.message.id)


def _writable(message: types.JSONRPCMessage) -> types.JSONRPCMessage:
    """Return a message without lone surrogates, which the SDK cannot encode."""
    try:
        message.model_dump_json(by_alias=True, exclude_unset=True)
    except ValueError:
        body = without_surrogates(message.model_dump(by_alias=True, exclude_unset=True))
        return types.jsonrpc_message_adapter.validate_python(body, by_name=False)
    return message


@contextmanager
def _claimed_stdin() -> Iterator[int]:
    """Yield a private descriptor of stdin; kits and their children read an empty file instead."""
    private = os.dup(0)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    # Never closed: the thread that reads it may outlive the server.
    yield private


def _read(descriptor: int, portal: anyio.from_thread.BlockingPortal, lines: Lines) -> None:
    """Read lines until stdin ends, or the server."""
    pieces: list[bytes] = []
    try:
        while chunk := os.read(descriptor, _CHUNK):
            *complete, rest = chunk.split(b"\n")
            for end in complete:
                portal.call(lines.add, b"".join([*pieces, end]).decode("utf-8", "replace"))
                pieces.clear()
            pieces.append(rest)
        portal.call(lines.add, b"".join(pieces).decode("utf-8", "replace"))
        portal.call(lines.end)
    except (RuntimeError, OSError):
        # The event loop has ended.
        return
