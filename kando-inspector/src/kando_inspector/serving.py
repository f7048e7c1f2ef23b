"""Serve runs until the process is asked to end."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from urllib.parse import urlencode

import uvicorn

from kando.app.store import Store, open_store
from kando.app.termination import Termination
from kando.errors import ConfigurationError
from kando.settings import GRACE_SECONDS, value_of
from kando_inspector.access import Access
from kando_inspector.application import inspector
from kando_inspector.following import Following
from kando_inspector.service import Service
from kando_inspector.settings import Settings
from kando_inspector.worker_process import Order
from kando_inspector.workers import Workers

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
            service = _service(settings, store, access)
            app = inspector(service)
            config = uvicorn.Config(
                app,
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=ceil(seconds),
            )
            server = _Server(config)

            def stop() -> None:
                service.following.end()
                server.should_exit = True

            try:
                with Termination(seconds, stop), _interrupts(stop):
                    on_open(_page_address(settings, access, bound, shown))
                    server.run(sockets=[bound])
            finally:
                if service.workers is not None:
                    service.workers.end(seconds)


class _Server(uvicorn.Server):
    """A server that leaves the signals to the command: streams end before their connections do."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the handlers of signals as they are."""
        yield


@contextmanager
def _interrupts(stop: Callable[[], None]) -> Iterator[None]:
    """Have Ctrl-C call `stop`, in a ``with`` block of the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _service(settings: Settings, store: Store, access: Access) -> Service:
    """Return the service of a server, whose workers continue what was begun before.

    Raises:
        ConfigurationError: the runs are in memory, where no worker can read them.
    """
    following = Following(store)
    workers = None
    if settings.workers:
        if store.url.startswith("memory:"):
            msg = "Runs in memory: no worker process can read them."
            raise ConfigurationError(msg, hint="Name a file: --ledger sqlite:PATH; or --read-only.")
        order = Order.of(store.url, settings.group, settings.limits)
        workers = Workers(settings.workers, order, settings.environ, following.add_text)
        # A store that does not exist yet is not created before there is something to do.
        if settings.group in store.context.substrate().groups():
            workers.start()
    return Service(store, access, settings.limits, settings.group, following, workers)


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
