"""The reservation of a call: what the run has set aside for it, of the limits of its budget."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from kando.views.spending import Accounts

__all__ = ["reservation_of_call", "reserving"]

_RESERVED: ContextVar[Accounts | None] = ContextVar("kando_call_reserved", default=None)


@contextmanager
def reserving(reserved: Accounts | None) -> Iterator[None]:
    """Have `reservation_of_call` return this, in this thread.

    Args:
        reserved: for the call in progress; None if the run has no limits.
    """
    token = _RESERVED.set(reserved)
    try:
        yield
    finally:
        _RESERVED.reset(token)


def reservation_of_call() -> Accounts | None:
    """Return what is reserved for the call in progress in this thread; None without limits."""
    return _RESERVED.get()
