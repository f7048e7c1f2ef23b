"""Attempts: before each attempt at a call, a provider checks that this process may still make it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["require_attempt"]


def _allow() -> None:
    """Allow every attempt: no run is known."""


_CHECK: ContextVar[Callable[[], None]] = ContextVar("kando_attempt", default=_allow)


@contextmanager
def checked_attempts(check: Callable[[], None]) -> Iterator[None]:
    """Have `require_attempt` call `check`, in this thread, after the checks of enclosing blocks."""
    outer = _CHECK.get()

    def both() -> None:
        outer()
        check()

    token = _CHECK.set(both)
    try:
        yield
    finally:
        _CHECK.reset(token)


def require_attempt() -> None:
    """Check that this process may make another attempt at the call in progress in this thread.

    A provider that retries calls this before each attempt: a process that was suspended, while another
    took its run over, must pay for no more.

    Raises:
        RunBusy: another process has taken the run over.
    """
    _CHECK.get()()
