"""URLs of clusters: as people write them, as the clients want them, and as they may be shown."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

from kando.errors import ConfigurationError

__all__ = ["connection_string", "shown"]

_PLAIN = {"http": "esdb", "https": "esdb"}
_NEWER = {
    "kurrentdb": "esdb",
    "kdb": "esdb",
    "kurrentdb+discover": "esdb+discover",
    "kdb+discover": "esdb+discover",
}


def connection_string(url: str) -> str:
    """Return the connection string that both clients understand.

    Args:
        url: ``http://host:2113`` without TLS, ``https://user:password@host:2113`` with TLS, or a
            connection string ``esdb://`` or ``kurrentdb://``, perhaps with ``+discover``.

    Raises:
        ConfigurationError: it names no host, or asks for TLS without saying who asks.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    options = dict(parse_qsl(parts.query))
    host = parts.netloc.rpartition("@")[2]
    if not host:
        msg = f"{shown(url)!r} names no host."
        raise ConfigurationError(msg, hint="Write http://HOST:2113, or esdb://HOST:2113.")
    if scheme in _PLAIN:
        options = {"Tls": "true" if scheme == "https" else "false"} | options
    has_tls = {name.lower(): value for name, value in options.items()}.get("tls") != "false"
    if has_tls and not (parts.username and parts.password):
        msg = f"{shown(url)} asks for TLS, and names no user and password."
        cure = "Write https://USER:PASSWORD@HOST:2113; for a server without TLS, http://HOST:2113."
        raise ConfigurationError(msg, hint=cure)
    scheme = _PLAIN.get(scheme) or _NEWER.get(scheme, scheme)
    query = f"?{urlencode(options, safe='/:')}" if options else ""
    return f"{scheme}://{parts.netloc}{query}"


def shown(url: str) -> str:
    """Return a URL without its user, password and options, to be shown in messages."""
    scheme, _, rest = url.partition("://")
    host = rest.partition("?")[0].partition("/")[0].rpartition("@")[2]
    return f"{scheme}://{host}" if host else f"{scheme}:"
