"""Who works on a ledger: known so that others can tell a running run from a stopped one."""

from __future__ import annotations

import os
import socket

import attrs

__all__ = ["Worker", "this_process"]


@attrs.frozen
class Worker:
    """A process that works on a ledger.

    It is a notice on the door, no lock: what keeps two writers apart is the expected length of
    every append. A process that was killed leaves its notice behind.

    Attributes:
        host: name of its machine.
        pid: id of the process there.
    """

    host: str
    pid: int

    def may_be_alive(self) -> bool:
        """Whether the process is there; True for one on another machine, where nobody can look."""
        if self.host != socket.gethostname():
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return not _has_ended(self.pid)


def this_process() -> Worker:
    """Return the notice of this process."""
    return Worker(socket.gethostname(), os.getpid())


def _has_ended(pid: int) -> bool:
    """Whether a process has ended and only waits for its parent to take note, where Linux tells."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            after_name = file.read().rpartition(b")")[2].split()
    except OSError:
        return False
    return after_name[:1] == [b"Z"]
