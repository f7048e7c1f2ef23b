"""Tool servers: the tools of another process, such as an MCP server, as tools of a kit.

Core declares them, records what they offer, and calls them like any other tool. A plugin connects
to them: it implements `ToolSession` and offers it by the hook ``kando_tool_protocols``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from string import Template
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from kando.errors import ConfigurationError, NotFoundError
from kando.responders._schema_errors import schema_errors
from kando.responders.cancellation import end_of_call
from kando.responders.tool_context import ToolContext
from kando.responders.tools import (
    DEFAULT_MAX_RESULT_BYTES,
    DEFAULT_TIMEOUT,
    EFFECTS,
    IDEMPOTENT,
    READ,
    WRITE,
    Tool,
    check_limits,
)
from kando.schema.names import suggestion
from kando.views.kit import ADDED

if TYPE_CHECKING:
    from kando.world.graph import World

__all__ = ["ServerGone", "ToolFailed", "ToolServer", "ToolSession"]

#: The effect of a server whose annotations of its tools are trusted.
ANNOTATED = "annotated"

#: Between the name of a server and that of its tool, in the name that a model sees.
SEPARATOR = "__"

# Between two checks whether a call is to end, in seconds.
_CHECK_SECONDS = 0.25

# Every provider accepts names like these for tools.
_LONGEST_NAME = 64
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_SERVER_NAME = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9-])*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ToolFailed(Exception):
    """Raised by `ToolSession.call` with the error that the server reports; the model sees it."""


class ServerGone(Exception):
    """Raised by `ToolSession.call` if the server ended, or the connection to it broke, in the call."""


@attrs.frozen(kw_only=True)
class ToolServer:
    """A server whose tools a kit or a run offers.

    Attributes:
        name: letters, digits, hyphens and single underscores; the names of its tools begin with it.
        protocol: that it speaks, as a plugin offers it.
        command: starts it; empty if it has a `url`.
        url: of a server that already runs; empty if it has a `command`.
        tools: names of the tools to offer, as the server has them; None for all.
        effect: of its tools: ``read``, ``idempotent`` or ``write``; ``annotated`` trusts what the
            server says of each.
        env: names of the environment variables that it gets.
        headers_from: for each HTTP header, the environment variable that has its value, or a text
            with ``$VARIABLE`` in it.
        timeout_seconds: after which a call is answered with an error; None for never.
        max_parallel: how many of its calls may be in flight at once; None for the limit of the
            runtime.
        max_result_bytes: limit of a result, as JSON.
        is_added: whether a person added it to a run, and the kit does not declare it.
    """

    name: str
    protocol: str = "mcp"
    command: tuple[str, ...] = ()
    url: str = ""
    tools: tuple[str, ...] | None = None
    effect: str = WRITE
    env: tuple[str, ...] = ()
    headers_from: tuple[tuple[str, str], ...] = ()
    timeout_seconds: float | None = DEFAULT_TIMEOUT
    max_parallel: int | None = None
    max_result_bytes: int = DEFAULT_MAX_RESULT_BYTES
    is_added: bool = False


class ToolSession(Protocol):
    """A connection to a tool server, which is opened when it is first needed.

    Its methods are coroutines, run on the event loop of the process. After `close` it may be used
    again, which opens it again.
    """

    async def list_tools(self) -> Sequence[Mapping[str, Any]]:
        """Return each tool: ``name``, ``description``, ``parameters`` and ``annotations``.

        The parameters are a JSON Schema. Annotations may have ``readOnlyHint`` and
        ``idempotentHint``.

        Raises:
            ConfigurationError: the server cannot be started or reached.
        """
        raise NotImplementedError

    async def call(self, tool: str, arguments: dict[str, Any], context: ToolContext) -> Any:
        """Call a tool and return its result as JSON.

        Raises:
            ToolFailed: the server reports an error.
            ServerGone: the server ended in the call.
            ConfigurationError: the server cannot be started or reached.
        """
        raise NotImplementedError

    def problems(self, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
        """Return what is wrong with the arguments of a call; it needs no connection.

        Args:
            parameters: the JSON Schema that the run has recorded.
            arguments: of the call.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """End the connection, and the process that was started for it."""
        raise NotImplementedError


def tool_server(
    name: str,
    *,
    command: Sequence[str] = (),
    url: str = "",
    tools: Iterable[str] | None = None,
    effect: str = WRITE,
    env: Iterable[str] = (),
    headers_from: Mapping[str, str] | None = None,
    timeout: float | None = DEFAULT_TIMEOUT,
    max_parallel: int | None = None,
    max_result_bytes: int = DEFAULT_MAX_RESULT_BYTES,
    is_added: bool = False,
) -> ToolServer:
    """Return a checked `ToolServer`; the arguments are its fields.

    Raises:
        ConfigurationError: an argument is malformed, or there is not exactly one of `command` and
            `url`.
    """

    def refuse(problem: str, hint: str) -> ConfigurationError:
        return ConfigurationError(f"MCP server {name!r:.60}: {problem}", hint=hint)

    if not isinstance(name, str) or not _SERVER_NAME.fullmatch(name) or len(name) > 32:
        hint = "Use up to 32 letters, digits, hyphens and single underscores."
        raise refuse("its name is malformed.", hint)
    if isinstance(command, str) or not all(isinstance(each, str) for each in command):
        raise refuse("its command is not a list of texts.", 'Write command=["npx", "-y", "..."].')
    if bool(command) == bool(url):
        raise refuse("it needs either a command or a URL.", "Pass one of command= and url=.")
    if url and not url.startswith(("http://", "https://")):
        raise refuse(f"{url!r:.80} is not an HTTP URL.", "Write https://HOST/PATH.")
    if effect not in (*EFFECTS, ANNOTATED):
        allowed = ", ".join((*EFFECTS, ANNOTATED))
        raise refuse(f"its effect is {effect!r:.60}.", f"Use one of: {allowed}.")
    if isinstance(env, str) or not all(map(_VARIABLE.fullmatch, names := [*env])):
        hint = 'Write the names of environment variables: env=["API_TOKEN"].'
        raise refuse("env does not hold names of environment variables.", hint)
    if headers_from and not url:
        raise refuse("headers_from needs a URL.", "For a command, pass env=.")
    if isinstance(tools, str):
        raise refuse("tools is a text.", f"Write tools=[{tools!r:.40}].")
    server = ToolServer(
        name=name,
        command=tuple(command),
        url=url,
        tools=None if tools is None else tuple(tools),
        effect=effect,
        env=tuple(names),
        headers_from=tuple((headers_from or {}).items()),
        timeout_seconds=timeout,
        max_parallel=max_parallel,
        max_result_bytes=max_result_bytes,
        is_added=is_added,
    )
    check_limits(f"MCP server {name!r}", timeout, max_parallel, max_result_bytes)
    return server


def variables_of(server: ToolServer) -> list[str]:
    """Return the names of the environment variables that a server needs."""
    names = [*server.env]
    for _, source in server.headers_from:
        names += Template(source).get_identifiers() if "$" in source else [source]
    return names


def listing_of(server: ToolServer, found: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what ``kit.loaded`` holds of a server.

    Args:
        server: as declared.
        found: its tools, as `ToolSession.list_tools` returns them.

    Raises:
        NotFoundError: the server lacks a tool that its declaration names.
    """
    by_name = {each["name"]: each for each in found}
    for name in server.tools or ():
        if name not in by_name:
            msg = f"MCP server {server.name!r} has no tool {name!r:.80}."
            raise NotFoundError(msg, hint=suggestion(name, by_name))
    wanted = by_name if server.tools is None else server.tools
    tools: list[dict[str, Any]] = []
    for name in wanted:
        offered = _offered_name(server.name, name, {each["name"] for each in tools})
        tools.append({**by_name[name], "name": offered, "tool": name})
    return {"tools": tools, **({ADDED: True} if server.is_added else {})}


def _offered_name(server: str, tool: str, taken: set[str]) -> str:
    """Return the name by which a model calls a tool: every provider accepts it, and it is unique."""
    full = f"{server}{SEPARATOR}{tool}"
    name = _NOT_IN_NAMES.sub("_", full)
    if name == full and len(name) <= _LONGEST_NAME and name not in taken:
        return name
    digest = hashlib.sha256(full.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST_NAME - 9]}_{digest}"


def tools_in(listing: Any) -> list[dict[str, Any]]:
    """Return the tools of a listing as recorded; malformed ones are left out."""
    tools = listing.get("tools") if isinstance(listing, Mapping) else None
    return [
        each
        for each in (tools if isinstance(tools, list) else ())
        if isinstance(each, dict)
        and isinstance(each.get("name"), str)
        and isinstance(each.get("tool"), str)
        and isinstance(each.get("parameters"), dict)
    ]


def offered_tools(world: World, servers: Iterable[str]) -> list[dict[str, Any]]:
    """Return the tools of servers as requests hold them: what the ledger says they offer.

    Args:
        world: of the run.
        servers: by name; those that a person added to the run are offered, too.
    """
    wanted = set(servers)
    return [
        {key: tool.get(key, "") for key in ("name", "description", "parameters")}
        for name, listing in world.tool_servers.items()
        if name in wanted or (isinstance(listing, Mapping) and listing.get(ADDED) is True)
        for tool in tools_in(listing)
    ]


def served_tools(
    server: ToolServer, listing: Any, session: ToolSession | None = None
) -> dict[str, Tool]:
    """Return the tools of a server by the names that models see.

    Args:
        server: as declared.
        listing: what ``kit.loaded`` holds of it.
        session: makes the calls; without one, no call can be made.
    """
    return {each["name"]: _tool(server, each, session) for each in tools_in(listing)}


def _tool(server: ToolServer, listed: Mapping[str, Any], session: ToolSession | None) -> Tool:
    effect = _effect(server, listed.get("annotations"))

    async def call(arguments: dict[str, Any], context: ToolContext) -> Any:
        if session is None:
            msg = f"MCP server {server.name!r} is not connected."
            raise ToolFailed(msg)

        def request() -> Coroutine[Any, Any, Any]:
            return session.call(listed["tool"], arguments, context)

        try:
            try:
                return await _unless_ended(request(), server.name)
            except ServerGone as error:
                if effect == WRITE:
                    msg = f"{error} The call may have had its effect, so it was not repeated."
                    raise ServerGone(msg) from error
            return await _unless_ended(request(), server.name)
        except ConfigurationError as error:
            # Without its hint, which names the command: that must not be in a ledger.
            raise ToolFailed(error.message) from error

    check = schema_errors if session is None else session.problems
    return Tool(
        listed["name"],
        call,
        str(listed.get("description", "")),
        dict,
        {},
        takes_key=False,
        takes_world=False,
        timeout_seconds=server.timeout_seconds,
        max_parallel=server.max_parallel,
        max_result_bytes=server.max_result_bytes,
        effect=effect,
        parameters=listed["parameters"],
        problems=partial(check, listed["parameters"]),
        lane=f"{server.name}{SEPARATOR}",
    )


async def _unless_ended(request: Coroutine[Any, Any, Any], server: str) -> Any:
    """Return the result of a request; cancel it when the call is to end at once.

    Raises:
        ToolFailed: it was cancelled.
    """
    import asyncio

    must_end, task = end_of_call(), asyncio.ensure_future(request)
    try:
        while not (await asyncio.wait([task], timeout=_CHECK_SECONDS))[0]:
            if must_end():
                msg = f"The run was cancelled before MCP server {server!r} answered the call."
                raise ToolFailed(f"{msg} It may have had its effect.")
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=_CHECK_SECONDS)
        if task.done() and not task.cancelled():
            # Read, so that asyncio does not report it as lost.
            task.exception()
    return task.result()


def _effect(server: ToolServer, annotations: Any) -> str:
    if server.effect != ANNOTATED:
        return server.effect
    hints = annotations if isinstance(annotations, Mapping) else {}
    if hints.get("readOnlyHint") is True:
        return READ
    return IDEMPOTENT if hints.get("idempotentHint") is True else WRITE


def differences(listing: Any, found: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return how the tools of a server differ from those that were recorded, a line for each.

    Args:
        listing: what ``kit.loaded`` holds of the server.
        found: its tools now.
    """
    now = {each["name"]: each for each in found}
    changes = []
    for tool in tools_in(listing):
        name = tool["tool"]
        if name not in now:
            changes.append(f"{name} is missing")
            continue
        parts = [
            part
            for part in ("description", "parameters", "annotations")
            if (tool.get(part) or {}) != (now[name].get(part) or {})
        ]
        if parts:
            changes.append(f"{name} has changed: {_changes(tool, now[name], parts)}")
    return changes


def _changes(recorded: Mapping[str, Any], now: Mapping[str, Any], parts: Sequence[str]) -> str:
    if "parameters" not in parts:
        return ", ".join(f"its {each}" for each in parts)
    before, after = (each["parameters"].get("properties") or {} for each in (recorded, now))
    new = [f"new parameter {name}" for name in after if name not in before]
    gone = [f"no parameter {name}" for name in before if name not in after]
    other = [f"parameter {n}" for n in before if n in after and before[n] != after[n]]
    rest = [f"its {each}" for each in parts if each != "parameters"]
    return ", ".join([*new, *gone, *other, *rest]) or "its parameters"


#: ``open(server, environ)`` returns the session of a server without connecting to it.
OpenSession = Callable[[ToolServer, Mapping[str, str]], ToolSession]
