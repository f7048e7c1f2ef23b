"""Fetch a public web page, within limits of size and time, and never from a private address.

A host name is resolved once, each of its addresses must be public, and the connection goes to one
of those addresses, so that a later change of the DNS record has no effect. A redirect is checked
like the first URL. Proxies are not used, since they connect to addresses that we cannot check.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from threading import Timer
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import attrs

from kando.text.documents import Limits as TextLimits
from kando.text.documents import extract_text

__all__ = ["FetchRefused", "Limits", "Page", "fetch", "is_public"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HTML = frozenset({"text/html", "application/xhtml+xml"})
_TEXTS = frozenset({"application/json", "application/xml", "application/pdf"})
# IPv6 addresses that embed an IPv4 address.
_NAT64 = IPv6Network("64:ff9b::/96")


class FetchRefused(Exception):
    """The page must not be fetched, or is too large, too slow or not text."""


@attrs.frozen
class Limits:
    """Limits of one fetch.

    Attributes:
        bytes: maximum size of the body.
        seconds: maximum duration, redirects included.
        redirects: maximum number of redirects to follow.
        chars: number of characters of text to keep.
    """

    bytes: int = 4 * 1024 * 1024
    seconds: float = 20.0
    redirects: int = 5
    chars: int = 1_000_000


@attrs.frozen
class Page:
    """A fetched page.

    Attributes:
        url: final URL, after redirects.
        media_type: media type from the response.
        sha256: digest of the body, in hexadecimal.
        text: visible text of the page.
        notes: what was guessed, cut or lost.
    """

    url: str
    media_type: str
    sha256: str
    text: str
    notes: list[str] = attrs.field(factory=list)


def is_public(address: str) -> bool:
    """Whether an IP address is public, and any IPv4 address that it embeds as well."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            embedded = IPv4Address(int(ip) & 0xFFFF_FFFF)
        if embedded is not None:
            return is_public(str(embedded))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def fetch(
    url: str, limits: Limits | None = None, *, is_allowed: Callable[[str], bool] = is_public
) -> Page:
    """Fetch a page and return its text.

    Args:
        url: an ``http`` or ``https`` URL without user information.
        limits: limits of this fetch.
        is_allowed: returns whether a connection to an IP address is allowed.

    Raises:
        FetchRefused: the page cannot or must not be fetched; the message says why.
    """
    limits = limits or Limits()
    deadline = time.monotonic() + limits.seconds
    for _ in range(limits.redirects + 1):
        try:
            next_url, page = _step(url, limits, deadline, is_allowed)
        except (OSError, HTTPException, ValueError) as error:
            is_late = isinstance(error, TimeoutError) or time.monotonic() >= deadline
            reason = "took too long" if is_late else "cannot be fetched"
            msg = f"{url} {reason} ({type(error).__name__})."
            raise FetchRefused(msg) from error
        if page is not None:
            return page
        url = next_url
    msg = f"{url} redirects more than {limits.redirects} times."
    raise FetchRefused(msg)


def _step(
    url: str, limits: Limits, deadline: float, is_allowed: Callable[[str], bool]
) -> tuple[str, Page | None]:
    """Request one URL: return the URL it redirects to, or the page."""
    parts = _checked(url)
    with _connected(url, parts, deadline, is_allowed) as sock:
        connection = HTTPConnection(parts.hostname or "", parts.port)
        connection.sock = sock
        headers = {"User-Agent": "kando", "Accept": "text/*", "Accept-Encoding": "identity"}
        host = parts.netloc.encode("idna").decode() if not parts.netloc.isascii() else parts.netloc
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]")
        target = f"{path}?{query}" if query else path
        connection.request("GET", target, headers=headers | {"Host": host})
        response = connection.getresponse()
        location = response.getheader("Location")
        if response.status in _REDIRECTS and location:
            return urljoin(url, location), None
        if response.status != 200:
            msg = f"{url} returned HTTP status {response.status}."
            raise FetchRefused(msg)
        media_type = response.headers.get_content_type()
        charset = response.headers.get_content_charset()
        body = _body(url, response, media_type, limits)
        # A connection that the timer shut down looks like one that ended normally.
        _remaining(deadline)
    return url, _page(url, body, media_type, charset, limits, deadline)


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or "@" in parts.netloc or any(c <= " " or c == "\x7f" for c in url):
        msg = f"{url!r:.200} is not an http or https URL of a web page."
        raise FetchRefused(msg)
    return parts


@contextmanager
def _connected(
    url: str, parts: SplitResult, deadline: float, is_allowed: Callable[[str], bool]
) -> Iterator[socket.socket]:
    """Connect to an allowed address; the connection is shut down at the deadline."""
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not addresses or not all(map(is_allowed, addresses)):
        msg = f"{url} resolves to {', '.join(addresses)}, which is not a public address."
        raise FetchRefused(msg)
    sock = _connect_to_any(addresses, port, deadline)
    # A socket timeout covers one read only; this timer stops a server that sends byte by byte.
    other = sock.dup()
    guard = Timer(_remaining(deadline), _shut_down, [other])
    guard.daemon = True
    guard.start()
    try:
        if parts.scheme == "https":
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
        yield sock
    finally:
        guard.cancel()
        other.close()
        sock.close()


def _connect_to_any(addresses: list[str], port: int, deadline: float) -> socket.socket:
    for address in addresses[:-1]:
        try:
            return socket.create_connection((address, port), timeout=_remaining(deadline))
        except OSError:
            continue
    return socket.create_connection((addresses[-1], port), timeout=_remaining(deadline))


def _shut_down(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _body(url: str, response: HTTPResponse, media_type: str, limits: Limits) -> bytes:
    if not media_type.startswith("text/") and media_type not in _HTML | _TEXTS:
        msg = f"{url} has the media type {media_type}, which is not text."
        raise FetchRefused(msg)
    body = response.read(limits.bytes + 1)
    if len(body) > limits.bytes:
        msg = f"{url} is larger than {limits.bytes} bytes."
        raise FetchRefused(msg)
    if response.length:  # announced by Content-Length, and not received
        msg = f"{url} ended after {len(body)} of {len(body) + response.length} bytes."
        raise FetchRefused(msg)
    return body


def _page(
    url: str, body: bytes, media_type: str, charset: str | None, limits: Limits, deadline: float
) -> Page:
    """Return the page with its text, which another process extracts in the time that is left."""
    within = TextLimits(seconds=_remaining(deadline), chars=limits.chars)
    declared = "text/html" if media_type in _HTML else media_type
    try:
        found = extract_text(body, media_type=declared, charset=charset, limits=within)
    except ValueError as error:
        msg = f"{url} cannot be read: {error}."
        raise FetchRefused(msg) from error
    sha256 = hashlib.sha256(body).hexdigest()
    return Page(url, media_type, sha256, found.text, found.notes)


def _remaining(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining
