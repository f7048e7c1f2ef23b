"""A TCP proxy on the loopback interface that can cut its connections at a chosen moment."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class CuttingProxy:
    """Forwards bytes to a port of this machine, and cuts its connections on demand.

    Args:
        port: to forward to.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.cuts = 0
        self._cut_after: int | None = None
        self._sent = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, sent: int) -> None:
        """Cut after this many more bytes have been sent to the server; drop its answer."""
        with self._lock:
            self._sent, self._cut_after = 0, sent

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            with self._lock:
                self._open |= {near, far}
            for source, sink, is_request in ((near, far, True), (far, near, False)):
                threading.Thread(
                    target=self._forward, args=(source, sink, is_request), daemon=True
                ).start()

    def _forward(self, source: socket.socket, sink: socket.socket, is_request: bool) -> None:
        try:
            while content := source.recv(65536):
                with self._lock:
                    due = self._cut_after
                    if is_request and due is not None:
                        self._sent += len(content)
                if due is not None and not is_request and self._sent > due:
                    # The server has handled the request, and the client never learns of it.
                    self._cut()
                    return
                sink.sendall(content)
        except OSError:
            pass
        for end in (source, sink):
            _shut(end)

    def _cut(self) -> None:
        with self._lock:
            self._cut_after = None
            self.cuts += 1
            for end in self._open:
                _shut(end)
            self._open.clear()

    def close(self) -> None:
        """Close every connection, and accept no more."""
        _shut(self._listening)
        with self._lock:
            for end in self._open:
                _shut(end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
