"""The look-up of responders by event type, and by the type of the object or relation."""

from __future__ import annotations

import pytest

from kando.responders.base import Responder
from kando.runtime.handlers import Handlers
from kando.schema.events import OBJECT_CREATED, RELATION_CREATED, KandoEvent, make_event
from kando.world.graph import World


def _responders() -> list[Responder]:
    def fn(event: KandoEvent, world: World) -> None: ...

    types = ["A", None, "B", "A", None, "C", "B"]
    made = [
        Responder(f"k.{n}", frozenset({OBJECT_CREATED}), fn, object_type=type)
        for n, type in enumerate(types)
    ]
    edges = [
        Responder(f"k.e{n}", frozenset({RELATION_CREATED}), fn, relation_type=type)
        for n, type in enumerate(["supports", "refutes", "supports"])
    ]
    return [*made, *edges, Responder("k.all", frozenset(), fn)]


@pytest.mark.parametrize("event_type", [OBJECT_CREATED, RELATION_CREATED])
@pytest.mark.parametrize("subject", ["A", "B", "C", "D", "supports", "refutes"])
def test_the_responders_of_an_event_are_those_that_handle_it_in_firing_order(
    event_type: str, subject: str
) -> None:
    handlers, world = Handlers([], _responders()), World()
    event = make_event(event_type, "", "me", [], {"id": "x", "type": subject})

    found = handlers.for_event(event, world)

    assert list(found) == [h for h in handlers.for_type(event_type) if h.handles(event, world)]
