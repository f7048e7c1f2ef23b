"""Idempotency keys: the key of a call is the same whenever the call is repeated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha256

from kando.responders.approved import approved_arguments, call_key
from kando.schema.events import KandoEvent

__all__ = ["idempotency_key"]

_CALL: ContextVar[str] = ContextVar("kando_call", default="")
_VARIANT: ContextVar[str] = ContextVar("kando_call_variant", default="")


def key_of(intent: KandoEvent) -> str:
    """Return the key for the call of an intent: its ledger and its id, which are unique together.

    A call that a person approved with other arguments has a key of its own for these.
    """
    changed = sha256(call_key(intent.data)).hexdigest()[:16] if approved_arguments(intent) else ""
    return f"{intent.source}/{intent.id}" + (f"/{changed}" if changed else "")


@contextmanager
def call_context(intent: KandoEvent) -> Iterator[None]:
    """Have `idempotency_key` return the key of an intent, in this thread."""
    token = _CALL.set(key_of(intent) + _VARIANT.get())
    try:
        yield
    finally:
        _CALL.reset(token)


@contextmanager
def call_variant(variant: str) -> Iterator[None]:
    """Give calls in this thread keys of their own: a branch may send a shared intent otherwise."""
    token = _VARIANT.set(f"/{variant}" if variant else "")
    try:
        yield
    finally:
        _VARIANT.reset(token)


def idempotency_key() -> str:
    """Return the key of the call in progress in this thread; empty if there is none.

    A provider may send it to its server, so that a call which is repeated because the process died
    before the answer was recorded is not charged twice.
    """
    return _CALL.get()
