"""One interface to two clients: kurrentdbclient and its predecessor esdbclient."""

from __future__ import annotations

import atexit
import gc
import ipaddress
import threading
import time
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Any
from urllib.parse import unquote

import attrs

from kando.errors import StoreError

__all__ = ["ClientLibrary", "client_library"]

# In order of preference. Both register the same protobuf package, so a process that imports one
# can never import the other: the second is tried only if the first is not installed.
_LIBRARIES = (
    ("kurrentdbclient", "KurrentDBClient", "KurrentDBClientError", "protos.v1"),
    ("esdbclient", "EventStoreDBClient", "EventStoreDBClientException", "protos.Grpc"),
)

# Pings on a connection with calls in flight, and the time for their answers: a subscription has no
# deadline, and would wait for ever for a server that has disappeared. Options of a URL come first.
_KEEP_ALIVE_SECONDS = 10.0

# How long the end of the process waits for threads of gRPC.
_EXIT_SECONDS = 5.0


@attrs.frozen
class ClientLibrary:
    """The parts of the installed client that Kando uses.

    Attributes:
        name: of the distribution.
        version: of the distribution.
        client: class of the client; takes a connection string.
        base_error: base class of its errors.
        new_event: class of an event to append.
        stream_state: enumeration with ``NO_STREAM`` and ``ANY``.
    """

    name: str
    version: str
    client: Any
    base_error: type[Exception]
    new_event: Any
    stream_state: Any
    _errors: Any
    _protocol: str

    def connect(self, string: str, timeout: float) -> Any:
        """Return a client for a connection string.

        It differs from the client of the library: a percent-encoded user and password are decoded, a
        connection that does not answer pings is closed, and a proxy of the environment is not used
        for a server on this machine.

        Args:
            string: see `kando_eventstore._url.connection_string`.
            timeout: seconds for the call with which a client checks a new connection.

        Raises:
            ValueError: the string is malformed.
            OSError: a file that it names cannot be read.
        """
        encoded = self.client.construct_call_credentials

        def decoded(client: Any, user: str | None, password: str | None) -> Any:
            return encoded(client, user and unquote(user), password and unquote(password))

        channel = self.client._construct_grpc_channel

        def tuned(client: Any, target: str, options: tuple[Any, ...] = ()) -> Any:
            given = {name for name, _ in (*client.grpc_options, *options)}
            more = [each for each in _channel_options(target) if each[0] not in given]
            return channel(client, target, (*options, *more))

        overridden = {"construct_call_credentials": decoded, "_construct_grpc_channel": tuned}
        # Only the newer client has this method, which its `reconnect` calls.
        check = getattr(self.client, "_get_commit_position", None)
        if check is not None:

            def limited(client: Any, **how: Any) -> Any:
                return check(client, **{"timeout": timeout} | how)

            overridden["_get_commit_position"] = limited
        return type(self.client.__name__, (self.client,), overridden)(string)

    def error(self, name: str) -> type[Exception]:
        """Return the class of an error by the part of its name that both clients share.

        Args:
            name: such as ``WrongCurrentVersion``, for ``WrongCurrentVersionError`` of the newer
                client.

        Returns:
            A class that is never raised, if this client lacks the error.
        """
        for candidate in (f"{name}Error", name):
            found = getattr(self._errors, candidate, None)
            if found is not None:
                known: type[Exception] = found
                return known
        return _NeverRaised

    def protocol(self, name: str) -> Any:
        """Return a module of the protocol, such as ``streams_pb2`` or ``streams_pb2_grpc``."""
        return import_module(f"{self._protocol}.{name}")


def _channel_options(target: str) -> list[tuple[str, int]]:
    """Return options of the channel to a server, by their names in gRPC."""
    milliseconds = int(_KEEP_ALIVE_SECONDS * 1000)
    options = [
        ("grpc.keepalive_time_ms", milliseconds),
        ("grpc.keepalive_timeout_ms", milliseconds),
        # Newer versions of gRPC wait for this time instead, a minute by default.
        ("grpc.http2.ping_timeout_ms", milliseconds),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    if _is_loopback(target):
        options.append(("grpc.enable_http_proxy", 0))
    return options


def _is_loopback(target: str) -> bool:
    """Whether a target, ``HOST:PORT``, is on this machine."""
    host = target.rpartition(":")[0].strip("[]").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _await_threads() -> None:
    """Wait until gRPC's threads have ended, at the end of a process that has closed its clients.

    A thread that is frozen by the end of the interpreter keeps its locks, and an object that is
    deleted later, and needs one of them, would wait for ever.
    """
    gc.collect()
    deadline = time.monotonic() + _EXIT_SECONDS
    for thread in threading.enumerate():
        # gRPC names them after their function.
        if thread.daemon and thread.name.endswith("(_run)"):
            thread.join(max(deadline - time.monotonic(), 0))
    gc.collect()


class _NeverRaised(Exception):
    """Placeholder for an error that the installed client lacks."""


@cache
def client_library() -> ClientLibrary:
    """Return the installed client; kurrentdbclient if both are installed.

    Raises:
        StoreError: neither is installed.
    """
    for name, client, base_error, protocol in _LIBRARIES:
        try:
            package = import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            continue
        errors = import_module(f"{name}.exceptions")
        atexit.register(_await_threads)
        return ClientLibrary(
            name,
            version(name),
            getattr(package, client),
            getattr(errors, base_error),
            package.NewEvent,
            package.StreamState,
            errors,
            f"{name}.{protocol}",
        )
    msg = "No client for EventStoreDB or KurrentDB is installed."
    raise StoreError(msg, hint="pip install 'kando-eventstore[kurrent]'")
