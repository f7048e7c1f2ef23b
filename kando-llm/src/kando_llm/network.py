"""How requests reach a server: proxies, certificates and headers, from Kando's own settings only.

The SDKs and their HTTP library read many variables by themselves, and send what they find to any
server. So they are given every setting explicitly, and read none.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import attrs

from kando_llm.endpoints import Endpoint, Server
from kando_llm.errors import ProviderError

__all__ = [
    "Network",
    "header_secrets",
    "is_this_machine",
    "key_header_of",
    "network_of",
    "sdk_headers",
]

#: Variables from which the SDKs take headers by themselves.
_SDK_HEADERS = ("ANTHROPIC_CUSTOM_HEADERS", "OPENAI_CUSTOM_HEADERS")
_OPENAI_IDENTITY = {
    "OpenAI-Organization": "OPENAI_ORG_ID",
    "OpenAI-Project": "OPENAI_PROJECT_ID",
}
#: Hosts that take the key in a header of its own.
_AZURE = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
_SCHEMES = ("http", "https", "socks5", "socks5h")
_LOOPBACK_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")


@attrs.frozen
class Network:
    """How requests reach a server.

    Attributes:
        proxy: URL of the proxy that they go through; None for none.
        proxy_name: variable that names it; empty for none.
        certificates: the authorities that are trusted; None for those of the system.
    """

    proxy: str | None = attrs.field(default=None, repr=False)
    proxy_name: str = ""
    certificates: ssl.SSLContext | None = attrs.field(default=None, repr=False, eq=False)

    def client_arguments(self) -> dict[str, Any]:
        """Return the arguments for a client of `httpx2`, which then reads no variable itself."""
        verify: ssl.SSLContext | bool = self.certificates or True
        return {"trust_env": False, "proxy": self.proxy, "verify": verify}


def network_of(base_url: str, environ: Mapping[str, str]) -> Network:
    """Return how requests reach a server.

    A server on this machine is reached directly. Others are reached through the proxy that
    ``HTTP_PROXY``, ``HTTPS_PROXY`` or ``ALL_PROXY`` names, unless ``NO_PROXY`` lists them.

    Args:
        base_url: of the server.
        environ: the settings.

    Raises:
        ProviderError: the proxy or the file of certificates cannot be used.
    """
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    name, proxy = _proxy_for(parts.scheme, host, parts.port, environ)
    is_encrypted = parts.scheme == "https" or (proxy or "").startswith("https:")
    return Network(proxy, name, _certificates(environ) if is_encrypted else None)


def is_this_machine(host: str) -> bool:
    """Whether a host is this machine: a loopback address, or a name of one.

    Args:
        host: a name or an address, without a port.
    """
    name = host.lower().rstrip(".").strip("[]")
    if name in _LOOPBACK_NAMES or name.endswith(".localhost"):
        return True
    try:
        # Also reads the short forms of an address, such as 127.1.
        address = ipaddress.ip_address(socket.inet_ntoa(socket.inet_aton(name)))
    except OSError:
        try:
            address = ipaddress.ip_address(name.partition("%")[0])
        except ValueError:
            return _is_name_of_this_machine(name)
    return _is_local(address)


def _is_local(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    inner = getattr(address, "ipv4_mapped", None) or address
    # A server that listens on every address is often named by the unspecified one.
    return bool(inner.is_loopback or inner.is_unspecified)


def _is_name_of_this_machine(name: str) -> bool:
    is_bare = "." not in name or name == socket.gethostname().lower()
    if not name or not (is_bare or name in _hosts_file_names()):
        # Other names are not looked up: behind a proxy, that may take long and fail.
        return False
    with suppress(OSError, UnicodeError):
        found = {str(each[4][0]).partition("%")[0] for each in socket.getaddrinfo(name, None)}
        return bool(found) and all(_is_local(ipaddress.ip_address(each)) for each in found)
    return False


def _hosts_file_names() -> set[str]:
    root = os.environ.get("SYSTEMROOT", r"C:\Windows")
    path = Path(root, "System32/drivers/etc/hosts") if os.name == "nt" else Path("/etc/hosts")
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return set()
    return {name.lower() for line in lines for name in line.partition("#")[0].split()[1:]}


def _proxy_for(
    scheme: str, host: str, port: int | None, environ: Mapping[str, str]
) -> tuple[str, str | None]:
    """Return the proxy for a server, and the variable that names it; None for none."""
    for wanted in (scheme, "all"):
        for name in (f"{wanted}_proxy", f"{wanted}_PROXY".upper()):
            url = environ.get(name, "").strip()
            # A web server sets HTTP_PROXY from a request's header.
            if url and not (name == "HTTP_PROXY" and "REQUEST_METHOD" in environ):
                is_direct = is_this_machine(host) or _is_excepted(host, port, environ)
                return ("", None) if is_direct else (name, _checked_proxy(url, name))
    # Without a variable, macOS and Windows may have a proxy in their settings.
    url = getproxies().get(scheme, "") if _is_of_process(environ) and not _names(environ) else ""
    if not url or is_this_machine(host) or _is_excepted(host, port, environ):
        return "", None
    return "the system's settings", _checked_proxy(url, "the system's settings")


def _is_of_process(environ: Mapping[str, str]) -> bool:
    """Whether settings include the whole environment of the process; Kando's own may differ."""
    own = os.environ.items()
    return all(environ.get(name) == value for name, value in own if not name.startswith("KANDO_"))


def _names(environ: Mapping[str, str]) -> list[str]:
    return [name for name in environ if name.lower().endswith("_proxy")]


def _is_excepted(host: str, port: int | None, environ: Mapping[str, str]) -> bool:
    """Whether ``NO_PROXY`` lists a server: by name, suffix, address or network."""
    listed = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    host = host.lower().rstrip(".")
    return any(_matches(each.strip().lower(), host, port) for each in listed.split(","))


def _matches(pattern: str, host: str, port: int | None) -> bool:
    pattern = pattern.rpartition("://")[2]
    if pattern == "*":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(pattern.strip("[]"), strict=False)
    name, _, wanted = pattern.partition(":") if pattern.count(":") == 1 else (pattern, "", "")
    if wanted and wanted != str(port):
        return False
    name = name.removeprefix("*").removeprefix(".").rstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _checked_proxy(url: str, name: str) -> str:
    url = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable, parts = False, urlsplit("")
    if not is_usable:
        # The URL may hold a password.
        msg = f"The proxy in {name} cannot be used: it is not the URL of an HTTP or SOCKS5 proxy."
        raise ProviderError(msg, hint=f"Set {name} to a URL such as http://proxy.example:3128.")
    if parts.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        msg = f"The proxy in {name} is a SOCKS proxy, which needs the package socksio."
        hint = f"Install it: pip install 'httpx2[socks]'; or set {name} to an HTTP proxy."
        raise ProviderError(msg, hint=hint)
    return url


def _certificates(environ: Mapping[str, str]) -> ssl.SSLContext | None:
    for name, is_file in (("SSL_CERT_FILE", True), ("SSL_CERT_DIR", False)):
        path = environ.get(name, "").strip()
        if not path:
            continue
        found = Path(path).expanduser()
        try:
            if is_file:
                return ssl.create_default_context(cafile=found)
            if found.is_dir():
                return ssl.create_default_context(capath=found)
            reason = "it is not a folder"
        except ssl.SSLError:
            reason = "it holds no certificate"
        except OSError as error:
            reason = error.strerror or type(error).__name__
        msg = f"The certificates in {name}, {str(found)!r}, cannot be used: {reason}."
        what = "a file with certificates in PEM form" if is_file else "a folder of certificates"
        raise ProviderError(msg, hint=f"Set {name} to {what}, or unset it.")
    return None


def sdk_headers(
    server: Server, endpoint: Endpoint, key: str, environ: Mapping[str, str], omit: Any
) -> dict[str, Any]:
    """Return the headers to give to an SDK, so that it sends none that it finds by itself.

    ``ANTHROPIC_CUSTOM_HEADERS``, ``OPENAI_CUSTOM_HEADERS``, ``OPENAI_ORG_ID`` and
    ``OPENAI_PROJECT_ID`` are sent to the provider's own server only. Another server gets those in
    ``..._ENDPOINT_HEADERS``.

    Args:
        server: its kind.
        endpoint: the server.
        key: sent with each request.
        environ: the settings.
        omit: the value by which the SDK leaves a header out.

    Raises:
        ProviderError: a header is malformed.
    """
    found = [name for each in _SDK_HEADERS for name in _parsed(os.environ.get(each, ""))]
    headers: dict[str, Any] = dict.fromkeys([*found, *_OPENAI_IDENTITY], omit)
    for name in found:
        if name.lower() == "authorization" and not server.has_credentials:
            headers[name] = f"Bearer {key}"
    if key_header_of(server, endpoint):
        headers[key_header_of(server, endpoint)] = key
    if endpoint.is_own and server.provider in ("anthropic", "openai"):
        wanted = _parsed(environ.get(f"{server.prefix}_CUSTOM_HEADERS", ""))
        if server.provider == "openai":
            identity = {n: environ.get(v, "").strip() for n, v in _OPENAI_IDENTITY.items()}
            wanted = {**{n: v for n, v in identity.items() if v}, **wanted}
    else:
        wanted = endpoint_headers(server, environ)
    for name, value in wanted.items():
        # Names differ in case, and the SDKs merge dictionaries before they compare names.
        headers = {n: v for n, v in headers.items() if n.lower() != name.lower()}
        headers[name] = value
    return headers


def key_header_of(server: Server, endpoint: Endpoint) -> str:
    """Return the header that carries the key instead of ``Authorization``; empty for none."""
    host = urlsplit(endpoint.base_url).hostname or ""
    is_azure = host.endswith(_AZURE) and server.provider != "anthropic"
    return server.key_header or ("api-key" if is_azure else "")


def endpoint_headers(server: Server, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the headers in ``..._ENDPOINT_HEADERS``, for a server set with ``..._BASE_URL``.

    Raises:
        ProviderError: they are malformed.
    """
    variable = f"{server.prefix}_ENDPOINT_HEADERS"
    text = environ.get(variable, "")
    found = _parsed(text)
    lines = [line for line in text.split("\n") if line.strip()]
    values = [*found, *found.values()]
    if len(found) == len(lines) and all(v and v.isascii() and v.isprintable() for v in values):
        return found
    msg = f"{variable} does not hold headers."
    raise ProviderError(msg, hint="Write one header a line: Name: value.")


def header_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the headers in environment variables hold, by the name of the variable."""
    secrets = {}
    for variable, text in environ.items():
        if variable.endswith(("_CUSTOM_HEADERS", "_ENDPOINT_HEADERS")):
            for number, value in enumerate(_parsed(text).values()):
                secrets[f"{variable} {number}"] = value
                secrets[f"{variable} {number} last"] = value.rpartition(" ")[2]
    return secrets


def _parsed(text: str) -> dict[str, str]:
    """Return headers as the SDKs parse them: one a line."""
    pairs = [line.partition(":") for line in text.split("\n") if ":" in line]
    return {name.strip(): value.strip() for name, _, value in pairs}
