"""The outputs of responders, step by step, and what the runtime emits in their name."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from types import GeneratorType
from typing import Any

from kando.schema.events import KandoEvent, RecordedEvent

__all__ = ["OwnEvent", "as_own", "step"]


class OwnEvent(KandoEvent):
    """An event that the runtime emits in the name of a responder, so of a reserved type."""

    __slots__ = ()


def as_own(event: KandoEvent) -> OwnEvent:
    """Return an event as one of the runtime's own."""
    return OwnEvent(
        event.id, event.type, event.source, event.actor, event.cause, event.timestamp, event.data
    )


def step(emitted: Iterator[Any], recorded: RecordedEvent | None) -> Any:
    """Return the next output of a responder.

    Args:
        emitted: its outputs.
        recorded: its last output as recorded, which a generator gets from its yield.

    Raises:
        StopIteration: it has no more outputs.
    """
    if isinstance(emitted, GeneratorType):
        inner = emitted.gi_yieldfrom
        return emitted.send(recorded if inner is None or _takes_a_value(inner) else None)
    if isinstance(emitted, Generator):
        return emitted.send(recorded)
    return next(emitted)


def _takes_a_value(inner: Any) -> bool:
    """Whether the object of a ``yield from`` accepts values; a list does not."""
    while isinstance(inner, GeneratorType):
        if (inner := inner.gi_yieldfrom) is None:
            return True
    return hasattr(inner, "send")
