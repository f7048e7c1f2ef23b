"""The bearer token that each request over HTTP must have."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Any

from kando.errors import ConfigurationError

__all__ = ["TOKEN", "TokenRequired", "new_token", "token_in"]

#: Environment variable of the token.
TOKEN = "KANDO_MCP_TOKEN"

_MIN_CHARS = 16

# As in RFC 6750, section 2.1.
_FORM = re.compile(r"[A-Za-z0-9\-._~+/]+=*")

_REFUSAL = b'{"error": "unauthorized", "message": "The bearer token is missing or wrong."}'

_App = Any


def new_token() -> str:
    """Return a random token."""
    return secrets.token_urlsafe(32)


def token_in(environ: Mapping[str, str]) -> str | None:
    """Return the token in ``KANDO_MCP_TOKEN``, or None.

    Raises:
        ConfigurationError: it is too short, or has characters that no bearer token can have.
    """
    token = environ.get(TOKEN)
    if not token:
        return None
    if len(token) < _MIN_CHARS or not _FORM.fullmatch(token):
        msg = f"{TOKEN} is not a token of at least {_MIN_CHARS} letters, digits and -._~+/ characters."
        raise ConfigurationError(
            msg, hint="Unset it, and kando-mcp prints a new one at each start."
        )
    return token


class TokenRequired:
    """An ASGI application that refuses HTTP requests without the token.

    Args:
        app: the application for the other requests.
        token: the token.
    """

    def __init__(self, app: _App, token: str) -> None:
        self._app = app
        self._expected = token.encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle a request, or pass it on."""
        if scope["type"] == "lifespan" or self._is_authorized(scope):
            await self._app(scope, receive, send)
            return
        headers = [
            (b"www-authenticate", b'Bearer realm="kando-mcp"'),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(_REFUSAL)).encode()),
        ]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": _REFUSAL})

    def _is_authorized(self, scope: Any) -> bool:
        found = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
        if scope["type"] != "http" or len(found) != 1:
            return False
        scheme, _, given = found[0].partition(b" ")
        is_equal = hmac.compare_digest(given.strip(), self._expected)
        return scheme.lower() == b"bearer" and is_equal
