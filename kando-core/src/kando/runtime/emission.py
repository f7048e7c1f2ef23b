"""One step of a responder: what it emits next, told what became of what it emitted before."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from types import GeneratorType
from typing import Any

from kando.schema.events import RecordedEvent

__all__ = ["step"]

_GENERATORS = (GeneratorType, Generator)


def step(emitted: Iterator[Any], recorded: RecordedEvent | None) -> Any:
    """Return what a responder emits next.

    Args:
        emitted: what it emits, one by one.
        recorded: what its last event was recorded as, for a generator to get from its yield.

    Raises:
        StopIteration: it emits nothing more.
    """
    if not isinstance(emitted, _GENERATORS):
        return next(emitted)
    return emitted.send(recorded if _takes_a_value(emitted) else None)


def _takes_a_value(generator: Any) -> bool:
    """Whether what stands at a generator's yield takes a value: a ``yield from [...]`` does not."""
    inner = generator
    while isinstance(inner, GeneratorType):
        if (inner := inner.gi_yieldfrom) is None:
            return True
    return hasattr(inner, "send")
