"""Errors of providers.

KandoError
  ProviderError        a provider cannot be opened, or cannot answer
    MissingKey           it needs a key, and has no usable one
    NotAllowed           the server does not accept this key, or denies this model
    RateLimited          the server received too many requests
    Overloaded           the server failed
    ProviderTimeout      the server was silent for too long (TimeoutError)
    Unreachable          the server cannot be connected to (ConnectionError)
    BadReply             an answer is malformed or incomplete
    RequestRejected      the server rejects this one request; recorded as ``error``, never raised in a run

All but the last end a run in ``responder.failed``; the request stays pending, and is sent again when
the run is resumed.
"""

from __future__ import annotations

from typing import Any, ClassVar

from kando.errors import KandoError

__all__ = [
    "BadReply",
    "MissingKey",
    "NotAllowed",
    "Overloaded",
    "ProviderError",
    "ProviderTimeout",
    "RateLimited",
    "RequestRejected",
    "Unreachable",
]


class ProviderError(KandoError):
    """A provider cannot be opened, or cannot answer a request.

    Attributes:
        status: of the HTTP response; None if there was none.
        attempts: how often the request was sent, from 1.
        retry_after: seconds to wait, as the server asks; or None.
        spent: ``usage`` and ``cost_usd`` as in an ``llm.response``, if the server reported them
            before the failure; else None. The run is charged for them.
    """

    code: ClassVar[str] = "provider"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        status: int | None = None,
        attempts: int = 1,
        retry_after: float | None = None,
        spent: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.attempts = attempts
        self.retry_after = retry_after
        self.spent = spent


class MissingKey(ProviderError):
    """A provider needs a key, and has no usable one."""

    code = "missing_key"


class NotAllowed(ProviderError):
    """The server does not accept this key, or denies this model."""

    code = "not_allowed"


class RateLimited(ProviderError):
    """The server received too many requests, even after all retries."""

    code = "rate_limited"


class Overloaded(ProviderError):
    """The server failed, even after all retries."""

    code = "overloaded"


class ProviderTimeout(ProviderError, TimeoutError):
    """The server was silent for too long."""

    code = "provider_timeout"


class Unreachable(ProviderError, ConnectionError):
    """The server cannot be connected to."""

    code = "unreachable"


class BadReply(ProviderError):
    """An answer is malformed or incomplete."""

    code = "bad_reply"


class RequestRejected(ProviderError):
    """The server rejects this one request; a retry does not help."""

    code = "request_rejected"
