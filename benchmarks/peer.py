"""The peers: each has a script, a requirements file and a virtual environment of its own.

Run as a program, ``python benchmarks/peer.py [NAME...]`` makes the environments. A peer that cannot be
installed is reported and skipped; its rows say so, and the rest is measured.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import attrs

from measuring import HERE, Figure, progress, repetition_of

__all__ = ["ACTIVEGRAPH", "BURR", "DBOS", "EVENTSOURCING", "LANGGRAPH", "PEERS", "Peer", "main"]

_ENVIRONMENTS = HERE / ".environments"


@attrs.frozen
class Peer:
    """Another framework, measured in an environment of its own.

    Attributes:
        name: of its script and of its requirements, ``{name}.py`` and ``{name}.txt``.
        where: the folder that holds both.
    """

    name: str
    where: Path = HERE / "peers"

    @property
    def requirements(self) -> Path:
        """The file of its requirements."""
        return self.where / f"{self.name}.txt"

    @property
    def folder(self) -> Path:
        """Its environment."""
        return _ENVIRONMENTS / self.name

    @property
    def is_installed(self) -> bool:
        """Whether its environment holds what its requirements ask for."""
        done = self._done
        return done.is_file() and done.read_text() == self.requirements.read_text()

    @property
    def absence(self) -> str:
        """The text of a row if the peer is not installed."""
        return f"{self.name}: not installed"

    @property
    def _done(self) -> Path:
        return self.folder / "installed.txt"

    def repetition(self, action: str, *arguments: object) -> Figure:
        """Run an action of its script in a fresh process, and return the figure it reports.

        Raises:
            RuntimeError: the script failed.
        """
        script = self.where / f"{self.name}.py"
        python = self.folder / "bin" / "python"
        # -P: a script has the name of the package that it imports.
        command = [str(python), "-P", str(script), action, *map(str, arguments)]
        return repetition_of(command, {**os.environ, "PYTHONPATH": str(HERE)})

    def install(self) -> str | None:
        """Make its environment, and return the error if that fails.

        An environment that already holds what is required stays as it is.
        """
        if self.is_installed:
            return None
        shutil.rmtree(self.folder, ignore_errors=True)
        venv.create(self.folder, with_pip=False, symlinks=True)
        python = str(self.folder / "bin" / "python")
        command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        command += ["--python", python, "install", "--requirement", str(self.requirements)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["pip failed."])[-1]
        self._done.write_text(self.requirements.read_text())
        return None


ACTIVEGRAPH = Peer("activegraph")
BURR = Peer("burr")
DBOS = Peer("dbos")
EVENTSOURCING = Peer("eventsourcing")
LANGGRAPH = Peer("langgraph")

#: Every peer.
PEERS = (ACTIVEGRAPH, BURR, DBOS, EVENTSOURCING, LANGGRAPH)


def main(arguments: list[str] | None = None) -> None:
    """Make the environments of peers.

    Args:
        arguments: of the command line; those of this process if omitted.
    """
    parser = argparse.ArgumentParser(description="Install the peers that Kando is compared with.")
    names = ", ".join(peer.name for peer in PEERS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{names}; all if omitted")
    given = parser.parse_args(arguments)
    for peer in PEERS:
        if given.names and peer.name not in given.names:
            continue
        error = peer.install()
        progress(f"{peer.name}: {'installed' if error is None else f'not installed: {error}'}")


if __name__ == "__main__":
    main()
