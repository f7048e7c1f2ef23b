"""The tool servers of runs: which a run has, what they offer, and the open sessions."""

from __future__ import annotations

import shlex
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from kando.errors import ConfigurationError
from kando.plugins import Offered, ToolProtocolSpec, UnknownPlugin
from kando.responders.event_loop import awaited
from kando.responders.tool_servers import (
    ToolServer,
    ToolSession,
    differences,
    listing_of,
    served_tools,
    tool_server,
    variables_of,
)
from kando.settings import MCP, value_of
from kando.views.kit import ADDED, recorded_servers

if TYPE_CHECKING:
    from kando.app.context import Context
    from kando.kit import Kit
    from kando.responders.base import Responder
    from kando.responders.tool_context import ToolContext
    from kando.views.choices import Choices

__all__ = ["GivenServers", "Servers", "ToolServers", "responders_of", "servers_of"]

#: Servers that a person adds to a run, by name: a command, a URL, or the arguments of `Kit.mcp`.
GivenServers = Mapping[str, str | Sequence[str] | Mapping[str, Any]]


@attrs.frozen
class Servers:
    """The tool servers of a run.

    Attributes:
        by_name: how to connect to each.
        listings: what each offers, as ``kit.loaded`` holds it.
    """

    by_name: dict[str, ToolServer] = attrs.field(factory=dict)
    listings: dict[str, Any] = attrs.field(factory=dict)


class ToolServers:
    """The open sessions of a store: one for each server, shared by the runs that work at once.

    Args:
        context: the plugins and the settings.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sessions: dict[ToolServer, ToolSession] = {}
        self._users = 0
        self._lock = threading.Lock()
        #: Those that a person has given for runs of this store.
        self.given: dict[str, ToolServer] = {}

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Close the sessions at the end of the block, unless another block uses them."""
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                ended = [*self._sessions.values()] if self._users == 0 else []
                if ended:
                    self._sessions = {}
            _close(ended)

    def close(self) -> None:
        """Close the sessions that no block has closed."""
        with self._lock:
            ended, self._sessions = [*self._sessions.values()], {}
        _close(ended)

    def give(self, servers: GivenServers) -> dict[str, ToolServer]:
        """Remember how a person says that servers are reached, and return them.

        Raises:
            ConfigurationError: one of them is malformed.
        """
        given = {name: _given_server(name, how) for name, how in servers.items()}
        self.given.update(given)
        return given

    def session(self, server: ToolServer) -> ToolSession:
        """Return the session of a server; it connects when it is first needed.

        Raises:
            ConfigurationError: no installed plugin speaks its protocol.
        """
        with self._lock:
            if server not in self._sessions:
                self._sessions[server] = self._opened(server)
            return self._sessions[server]

    def _opened(self, server: ToolServer) -> ToolSession:
        opener: Any = self._context.plugins.resolve(self._protocol_of(server))
        session: ToolSession = opener(server, self._context.environ)
        return session

    def _protocol_of(self, server: ToolServer) -> Offered[ToolProtocolSpec]:
        try:
            return self._context.plugins.tool_protocol(server.protocol)
        except UnknownPlugin as error:
            msg = f"MCP server {server.name!r} needs kando-mcp, which is not installed."
            raise ConfigurationError(msg, hint="pip install kando-mcp") from error

    def require(self, server: ToolServer) -> None:
        """Check what can be checked of a server without connecting to it.

        Raises:
            ConfigurationError: no installed plugin speaks its protocol, its command does not exist,
                or a variable that it needs is not set.
        """
        self._protocol_of(server)
        for name in variables_of(server):
            if name not in self._context.environ:
                msg = f"MCP server {server.name!r} needs {name}, which is not set."
                raise ConfigurationError(msg, hint=f"Set the environment variable {name}.")
        if server.command and shutil.which(server.command[0]) is None:
            command = server.command[0]
            msg = f"MCP server {server.name!r} cannot be started: there is no command {command!r}."
            raise ConfigurationError(msg, hint="Install it, or correct its path.")

    def listing(self, server: ToolServer) -> dict[str, Any]:
        """Ask a server for its tools, and return them as ``kit.loaded`` holds them.

        Raises:
            ConfigurationError: the server cannot be started or reached.
            NotFoundError: it lacks a tool that its declaration names.
        """
        with self._context.activities.step(f"list the tools of {server.name}"):
            return listing_of(server, awaited(self.session(server).list_tools()))


@attrs.define(eq=False)
class _Checked:
    """A session whose tools are compared with the recorded ones each time that it has connected."""

    server: ToolServer
    listing: Any
    sessions: ToolServers
    _found: Any = attrs.field(default=None, init=False)
    _changes: list[str] = attrs.field(factory=list, init=False)

    @property
    def session(self) -> ToolSession:
        """The session; looked up when it is needed, since its library is slow to import."""
        return self.sessions.session(self.server)

    async def list_tools(self) -> Sequence[Mapping[str, Any]]:
        return await self.session.list_tools()

    async def call(self, tool: str, arguments: dict[str, Any], context: ToolContext) -> Any:
        found = await self.session.list_tools()
        if found is not self._found:
            self._found = found
            self._report(found)
        return await self.session.call(tool, arguments, context)

    def problems(self, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
        return self.session.problems(parameters, arguments)

    async def close(self) -> None:
        await self.session.close()

    def _report(self, found: Sequence[Mapping[str, Any]]) -> None:
        changes = differences(self.listing, found)
        if changes and changes != self._changes:
            self._changes = changes
            from kando.app.observers import warn_always

            said = f"MCP server {self.server.name} has changed since the run recorded its tools"
            warn_always([f"{said}: {'; '.join(changes)}. The run keeps those that it recorded."])


def _close(sessions: Sequence[ToolSession]) -> None:
    for session in sessions:
        awaited(session.close())


def _given_server(name: str, how: Any) -> ToolServer:
    if isinstance(how, ToolServer):
        return attrs.evolve(how, name=name, is_added=True)
    if isinstance(how, str):
        if how.startswith(("http://", "https://")):
            return tool_server(name, url=how, is_added=True)
        try:
            return tool_server(name, command=shlex.split(how), is_added=True)
        except ValueError as error:
            msg = f"MCP server {name!r:.60}: its command is malformed: {error}."
            raise ConfigurationError(msg, hint="Quote it as in a shell.") from error
    if isinstance(how, Mapping):
        try:
            return tool_server(name, **how, is_added=True)
        except TypeError as error:
            msg = f"MCP server {name!r:.60}: {error}."
            raise ConfigurationError(msg, hint="Use the arguments of kit.mcp.") from error
    return tool_server(name, command=how, is_added=True)


def servers_of(
    context: Context,
    kit: Kit,
    chosen: Choices | None,
    given: Mapping[str, ToolServer] | None = None,
) -> Servers:
    """Return the tool servers of a run that is to be worked on.

    A server whose tools the ledger does not hold yet is asked for them. Those that are recorded
    stay the same until another version of the kit works on the run.

    Args:
        context: the plugins and the settings.
        kit: that works on the run.
        chosen: the choices for the run; None for a new one.
        given: servers that a person adds to the run now.

    Raises:
        ConfigurationError: a server cannot be started or reached; one that was added to the run is
            not given again; or no responder of the kit takes tools of added servers.
    """
    loaded = chosen.kit if chosen is not None else None
    recorded = recorded_servers(loaded)
    added = {name for name, each in recorded.items() if each.get(ADDED) is True} | {*(given or ())}
    by_name = {**kit.tool_servers}
    for name in sorted(added):
        if name in kit.tool_servers:
            msg = f"Kit {kit.name!r} declares MCP server {name!r} itself."
            raise ConfigurationError(msg, hint="Give the added server another name.")
        by_name[name] = _added_server(context, name, chosen, given or {})
    if added and not kit.takes_added_servers():
        msg = f"No llm_responder of kit {kit.name!r} has tools, so it takes no added MCP server."
        raise ConfigurationError(msg, hint="Declare tools= of an llm_responder.")
    for server in by_name.values():
        context.tool_servers.require(server)
    same = ("name", "version", "distribution")
    is_same = loaded is not None and all(loaded.get(e) == getattr(kit, e) for e in same)
    listings = {
        name: recorded[name]
        if is_same and name in recorded
        else context.tool_servers.listing(server)
        for name, server in by_name.items()
    }
    return Servers(by_name, listings)


def _added_server(
    context: Context, name: str, chosen: Choices | None, given: Mapping[str, ToolServer]
) -> ToolServer:
    """Return how to connect to a server that a person has added: a ledger must not choose that."""
    found = given.get(name) or context.tool_servers.given.get(name)
    if found is not None:
        return found
    configured = value_of(MCP, context.environ)
    is_imported = chosen is not None and chosen.is_imported
    if name in configured and not is_imported:
        return _given_server(name, configured[name])
    where = "was imported and uses" if is_imported else "uses"
    msg = f"The run {where} MCP server {name!r:.60}, whose command is not in its ledger."
    hint = f"Give it again: --mcp {name}=COMMAND, or mcp.{name} in your kando.toml."
    raise ConfigurationError(msg, hint=hint)


def responders_of(
    kit: Kit,
    loaded: Mapping[str, Any] | None,
    settings: Mapping[str, Any] | None = None,
    *,
    servers: Servers | None = None,
    sessions: ToolServers | None = None,
) -> list[Responder]:
    """Return the responders of a kit for a run, which know the tools of its servers.

    Args:
        kit: of the run.
        loaded: data of its last ``kit.loaded``, or None.
        settings: of the run.
        servers: as `servers_of` returns them; without them, no call can be made.
        sessions: make the calls.
    """
    listings = servers.listings if servers is not None else recorded_servers(loaded)
    tools = {}
    for name, listing in listings.items():
        server = (servers.by_name if servers is not None else kit.tool_servers).get(name)
        server = server or ToolServer(name=name, is_added=True)
        session = _Checked(server, listing, sessions) if sessions else None
        tools.update(served_tools(server, listing, session))
    return kit.create(settings, tools=tools)
