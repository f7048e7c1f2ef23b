"""What goes wrong with a provider.

KandoError
  ProviderError        a provider that cannot be opened, or cannot answer
    MissingKey           it needs a key, and there is none that may be used
    NotAllowed           the server does not let this key, or this model, be used
    RateLimited          the server wants fewer requests
    Overloaded           the server failed
    ProviderTimeout      the server was silent for too long (TimeoutError)
    Unreachable          there is no connection (ConnectionError)
    BadReply             an answer that is no answer: malformed, or cut off on its way
    RequestRejected      this one request is wrong; answered with an ``error``, never raised in a run

All but the last end a run in ``responder.failed``; what was asked stays open, and is asked again when
the run goes on.
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
    """A provider that cannot be opened, or cannot answer a request.

    Attributes:
        status: of the HTTP response, or None without one.
        attempts: how often it was asked, from 1.
        retry_after: seconds that the server asks to wait, or None.
        spent: ``usage`` and ``cost_usd`` as in an ``llm.response``, if the server told them before it
            went wrong; else None. It is charged.
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
    """A provider needs a key, and there is none that may be used."""

    code = "missing_key"


class NotAllowed(ProviderError):
    """The server does not let this key, or this model, be used."""

    code = "not_allowed"


class RateLimited(ProviderError):
    """The server wants fewer requests, and still did after all retries."""

    code = "rate_limited"


class Overloaded(ProviderError):
    """The server failed, and still did after all retries."""

    code = "overloaded"


class ProviderTimeout(ProviderError, TimeoutError):
    """The server was silent for too long."""

    code = "provider_timeout"


class Unreachable(ProviderError, ConnectionError):
    """There is no connection to the server."""

    code = "unreachable"


class BadReply(ProviderError):
    """An answer that is none: malformed, or cut off on its way."""

    code = "bad_reply"


class RequestRejected(ProviderError):
    """The server finds this one request wrong; asking again does not help."""

    code = "request_rejected"
