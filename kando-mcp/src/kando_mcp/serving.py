"""Serve: over stdio with nothing but protocol on stdout, or over HTTP on loopback."""

from __future__ import annotations

import io
import os
import socket
import sys
from collections.abc import Mapping

from kando_mcp.server import create_server
from kando_mcp.settings import Settings

__all__ = ["serve_http", "serve_stdio"]

_LOOPBACK = "127.0.0.1"


def serve_stdio(environ: Mapping[str, str], settings: Settings) -> None:
    """Serve over stdin and stdout until the host closes them.

    Args:
        environ: settings and keys.
        settings: what the operator allows.
    """
    server = create_server(environ, settings)
    # While it serves, the SDK leads file descriptor 1 to stderr and keeps the real one for the
    # protocol. What a kit prints must take that way at once, not wait in a buffer until the end.
    sys.stdout.flush()
    unbuffered = open(1, "wb", buffering=0, closefd=False)  # noqa: SIM115 - for as long as we live
    sys.stdout = io.TextIOWrapper(unbuffered, "utf-8", "backslashreplace", write_through=True)
    try:
        server.run("stdio")
    finally:
        # What a kit says when the process ends is no protocol either.
        os.dup2(2, 1)


def serve_http(environ: Mapping[str, str], settings: Settings, port: int) -> None:
    """Serve over HTTP on loopback; its URL goes to stderr as soon as it can be reached.

    A web page that a browser shows must not reach it: requests whose Host is not this address, or
    whose Origin is another, are refused.

    Args:
        environ: settings and keys.
        settings: what the operator allows.
        port: 0 for a free one.
    """
    import uvicorn
    from mcp.server.transport_security import TransportSecuritySettings

    with socket.create_server((_LOOPBACK, port)) as bound:
        port = bound.getsockname()[1]
        hosts = [f"{name}:{port}" for name in (_LOOPBACK, "localhost")]
        security = TransportSecuritySettings(
            allowed_hosts=hosts, allowed_origins=[f"http://{host}" for host in hosts]
        )
        app = create_server(environ, settings).streamable_http_app(transport_security=security)
        serving = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        print(f"http://{_LOOPBACK}:{port}/mcp", file=sys.stderr, flush=True)
        serving.run(sockets=[bound])
