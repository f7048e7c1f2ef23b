"""The client of MCP servers whose tools a kit offers: one session for each server, with the official SDK.

A session belongs to a task of the event loop of the process, which opens it, keeps it and closes it:
the SDK asks for that. Calls are made from other tasks of the same loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from string import Template
from typing import IO, TYPE_CHECKING, Any, cast

import anyio
import httpx2
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import validator_for
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp_types import CONNECTION_CLOSED, METHOD_NOT_FOUND, CallToolResult, Implementation, Tool
from referencing import Registry

from kando.errors import ConfigurationError
from kando.responders.tool_context import ToolContext
from kando.responders.tool_servers import ServerGone, ToolFailed, ToolServer, variables_of
from kando_mcp.tool_results import error_text, result_of

if TYPE_CHECKING:
    from mcp.client import Transport
    from mcp.client._transport import TransportStreams
    from mcp_types import RequestParamsMeta

__all__ = ["McpSession", "open_session"]

#: A server has this long to start and to answer the first request, in seconds.
START_SECONDS = 60.0

#: A page of `tools/list` names the next one; a server that never ends is stopped here.
_MAX_PAGES = 100

# Characters of the stderr of a server that an error shows.
_SHOWN_STDERR = 800

# Key of the request's metadata that repeats the idempotency key of the call.
_KEY = "kando/idempotency-key"

# A shorter value of a variable may be part of any result, so it is not replaced there.
_SHORTEST_SECRET = 8

#: Settings of the language are not among those that the SDK passes on.
_LANGUAGE = ("LANG", "LC_ALL", "LC_CTYPE", "TZ")


# Lines that a server prints by mistake are not shown as errors of Kando, unless a program sets up logging.
logging.getLogger("mcp").addHandler(logging.NullHandler())


def open_session(server: ToolServer, environ: Mapping[str, str]) -> McpSession:
    """Return the session of an MCP server, without connecting to it.

    Args:
        server: as the kit declares it, or a person gives it.
        environ: of the variables that the declaration names.
    """
    return McpSession(server, environ)


class McpSession:
    """A session with an MCP server, opened when it is first needed and again after the server ended.

    Its coroutines run on one event loop.
    """

    def __init__(self, server: ToolServer, environ: Mapping[str, str]) -> None:
        self._server, self._environ = server, environ
        self._open: _Connection | None = None
        self._opening = asyncio.Lock()

    @property
    def is_connected(self) -> bool:
        """Whether the server is connected now."""
        return self._open is not None and not self._open.has_ended

    async def list_tools(self) -> list[dict[str, Any]]:
        """Return the tools of the server, in its order, as it listed them when it started.

        Raises:
            ConfigurationError: the server cannot be started or reached.
        """
        return (await self._connected()).tools

    async def call(self, tool: str, arguments: dict[str, Any], context: ToolContext) -> Any:
        """Call a tool of the server and return its result as JSON.

        Raises:
            ToolFailed: the server reports an error, or no result that can be understood.
            ServerGone: the server ended in the call.
            ConfigurationError: the server cannot be started or reached.
        """
        for name in variables_of(self._server):
            value = self._environ.get(name, "")
            if len(value) >= _SHORTEST_SECRET:
                context.hide(name, value)

        async def on_progress(
            progress: float, total: float | None, message: str | None = None
        ) -> None:
            context.progress(message or "", done=progress, total=total)

        connection = await self._connected()
        try:
            result: CallToolResult = await connection.client.call_tool(
                tool,
                arguments,
                progress_callback=on_progress,
                meta=cast("RequestParamsMeta", {_KEY: context.idempotency_key}),
            )
        except MCPError as error:
            if _is_closed(error, connection):
                await self._drop(connection)
                words = connection.last_words()
                msg = f"MCP server {self._server.name!r} ended in the call.{words}"
                raise ServerGone(msg) from error
            raise ToolFailed(f"{error.message} (MCP error {error.code})") from error
        except (httpx2.HTTPError, OSError) as error:
            await self._drop(connection)
            msg = f"The connection to MCP server {self._server.name!r} broke: {error}."
            raise ServerGone(msg) from error
        if result.is_error:
            raise ToolFailed(error_text(result))
        return result_of(result)

    def problems(self, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
        """Return what is wrong with the arguments of a call, by the JSON Schema of the tool."""
        try:
            kind = validator_for(parameters, default=Draft202012Validator)
            # Without a registry, the library would fetch schemas that a $ref names.
            validator = kind(parameters, registry=Registry())
            return [_problem(each) for each in validator.iter_errors(arguments)]
        except Exception:
            # The schema is malformed or refers to another: the server checks the arguments.
            return []

    async def close(self) -> None:
        """Close the session, and end the process that was started for it."""
        if self._open is not None:
            await self._drop(self._open)

    async def _connected(self) -> _Connection:
        async with self._opening:
            if self._open is not None and self._open.has_ended:
                await self._open.stop()
                self._open = None
            if self._open is None:
                self._open = await self._started()
            return self._open

    async def _started(self) -> _Connection:
        connection = _Connection(self._server, self._environ)
        try:
            async with asyncio.timeout(START_SECONDS):
                await connection.start()
                connection.tools = await _listed_tools(connection.client)
        except BaseException as error:
            await connection.stop()
            if isinstance(error, TimeoutError):
                how = f"did not answer within {START_SECONDS:g} s"
                raise self._failed(how, None, connection) from error
            if isinstance(error, Exception) and not isinstance(error, ConfigurationError):
                how = "cannot be started" if self._server.command else "cannot be reached"
                raise self._failed(how, error, connection) from error
            raise
        return connection

    def _failed(
        self, how: str, error: BaseException | None, connection: _Connection
    ) -> ConfigurationError:
        why = "" if error is None else f": {_reason(error)}"
        msg = f"MCP server {self._server.name!r} {how}{why}.{connection.last_words()}"
        tried = " ".join(self._server.command) or self._server.url
        return ConfigurationError(msg, hint=f"Try it alone: {tried:.200}")

    async def _drop(self, connection: _Connection) -> None:
        if self._open is connection:
            self._open = None
        await connection.stop()


class _Connection:
    """One connection, kept by a task of its own until it is stopped."""

    def __init__(self, server: ToolServer, environ: Mapping[str, str]) -> None:
        self._server, self._environ = server, environ
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._stderr: IO[str] | None = None
        self._words = ""
        #: As the server listed them when the connection was opened.
        self.tools: list[dict[str, Any]] = []
        #: Whether the server has closed the connection.
        self.is_closed = False

    @property
    def client(self) -> Client:
        """The connected client."""
        return self._ready.result()

    @property
    def is_remote(self) -> bool:
        """Whether the server is reached by its URL."""
        return bool(self._server.url)

    @property
    def has_ended(self) -> bool:
        """Whether the server has closed it, it was stopped, or it failed."""
        return self.is_closed or self._stopping.is_set() or self._task is None or self._task.done()

    async def start(self) -> None:
        """Connect.

        Raises:
            Exception: the server cannot be started or reached.
        """
        self._task = asyncio.create_task(self._keep(), name=f"mcp {self._server.name}")
        await asyncio.shield(self._ready)

    async def stop(self) -> None:
        """Close the connection and end the process."""
        self._stopping.set()
        if self._task is not None:
            if not self._ready.done():
                self._task.cancel()
            await asyncio.wait([self._task])
            if self._ready.done() and not self._ready.cancelled():
                # Read, so that asyncio does not report it as lost.
                self._ready.exception()

    def last_words(self) -> str:
        """Return the end of what the server wrote to stderr, as a sentence; may be empty."""
        words = self._words or self._read_stderr()
        return f" It wrote: {words}" if words else ""

    async def _keep(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                transport = await self._transport(stack)
                about = Implementation(name="kando", version="0.1.0")
                client = await stack.enter_async_context(Client(transport, client_info=about))
                self._ready.set_result(client)
                await self._stopping.wait()
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(_first(error))
            elif not isinstance(error, Exception):
                raise

    async def _transport(self, stack: AsyncExitStack) -> Any:
        if self._server.command:
            command, *arguments = self._server.command
            parameters = StdioServerParameters(
                command=command, args=arguments, env=self._variables()
            )
            file = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
            self._stderr = stack.enter_context(file)
            # Called when the process has ended, and before the file is closed.
            stack.callback(lambda: setattr(self, "_words", self._read_stderr()))
            return self._watched(stdio_client(parameters, errlog=self._stderr))
        headers = {name: self._header(source) for name, source in self._server.headers_from}
        client = await stack.enter_async_context(
            httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(30.0, read=300.0))
        )
        return self._watched(streamable_http_client(self._server.url, http_client=client))

    @asynccontextmanager
    async def _watched(self, transport: Transport) -> AsyncGenerator[TransportStreams, None]:
        """Yield the streams of a transport, and note when the server has closed them."""
        async with transport as (received, sent), anyio.create_task_group() as group:
            forward, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)

            async def pump() -> None:
                async with forward:
                    async for message in received:
                        await forward.send(message)
                    self.is_closed = True

            group.start_soon(pump)
            try:
                yield read, sent
            finally:
                group.cancel_scope.cancel()

    def _variables(self) -> dict[str, str]:
        language = {name: os.environ[name] for name in _LANGUAGE if name in os.environ}
        return {**language, **{name: self._variable(name) for name in self._server.env}}

    def _variable(self, name: str) -> str:
        value = self._environ.get(name)
        if value is None:
            msg = f"MCP server {self._server.name!r} needs {name}, which is not set."
            raise ConfigurationError(msg, hint=f"Set the environment variable {name}.")
        return value

    def _header(self, source: str) -> str:
        if "$" not in source:
            return self._variable(source)
        template = Template(source)
        return template.substitute({n: self._variable(n) for n in template.get_identifiers()})

    def _read_stderr(self) -> str:
        with suppress(OSError, ValueError):
            if self._stderr is not None:
                size = self._stderr.seek(0, os.SEEK_END)
                self._stderr.seek(max(0, size - _SHOWN_STDERR * 4))
                return " ".join(self._stderr.read().split())[-_SHOWN_STDERR:]
        return ""


def _is_closed(error: MCPError, connection: _Connection) -> bool:
    """Whether an error says that the connection has ended: servers use its code for others, too."""
    is_gone = connection.is_closed or connection.is_remote or error.message == "Connection closed"
    return error.code == CONNECTION_CLOSED and is_gone


def _problem(error: ValidationError) -> str:
    return f"{error.json_path.replace('$', 'arguments', 1)}: {error.message:.200}"


async def _listed_tools(client: Client) -> list[dict[str, Any]]:
    found: list[Tool] = []
    cursor: str | None = None
    for _ in range(_MAX_PAGES):
        try:
            page = await client.list_tools(cursor=cursor, cache_mode="bypass")
        except MCPError as error:
            if error.code == METHOD_NOT_FOUND:
                break
            raise
        found += page.tools
        cursor = page.next_cursor
        if not cursor:
            break
    return [_listed(each) for each in found]


def _listed(tool: Tool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": tool.name,
        "description": tool.description or tool.title or "",
        "parameters": tool.input_schema,
    }
    if tool.annotations is not None:
        hints = tool.annotations.model_dump(by_alias=True, exclude_none=True, mode="json")
        found |= {"annotations": hints} if hints else {}
    return found


def _first(error: BaseException) -> BaseException:
    """Return the first exception of a group: task groups wrap the one that matters."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return text if isinstance(error, MCPError) else f"{type(error).__name__}: {text}"
