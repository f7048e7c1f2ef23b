"""Every command against a server ends by itself: run many, each in a process of its own, over TLS.

Run ``python tests/helpers/eventstore_exits.py --times 200``. A command that does not end within the
limit is killed, and the script fails with its command line.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from kando.ledger.groups import Job
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


def run_commands(times: int, folder: Path) -> float:
    """Run commands against a fake server, and return the seconds that the slowest one took.

    Raises:
        subprocess.TimeoutExpired: a command did not end.
    """
    key, chain = make_certificate(folder)
    pair = (key.read_bytes(), chain.read_bytes())
    slowest = 0.0
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
        for arguments in islice(cycle(_COMMANDS), times):
            begin = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-m", "kando.cli.main", *arguments],
                env=environ,
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=_LIMIT_SECONDS,
            )
            slowest = max(slowest, time.monotonic() - begin)
            if arguments != ["doctor"] and done.returncode:
                msg = f"{arguments}: exit code {done.returncode}: {done.stderr}"
                raise RuntimeError(msg)
    return slowest


def main() -> None:
    """Run as many commands as asked, and print how long the slowest one took."""
    parser = argparse.ArgumentParser(description="Run commands against a fake server.")
    parser.add_argument("--times", type=int, default=12, help="how many commands to run")
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder:
        slowest = run_commands(times, Path(folder))
    print(f"{times} commands ended; the slowest took {slowest:.1f} s")


if __name__ == "__main__":
    main()
