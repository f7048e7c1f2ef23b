"""The three tools of the coder, the same for every framework: files in a folder, and its tests.

Each call is noted in a log. A call of the tool that a second file names waits until that file is removed, so
that a scenario can kill the process in the middle of a call.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["read", "test", "write"]


def read(folder: str | Path, path: str) -> str:
    """Return the text of a file of the folder."""
    _note("read_file")
    return _within(folder, path).read_text()


def write(folder: str | Path, path: str, content: str) -> str:
    """Write a file of the folder."""
    _within(folder, path).write_text(content)
    _note("write_file")
    return f"wrote {path}"


def test(folder: str | Path) -> str:
    """Run the tests of the folder, and return the last line of what they print."""
    _note("run_tests")
    command = [sys.executable, "-B", "-m", "unittest"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.stderr.strip().splitlines()[-1]


def _within(folder: str | Path, path: str) -> Path:
    whole = Path(folder, path).resolve()
    if not whole.is_relative_to(Path(folder).resolve()):
        msg = f"{path} is outside of the folder."
        raise ValueError(msg)
    return whole


def _note(call: str) -> None:
    log = Path(os.environ["CODER_LOG"])
    with log.open("a") as file:
        file.write(f"{call}\n")
    hold = log.with_suffix(".hold")
    deadline = time.monotonic() + 60
    while hold.is_file() and hold.read_text() == call and time.monotonic() < deadline:
        time.sleep(0.02)
