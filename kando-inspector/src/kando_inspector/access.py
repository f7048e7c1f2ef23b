"""Access: tokens and roles, the hosts and origins of requests, and the headers of responses."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import attrs
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kando_inspector.problems import Problem, problem_response
from kando_inspector.settings import Settings, is_loopback

__all__ = ["ACT", "LOOK", "Access", "Guard", "new_token"]

#: The roles of clients: one that may only look, and one that may act, too.
LOOK, ACT = "look", "act"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_CHALLENGE = {"www-authenticate": 'Bearer realm="kando"'}


def new_token() -> str:
    """Return a random token."""
    return secrets.token_urlsafe(32)


@attrs.frozen
class Access:
    """The tokens of a server, and the names that it answers to.

    Attributes:
        token: of clients that may act.
        look_token: of clients that may only look, or None.
        is_read_only: whether every client may only look.
        host: address that the server listens on.
        allowed_hosts: other names of the server.
        cookie: name of its cookie. Ports share cookies, so it differs from that of another server.
    """

    token: str = attrs.field(repr=False)
    look_token: str | None = attrs.field(default=None, repr=False)
    is_read_only: bool = False
    host: str = "127.0.0.1"
    allowed_hosts: tuple[str, ...] = ()
    cookie: str = "kando_inspector"

    @classmethod
    def of(cls, settings: Settings, port: int) -> Access:
        """Return the access that settings describe; a token that is not given is a random one.

        Args:
            settings: of the server.
            port: that the server listens on.
        """
        return cls(
            settings.token or new_token(),
            settings.look_token,
            settings.is_read_only,
            settings.host,
            settings.allowed_hosts,
            f"kando_inspector_{port}",
        )

    def role_of_token(self, given: str) -> str | None:
        """Return the role of a client that has a token, or None if the token is wrong."""
        for token, role in self._tokens():
            if hmac.compare_digest(token.encode(), given.encode(errors="replace")):
                return role
        return None

    def role_of(self, request: Request) -> str:
        """Return the role of the client that sends a request.

        Raises:
            Problem: it has neither a token nor the cookie.
        """
        given = request.headers.getlist("authorization")
        if len(given) == 1:
            scheme, _, token = given[0].partition(" ")
            role = self.role_of_token(token.strip()) if scheme.lower() == "bearer" else None
        else:
            role = None if given else self._role_of_cookie(request.cookies.get(self.cookie, ""))
        if role is None:
            msg = "The token of the request is missing or wrong."
            hint = "Open the address that the server printed, or send Authorization: Bearer TOKEN."
            raise Problem(401, "unauthorized", msg, hint, _CHALLENGE)
        return role

    def cookie_of(self, token: str) -> str:
        """Return the value of the cookie of a client that has a token.

        It follows from the token, so that it stays valid when a server with the same token starts
        again.
        """
        return hmac.new(token.encode(), b"kando inspector cookie", hashlib.sha256).hexdigest()

    def check(self, headers: Headers) -> None:
        """Check the names in the headers of a request, against DNS rebinding and other sites.

        Raises:
            Problem: the request was made for another host, or by a page of another origin.
        """
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._answers_to(_name_in(host)):
            msg = "This server does not answer to the host of the request."
            raise Problem(421, "wrong_host", msg, "Name the host with --allow-host.")
        origins = headers.getlist("origin")
        if any(each not in (f"http://{host}", f"https://{host}") for each in origins):
            msg = "The request comes from a page of another origin."
            raise Problem(403, "wrong_origin", msg)

    def _answers_to(self, name: str | None) -> bool:
        if name is None:
            return False
        if name in self.allowed_hosts or name == self.host or is_loopback(name):
            return True
        # A name can be made to lead here, but a number cannot.
        return not is_loopback(self.host) and _is_number(name)

    def _tokens(self) -> Iterator[tuple[str, str]]:
        yield self.token, LOOK if self.is_read_only else ACT
        if self.look_token is not None:
            yield self.look_token, LOOK

    def _role_of_cookie(self, given: str) -> str | None:
        for token, role in self._tokens():
            if hmac.compare_digest(self.cookie_of(token).encode(), given.encode(errors="replace")):
                return role
        return None


@attrs.frozen
class Guard:
    """An ASGI application that refuses requests for other hosts and from other origins.

    Attributes:
        app: the application for the other requests.
        access: the tokens, and the names of the server.
    """

    app: ASGIApp
    access: Access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, and add the headers of each response."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _with_headers(send)
        try:
            self.access.check(Headers(scope=scope))
        except Problem as problem:
            await problem_response(problem)(scope, receive, answer)
            return
        await self.app(scope, receive, answer)


def _with_headers(send: Send) -> Callable[[Message], Any]:
    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            # A response is about runs of a person: no shared cache keeps it, others ask again.
            headers.setdefault("cache-control", "private, no-cache")
        await send(message)

    return answer


def _name_in(host: str) -> str | None:
    """Return the name in a ``Host``, without its port; None if it is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if parts.netloc == host and "@" not in host else None


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
