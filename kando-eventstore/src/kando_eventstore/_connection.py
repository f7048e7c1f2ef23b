"""A connection that retries transient failures and raises clear errors for lasting ones."""

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

#: Timeout of one call, in seconds.
CALL_SECONDS = 10.0

#: Seconds in which a server confirms a subscription. A node that becomes the leader may drop the call
#: without an answer (every version before 26.0.3), and the client would wait for it for ever.
CONFIRM_SECONDS = 3.0

# Said by a node while the cluster elects its leader.
_NO_LEADER = "no leader info available"

# A restart of a node and an election take a few seconds; a wrong URL should be reported sooner.
_PATIENCE_SECONDS = 30.0
_FIRST_PATIENCE_SECONDS = 3.0

_TRANSIENT = (
    "ServiceUnavailable",
    "DeadlineExceeded",
    "NodeIsNotLeader",
    "DiscoveryFailed",
    "LeaderNotFound",
    "AbortedByServer",
    "Cancelled",
    "CancelledByClient",
    "Grpc",
)
_TOO_LARGE = ("MaximumAppendSizeExceeded", "RecordMaxSizeExceeded", "TransactionMaxSizeExceeded")
_DELETED = ("StreamIsDeleted", "StreamTombstoned")

# The clients pass on errors that they have no class for as text written by gRPC.
_STATUS = re.compile(r"status = StatusCode\.(\w+)")
_DETAILS = re.compile(r'details = "(.+)"')
_LASTING_STATUS = ("INVALID_ARGUMENT", "UNIMPLEMENTED", "OUT_OF_RANGE", "DATA_LOSS")


class Connection:
    """A connection to a server or cluster; it may be used from several threads.

    Args:
        url: see `connection_string`.
        patience: seconds for which a call is retried while the server does not answer.
        first_patience: the same, for the first call.
        confirm_seconds: after which a subscription that is not confirmed is opened again; twice as
            long after each attempt.

    Raises:
        ConfigurationError: the URL is malformed.
        StoreError: no client is installed.
    """

    def __init__(
        self,
        url: str,
        *,
        patience: float = _PATIENCE_SECONDS,
        first_patience: float = _FIRST_PATIENCE_SECONDS,
        confirm_seconds: float = CONFIRM_SECONDS,
    ) -> None:
        self.library: ClientLibrary = client_library()
        #: The URL without user and password.
        self.display_url = redact_url(url)
        self._url, self._string = url, connection_string(url)
        self._patience, self._first_patience = patience, first_patience
        self._confirm_seconds = confirm_seconds
        self._client: Any = None
        self._clones: list[Connection] = []
        self._is_closed = self._has_answered = False
        self._lock = threading.Lock()
        error = self.library.error
        self._transient = tuple(map(error, _TRANSIENT))
        self._too_large = tuple(map(error, _TOO_LARGE))
        self._deleted = tuple(map(error, _DELETED))
        self._passed_on = tuple(map(error, ("WrongCurrentVersion", "NotFound", "AlreadyExists")))
        #: Raised by `call` if a stream is not at the expected revision.
        self.wrong_version = error("WrongCurrentVersion")
        #: Raised by `call` if a stream or a group does not exist.
        self.not_found = error("NotFound")
        #: Raised by `call` if a group already exists.
        self.already_exists = error("AlreadyExists")

    def clone(self) -> Connection:
        """Return a new connection to the same server, which is closed with this one.

        A subscription needs its own connection: a client that reconnects ends its subscriptions,
        and one that another thread opens at that moment may fail with any error.
        """
        patience = {
            "patience": self._patience,
            "first_patience": self._first_patience,
            "confirm_seconds": self._confirm_seconds,
        }
        self._clones.append(Connection(self._url, **patience))
        return self._clones[-1]

    def reopened(self) -> Connection:
        """Return a new connection to the same server; the caller closes it."""
        return Connection(self._url)

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._is_closed

    def call(self, action: Callable[[Any], Answer], *, right: str = "") -> Answer:
        """Call `action` with the client and return its result; retry while the server is silent.

        An append must therefore fix the ids of its events in advance: a server that already has
        them answers as it did the first time (https://docs.kurrent.io/server/ on idempotent appends).

        Args:
            action: makes one call; it must have a deadline (`CALL_SECONDS`).
            right: that the user needs, for the message if the server denies access.

        Raises:
            wrong_version, not_found, already_exists: as the server reports.
            StoreError: the server does not answer, or rejects the call.
            StoreDamaged: a stream was deleted permanently.
            PayloadTooLarge: the server rejects the size of an append.
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
                # The clients raise this on a channel that was closed in the meantime.
                if "channel" not in str(error).lower():
                    raise
                failure: Exception = error
            except KeyError as error:
                # The older client raises this if a node names no leader.
                if not str(error.args[0]).startswith("leader-endpoint"):
                    raise
                failure = error
            except self.library.base_error as error:
                self._raise_if_lasting(error, right)
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

    def subscribe(self, action: Callable[[Any], Answer], *, right: str = "") -> Answer:
        """Call `action`, which opens a subscription, and call it again if it is not confirmed in time.

        The connection should be used for nothing else: its client is replaced (see `clone`).

        Args:
            action: returns when the server has confirmed the subscription.
            right: see `call`.

        Raises:
            StoreError: as for `call`.
        """

        seconds = self._confirm_seconds

        def watched(client: Any) -> Answer:
            nonlocal seconds
            confirmed = threading.Event()
            watchdog = threading.Thread(
                target=self._watch, args=(client, confirmed, seconds), daemon=True
            )
            # The server may be slow.
            seconds = min(2 * seconds, _PATIENCE_SECONDS)
            watchdog.start()
            try:
                return action(client)
            finally:
                confirmed.set()

        return self.call(watched, right=right)

    def _watch(self, client: Any, confirmed: threading.Event, seconds: float) -> None:
        """Close a client until its subscription is confirmed or fails; the next call opens another."""
        while not confirmed.wait(seconds):
            with self._lock:
                if self._client is client:
                    self._client = None
            client.close()
            # A client that is closed opens another channel for its own retry, and closes itself once.
            channel = getattr(client, "_connection", None)
            if channel is not None:
                channel.close()

    def client(self) -> Any:
        """Return the client, which connects on first use."""
        with self._lock:
            self._refuse_if_closed()
            if self._client is None:
                try:
                    self._client = self.library.connect(self._string, CALL_SECONDS)
                except (ValueError, OSError) as error:
                    raise self._options_error(error) from None
            return self._client

    def _options_error(self, error: Exception) -> ConfigurationError:
        # The client's own message repeats the URL with its password.
        if isinstance(error, OSError) and error.filename:
            msg = f"{self.display_url}: {error.filename} cannot be read ({error.strerror})."
            return ConfigurationError(msg, hint="Name a PEM file, as in ?TlsCaFile=PATH.")
        msg = (
            f"{self.display_url}: {self.library.name} rejects its options ({type(error).__name__})."
        )
        hint = "Use options of its connection strings, such as TlsCaFile."
        return ConfigurationError(msg, hint=hint)

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            msg = f"The connection to {self.display_url} is closed."
            raise StoreError(msg, hint="Open a new one.")

    def _raise_if_lasting(self, error: Exception, right: str) -> None:
        """Raise Kando's error for a failure, unless it may be transient."""
        if isinstance(error, self.library.error("SSL")):
            msg = f"{self.display_url}: a TLS connection failed ({_brief(error)})."
            hint = "Name its authority with ?TlsCaFile=PATH; for a server without TLS, use http://."
            raise StoreError(msg, hint=hint) from error
        status = _match(_STATUS, error)
        if isinstance(error, self._too_large) or "maximum append size" in str(error).lower():
            msg = f"{self.display_url} rejects an append of this size."
            hint = "Raise the server's MaxAppendSize, or record less at once."
            raise PayloadTooLarge(msg, hint=hint) from error
        is_denied = isinstance(error, self.library.error("AccessDenied"))
        is_denied = is_denied or status == "PERMISSION_DENIED"
        is_unknown = isinstance(error, self.library.error("Unauthenticated"))
        if is_denied or is_unknown or status == "UNAUTHENTICATED":
            lack = f": the user lacks {right}" if is_denied and right else ""
            msg = f"{self.display_url} denies access{lack}."
            raise StoreError(msg, hint="Check the user, the password and the user's permissions.")
        if self._says_deleted(error):
            msg = f"{self.display_url}: a stream was deleted permanently ({_brief(error)})."
            raise StoreDamaged(msg, hint="Restore it from a backup.") from error
        # The clients raise a bare base error if a call ends without an answer.
        is_transient = isinstance(error, self._transient) or type(error) is self.library.base_error
        is_transient = is_transient or _NO_LEADER in str(error).lower()
        if status in _LASTING_STATUS or not is_transient:
            msg = f"{self.display_url} rejects the call: {type(error).__name__}: {_brief(error)}."
            raise StoreError(msg, hint="See the server's log.") from error

    def is_of_deleted_stream(self, error: StoreDamaged) -> bool:
        """Whether `call` raised an error because a stream was deleted permanently."""
        return self._says_deleted(error.__cause__)

    def _says_deleted(self, error: BaseException | None) -> bool:
        return isinstance(error, self._deleted) or "is deleted" in str(error)

    def _unreachable(self, error: Exception, seconds: float) -> StoreError:
        msg = f"{self.display_url} did not answer for {seconds:g} s ({_brief(error)})."
        hint = (
            "Check that it is running: one with EVENTSTORE_URL in its own environment does not start. "
            "Use http:// for a server without TLS, https:// with TLS."
        )
        return StoreError(msg, hint=hint)

    def _follow_leader(self, error: Exception) -> None:
        """Reconnect to the leader, if this node's answer names it."""
        try:
            target = getattr(error, "leader_grpc_target", None)
        except KeyError:
            # The older client raises this if the answer names no leader.
            return
        host, port = getattr(error, "host", None), getattr(error, "port", None)
        if target is None and host and port:
            target = f"{host}:{port}"
        if isinstance(error, self.library.error("NodeIsNotLeader")) and target is not None:
            try:
                self.client().reconnect(target)
            except self.library.base_error:
                # The leader does not answer yet; the next attempt looks for it again.
                return

    def close(self) -> None:
        """Close the connection. Closing twice is harmless."""
        while self._clones:
            self._clones.pop().close()
        with self._lock:
            self._is_closed = True
            if self._client is not None:
                self._client.close()
                self._client = None


def _match(pattern: re.Pattern[str], error: Exception) -> str:
    found = pattern.search(str(error))
    return found[1] if found else ""


def _brief(error: Exception) -> str:
    """Return an error's message in one line, without gRPC's additions."""
    lines = (_match(_DETAILS, error) or str(error)).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".")
