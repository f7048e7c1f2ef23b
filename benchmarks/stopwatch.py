"""A stopwatch for one block, and the report of what it measured; it needs no other package."""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Stopwatch", "timed"]


class Stopwatch:
    """The measurement of `timed`; filled in at the end of its block.

    Attributes:
        cpu: seconds of processor time, user and system, of all threads.
        wall: seconds on the clock.
    """

    def __init__(self) -> None:
        self.cpu = 0.0
        self.wall = 0.0

    def report(self, **facts: Any) -> None:
        """Print the figure and further facts for the process that asked for a repetition."""
        print(json.dumps({"cpu": self.cpu, "wall": self.wall, "facts": facts}))


@contextmanager
def timed() -> Iterator[Stopwatch]:
    """Time a block. A call of getppid before and after it marks it in a trace of system calls."""
    watch = Stopwatch()
    gc.collect()
    os.getppid()
    wall, cpu = time.perf_counter(), time.process_time()
    yield watch
    watch.cpu, watch.wall = time.process_time() - cpu, time.perf_counter() - wall
    os.getppid()
