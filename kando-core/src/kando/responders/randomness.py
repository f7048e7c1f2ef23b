"""Random choices of a responder, which a replay repeats."""

from __future__ import annotations

import random

from kando.errors import InvalidData
from kando.schema.events import KandoEvent, RecordedEvent

__all__ = ["EventRandom", "rng"]


class EventRandom(random.Random):
    """A generator that is seeded from an event."""


def rng(event: KandoEvent, purpose: str = "") -> EventRandom:
    """Return a random generator seeded from why an event happened (its lineage key).

    The same step has the same numbers on every branch and in every replay, whatever else
    changed. The global generators of Python would give others each time.

    Args:
        event: that is handled, or that a ``yield`` returned.
        purpose: distinguishes several generators for one event.

    Raises:
        InvalidData: the event is not recorded.
    """
    if not isinstance(event, RecordedEvent):
        msg = f"{event.type} is not recorded, so it has no lineage key to seed a generator from."
        raise InvalidData(
            msg, hint="Use the event that is handled, or the one that `yield` returned."
        )
    return EventRandom(f"{event.lineage_key} {purpose}")
