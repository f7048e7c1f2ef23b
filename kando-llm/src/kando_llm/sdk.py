"""What the official SDKs share: a client that keeps its key to its server, and its errors as ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from types import ModuleType
from typing import Any

from kando.responders.idempotency import idempotency_key
from kando_llm.errors import ProviderError
from kando_llm.live_provider import Connection, LiveProvider, OnText, Reply
from kando_llm.logs import cleaned_logs
from kando_llm.request import Request
from kando_llm.sdk_errors import provider_error

__all__ = ["BrokenOff", "Put", "headers_for", "provider_over"]

#: Puts a request to a client of the SDK.
Put = Callable[[Any, Request, OnText | None, Connection], Reply]


class BrokenOff(Exception):
    """An answer that came to no good end, after the server had told what it uses.

    Args:
        error: what went wrong.
        model: that the server says answered.
        usage: tokens by name, as in an ``llm.response``.
    """

    def __init__(self, error: Exception, model: object, usage: dict[str, int]) -> None:
        super().__init__(str(error))
        self.error = error
        self.model = model
        self.usage = usage


def headers_for(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that tell a server which call this is, whoever makes it and how often.

    Neither Anthropic nor OpenAI heed ``Idempotency-Key``; gateways in front of them do, and answer what
    is asked again with what they answered before. Such a server refuses a key that comes with
    another request, so the request is part of it: a run may go on with another model.

    Args:
        arguments: of the request, as the SDK takes them.
    """
    call = idempotency_key()
    if not call:
        return {}
    request = json.dumps(arguments, sort_keys=True, default=str)
    digest = sha256(f"{call}\n{request}".encode("utf-8", "surrogatepass")).hexdigest()
    return {"Idempotency-Key": f"kando-{digest}"}


def provider_over(
    sdk: ModuleType, client_type: Callable[..., Any], connection: Connection, put: Put
) -> LiveProvider:
    """Return a provider that asks through an official SDK.

    Args:
        sdk: its module; both that we use are generated with one tool and built alike.
        client_type: class of its client.
        connection: to the server.
        put: puts a request to the client; it may let errors of the SDK through.
    """
    client = client_type(
        # Given here, or the SDK would look for one, and send whichever it finds to any server.
        api_key=connection.key,
        base_url=connection.endpoint.base_url,
        timeout=connection.timeout_seconds,
        max_retries=connection.retries,
        http_client=sdk.DefaultHttpxClient(
            follow_redirects=False,
            timeout=connection.timeout_seconds,
            event_hooks={"request": [connection.guard]},
        ),
    )

    def send(request: Request, on_text: OnText | None) -> Reply:
        try:
            return put(client, request, on_text, connection)
        except Exception as error:
            failure = _failure_of(error, sdk, connection)
        # Raised out here, so that the SDK's error is not the context of this one.
        raise failure

    end_cleaning = cleaned_logs(connection.scrubber)

    def close() -> None:
        client.close()
        end_cleaning()

    return LiveProvider(connection, send, close)


def _failure_of(error: Exception, sdk: ModuleType, connection: Connection) -> ProviderError:
    if isinstance(error, BrokenOff):
        failure = _failure_of(error.error, sdk, connection)
        if error.usage:
            name, model = connection.endpoint.priced_as, str(error.model)
            cost = connection.prices.cost(name, model, error.usage)
            failure.spent = {"usage": error.usage, "cost_usd": cost}
        return failure
    if isinstance(error, ProviderError):
        return error
    return provider_error(error, sdk, connection)
