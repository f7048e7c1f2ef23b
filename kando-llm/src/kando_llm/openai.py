"""The provider ``openai`` and others with its APIs, through the official SDK.

Requests go to Chat Completions, which all of them have. They go to the Responses API for a model that
has only that: OpenAI's by name, and any that a server sends there with its error. The provider
``openai-responses`` sends every request there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import attrs

from kando_llm.chat_replies import read_completion, read_stream
from kando_llm.chat_request import chat_arguments
from kando_llm.endpoints import SERVERS
from kando_llm.live_provider import Connection, LiveProvider, OnText, Reply, connection_of
from kando_llm.request import Request
from kando_llm.responses_replies import read_response, read_response_events
from kando_llm.responses_request import (
    needs_responses,
    refers_to_responses,
    responses_arguments,
)
from kando_llm.sdk import adapted, body_of, failure_in_answer, headers_for, is_stream, sdk_provider
from kando_llm.server_words import words_of

__all__ = [
    "open_azure",
    "open_compatible",
    "open_deepseek",
    "open_gemini",
    "open_groq",
    "open_lmstudio",
    "open_mistral",
    "open_ollama",
    "open_openai",
    "open_openai_responses",
    "open_openrouter",
    "open_vllm",
    "open_xai",
]


def open_openai(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider that sends requests to OpenAI, or to the server at ``OPENAI_BASE_URL``.

    Args:
        argument: the model; ``OPENAI_MODEL``, else ``gpt-5.4-mini``, if empty.
        environ: keys and settings.

    Raises:
        MissingKey: no key is set.
        ProviderError: a setting is malformed.
    """
    return _open("openai", argument, environ)


def open_openai_responses(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider like `open_openai` that sends every request to the Responses API."""
    return _open("openai", argument, environ, only_responses=True)


def open_openrouter(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider that sends requests to OpenRouter; arguments and errors as `open_openai`."""
    return _open("openrouter", argument, environ)


def open_compatible(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider for ``OPENAI_COMPATIBLE_BASE_URL``; arguments and errors as `open_openai`."""
    return _open("openai-compatible", argument, environ)


def open_ollama(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider for Ollama; arguments and errors as `open_openai`."""
    return _open("ollama", argument, environ)


def open_vllm(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider for vLLM; arguments and errors as `open_openai`."""
    return _open("vllm", argument, environ)


def open_lmstudio(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider for LM Studio; arguments and errors as `open_openai`."""
    return _open("lmstudio", argument, environ)


def open_gemini(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider for Gemini; arguments and errors as `open_openai`."""
    return _open("gemini", argument, environ)


def open_mistral(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider for Mistral; arguments and errors as `open_openai`."""
    return _open("mistral", argument, environ)


def open_deepseek(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider for DeepSeek; arguments and errors as `open_openai`."""
    return _open("deepseek", argument, environ)


def open_xai(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider for xAI; arguments and errors as `open_openai`."""
    return _open("xai", argument, environ)


def open_groq(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider for Groq; arguments and errors as `open_openai`."""
    return _open("groq", argument, environ)


def open_azure(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider for OpenAI models on Azure; arguments and errors as `open_openai`."""
    return _open("azure", argument, environ)


def _open(
    provider: str, argument: str, environ: Mapping[str, str], *, only_responses: bool = False
) -> LiveProvider:
    connection = connection_of(SERVERS[provider], argument, environ)
    connection = attrs.evolve(connection, only_responses=only_responses)
    import openai

    return sdk_provider(openai, openai.OpenAI, connection, _send)


class _NeedsResponses(Exception):
    """The server has the model in its Responses API only."""


def _send(client: Any, request: Request, on_text: OnText | None, connection: Connection) -> Reply:
    by, adaptations = connection.giver(request.model), connection.adaptations
    if connection.only_responses or adaptations.has_only_responses(request.model):
        return _send_responses(client, request, on_text, connection).given_by(by)
    is_openai = connection.server.provider == "openai" and connection.endpoint.is_own
    if is_openai and needs_responses(request.model):
        return _send_responses(client, request, on_text, connection).given_by(by)
    try:
        return _send_chat(client, request, on_text, connection).given_by(by)
    except _NeedsResponses:
        adaptations.note_only_responses(request.model)
    reply = _send_responses(client, request, on_text, connection).given_by(by)
    return attrs.evolve(reply, attempts=reply.attempts + 1)


def _send_chat(
    client: Any, request: Request, on_text: OnText | None, connection: Connection
) -> Reply:
    arguments, dropped = chat_arguments(request, connection, connection.giver(request.model))
    # Always as a stream: then a long answer is not a silent one.
    arguments["stream"] = True
    if connection.server.counts_streams:
        arguments["stream_options"] = {"include_usage": True}
    if "{model}" in connection.endpoint.base_url:
        url = connection.endpoint.base_url.replace("{model}", quote(request.model, safe=""))
        client = client.with_options(base_url=url)

    def send(sent: dict[str, Any]) -> Reply:
        sent = {**sent, "extra_headers": headers_for(sent)}
        try:
            raw = client.chat.completions.with_raw_response.create(**sent)
        except Exception as error:
            if not _refers_to_responses(error):
                raise
            raw = None
        if raw is None:
            raise _NeedsResponses
        return _read(raw, read_completion, read_stream, on_text, connection)

    return adapted(arguments, dropped, connection.adaptations, send)


def _send_responses(
    client: Any, request: Request, on_text: OnText | None, connection: Connection
) -> Reply:
    arguments, dropped = responses_arguments(request, connection, connection.giver(request.model))
    arguments["stream"] = True
    if "{model}" in connection.endpoint.base_url:
        # Azure has one path for all deployments.
        url = connection.endpoint.base_url.replace("/deployments/{model}", "")
        client = client.with_options(base_url=url)

    def send(sent: dict[str, Any]) -> Reply:
        sent = {**sent, "extra_headers": headers_for(sent)}
        raw = client.responses.with_raw_response.create(**sent)
        return _read(raw, read_response, read_response_events, on_text, connection)

    return adapted(arguments, dropped, connection.adaptations, send)


def _refers_to_responses(error: Exception) -> bool:
    """Whether a server does not answer since it has the model in its Responses API only."""
    if getattr(error, "status_code", None) not in (400, 404):
        return False
    return refers_to_responses(" ".join(words_of(getattr(error, "body", None))) or str(error))


def _read(
    raw: Any,
    read_whole: Callable[[Any], Reply],
    read_events: Callable[[Any, OnText], Reply],
    on_text: OnText | None,
    connection: Connection,
) -> Reply:
    """Read the answer in a response of the SDK."""
    try:
        if is_stream(raw.http_response):
            read = read_events(raw.parse(), on_text or (lambda piece: None))
        else:
            read = read_whole(body_of(raw.http_response)).shown(on_text)
        # The cost that other servers report may not be in US dollars.
        cost = read.cost_usd if connection.server.has_usage_option else None
        return attrs.evolve(read, request_id=raw.headers.get("x-request-id"), cost_usd=cost)
    except Exception as error:
        failure = failure_in_answer(error, connection)
    raise failure
