"""Endpoints: the server that a provider's requests go to, and the key that is sent with them.

A provider's ``..._API_KEY`` is sent to the provider's own server only. A server that is set with
``..._BASE_URL`` gets the ``..._ENDPOINT_KEY``, or no key.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import attrs

from kando_llm.errors import MissingKey, ProviderError
from kando_llm.keys import read_key

__all__ = ["SERVERS", "Endpoint", "Server", "endpoint_of"]


@attrs.frozen
class Server:
    """A kind of server.

    Attributes:
        provider: name of the provider.
        prefix: of its environment variables.
        base_url: the default; empty if ``..._BASE_URL`` must be set.
        key_env: variable of the key for the default base URL; empty if it needs none.
        model: the default; empty if the user must name one.
        limit: name of the request field that limits an answer's tokens.
        has_usage_option: whether it reports the cost on request.
        knows_strict_schemas: whether it enforces a JSON Schema, next to tools too.
        needs_limit: whether each request must limit its answer.
    """

    provider: str
    prefix: str
    base_url: str
    key_env: str = ""
    model: str = ""
    limit: str = "max_tokens"
    has_usage_option: bool = False
    knows_strict_schemas: bool = False
    needs_limit: bool = False


#: The kinds of servers, by provider.
SERVERS = {
    each.provider: each
    for each in (
        Server(
            "anthropic",
            "ANTHROPIC",
            "https://api.anthropic.com",
            "ANTHROPIC_API_KEY",
            "claude-haiku-4-5",
            needs_limit=True,
        ),
        Server(
            "openai",
            "OPENAI",
            "https://api.openai.com/v1",
            "OPENAI_API_KEY",
            "gpt-5.4-mini",
            limit="max_completion_tokens",
            knows_strict_schemas=True,
        ),
        Server(
            "openrouter",
            "OPENROUTER",
            "https://openrouter.ai/api/v1",
            "OPENROUTER_API_KEY",
            "anthropic/claude-haiku-4-5",
            has_usage_option=True,
            knows_strict_schemas=True,
        ),
        Server("openai-compatible", "OPENAI_COMPATIBLE", ""),
        Server("ollama", "OLLAMA", "http://localhost:11434/v1"),
        Server("vllm", "VLLM", "http://localhost:8000/v1"),
        Server("lmstudio", "LMSTUDIO", "http://localhost:1234/v1"),
    )
}


@attrs.frozen
class Endpoint:
    """The server that requests go to.

    Attributes:
        base_url: of its API.
        key: sent with each request; empty for none.
        key_name: of the variable that holds the key, whether it is set or not.
        is_own: whether it is the provider's own server, not one set with ``..._BASE_URL``.
        priced_as: provider in the price list: its own name, or the host of another server.
    """

    base_url: str
    key: str = attrs.field(repr=False)
    key_name: str
    is_own: bool
    priced_as: str


def endpoint_of(server: Server, environ: Mapping[str, str]) -> Endpoint:
    """Return the endpoint for a kind of server.

    Raises:
        MissingKey: the provider's own server needs a key, and none is set.
        ProviderError: no server is set, or its URL is malformed.
    """
    variable = f"{server.prefix}_BASE_URL"
    url = environ.get(variable, "").strip() or server.base_url
    if not url:
        msg = f"No server is set for provider {server.provider!r}."
        raise ProviderError(msg, hint=f"Set {variable} to the base URL of its API.")
    host = _host(url, variable)
    if _origin(url) == _origin(server.base_url):
        if not server.key_env:
            key_name = f"{server.prefix}_ENDPOINT_KEY"
            key = read_key(key_name, environ) or ""
            return Endpoint(url, key, key_name, True, server.provider)
        needed = read_key(server.key_env, environ)
        if needed is None:
            msg = f"Provider {server.provider!r} needs a key, and {server.key_env} is not set."
            hint = f"Set it, or set {server.key_env}_FILE to a file with mode 600 that holds it."
            raise MissingKey(msg, hint=hint)
        return Endpoint(url, needed, server.key_env, True, server.provider)
    key_name = f"{server.prefix}_ENDPOINT_KEY"
    return Endpoint(url, read_key(key_name, environ) or "", key_name, False, host)


def _host(url: str, variable: str) -> str:
    hint = f"Set {variable} to a URL such as http://localhost:8000/v1."
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        is_url = parts.scheme in ("http", "https") and bool(host) and parts.port != 0
    except ValueError:
        is_url, host, parts = False, "", urlsplit("")
    if "@" in parts.netloc:
        msg = f"{variable} contains a user name or password."
        raise ProviderError(msg, hint=f"Put the key in {variable[:-8]}ENDPOINT_KEY instead.")
    if not is_url:
        msg = f"{variable} is not a base URL: {url!r:.80}."
        raise ProviderError(msg, hint=hint)
    return host


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, parts.port or default
