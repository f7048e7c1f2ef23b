"""Cancellation of calls: a provider may ask whether its answer is still wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["call_is_cancelled"]

_IS_CANCELLED: ContextVar[Callable[[], bool]] = ContextVar(
    "kando_call_is_cancelled", default=lambda: False
)


@contextmanager
def cancellable(is_cancelled: Callable[[], bool]) -> Iterator[None]:
    """Have `call_is_cancelled` ask `is_cancelled`, in this thread, after those of enclosing blocks."""
    outer = _IS_CANCELLED.get()
    token = _IS_CANCELLED.set(lambda: outer() or is_cancelled())
    try:
        yield
    finally:
        _IS_CANCELLED.reset(token)


def call_is_cancelled() -> bool:
    """Whether the call in progress in this thread was given up, so that it must not be repeated.

    A provider asks it before it repeats a request; an answer that has begun is still kept.
    """
    return _IS_CANCELLED.get()()
