"""Translates an SDK's errors into Kando's, with a hint and without keys."""

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

__all__ = ["bad_reply", "incomplete_answer", "provider_error"]

_PENDING = "The request stays pending, and is sent again when the run is resumed."
_MAX_CHARS = 500

# Words that mark a fault of the account or the settings, at any status.
_ACCOUNT_FAULTS = (
    "billing_error",
    "insufficient_quota",
    "model_not_found",
    "credit balance",
    "invalid_api_key",
)
# Errors that arrive in the middle of a stream, where the HTTP status is 200.
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
    """Return the error to raise in place of an SDK's.

    It keeps no reference to the SDK's error, which holds the whole request and so its key.

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
        return Unreachable(msg, hint=_PENDING, attempts=attempts)
    if isinstance(error, sdk.APIError) and isinstance(error.body, Mapping):
        return _of_status(error, connection, attempts, times)
    return incomplete_answer(error, connection, attempts)


def incomplete_answer(error: Exception, connection: Connection, attempts: int = 1) -> ProviderError:
    """Return the error for an answer that began but did not finish."""
    if _is_timeout(error):
        times = f" after {attempts} attempts" if attempts > 1 else ""
        who = connection.server.provider
        msg = f"{who} was silent for {connection.timeout_seconds:g} s{times}."
        hint = f"{_PENDING} KANDO_LLM_TIMEOUT sets another limit."
        return ProviderTimeout(msg, hint=hint, attempts=attempts)
    return bad_reply(error, connection, attempts)


def bad_reply(error: Exception, connection: Connection, attempts: int = 1) -> BadReply:
    """Return the error for an answer that is malformed or incomplete."""
    what = connection.scrubber.text(f"{type(error).__name__}: {error}")[:_MAX_CHARS]
    msg = f"{connection.server.provider} sent a malformed or incomplete answer ({what})."
    return BadReply(msg, hint=_PENDING, attempts=attempts)


def _of_status(error: Any, connection: Connection, attempts: int, times: str) -> ProviderError:
    kind, message = _details(error)
    status = int(getattr(error, "status_code", 200))
    if status < 300:
        status = _STATUS_OF_TYPE.get(kind, 500)
    reason = ": ".join(filter(None, [kind, message])) or "no reason given"
    reason = connection.scrubber.text(reason)[:_MAX_CHARS]
    id = connection.scrubber.text(str(getattr(error, "request_id", None) or ""))[:100]
    by = f", request {id}" if id else ""
    msg = f"{connection.server.provider} answered {status}{times}{by}: {reason}"
    msg += "" if msg.endswith(".") else "."
    facts: dict[str, Any] = {"status": status, "attempts": attempts}
    is_account_fault = any(word in reason for word in _ACCOUNT_FAULTS)
    if status in (401, 402, 403, 404) or is_account_fault or 300 <= status < 400:
        return NotAllowed(msg, hint=_hint(status, connection), **facts)
    if status == 429:
        wait = _retry_after(error)
        hint = f"Wait {wait:g} s. {_PENDING}" if wait else _PENDING
        return RateLimited(msg, hint=hint, retry_after=wait, **facts)
    if status in (408, 409) or status >= 500:
        return Overloaded(msg, hint=_PENDING, **facts)
    return RequestRejected(msg, hint="Change the request.", **facts)


def _hint(status: int, connection: Connection) -> str:
    server, endpoint = connection.server, connection.endpoint
    if 300 <= status < 400:
        return (
            f"Set {server.prefix}_BASE_URL to the server's final URL: redirects are not followed."
        )
    if status == 404:
        return f"Check the model, {server.provider}:MODEL, and {server.prefix}_BASE_URL."
    if not endpoint.key and not endpoint.is_own:
        return f"Set {endpoint.key_name}: other keys are never sent to this server."
    return f"Check {endpoint.key_name} and its account. {_PENDING}"


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
    # While streaming, the SDKs let the HTTP library's own errors through.
    return any("Timeout" in kind.__name__ for kind in type(error).__mro__)


def _attempts(error: Any) -> int:
    # Each retry carries its number in a header; the error holds the last request.
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
    # The text may contain the URL, or more; the type is enough.
    return type(cause).__name__ if cause is not None else type(error).__name__
