"""The settings of a server, as its operator gives them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

import attrs

from kando.app.operator import OperatorLimits
from kando.errors import ConfigurationError

__all__ = ["LOOPBACK", "Settings", "is_loopback", "token_from"]

LOOPBACK = "127.0.0.1"

_MIN_CHARS = 16

# As in RFC 6750, section 2.1.
_FORM = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


@attrs.frozen
class Settings:
    """The settings of a server.

    Attributes:
        ledger_url: URL of the substrate of the runs.
        environ: settings and keys.
        host: address to listen on.
        port: to listen on; 0 chooses a free one.
        token: of clients that may act; a random one if None.
        look_token: of clients that may only look, or None.
        allowed_hosts: other names of the server in the ``Host`` of requests.
        is_read_only: whether every client may only look.
        run: that the printed address shows, or None.
        shows_token: whether the printed address contains a token that was given.
        limits: of the operator, which override what clients ask for.
        group: whose workers work on the runs.
        workers: how many of them this server starts.

    Raises:
        ConfigurationError: the host is reachable from other machines, and there is no token.
    """

    ledger_url: str
    environ: Mapping[str, str] = attrs.field(repr=False)
    host: str = LOOPBACK
    port: int = 0
    token: str | None = attrs.field(default=None, repr=False)
    look_token: str | None = attrs.field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    is_read_only: bool = False
    run: str | None = None
    shows_token: bool = False
    limits: OperatorLimits = attrs.field(factory=lambda: OperatorLimits("kando serve"))
    group: str = "inspector"
    workers: int = 0

    def __attrs_post_init__(self) -> None:
        if self.token is None and not is_loopback(self.host):
            msg = f"--host {self.host} can be reached from other machines, and there is no token."
            raise ConfigurationError(msg, hint="Give one with --token, and serve behind TLS.")
        if self.token is not None and self.token == self.look_token:
            msg = "The token that may only look is the one that may act."
            raise ConfigurationError(msg, hint="Give two different tokens.")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address, which is a number or a name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_from(option: str | None, variable: str, environ: Mapping[str, str]) -> str | None:
    """Return the token in an option or in the environment, or None.

    Args:
        option: the value of the option; it takes precedence.
        variable: the environment variable.
        environ: the environment.

    Raises:
        ConfigurationError: it is too short, or has characters that no bearer token can have.
    """
    token = option if option is not None else environ.get(variable) or None
    if token is not None and (len(token) < _MIN_CHARS or not _FORM.fullmatch(token)):
        msg = f"The token has fewer than {_MIN_CHARS} characters, or others than letters, digits and -._~+/."
        raise ConfigurationError(msg, hint="Leave it out, and a random token is printed.")
    return token
