"""Errors of providers; the base class and those that any provider may cause are in `kando.errors`.

KandoError
  ProviderError        a provider cannot be opened, or cannot answer
    MissingKey           it needs a key, and has no usable one
    NotAllowed           the server does not accept the key, the model, or a setting
    RateLimited          the server received too many requests
    Overloaded           the server failed
    ProviderTimeout      the server was silent for too long (TimeoutError)
    Unreachable          the server cannot be connected to (ConnectionError)
    BadReply             an answer is malformed, incomplete, or marked as broken
    RequestRejected      one request cannot be sent, or is rejected; recorded as ``error``, never raised in a run
      UnsupportedContent   it has an image or a file that the model does not take
      ContextOverflow      it is longer than the model can read

All but the last three end a run in ``responder.failed``; the request stays pending, and is sent again when
the run is resumed.
"""

from __future__ import annotations

from kando.errors import (
    BadReply,
    ContextOverflow,
    ProviderError,
    RequestRejected,
    UnsupportedContent,
)

__all__ = [
    "BadReply",
    "ContextOverflow",
    "MissingKey",
    "NotAllowed",
    "Overloaded",
    "ProviderError",
    "ProviderTimeout",
    "RateLimited",
    "RequestRejected",
    "Unreachable",
    "UnsupportedContent",
]


class MissingKey(ProviderError):
    """A provider needs a key, and has no usable one."""

    code = "missing_key"


class NotAllowed(ProviderError):
    """The server does not accept the key, the model, or a setting such as an option or a tool's name."""

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
