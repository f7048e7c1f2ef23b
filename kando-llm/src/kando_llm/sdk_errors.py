"""Translates an SDK's errors into Kando's, with a hint and without keys."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from math import inf
from typing import Any

from kando_llm.errors import (
    BadReply,
    ContextOverflow,
    NotAllowed,
    Overloaded,
    ProviderError,
    ProviderTimeout,
    RateLimited,
    RequestRejected,
    Unreachable,
)
from kando_llm.live_provider import Connection
from kando_llm.retries import Attempt
from kando_llm.server_words import kind_of, message_of, status_in

__all__ = [
    "attempt_of",
    "bad_reply",
    "broken_answer",
    "credentials_attempt",
    "incomplete_answer",
    "is_about_credentials",
    "not_an_answer",
]

_PENDING = "The request stays pending, and is sent again when the run is resumed."
_MAX_CHARS = 500

# Words that mark a fault of the settings (key, account, model), at any status.
_SETTINGS_FAULTS = re.compile(
    r"billing|insufficient.?(quota|credit|balance|funds)|credit balance|payment.?required"
    r"|invalid.{0,20}(api|access).?(key|token)|(api|access).?(key|token).{0,40}"
    r"(invalid|not valid|incorrect|expired|missing|not found|required|revoked)"
    r"|incorrect api.?key|authentication|unauthori[sz]ed|invalid.?(credentials|token)"
    r"|model.?not.?found|(no such|unknown|invalid) model|not a valid model"
    r"|model\b.{0,120}(not exist|not found|not available|not support|unavailable|no access)"
    r"|no endpoints found",
    re.IGNORECASE,
)
# Words that mark a request that is longer than the model can read.
_OVERFLOWS = re.compile(
    r"(prompt|input)( is)? too long|request.?too.?large|too many (input )?tokens"
    r"|context.?(length|window|size|limit)|maximum (context|prompt)|string_above_max_length"
    r"|reduce the length|token count.{0,60}exceed",
    re.IGNORECASE,
)
# Words that mark a fault of one request: its content is not accepted. All other rejections are
# faults of the settings, which the same request does not have once they are mended.
_REQUEST_FAULTS = re.compile(
    r"content.?(policy|management|filter)|responsible.?ai|safety|moderation|flagged|invalid_prompt"
    r"|usage polic|\bmessages?[.\[]|\bmessages?: |could not process|image|document",
    re.IGNORECASE,
)
# Errors of the HTTP library before anything was sent.
_NOT_SENT = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"}
)
# Errors of the libraries of clouds whose server for tokens does not answer.
_NO_TOKEN_SERVER = frozenset({"TransportError", "HTTPClientError", "ConnectionError"})
# Errors that arrive in the middle of a stream, where the HTTP status is 200.
_STATUS_OF_TYPE = {
    "overloaded_error": 529,
    "rate_limit_error": 429,
    "api_error": 500,
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "timeout_error": 504,
    # Of the Responses API.
    "server_error": 500,
    "rate_limit_exceeded": 429,
    "invalid_prompt": 400,
    # Of Bedrock.
    "internalServerException": 500,
    "modelStreamErrorException": 500,
    "modelTimeoutException": 504,
    "serviceUnavailableException": 503,
    "throttlingException": 429,
    "validationException": 400,
}


def attempt_of(error: Exception, sdk: Any, connection: Connection, number: int = 1) -> Attempt:
    """Return a failed attempt: the error to raise in place of an SDK's, and whether to retry.

    The error keeps no reference to the SDK's, which holds the whole request and so its key.

    Args:
        error: what the SDK raised.
        sdk: the module ``anthropic`` or ``openai``: their errors have the same names.
        connection: to the server.
        number: of the attempt, from 1.
    """
    times = f" after {number} attempts" if number > 1 else ""
    if isinstance(error, sdk.APIStatusError):
        failure = _of_status(error, connection, number, times)
        return Attempt(failure, may_retry=_may_retry(error, failure))
    if isinstance(error, sdk.APIConnectionError):
        names = {each.__name__ for each in type(error.__cause__).__mro__}
        if names & _NOT_SENT:
            reason = _unreachable(error, connection, number, times)
            return Attempt(reason, may_retry="not trusted" not in reason.message)
        if not _is_timeout(error):
            broken = _unreachable(error, connection, number, times)
            return Attempt(broken, may_retry=True, was_lost=True)
    if isinstance(error, sdk.APIError) and isinstance(error.body, Mapping):
        # An event of the stream.
        return Attempt(broken_answer(error, connection), was_lost=True)
    return Attempt(incomplete_answer(error, connection, number), was_lost=True)


def is_about_credentials(error: Exception) -> bool:
    """Whether an error comes from the library with which a cloud's credentials are found."""
    is_of_library = type(error).__module__.partition(".")[0] in ("botocore", "boto3", "google")
    # The SDK has no class for it.
    is_of_sdk = isinstance(error, RuntimeError) and str(error).startswith("Could not resolve")
    return is_of_library or is_of_sdk


def credentials_attempt(error: Exception, connection: Connection, number: int) -> Attempt:
    """Return the failed attempt of a request that could not be signed, and so was not sent."""
    who = connection.server.provider
    reason = connection.scrubber.text(f"{type(error).__name__}: {error}".rstrip("."))[:_MAX_CHARS]
    names = {each.__name__ for each in type(error).__mro__}
    if names & _NO_TOKEN_SERVER:
        msg = f"The credentials of {who} cannot be refreshed: {reason}."
        return Attempt(Unreachable(msg, hint=_PENDING, attempts=number), may_retry=True)
    msg = f"The credentials of {who} cannot be used: {reason}."
    hint = f"Sign in again, or set {connection.endpoint.key_name}. {_PENDING}"
    return Attempt(NotAllowed(msg, hint=hint, attempts=number))


def _may_retry(error: Any, failure: ProviderError) -> bool:
    if not isinstance(failure, Overloaded | RateLimited):
        return False
    return bool(error.response.headers.get("x-should-retry") != "false")


def _unreachable(
    error: Exception, connection: Connection, attempts: int, times: str
) -> Unreachable:
    network, who = connection.network, connection.server.provider
    where = connection.scrubber.text(connection.endpoint.base_url)
    through = f" through the proxy in {network.proxy_name}" if network.proxy else ""
    reason, cure = _reason(error)
    if reason.startswith("ProxyError") and network.proxy:
        cure = f"Check {network.proxy_name}, or list the server in NO_PROXY."
    msg = f"{who} cannot be reached at {where}{through}{times}: {reason}."
    hint = f"{cure} {_PENDING}".strip()
    return Unreachable(msg, hint=hint, attempts=attempts)


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


def broken_answer(error: Any, connection: Connection) -> ProviderError:
    """Return the error for an answer that the server marked as broken.

    Args:
        error: with the ``body`` that describes it.
        connection: to the server.
    """
    # A gateway reports the status of the server that it asked.
    is_known = status_in(error.body) is not None or kind_of(error.body) in _STATUS_OF_TYPE
    if is_known or _SETTINGS_FAULTS.search(message_of(error.body)):
        return _of_status(error, connection, 1, "")
    words = connection.scrubber.text(message_of(error.body))[:_MAX_CHARS]
    who = connection.server.provider
    msg = f"{who} broke its answer off: {words or 'no reason given'}"
    return BadReply(msg if msg.endswith(".") else f"{msg}.", hint=_PENDING)


def not_an_answer(body: object, connection: Connection) -> ProviderError:
    """Return the error for a body that is not an answer; it quotes the start of the body."""
    start = connection.scrubber.text(message_of(body) if body is not None else "")[:200]
    quoted = f": {start!r}" if start else ", but JSON of another form"
    msg = f"{connection.server.provider} sent no answer{quoted}."
    hint = f"Check {connection.server.prefix}_BASE_URL. {_PENDING}"
    return BadReply(msg, hint=hint)


def _of_status(error: Any, connection: Connection, attempts: int, times: str) -> ProviderError:
    kind, message = kind_of(error.body), message_of(error.body)
    status = int(getattr(error, "status_code", 200))
    if status < 300:
        status = status_in(error.body) or _STATUS_OF_TYPE.get(kind, 500)
    reason = ": ".join(filter(None, [kind, message])) or "no reason given"
    reason = connection.scrubber.text(reason)[:_MAX_CHARS]
    id = connection.scrubber.text(str(getattr(error, "request_id", None) or ""))[:100]
    by = f", request {id}" if id else ""
    msg = f"{connection.server.provider} answered {status}{times}{by}: {reason}"
    msg += "" if msg.endswith(".") else "."
    facts: dict[str, Any] = {"status": status, "attempts": attempts}
    is_settings_fault = _SETTINGS_FAULTS.search(reason) is not None
    if status in (401, 402, 404) or is_settings_fault or 300 <= status < 400:
        return NotAllowed(msg, hint=_hint(status, reason, connection), **facts)
    if status == 429:
        wait = _retry_after(error)
        hint = f"Wait {wait:g} s. {_PENDING}" if wait else _PENDING
        return RateLimited(msg, hint=hint, retry_after=wait, **facts)
    if status in (408, 409) or status >= 500:
        return Overloaded(msg, hint=_PENDING, retry_after=_retry_after(error), **facts)
    if status == 413 or _OVERFLOWS.search(reason):
        return ContextOverflow(msg, hint="Shorten the request.", **facts)
    if _REQUEST_FAULTS.search(reason):
        return RequestRejected(msg, hint="Change the request.", **facts)
    return NotAllowed(msg, hint=_hint(status, reason, connection), **facts)


def _hint(status: int, reason: str, connection: Connection) -> str:
    server, endpoint = connection.server, connection.endpoint
    if 300 <= status < 400:
        return (
            f"Set {server.prefix}_BASE_URL to the server's final URL: redirects are not followed."
        )
    if status == 404 or "model" in reason:
        return f"Check the model, {server.provider}:MODEL, and {server.prefix}_BASE_URL."
    is_about_key = status in (401, 402, 403) or _SETTINGS_FAULTS.search(reason) is not None
    if not is_about_key:
        return f"Change the setting that the server names. {_PENDING}"
    if not endpoint.key and not endpoint.is_own:
        return f"Set {endpoint.key_name}: other keys are never sent to this server."
    return f"Check {endpoint.key_name} and its account. {_PENDING}"


def _is_timeout(error: Exception) -> bool:
    # While streaming, the SDKs let the HTTP library's own errors through.
    return any("Timeout" in kind.__name__ for kind in type(error).__mro__)


def _retry_after(error: Any) -> float | None:
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            wait = float(error.response.headers.get(name)) / unit
        except (AttributeError, TypeError, ValueError):
            continue
        if 0 <= wait < inf:
            return wait
    return None


def _reason(error: BaseException) -> tuple[str, str]:
    """Return why a server cannot be reached, and the cure; an empty cure if there is no simple one."""
    causes: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in causes:
        causes.append(each)
        each = each.__cause__ or each.__context__
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            cure = (
                "If the server's certificate is from a private authority, set SSL_CERT_FILE to it."
            )
            return f"its certificate is not trusted: {cause.verify_message}", cure
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {cause.reason or 'no reason given'}", ""
        if isinstance(cause, socket.gaierror):
            return "its name cannot be resolved", ""
        if isinstance(cause, ConnectionRefusedError):
            return "the connection was refused", ""
    # The text may contain the URL, or more; the type is enough.
    return type(causes[1] if len(causes) > 1 else error).__name__, ""
