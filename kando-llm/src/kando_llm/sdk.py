"""The official SDKs: a client that sends its key to one server, and errors translated to Kando's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from types import ModuleType
from typing import Any

from kando.errors import KandoError
from kando.responders.attempts import require_attempt
from kando.responders.idempotency import idempotency_key
from kando_llm.errors import ProviderError
from kando_llm.live_provider import Connection, LiveProvider, OnText, Reply
from kando_llm.logs import scrub_logs
from kando_llm.request import Request
from kando_llm.sdk_errors import provider_error

__all__ = ["IncompleteAnswer", "Send", "headers_for", "sdk_provider"]

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
    request = json.dumps(arguments, sort_keys=True, default=str)
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
        max_retries=connection.retries,
        http_client=sdk.DefaultHttpxClient(
            follow_redirects=False,
            timeout=connection.timeout_seconds,
            event_hooks={"request": [_stop_if_taken_over, connection.remove_other_keys]},
        ),
    )

    def send_safely(request: Request, on_text: OnText | None) -> Reply:
        failure: KandoError
        try:
            return send(client, request, on_text, connection)
        except _Stopped as stopped:
            failure = stopped.error
        except Exception as error:
            failure = _failure_of(error, sdk, connection)
        # Raised outside the handler, so that the SDK's error does not become its context.
        raise failure

    stop_scrubbing = scrub_logs(connection.scrubber)

    def close() -> None:
        client.close()
        stop_scrubbing()

    return LiveProvider(connection, send_safely, close)


def _failure_of(error: Exception, sdk: ModuleType, connection: Connection) -> ProviderError:
    if isinstance(error, IncompleteAnswer):
        failure = _failure_of(error.error, sdk, connection)
        if error.usage:
            name, model = connection.endpoint.priced_as, str(error.model)
            cost = connection.prices.cost(name, model, error.usage)
            failure.spent = {"usage": error.usage, "cost_usd": cost}
        return failure
    if isinstance(error, ProviderError):
        return error
    return provider_error(error, sdk, connection)
