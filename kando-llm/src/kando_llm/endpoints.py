"""Endpoints: the server that a provider's requests go to, and the key that is sent with them.

A provider's ``..._API_KEY`` is sent to the provider's own server only. A server that is set with
``..._BASE_URL`` gets the ``..._ENDPOINT_KEY``, or no key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

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
        counts_streams: whether it reports the usage of a stream on request.
        own_hosts: pattern of further hosts that are the provider's own.
        has_credentials: whether its client signs requests itself if there is no key.
        serves_other_names: whether it answers with another name of the model than it was asked for.
        host_env: variable of other programs that names the server.
        key_header: that carries the key, instead of ``Authorization``.
        images: whether its models take images.
        files: whether they take PDFs. Files of text are sent as text.
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
    counts_streams: bool = True
    own_hosts: str = ""
    has_credentials: bool = False
    serves_other_names: bool = False
    host_env: str = ""
    key_header: str = ""
    images: bool = True
    files: bool = False


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
            files=True,
        ),
        Server(
            "openai",
            "OPENAI",
            "https://api.openai.com/v1",
            "OPENAI_API_KEY",
            "gpt-5.4-mini",
            limit="max_completion_tokens",
            knows_strict_schemas=True,
            files=True,
        ),
        Server(
            "openrouter",
            "OPENROUTER",
            "https://openrouter.ai/api/v1",
            "OPENROUTER_API_KEY",
            "anthropic/claude-haiku-4-5",
            has_usage_option=True,
            knows_strict_schemas=True,
            files=True,
        ),
        Server("openai-compatible", "OPENAI_COMPATIBLE", "", files=True),
        Server(
            "gemini",
            "GEMINI",
            "https://generativelanguage.googleapis.com/v1beta/openai",
            "GEMINI_API_KEY",
        ),
        # It refuses fields that it does not know, and reports the usage anyway.
        Server(
            "mistral",
            "MISTRAL",
            "https://api.mistral.ai/v1",
            "MISTRAL_API_KEY",
            counts_streams=False,
        ),
        Server(
            "deepseek",
            "DEEPSEEK",
            "https://api.deepseek.com/v1",
            "DEEPSEEK_API_KEY",
            images=False,
        ),
        Server("xai", "XAI", "https://api.x.ai/v1", "XAI_API_KEY"),
        Server("groq", "GROQ", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
        Server(
            "azure",
            "AZURE_OPENAI",
            "",
            "AZURE_OPENAI_API_KEY",
            limit="max_completion_tokens",
            host_env="AZURE_OPENAI_ENDPOINT",
            key_header="api-key",
            files=True,
        ),
        Server(
            "bedrock",
            "BEDROCK",
            "https://bedrock-runtime.{region}.amazonaws.com",
            "AWS_BEARER_TOKEN_BEDROCK",
            needs_limit=True,
            own_hosts=r"([\w-]+\.)?bedrock-runtime(-fips)?\.[\w-]+\.(vpce\.)?amazonaws\.com(\.cn)?",
            has_credentials=True,
            serves_other_names=True,
            files=True,
        ),
        Server(
            "vertex",
            "VERTEX",
            "https://{region}-aiplatform.googleapis.com/v1",
            "VERTEX_ACCESS_TOKEN",
            needs_limit=True,
            own_hosts=r"([\w-]+-)?aiplatform(-[\w-]+)?(\.[a-z]+\.rep|\.p)?\.googleapis\.com",
            has_credentials=True,
            files=True,
        ),
        Server("ollama", "OLLAMA", "http://localhost:11434/v1", host_env="OLLAMA_HOST"),
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
        query: sent with each request.
    """

    base_url: str
    key: str = attrs.field(repr=False)
    key_name: str
    is_own: bool
    priced_as: str
    query: dict[str, str] = attrs.field(factory=dict)


def endpoint_of(server: Server, environ: Mapping[str, str]) -> Endpoint:
    """Return the endpoint for a kind of server.

    Raises:
        MissingKey: the provider's own server needs a key, and none is set.
        ProviderError: no server is set, or its URL is malformed.
    """
    variable = f"{server.prefix}_BASE_URL"
    named = environ.get(variable, "").strip()
    from_host = "" if named else _url_of_host(server, environ)
    url = named or from_host or server.base_url
    if not url:
        msg = f"No server is set for provider {server.provider!r}."
        cure = f"Set {server.host_env or variable} to the base URL of its API."
        raise ProviderError(msg, hint=cure)
    host = _host(url, variable if named else server.host_env or variable)
    url, query = _without_query(url)
    # The key of Azure is for the server that AZURE_OPENAI_ENDPOINT names.
    is_own = _origin(url) == _origin(server.base_url) or bool(from_host and server.key_env)
    if server.own_hosts and url.startswith("https:"):
        is_own = is_own or re.fullmatch(server.own_hosts, host) is not None
    if is_own and server.key_env:
        key = read_key(server.key_env, environ)
        if key is None and not server.has_credentials:
            msg = f"Provider {server.provider!r} needs a key, and {server.key_env} is not set."
            hint = f"Set it, or set {server.key_env}_FILE to a file with mode 600 that holds it."
            raise MissingKey(msg, hint=hint)
        return Endpoint(url, key or "", server.key_env, True, server.provider, query)
    key_name = f"{server.prefix}_ENDPOINT_KEY"
    priced_as = server.provider if is_own else host
    return Endpoint(url, read_key(key_name, environ) or "", key_name, is_own, priced_as, query)


def _url_of_host(server: Server, environ: Mapping[str, str]) -> str:
    """Return the base URL that another program's variable names; empty if it is not set."""
    host = environ.get(server.host_env, "").strip().rstrip("/") if server.host_env else ""
    if not host:
        return ""
    if server.provider == "azure":
        return _azure_url(host, environ)
    scheme, split, rest = host.rpartition("://")
    name, slash, path = rest.partition("/")
    name = f"127.0.0.1{name}" if name.startswith(":") else name
    # A server that listens on every address is reached on this machine.
    name = name.replace("0.0.0.0", "127.0.0.1") if name.startswith("0.0.0.0") else name
    has_port = name.rpartition(":")[2].isdecimal() and not name.endswith("]")
    port = "" if has_port or split else ":11434"
    return f"{scheme or 'http'}://{name}{port}{slash}{path}/v1"


def _azure_url(endpoint: str, environ: Mapping[str, str]) -> str:
    names = ("AZURE_OPENAI_API_VERSION", "OPENAI_API_VERSION")
    version = next((environ[name].strip() for name in names if environ.get(name)), "")
    if urlsplit(endpoint).path.strip("/"):
        return endpoint if not version or "?" in endpoint else f"{endpoint}?api-version={version}"
    if not version:
        return f"{endpoint}/openai/v1"
    # A deployment is part of the path; its name is the model.
    return f"{endpoint}/openai/deployments/{{model}}?api-version={version}"


def _without_query(url: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(url)
    return parts._replace(query="", fragment="").geturl(), dict(parse_qsl(parts.query))


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
        prefix = variable.removesuffix("BASE_URL").removesuffix("HOST")
        raise ProviderError(msg, hint=f"Put the key in {prefix}ENDPOINT_KEY instead.")
    if not is_url:
        msg = f"{variable} is not a base URL: {url!r:.80}."
        raise ProviderError(msg, hint=hint)
    return host


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, parts.port or default
