"""The provider ``anthropic``: the Messages API, through the official SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kando_llm.endpoints import SERVERS
from kando_llm.live_provider import Connection, LiveProvider, OnText, Reply, connection_of
from kando_llm.message_replies import read_events, read_message
from kando_llm.messages_request import messages_arguments
from kando_llm.request import Request
from kando_llm.sdk import adapted, body_of, failure_in_answer, headers_for, is_stream, sdk_provider

__all__ = ["open_anthropic", "send_messages"]


def open_anthropic(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider that sends requests to Anthropic.

    Args:
        argument: the model; ``ANTHROPIC_MODEL``, else ``claude-haiku-4-5``, if empty.
        environ: keys and settings.

    Raises:
        MissingKey: no key is set.
        ProviderError: a setting is malformed.
    """
    connection = connection_of(SERVERS["anthropic"], argument, environ)
    import anthropic

    return sdk_provider(anthropic, anthropic.Anthropic, connection, send_messages)


def send_messages(
    client: Any, request: Request, on_text: OnText | None, connection: Connection
) -> Reply:
    """Send a request through a client of the SDK: its own, or one for a cloud.

    Raises:
        Exception: an error of the SDK.
    """
    by = connection.giver(request.model)
    arguments, dropped = messages_arguments(request, by)
    # Always as a stream: then a long answer is not a silent one.
    arguments["stream"] = True
    reply = adapted(
        arguments,
        dropped,
        connection.adaptations,
        lambda sent: _send_once(client, sent, on_text, connection),
        required=frozenset({"max_tokens"}),
    )
    return reply.given_by(by)


def _send_once(
    client: Any, arguments: dict[str, Any], on_text: OnText | None, connection: Connection
) -> Reply:
    arguments = {**arguments, "extra_headers": headers_for(arguments)}
    raw = client.messages.with_raw_response.create(**arguments)
    try:
        if is_stream(raw.http_response):
            read = read_events(raw.parse(), on_text or (lambda piece: None))
        else:
            read = read_message(body_of(raw.http_response)).shown(on_text)
        id = raw.headers.get("request-id") or raw.headers.get("x-amzn-requestid")
        return attrs.evolve(read, request_id=id)
    except Exception as error:
        failure = failure_in_answer(error, connection)
    raise failure
