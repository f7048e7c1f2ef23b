"""One interface to two clients: kurrentdbclient and its predecessor esdbclient."""

from __future__ import annotations

import atexit
import gc
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

    def connect(self, string: str) -> Any:
        """Return a client for a connection string.

        Neither client decodes a percent-encoded user and password, so this method does.

        Raises:
            ValueError: the string is malformed.
            OSError: a file that it names cannot be read.
        """
        encoded = self.client.construct_call_credentials

        def decoded(client: Any, user: str | None, password: str | None) -> Any:
            return encoded(client, user and unquote(user), password and unquote(password))

        overridden = {"construct_call_credentials": decoded}
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
