"""The provider ``openai`` and others with its Chat Completions API, through the official SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import attrs

from kando_llm.chat_replies import read_completion, read_stream
from kando_llm.chat_request import chat_arguments
from kando_llm.endpoints import SERVERS
from kando_llm.live_provider import Connection, LiveProvider, OnText, Reply, connection_of
from kando_llm.request import Request
from kando_llm.sdk import adapted, body_of, failure_in_answer, headers_for, is_stream, sdk_provider

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


def _open(provider: str, argument: str, environ: Mapping[str, str]) -> LiveProvider:
    connection = connection_of(SERVERS[provider], argument, environ)
    import openai

    return sdk_provider(openai, openai.OpenAI, connection, _send)


def _send(client: Any, request: Request, on_text: OnText | None, connection: Connection) -> Reply:
    by = connection.giver(request.model)
    arguments, dropped = chat_arguments(request, connection, by)
    # Always as a stream: then a long answer is not a silent one.
    arguments["stream"] = True
    if connection.server.counts_streams:
        arguments["stream_options"] = {"include_usage": True}
    if "{model}" in connection.endpoint.base_url:
        url = connection.endpoint.base_url.replace("{model}", quote(request.model, safe=""))
        client = client.with_options(base_url=url)
    reply = adapted(
        arguments,
        dropped,
        connection.adaptations,
        lambda sent: _send_once(client, sent, on_text, connection),
    )
    return reply.given_by(by)


def _send_once(
    client: Any, arguments: dict[str, Any], on_text: OnText | None, connection: Connection
) -> Reply:
    arguments = {**arguments, "extra_headers": headers_for(arguments)}
    raw = client.chat.completions.with_raw_response.create(**arguments)
    try:
        if is_stream(raw.http_response):
            read = read_stream(raw.parse(), on_text or (lambda piece: None))
        else:
            read = read_completion(body_of(raw.http_response)).shown(on_text)
        # The cost that other servers report may not be in US dollars.
        cost = read.cost_usd if connection.server.has_usage_option else None
        return attrs.evolve(read, request_id=raw.headers.get("x-request-id"), cost_usd=cost)
    except Exception as error:
        failure = failure_in_answer(error, connection)
    raise failure
