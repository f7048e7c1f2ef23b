"""Serve runs until the process is asked to end."""

from __future__ import annotations

import socket
from collections.abc import Callable
from math import ceil
from urllib.parse import urlencode

import uvicorn

from kando.app.store import Store, open_store
from kando.app.termination import Termination
from kando.errors import ConfigurationError
from kando.settings import GRACE_SECONDS, value_of
from kando_inspector.access import Access
from kando_inspector.application import inspector
from kando_inspector.service import Service
from kando_inspector.settings import Settings

__all__ = ["serve_runs"]


def serve_runs(settings: Settings, *, on_open: Callable[[str], None]) -> None:
    """Serve runs until the process is asked to end.

    Args:
        settings: of the server.
        on_open: called with the address of the page when the port is open.

    Raises:
        ConfigurationError: the port is in use, the address is not one of this machine, or
            ``KANDO_GRACE_SECONDS`` is malformed.
        LedgerNotFound, AmbiguousName, PositionOutOfRange: there is no such run to show.
    """
    seconds = value_of(GRACE_SECONDS, settings.environ)
    with open_store(settings.ledger_url, environ=settings.environ) as store:
        shown = _address_in(store, settings.run) if settings.run is not None else None
        with _bound(settings) as bound:
            access = Access.of(settings, bound.getsockname()[1])
            app = inspector(Service(store, access))
            config = uvicorn.Config(
                app,
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=ceil(seconds),
            )
            server = uvicorn.Server(config)

            def stop() -> None:
                server.should_exit = True

            with Termination(seconds, stop):
                on_open(_page_address(settings, access, bound, shown))
                server.run(sockets=[bound])


def _bound(settings: Settings) -> socket.socket:
    """Return an open socket at the address of the settings."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        msg = f"{settings.host} cannot be listened on at port {settings.port}: {error.strerror}."
        raise ConfigurationError(msg, hint="Choose another with --host or --port.") from error


def _address_in(store: Store, run: str) -> str:
    """Return the address of a run with its whole id, as the page shows it."""
    found, at = store.run_at(run)
    return f"{found.id}@{at}" if "@" in run.removeprefix("@") else found.id


def _page_address(
    settings: Settings, access: Access, bound: socket.socket, shown: str | None
) -> str:
    """Return the address of the page, with the token in its fragment, which no request contains."""
    host, port = bound.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    parts = {}
    # A token that was given is known, and stays out of logs of stdout.
    if settings.token is None or settings.shows_token:
        parts["token"] = access.token
    if shown is not None and parts:
        parts["run"] = shown
    fragment = urlencode(parts) if parts else (shown or "")
    return f"http://{name}:{port}/" + (f"#{fragment}" if fragment else "")
