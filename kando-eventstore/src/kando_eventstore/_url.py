"""Converts URLs of servers and clusters to the connection strings of the clients."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

from kando.errors import ConfigurationError
from kando.ledger.urls import redact_url

__all__ = ["connection_string"]

_PLAIN = {"http": "esdb", "https": "esdb"}
_NEWER = {
    "esdb": "esdb",
    "esdb+discover": "esdb+discover",
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
        ConfigurationError: the URL is malformed, names no host, or asks for TLS without a user and
            password.
    """
    authority = urlsplit(url).netloc
    if url.count("@") > 1 or ("@" in url and "@" not in authority):
        scheme = url.partition(":")[0]
        msg = f"The URL {scheme}:... has reserved characters in its user, password or options."
        hint = "Percent-encode them: %40 for @, %2F for /, %3F for ?, %23 for #."
        raise ConfigurationError(msg, hint=hint)
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if scheme not in _PLAIN and scheme not in _NEWER:
        msg = f"{redact_url(url)} is not a URL of an EventStoreDB or KurrentDB server."
        raise ConfigurationError(msg, hint="Write http://HOST:2113, or esdb://HOST:2113.")
    options = dict(parse_qsl(parts.query))
    host = parts.netloc.rpartition("@")[2]
    if not host:
        msg = f"{redact_url(url)!r} names no host."
        raise ConfigurationError(msg, hint="Write http://HOST:2113, or esdb://HOST:2113.")
    settings = {name.lower(): value for name, value in options.items()}
    if scheme in _PLAIN and "tls" not in settings:
        settings["tls"] = "true" if scheme == "https" else "false"
        options = {"Tls": settings["tls"]} | options
    has_tls = settings.get("tls", "").lower() != "false"
    if has_tls and not (parts.username and parts.password):
        msg = f"{redact_url(url)} asks for TLS but names no user and password."
        cure = "Write https://USER:PASSWORD@HOST:2113; for a server without TLS, http://HOST:2113."
        raise ConfigurationError(msg, hint=cure)
    query = f"?{urlencode(options, safe='/:')}" if options else ""
    return f"{_PLAIN.get(scheme) or _NEWER[scheme]}://{parts.netloc}{query}"
