"""The clients of one reader, which wait for its news."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import attrs

__all__ = ["Clients"]


@attrs.define
class Clients:
    """The clients of one reader, which reads as long as it has any.

    Attributes:
        changed: set, and replaced, when there is news. A client takes it before it looks for news.
    """

    changed: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _count: int = attrs.field(default=0, init=False)
    _task: asyncio.Task[None] | None = attrs.field(default=None, init=False)

    def enter(self, read: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Add a client; the first one has `read` begin."""
        self._count += 1
        if self._task is None:
            self._task = asyncio.create_task(read())

    def leave(self) -> bool:
        """Remove a client, and end the reader with the last one; return whether this was the last."""
        self._count -= 1
        if self._count == 0 and self._task is not None:
            self._task.cancel()
            self._task = None
        return self._count == 0

    def wake(self) -> None:
        """Have all clients look for news."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def wait(self, changed: asyncio.Event) -> None:
        """Wait for news since `changed` was taken."""
        if changed is self.changed:
            await changed.wait()
