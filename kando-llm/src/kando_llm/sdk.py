"""The official SDKs: a client that sends its key to one server, and errors translated to Kando's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from types import ModuleType
from typing import Any

import attrs

from kando.errors import KandoError
from kando.responders.attempts import require_attempt
from kando.responders.idempotency import idempotency_key
from kando_llm.adaptations import (
    MAX_ATTEMPTS,
    Adaptations,
    has_option,
    refused_option,
    without,
)
from kando_llm.errors import Overloaded, ProviderError, RateLimited
from kando_llm.live_provider import Connection, LiveProvider, OnText, Reply
from kando_llm.logs import scrub_logs
from kando_llm.network import sdk_headers
from kando_llm.request import Request
from kando_llm.retries import Attempt, send_with_retries
from kando_llm.sdk_errors import (
    attempt_of,
    broken_answer,
    credentials_attempt,
    incomplete_answer,
    is_about_credentials,
    not_an_answer,
)

__all__ = [
    "BrokenAnswer",
    "IncompleteAnswer",
    "NotAnAnswer",
    "Send",
    "adapted",
    "as_dict",
    "body_of",
    "failure_in_answer",
    "field_of",
    "headers_for",
    "is_stream",
    "require_object",
    "sdk_provider",
]

#: Sends a request through a client of the SDK.
Send = Callable[[Any, Request, OnText | None, Connection], Reply]


class IncompleteAnswer(Exception):
    """An answer that failed, with the usage that the server had reported before.

    Args:
        error: the cause.
        model: that answered, according to the server.
        usage: tokens by name, as in an ``llm.response``.
    """

    def __init__(self, error: Exception, model: object, usage: dict[str, int]) -> None:
        super().__init__(str(error))
        self.error = error
        self.model = model
        self.usage = usage


class _Stopped(BaseException):
    """No further attempt may be made. Not an `Exception`, which the SDK would retry."""

    def __init__(self, error: KandoError) -> None:
        super().__init__(str(error))
        self.error = error


def _stop_if_taken_over(request: object) -> None:
    """Stop before an attempt if another process has taken over the run."""
    try:
        require_attempt()
    except KandoError as error:
        raise _Stopped(error) from None


class BrokenAnswer(Exception):
    """An answer that its server marked as broken, at any status.

    Args:
        error: the server's words: an object with ``message``, or anything else.
        status: of the response.
    """

    def __init__(self, error: object, status: int = 200) -> None:
        super().__init__(str(error))
        self.body = error
        self.status_code = status


class NotAnAnswer(Exception):
    """A body that is not an answer, such as a page of HTML.

    Args:
        body: what was sent.
    """

    def __init__(self, body: object = None) -> None:
        super().__init__(str(body))
        self.body = body


def field_of(of: Any, name: str) -> Any:
    """Return a field of an object of an SDK, which passes on what it does not know as it is."""
    return of.get(name) if isinstance(of, Mapping) else getattr(of, name, None)


def as_dict(of: Any) -> dict[str, Any]:
    """Return an object of an SDK, or JSON that a server sent instead, as a dictionary."""
    if isinstance(of, Mapping):
        return dict(of)
    converted = getattr(of, "to_dict", None)
    # Without warnings: the fields hold whatever the server sent.
    return dict(converted(warnings=False)) if converted is not None else {}


def require_object(of: Any, what: str) -> None:
    """Refuse text, a number or a list where a server sends an object: its content would be lost.

    Args:
        of: what was sent; nothing is accepted.
        what: its name, for the error.

    Raises:
        ValueError: it is not an object.
    """
    if of and isinstance(of, str | int | float | list):
        msg = f"{what} is not an object: {of!r:.100}"
        raise ValueError(msg)


def is_stream(response: Any) -> bool:
    """Whether a server sent a stream: some answer a request for one with a whole body."""
    kind = str(response.headers.get("content-type", ""))
    return "text/event-stream" in kind or "vnd.amazon.eventstream" in kind


def body_of(response: Any) -> Any:
    """Return the JSON in the body of a response.

    Raises:
        NotAnAnswer: it is not a JSON object.
    """
    response.read()
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise NotAnAnswer(response.content.decode("utf-8", "replace"))
    return body


def headers_for(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers with the idempotency key of this call, the same for every retry.

    Anthropic and OpenAI ignore ``Idempotency-Key``; gateways in front of them repeat their first
    answer. They reject a key that is reused for another request, so the key depends on the request
    as well: a run may be resumed with another model.

    Args:
        arguments: of the request, as the SDK takes them.
    """
    call = idempotency_key()
    if not call:
        return {}
    # Whether an answer is streamed makes no difference to it.
    asked = {name: value for name, value in arguments.items() if not name.startswith("stream")}
    request = json.dumps(asked, sort_keys=True, default=str)
    digest = sha256(f"{call}\n{request}".encode("utf-8", "surrogatepass")).hexdigest()
    return {"Idempotency-Key": f"kando-{digest}"}


def sdk_provider(
    sdk: ModuleType, client_type: Callable[..., Any], connection: Connection, send: Send
) -> LiveProvider:
    """Return a provider that sends requests through an official SDK.

    Args:
        sdk: its module; both SDKs come from one generator and are built alike.
        client_type: class of its client.
        connection: to the server.
        send: sends a request through the client; it may raise errors of the SDK.
    """
    client = client_type(
        # Passed explicitly: else the SDK takes any key it finds, and sends it to any server.
        api_key=connection.key,
        base_url=connection.endpoint.base_url,
        timeout=connection.timeout_seconds,
        # Kando retries itself: the SDK repeats a request that the server may still be answering.
        max_retries=0,
        default_query=connection.endpoint.query or None,
        default_headers=sdk_headers(
            connection.server,
            connection.endpoint,
            connection.key,
            connection.environ,
            sdk.Omit(),
        ),
        http_client=sdk.DefaultHttpxClient(
            **connection.network.client_arguments(),
            follow_redirects=False,
            timeout=connection.timeout_seconds,
            event_hooks={"request": [_stop_if_taken_over, connection.remove_other_keys]},
        ),
    )

    def send_once(request: Request, on_text: OnText | None, number: int) -> Reply | Attempt:
        try:
            return send(client, request, on_text, connection)
        except _Stopped as stopped:
            failure = stopped.error
        except Exception as error:
            return _attempt_of(error, sdk, connection, number)
        # Raised outside the handler, so that the SDK's error does not become its context.
        raise failure

    def send_safely(request: Request, on_text: OnText | None) -> Reply:
        return send_with_retries(send_once, request, on_text, connection)

    stop_scrubbing = scrub_logs(connection.scrubber)

    def close() -> None:
        client.close()
        stop_scrubbing()

    return LiveProvider(connection, send_safely, close)


def adapted(
    arguments: dict[str, Any],
    dropped: tuple[str, ...],
    adaptations: Adaptations,
    send: Callable[[dict[str, Any]], Reply],
    required: frozenset[str] = frozenset(),
) -> Reply:
    """Send a request, without what its server refuses.

    Args:
        arguments: of the SDK's method.
        dropped: options that are not in them.
        adaptations: what the server has refused before.
        send: sends arguments; it raises the SDK's error.
        required: names of options that the SDK does not let out, nor spell otherwise.

    Raises:
        Exception: the error of `send`, if the server refuses something else.
    """
    model = str(arguments.get("model"))
    for attempt in range(MAX_ATTEMPTS):
        names = adaptations.of(model)
        sent = arguments
        for name in names:
            sent = without(sent, name) or sent
        try:
            reply = send(sent)
        except Exception as error:
            refused = refused_option(error, sent)
            if (
                refused is None
                or refused in required
                or attempt == MAX_ATTEMPTS - 1
                or without(sent, refused) is None
            ):
                raise
            adaptations.note(model, names, refused)
            continue
        applied = [name for name in names if has_option(arguments, name)]
        every = tuple(dict.fromkeys((*dropped, *reply.dropped, *applied)))
        return attrs.evolve(reply, dropped=every, attempts=reply.attempts + attempt)
    msg = "unreachable"
    raise AssertionError(msg)


def failure_in_answer(error: Exception, connection: Connection) -> Exception:
    """Return the error to raise for one that occurred while an answer was read.

    Args:
        error: raised while it was read.
        connection: to the server.
    """
    if isinstance(error, IncompleteAnswer):
        inner = failure_in_answer(error.error, connection)
        return IncompleteAnswer(inner, error.model, error.usage)
    # The server reported the error itself, or sent something else.
    is_known = isinstance(error, BrokenAnswer | NotAnAnswer)
    if is_known or getattr(error, "body", None) is not None:
        return error
    return incomplete_answer(error, connection)


def _attempt_of(error: Exception, sdk: ModuleType, connection: Connection, number: int) -> Attempt:
    if isinstance(error, IncompleteAnswer):
        attempt = _attempt_of(error.error, sdk, connection, number)
        if error.usage:
            name, model = connection.endpoint.priced_as, str(error.model)
            cost = connection.prices.cost(name, model, error.usage)
            attempt.failure.spent = {"usage": error.usage, "cost_usd": cost, "calls": 1}
            return attrs.evolve(attempt, may_retry=False, was_lost=False)
        if attempt.failure.status is not None and not error.model:
            # The server reported an error instead of an answer.
            return attrs.evolve(
                attempt,
                may_retry=isinstance(attempt.failure, Overloaded | RateLimited),
                was_lost=False,
            )
        return attempt
    if isinstance(error, ProviderError):
        error.attempts = number
        return Attempt(error, was_lost=True)
    if is_about_credentials(error):
        return credentials_attempt(error, connection, number)
    if isinstance(error, BrokenAnswer):
        return Attempt(broken_answer(error, connection), was_lost=True)
    if isinstance(error, NotAnAnswer):
        return Attempt(not_an_answer(error.body, connection), was_lost=True)
    return attempt_of(error, sdk, connection, number)
