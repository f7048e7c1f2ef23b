"""Every command against a server ends by itself: run many, each in a process of its own, over TLS.

Run ``python tests/helpers/eventstore_exits.py --times 200``. The processes are forks of one that has
imported everything and opened nothing. A command that does not end within the limit is killed, and the
script fails with its command line.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from itertools import cycle, islice
from pathlib import Path

from kando.cli.main import main as kando
from kando.ledger.groups import Job
from kando_eventstore._client import client_library
from kando_eventstore.substrate import open_eventstore
from kando_eventstore.testing import FakeEventStoreServer

__all__ = ["make_certificate", "run_commands"]

# Generous: the machine may be busy. A command that hangs never ends.
_LIMIT_SECONDS = 120

# A worker and the views subscribe, and so leave the most threads behind.
_COMMANDS = (
    ["worker", "--group", "g", "--until-idle"],
    ["views", "--once", "--file", "views.sqlite"],
    ["runs"],
    ["worker", "--group", "h", "--until-idle"],
    ["groups"],
    ["doctor"],
)

_USER = ("me", "secret")


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a private key and a certificate for 127.0.0.1, and return their files."""
    key, chain = folder / "key.pem", folder / "chain.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-days", "2"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(chain)]
    subprocess.run(command, check=True, capture_output=True)
    return key, chain


def run_commands(times: int, folder: Path) -> str:
    """Run commands against a fake server, and return what the process that forks them printed.

    Raises:
        subprocess.CalledProcessError: a command did not end, or failed; its output says which.
    """
    key, chain = make_certificate(folder)
    pair = (key.read_bytes(), chain.read_bytes())
    with FakeEventStoreServer(folder / "store", certificate=pair, user=_USER) as server:
        url = f"https://{':'.join(_USER)}@127.0.0.1:{server.port}?TlsCaFile={chain}"
        with open_eventstore(url) as substrate:
            substrate.create("r1")
            for name in ("g", "h"):
                group = substrate.group(name)
                # Not due, so a worker subscribes and ends.
                group.offer(Job("r1"), 86_400)
                group.close()
        environ = {**os.environ, "HOME": str(folder), "KANDO_LEDGER": url}
        command = [sys.executable, __file__, "--fork", "--times", str(times)]
        done = subprocess.run(
            command, env=environ, cwd=folder, stdout=subprocess.PIPE, text=True, check=True
        )
    return done.stdout


def fork_commands(times: int) -> None:
    """Run commands in forks of this process, one after the other, and print how long they took.

    Raises:
        RuntimeError: a command did not end, or failed.
    """
    client_library()
    for module in ("kando_eventstore.views", "kando.cli.worker", "kando.cli.doctor"):
        import_module(module)
    slowest = 0.0
    for arguments in islice(cycle(_COMMANDS), times):
        begin = time.monotonic()
        child = os.fork()
        if child == 0:
            # The interpreter ends as that of any command does.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            kando(arguments)
        code = _code(child, arguments)
        slowest = max(slowest, time.monotonic() - begin)
        if code and arguments != ["doctor"]:
            msg = f"{arguments} ended with exit code {code}."
            raise RuntimeError(msg)
    print(f"{times} commands ended; the slowest took {slowest:.1f} s")


def _code(child: int, arguments: list[str]) -> int:
    """Return the exit code of a process, or kill it when the limit has passed."""
    deadline = time.monotonic() + _LIMIT_SECONDS
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            msg = f"{arguments} did not end within {_LIMIT_SECONDS} s."
            raise RuntimeError(msg)
        time.sleep(0.02)


def main() -> None:
    """Run as many commands as asked, and print how long the slowest one took."""
    parser = argparse.ArgumentParser(description="Run commands against a fake server.")
    parser.add_argument("--times", type=int, default=12, help="how many commands to run")
    parser.add_argument("--fork", action="store_true", help="against the server of KANDO_LEDGER")
    options = parser.parse_args()
    if options.fork:
        fork_commands(options.times)
        return
    with tempfile.TemporaryDirectory() as folder:
        print(run_commands(options.times, Path(folder)), end="")


if __name__ == "__main__":
    main()
