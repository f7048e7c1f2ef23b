"""The event loop of async tools and providers: one thread that runs the coroutines of all calls."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from kando.responders.cancellation import call_is_abandoned

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ["awaited"]

#: Seconds between two checks whether a call was given up.
_CHECK_SECONDS = 0.25


class _Running:
    """A running event loop, in a daemon thread: a call that hangs does not keep the process alive."""

    def __init__(self) -> None:
        # Imported with the first coroutine: most runs have none.
        import asyncio

        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="kando-async", daemon=True).start()


# One loop for the process, started with its first coroutine.
_lock = threading.Lock()
_running: _Running | None = None


def _event_loop() -> AbstractEventLoop:
    global _running
    with _lock:
        # A process that was forked has the object, but not its thread.
        if _running is None or _running.pid != os.getpid():
            _running = _Running()
        return _running.loop


def awaited(value: Any) -> Any:
    """Return the result of an awaitable, run on the event loop of the process; else the value itself.

    The calling thread waits, and the coroutine sees its context variables. If the call is given up,
    because it has timed out, the coroutine is cancelled.

    Raises:
        TimeoutError: the call was given up.
        BaseException: the exception of the coroutine.
    """
    if not isawaitable(value):
        return value
    import asyncio
    from concurrent.futures import CancelledError

    future = asyncio.run_coroutine_threadsafe(_outcome(value), _event_loop())
    while True:
        try:
            result, error = future.result(_CHECK_SECONDS)
        except CancelledError:
            msg = "The call was given up."
            raise TimeoutError(msg) from None
        except TimeoutError:
            if call_is_abandoned():
                future.cancel()
        else:
            if error is not None:
                raise error
            return result


async def _outcome(awaitable: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """Return the result of an awaitable, or its exception: a SystemExit would end the whole loop."""
    from asyncio import CancelledError as Cancelled

    try:
        return await awaitable, None
    except Cancelled:
        raise
    except BaseException as error:
        return None, error
