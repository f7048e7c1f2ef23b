"""A connection that waits out what passes, and says clearly what does not."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from kando.errors import ConfigurationError, PayloadTooLarge, StoreDamaged, StoreError
from kando.ledger.urls import redact_url
from kando_eventstore._client import ClientLibrary, client_library
from kando_eventstore._url import connection_string

__all__ = ["CALL_SECONDS", "Connection"]

Answer = TypeVar("Answer")

#: Seconds after which one call counts as lost.
CALL_SECONDS = 10.0

# A restart of a node and an election take a few seconds; a wrong URL should be told sooner.
_PATIENCE_SECONDS = 30.0
_FIRST_PATIENCE_SECONDS = 3.0

_TRANSIENT = (
    "ServiceUnavailable",
    "DeadlineExceeded",
    "NodeIsNotLeader",
    "DiscoveryFailed",
    "AbortedByServer",
    "Cancelled",
    "Grpc",
)
_TOO_LARGE = ("MaximumAppendSizeExceeded", "RecordMaxSizeExceeded", "TransactionMaxSizeExceeded")
_DENIED = ("AccessDenied", "Unauthenticated")
_DELETED = ("StreamIsDeleted", "StreamTombstoned")

# What a client has no class for it passes on as gRPC wrote it.
_STATUS = re.compile(r"status = StatusCode\.(\w+)")
_DETAILS = re.compile(r'details = "(.+)"')
_DENIED_STATUS = ("UNAUTHENTICATED", "PERMISSION_DENIED")
_LASTING_STATUS = ("INVALID_ARGUMENT", "UNIMPLEMENTED", "OUT_OF_RANGE", "DATA_LOSS")


class Connection:
    """A connection to a server or cluster; it may be used from several threads.

    Args:
        url: see `connection_string`.
        patience: seconds for which a call is tried again while nobody answers.
        first_patience: the same, for the first call of all.

    Raises:
        ConfigurationError: the URL is none.
        StoreError: no client is installed.
    """

    def __init__(
        self,
        url: str,
        *,
        patience: float = _PATIENCE_SECONDS,
        first_patience: float = _FIRST_PATIENCE_SECONDS,
    ) -> None:
        self.library: ClientLibrary = client_library()
        self.where = redact_url(url)
        self._url, self._string = url, connection_string(url)
        self._patience, self._first_patience = patience, first_patience
        self._client: Any = None
        self._others: list[Connection] = []
        self._is_closed = self._has_answered = False
        self._lock = threading.Lock()
        error = self.library.error
        self._transient = tuple(map(error, _TRANSIENT))
        self._too_large = tuple(map(error, _TOO_LARGE))
        self._denied = tuple(map(error, _DENIED))
        self._deleted = tuple(map(error, _DELETED))
        self._passed_on = tuple(map(error, ("WrongCurrentVersion", "NotFound", "AlreadyExists")))
        #: Raised by `call` when a stream is not where a writer expects it.
        self.wrong_version = error("WrongCurrentVersion")
        #: Raised by `call` when a stream or a group is not there.
        self.not_found = error("NotFound")
        #: Raised by `call` when a group is there already.
        self.already_exists = error("AlreadyExists")

    def another(self) -> Connection:
        """Return a new connection to the same place, which is closed with this one.

        For whoever follows a subscription: a client that connects anew ends those it has, and one
        that another thread opens at that moment fails in ways of its own.
        """
        patience = {"patience": self._patience, "first_patience": self._first_patience}
        self._others.append(Connection(self._url, **patience))
        return self._others[-1]

    def call(self, action: Callable[[Any], Answer]) -> Answer:
        """Return what `action` returns, given the client; it is tried again while nobody answers.

        So an append must carry its events' ids with it: a server that has them answers as if it
        were the first time (https://docs.kurrent.io/server/ on idempotent appends).

        Raises:
            wrong_version, not_found, already_exists: as the server says.
            StoreError: it does not answer, or refuses.
            StoreDamaged: a stream was deleted for good.
            PayloadTooLarge: it refuses the size of an append.
        """
        patience = self._patience if self._has_answered else self._first_patience
        deadline = time.monotonic() + patience
        wait = 0.05
        while True:
            try:
                answer = action(self.client())
            except self._passed_on:
                self._has_answered = True
                raise
            except ValueError as error:
                # What the clients raise on a channel that was closed meanwhile.
                if "channel" not in str(error).lower():
                    raise
                failure: Exception = error
            except self.library.base_error as error:
                self._refuse_for_good(error)
                failure = error
            else:
                self._has_answered = True
                return answer
            self._refuse_if_closed()
            if time.monotonic() > deadline:
                raise self._unreachable(failure, patience) from failure
            self._follow_leader(failure)
            time.sleep(wait)
            wait = min(wait * 2, 1.0)

    def client(self) -> Any:
        """Return the client, connected when first asked for."""
        with self._lock:
            self._refuse_if_closed()
            if self._client is None:
                try:
                    self._client = self.library.connect(self._string)
                except (ValueError, OSError) as error:
                    raise self._refused(error) from None
            return self._client

    def _refused(self, error: Exception) -> ConfigurationError:
        # The client's own message repeats the URL with its password.
        if isinstance(error, OSError) and error.filename:
            msg = f"{self.where}: {error.filename} cannot be read ({error.strerror})."
            return ConfigurationError(msg, hint="Name a file in PEM, as in ?TlsCaFile=PATH.")
        msg = f"{self.where}: {self.library.name} refuses its options ({type(error).__name__})."
        hint = "Use the options of its connection strings, such as TlsCaFile."
        return ConfigurationError(msg, hint=hint)

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            msg = f"The connection to {self.where} is closed."
            raise StoreError(msg, hint="Open it anew.")

    def _refuse_for_good(self, error: Exception) -> None:
        """Raise what an error means, unless it may pass."""
        if isinstance(error, self.library.error("SSL")):
            msg = f"{self.where}: no TLS connection can be made ({_brief(error)})."
            hint = "Name the authority with ?TlsCaFile=PATH; for a server without TLS say http://."
            raise StoreError(msg, hint=hint) from error
        status = _told(_STATUS, error)
        if isinstance(error, self._too_large) or "maximum append size" in str(error).lower():
            msg = f"{self.where} refuses an append of this size."
            hint = "Raise MaxAppendSize of the server, or record less at once."
            raise PayloadTooLarge(msg, hint=hint) from error
        if isinstance(error, self._denied) or status in _DENIED_STATUS:
            msg = f"{self.where} denies access."
            raise StoreError(msg, hint="Check user and password, and the rights of the user.")
        if isinstance(error, self._deleted) or "is deleted" in str(error):
            msg = f"{self.where}: a stream was deleted for good ({_brief(error)})."
            raise StoreDamaged(msg, hint="Restore it from a backup.") from error
        # A bare base error is what the clients raise when a call ends without an answer.
        may_pass = isinstance(error, self._transient) or type(error) is self.library.base_error
        if status in _LASTING_STATUS or not may_pass:
            msg = f"{self.where} refuses: {type(error).__name__}: {_brief(error)}."
            raise StoreError(msg, hint="The server's log says more.") from error

    def _unreachable(self, error: Exception, seconds: float) -> StoreError:
        msg = f"{self.where} did not answer for {seconds:g} s ({_brief(error)})."
        hint = "Is it running there? http:// is for servers without TLS, https:// for those with."
        return StoreError(msg, hint=hint)

    def _follow_leader(self, error: Exception) -> None:
        """Ask the node that leads, if the one that was asked says who that is."""
        target = getattr(error, "leader_grpc_target", None)
        host, port = getattr(error, "host", None), getattr(error, "port", None)
        if target is None and host and port:
            target = f"{host}:{port}"
        if isinstance(error, self.library.error("NodeIsNotLeader")) and target is not None:
            try:
                self.client().reconnect(target)
            except self.library.base_error:
                # It does not answer yet; the next attempt finds out anew.
                return

    def close(self) -> None:
        """Close the connection. Closing twice is harmless."""
        for other in self._others:
            other.close()
        with self._lock:
            self._is_closed = True
            if self._client is not None:
                self._client.close()
                self._client = None


def _told(pattern: re.Pattern[str], error: Exception) -> str:
    found = pattern.search(str(error))
    return found[1] if found else ""


def _brief(error: Exception) -> str:
    """Return what an error says in one line, without what gRPC adds."""
    lines = (_told(_DETAILS, error) or str(error)).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".")
