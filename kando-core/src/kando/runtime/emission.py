"""One step of a responder: what it emits next, told what became of what it emitted before."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from types import GeneratorType
from typing import Any

from kando.schema.events import RecordedEvent

__all__ = ["step"]


def step(emitted: Iterator[Any], recorded: RecordedEvent | None) -> Any:
    """Return what a responder emits next.

    Args:
        emitted: what it emits, one by one.
        recorded: what its last event was recorded as, for a generator to get from its yield.

    Raises:
        StopIteration: it emits nothing more.
    """
    if isinstance(emitted, GeneratorType):
        inner = emitted.gi_yieldfrom
        return emitted.send(recorded if inner is None or _takes_a_value(inner) else None)
    if isinstance(emitted, Generator):
        return emitted.send(recorded)
    return next(emitted)


def _takes_a_value(inner: Any) -> bool:
    """Whether what a generator yields from takes a value: a ``yield from [...]`` does not."""
    while isinstance(inner, GeneratorType):
        if (inner := inner.gi_yieldfrom) is None:
            return True
    return hasattr(inner, "send")
