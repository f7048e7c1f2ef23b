"""Cancellation of calls: a provider may ask whether its answer is still wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["call_is_cancelled"]

_IS_CANCELLED: ContextVar[Callable[[], bool]] = ContextVar(
    "kando_call_is_cancelled", default=lambda: False
)


_IS_ABANDONED: ContextVar[Callable[[], bool]] = ContextVar(
    "kando_call_is_abandoned", default=lambda: False
)


_MUST_END: ContextVar[Callable[[], bool]] = ContextVar("kando_call_must_end", default=lambda: False)


@contextmanager
def cancellable(
    is_cancelled: Callable[[], bool],
    is_abandoned: Callable[[], bool] = lambda: False,
    must_end: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Have the functions below ask these, in this thread.

    Args:
        is_cancelled: for `call_is_cancelled`, after those of enclosing blocks.
        is_abandoned: for `call_is_abandoned`.
        must_end: for `end_of_call`.
    """
    outer = _IS_CANCELLED.get()
    cancelled = _IS_CANCELLED.set(lambda: outer() or is_cancelled())
    abandoned = _IS_ABANDONED.set(is_abandoned)
    ending = _MUST_END.set(must_end)
    try:
        yield
    finally:
        _MUST_END.reset(ending)
        _IS_ABANDONED.reset(abandoned)
        _IS_CANCELLED.reset(cancelled)


def call_is_cancelled() -> bool:
    """Whether the call in progress in this thread was given up, so that it must not be repeated.

    A provider asks it before it repeats a request; an answer that has begun is still kept.
    """
    return _IS_CANCELLED.get()()


def call_is_abandoned() -> bool:
    """Whether the call in progress in this thread has timed out: no answer of it is used any more."""
    return _IS_ABANDONED.get()()


def abandonment_of_call() -> Callable[[], bool]:
    """Return a function that any thread may call: whether the call in progress here has timed out."""
    return _IS_ABANDONED.get()


def cancellation_of_call() -> Callable[[], bool]:
    """Return a function that any thread may call: whether the call in progress here was given up."""
    return _IS_CANCELLED.get()


def end_of_call() -> Callable[[], bool]:
    """Return a function that any thread may call: whether the call in progress here is to end at once.

    Its run is cancelled, or a person has answered it, and the run waits for its end alone. A paused
    run still records what a call returns, so its calls do not have to end.
    """
    return _MUST_END.get()
