"""The process that works on a ledger, so that others can tell a running run from a stopped one."""

from __future__ import annotations

import os
import socket

import attrs

__all__ = ["Worker", "this_process"]


@attrs.frozen
class Worker:
    """A process that works on a ledger.

    It is a notice, not a lock: the expected length of every append is what refuses a second
    writer. A killed process leaves its notice behind.

    Attributes:
        host: name of its machine.
        pid: process id on that machine.
    """

    host: str
    pid: int

    def may_be_alive(self) -> bool:
        """Whether the process is alive; True on another machine, where that cannot be checked."""
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
    """Return the host and process id of this process."""
    return Worker(socket.gethostname(), os.getpid())


def _has_ended(pid: int) -> bool:
    """Whether a process is a zombie, which has ended but was not reaped; known only on Linux."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            after_name = file.read().rpartition(b")")[2].split()
    except OSError:
        return False
    return after_name[:1] == [b"Z"]
