"""Synchronisations: how often a repetition waited for the disk, counted by strace."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from measuring import repetition

__all__ = ["QUANTITY", "can_trace", "traced"]

QUANTITY = "fsyncs"

_STRACE = ("strace", "-f", "-e", "trace=fsync,fdatasync,getppid", "-o")
_CALL = re.compile(r"\b(fsync|fdatasync|getppid)\(")


def can_trace() -> bool:
    """Whether strace is installed and may trace."""
    if shutil.which("strace") is None:
        return False
    command = [*_STRACE, "/dev/null", sys.executable, "-c", "pass"]
    return subprocess.run(command, capture_output=True).returncode == 0


def traced(folder: Path, script: str, *arguments: object) -> int:
    """Return how often the timed block of a script called fsync or fdatasync."""
    trace = folder / f"{script}.trace"
    repetition(script, *arguments, under=[*_STRACE, str(trace)])
    calls = [call[1] for line in trace.read_text().splitlines() if (call := _CALL.search(line))]
    # The block lies between the two calls of getppid.
    start = calls.index("getppid")
    return calls.index("getppid", start + 1) - start - 1
