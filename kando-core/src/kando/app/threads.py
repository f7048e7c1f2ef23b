"""Blocking methods as coroutines, for programs that have an event loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

__all__ = ["in_thread"]

_Self = TypeVar("_Self")
_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def in_thread(
    method: Callable[Concatenate[_Self, _Parameters], _Result],
) -> Callable[Concatenate[_Self, _Parameters], Coroutine[Any, Any, _Result]]:
    """Return a coroutine method that does what `method` does, in a thread of the event loop's pool.

    Cancelling the task that awaits it does not stop the work: pause or cancel the run.
    """

    @wraps(method)
    async def call(
        self: _Self, /, *arguments: _Parameters.args, **options: _Parameters.kwargs
    ) -> _Result:
        # Not at the top: the command line needs no event loop.
        import asyncio

        return await asyncio.to_thread(method, self, *arguments, **options)

    call.__name__ = f"a{method.__name__}"
    call.__qualname__ = f"{method.__qualname__.rpartition('.')[0]}.{call.__name__}"
    call.__doc__ = (
        f"Do what `{method.__name__}` does, with the same arguments, without blocking the event"
        " loop.\n\nCancelling the task that awaits it does not stop the work: pause or cancel the"
        " run."
    )
    return call
