"""From what an SDK raises to what Kando says: which error, with which cure, and without keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kando_llm.errors import (
    BadReply,
    NotAllowed,
    Overloaded,
    ProviderError,
    ProviderTimeout,
    RateLimited,
    RequestRejected,
    Unreachable,
)
from kando_llm.live_provider import Connection

__all__ = ["bad_reply", "broken_off", "provider_error"]

_GO_ON = "What was asked stays open, and is asked again when the run goes on."
_MAX_CHARS = 500

# What servers call a fault of the account or the settings, whatever the status.
_NOT_OF_THE_REQUEST = (
    "billing_error",
    "insufficient_quota",
    "model_not_found",
    "credit balance",
    "invalid_api_key",
)
# The type of an error that comes in the middle of a stream, whose status was 200.
_STATUS_OF_TYPE = {
    "overloaded_error": 529,
    "rate_limit_error": 429,
    "api_error": 500,
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "timeout_error": 504,
}


def provider_error(error: Exception, sdk: Any, connection: Connection) -> ProviderError:
    """Return the error to raise for what an SDK raised.

    It holds nothing of the other: an SDK's errors carry whole requests, and with them keys.

    Args:
        error: what the SDK raised.
        sdk: the module ``anthropic`` or ``openai``: their errors have the same names.
        connection: to the server.
    """
    who = connection.server.provider
    attempts = _attempts(error)
    times = f" after {attempts} attempts" if attempts > 1 else ""
    if isinstance(error, sdk.APIStatusError):
        return _of_status(error, connection, attempts, times)
    if isinstance(error, sdk.APIConnectionError) and not _is_timeout(error):
        where = connection.scrubber.text(connection.endpoint.base_url)
        msg = f"{who} cannot be reached at {where}{times}: {_reason(error)}."
        return Unreachable(msg, hint=_GO_ON, attempts=attempts)
    if isinstance(error, sdk.APIError) and isinstance(error.body, Mapping):
        return _of_status(error, connection, attempts, times)
    return broken_off(error, connection, attempts)


def broken_off(error: Exception, connection: Connection, attempts: int = 1) -> ProviderError:
    """Return the error for an answer that began, and did not come to its end."""
    if _is_timeout(error):
        times = f" after {attempts} attempts" if attempts > 1 else ""
        who = connection.server.provider
        msg = f"{who} was silent for {connection.timeout_seconds:g} s{times}."
        hint = f"{_GO_ON} KANDO_LLM_TIMEOUT sets another limit."
        return ProviderTimeout(msg, hint=hint, attempts=attempts)
    return bad_reply(error, connection, attempts)


def bad_reply(error: Exception, connection: Connection, attempts: int = 1) -> BadReply:
    """Return the error for an answer that cannot be read, or that ends too early."""
    what = connection.scrubber.text(f"{type(error).__name__}: {error}")[:_MAX_CHARS]
    msg = f"{connection.server.provider} answered with what is no answer ({what})."
    return BadReply(msg, hint=_GO_ON, attempts=attempts)


def _of_status(error: Any, connection: Connection, attempts: int, times: str) -> ProviderError:
    kind, said = _details(error)
    status = int(getattr(error, "status_code", 200))
    if status < 300:
        status = _STATUS_OF_TYPE.get(kind, 500)
    told = ": ".join(filter(None, [kind, said])) or "no reason given"
    told = connection.scrubber.text(told)[:_MAX_CHARS]
    id = connection.scrubber.text(str(getattr(error, "request_id", None) or ""))[:100]
    by = f", request {id}" if id else ""
    msg = f"{connection.server.provider} answered {status}{times}{by}: {told}"
    msg += "" if msg.endswith(".") else "."
    facts: dict[str, Any] = {"status": status, "attempts": attempts}
    is_of_account = any(word in told for word in _NOT_OF_THE_REQUEST)
    if status in (401, 402, 403, 404) or is_of_account or 300 <= status < 400:
        return NotAllowed(msg, hint=_cure(status, connection), **facts)
    if status == 429:
        wait = _retry_after(error)
        hint = f"Wait {wait:g} s. {_GO_ON}" if wait else _GO_ON
        return RateLimited(msg, hint=hint, retry_after=wait, **facts)
    if status in (408, 409) or status >= 500:
        return Overloaded(msg, hint=_GO_ON, **facts)
    return RequestRejected(msg, hint="Change the request.", **facts)


def _cure(status: int, connection: Connection) -> str:
    server, endpoint = connection.server, connection.endpoint
    if 300 <= status < 400:
        return f"Set {server.prefix}_BASE_URL to where the server really is; none is followed."
    if status == 404:
        return f"Check the model, {server.provider}:MODEL, and {server.prefix}_BASE_URL."
    if not endpoint.key and not endpoint.is_own:
        return f"Set {endpoint.key_name}: other keys are never sent to this server."
    return f"Check {endpoint.key_name} and the account behind it. {_GO_ON}"


def _details(error: Any) -> tuple[str, str]:
    """Return the type and the message in the body of an error."""
    body = error.body
    inner = body.get("error", body) if isinstance(body, Mapping) else body
    if not isinstance(inner, Mapping):
        return "", str(inner or "")[:_MAX_CHARS]
    words = [inner.get("type"), inner.get("code")]
    kind = " ".join(dict.fromkeys(str(word) for word in words if word))
    return kind, str(inner.get("message") or "")


def _is_timeout(error: Exception) -> bool:
    # While a stream is read, the SDKs let the HTTP library's own error through.
    return any("Timeout" in kind.__name__ for kind in type(error).__mro__)


def _attempts(error: Any) -> int:
    # Each request of a retry says the how manieth it is; the error has the last one.
    request = getattr(error, "request", None) if hasattr(error, "body") else None
    count = request.headers.get("x-stainless-retry-count", "0") if request is not None else "0"
    return int(count) + 1 if count.isdecimal() else 1


def _retry_after(error: Any) -> float | None:
    try:
        return float(error.response.headers.get("retry-after"))
    except (TypeError, ValueError):
        return None


def _reason(error: Exception) -> str:
    cause = error.__cause__
    # Its text may hold the URL, or more; its type says what happened.
    return type(cause).__name__ if cause is not None else type(error).__name__
