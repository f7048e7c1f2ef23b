"""The HTTP transport: on loopback, for clients that have the token."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from math import ceil
from types import FrameType

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings

from kando.app.termination import Termination
from kando.settings import GRACE_SECONDS, value_of
from kando_mcp.ending import Ending
from kando_mcp.server import create_server, end_workers
from kando_mcp.settings import Settings
from kando_mcp.token import TOKEN, TokenRequired, new_token, token_in
from kando_mcp.worker.pool import Workers

__all__ = ["serve_http"]

_LOOPBACK = "127.0.0.1"


def serve_http(environ: Mapping[str, str], settings: Settings, port: int) -> None:
    """Serve over HTTP on loopback; the URL and the token are printed on stderr.

    The URL is printed when the port is open. Requests with another Host or Origin are refused, so
    that web pages in a browser have no access, and so are those without the token.

    Args:
        environ: settings and keys.
        settings: the operator's limits.
        port: the port; 0 chooses a free one.

    Raises:
        ConfigurationError: the token in ``KANDO_MCP_TOKEN``, or ``KANDO_GRACE_SECONDS``, is malformed.
    """
    seconds, ending, workers = value_of(GRACE_SECONDS, environ), Ending(), Workers()
    given = token_in(environ)
    token = given or new_token()
    with socket.create_server((_LOOPBACK, port)) as bound:
        port = bound.getsockname()[1]
        hosts = [f"{name}:{port}" for name in (_LOOPBACK, "localhost")]
        security = TransportSecuritySettings(
            allowed_hosts=hosts, allowed_origins=[f"http://{host}" for host in hosts]
        )
        server = create_server(environ, settings, ending=ending, workers=workers)
        app = TokenRequired(server.streamable_http_app(transport_security=security), token)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=ceil(seconds))
        serving = _Serving(config, ending)
        with Termination(seconds, ending.begin):
            print(f"http://{_LOOPBACK}:{port}/mcp", file=sys.stderr)
            # One that was given is known, and stays out of logs of stderr.
            shown = token if given is None else f"in {TOKEN}"
            print(f"Token: {shown}", file=sys.stderr, flush=True)
            serving.run(sockets=[bound])
            end_workers(workers, ending, seconds)


class _Serving(uvicorn.Server):
    """A server that ends when the process is asked to end."""

    def __init__(self, config: uvicorn.Config, ending: Ending) -> None:
        super().__init__(config)
        self._ending = ending
        ending.then(self._stop)

    def _stop(self) -> None:
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the end, at a signal that uvicorn handles."""
        self._ending.begin()
        super().handle_exit(sig, frame)
