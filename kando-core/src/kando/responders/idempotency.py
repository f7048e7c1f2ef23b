"""Which call is being made: a text that is the same whenever the same call is made again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from kando.schema.events import KandoEvent

__all__ = ["calling_for", "idempotency_key", "key_of"]

_CALL: ContextVar[str] = ContextVar("kando_call", default="")


def key_of(intent: KandoEvent) -> str:
    """Return the text for the call of an intent: where it is recorded, which is there only once."""
    return f"{intent.source}/{intent.id}"


@contextmanager
def calling_for(intent: KandoEvent) -> Iterator[None]:
    """Have `idempotency_key` tell of an intent, in this thread."""
    token = _CALL.set(key_of(intent))
    try:
        yield
    finally:
        _CALL.reset(token)


def idempotency_key() -> str:
    """Return the text of the call that is being made in this thread; empty if none is.

    A provider may hand it to its server, so that a call which is made again, because a process died
    before its answer was recorded, is not paid for twice.
    """
    return _CALL.get()
