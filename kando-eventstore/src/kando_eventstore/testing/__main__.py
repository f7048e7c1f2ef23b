"""The fake server as a process: ``python -m kando_eventstore.testing --path FILE [--port N]``."""

from __future__ import annotations

import argparse
import os
import threading
import time

from kando_eventstore.testing.server import FakeEventStoreServer


def main() -> None:
    """Serve until killed; print the URL once it listens."""
    parser = argparse.ArgumentParser(description=FakeEventStoreServer.__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--path", required=True, help="SQLite file that holds the streams")
    parser.add_argument("--port", type=int, default=0, help="port on the loopback interface")
    parser.add_argument("--parent", type=int, help="exit when this process has ended")
    options = parser.parse_args()
    if options.parent is not None:
        threading.Thread(target=_exit_with, args=(options.parent,), daemon=True).start()
    server = FakeEventStoreServer(options.path, port=options.port)
    print(server.url, flush=True)
    server.wait()


def _exit_with(parent: int) -> None:
    # A test that is killed must not leave its server running.
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


if __name__ == "__main__":
    main()
