"""Fetch a public web page: so much, for so long, and from no address inside a network.

A name is resolved once, every address it has must be public, and the connection goes to one of
those addresses: what the name resolves to a moment later does not matter. A redirect is checked
like the first address. Proxies are not used, since they would connect where we cannot look.
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

from kando.text.documents import text_of

__all__ = ["FetchRefused", "Limits", "Page", "fetch", "is_public"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HTML = frozenset({"text/html", "application/xhtml+xml"})
_TEXTS = frozenset({"application/json", "application/xml", "application/pdf"})
# Addresses within which an IPv4 address is hidden.
_NAT64 = IPv6Network("64:ff9b::/96")


class FetchRefused(Exception):
    """A page that must not be fetched, or is too large, too slow or no text."""


@attrs.frozen
class Limits:
    """What one fetch may take.

    Attributes:
        bytes: of the body.
        seconds: in all, redirects included.
        redirects: that are followed.
        chars: of the text that is kept.
    """

    bytes: int = 4 * 1024 * 1024
    seconds: float = 20.0
    redirects: int = 5
    chars: int = 1_000_000


@attrs.frozen
class Page:
    """A page that was fetched.

    Attributes:
        url: where it was in the end.
        media_type: as its server says.
        sha256: of its body, in hexadecimal.
        text: what a reader would see.
    """

    url: str
    media_type: str
    sha256: str
    text: str


def is_public(address: str) -> bool:
    """Whether an IP address is of the public Internet, also if it hides another one."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        hidden = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            hidden = IPv4Address(int(ip) & 0xFFFF_FFFF)
        if hidden is not None:
            return is_public(str(hidden))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def fetch(
    url: str, limits: Limits | None = None, *, is_allowed: Callable[[str], bool] = is_public
) -> Page:
    """Fetch a page and return its text.

    Args:
        url: ``http`` or ``https``, without a user.
        limits: what it may take.
        is_allowed: whether an IP address may be connected to.

    Raises:
        FetchRefused: the message says why.
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
    """Follow one address: return where it leads, or the page."""
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
            msg = f"{url} answered {response.status}."
            raise FetchRefused(msg)
        media_type = response.headers.get_content_type()
        charset = response.headers.get_content_charset("utf-8")
        body = _body(url, response, media_type, limits)
        # A connection that was cut off ends like one that is complete.
        _left(deadline)
    return url, _page(url, body, media_type, charset, limits)


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or "@" in parts.netloc or any(c <= " " or c == "\x7f" for c in url):
        msg = f"{url!r:.200} is no http or https address of a page."
        raise FetchRefused(msg)
    return parts


@contextmanager
def _connected(
    url: str, parts: SplitResult, deadline: float, is_allowed: Callable[[str], bool]
) -> Iterator[socket.socket]:
    """Connect to an allowed address, until the deadline and no longer."""
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not addresses or not all(map(is_allowed, addresses)):
        msg = f"{url} is at {', '.join(addresses)}, which is not of the public Internet."
        raise FetchRefused(msg)
    sock = _first_of(addresses, port, deadline)
    # A timeout is for one read. A server that sends a byte now and then is cut off by this.
    other = sock.dup()
    guard = Timer(_left(deadline), _cut_off, [other])
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


def _first_of(addresses: list[str], port: int, deadline: float) -> socket.socket:
    for address in addresses[:-1]:
        try:
            return socket.create_connection((address, port), timeout=_left(deadline))
        except OSError:
            continue
    return socket.create_connection((addresses[-1], port), timeout=_left(deadline))


def _cut_off(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _body(url: str, response: HTTPResponse, media_type: str, limits: Limits) -> bytes:
    if not media_type.startswith("text/") and media_type not in _HTML | _TEXTS:
        msg = f"{url} is {media_type}, which is no text."
        raise FetchRefused(msg)
    body = response.read(limits.bytes + 1)
    if len(body) > limits.bytes:
        msg = f"{url} is larger than {limits.bytes} bytes."
        raise FetchRefused(msg)
    return body


def _page(url: str, body: bytes, media_type: str, charset: str, limits: Limits) -> Page:
    sha256 = hashlib.sha256(body).hexdigest()
    try:
        if charset not in ("utf-8", "utf8") and media_type != "application/pdf":
            body = body.decode(charset, "replace").encode()
        text = text_of(body, "text/html" if media_type in _HTML else media_type)
    except (LookupError, ValueError) as error:
        msg = f"{url} cannot be read: {error}."
        raise FetchRefused(msg) from error
    return Page(url, media_type, sha256, text[: limits.chars])


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
