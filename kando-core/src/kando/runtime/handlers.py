"""Handlers: the responders of an event, in the order in which they fire."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kando.responders.base import Responder, ResponderRegistry
from kando.schema.events import APPROVAL_GRANTED, KandoEvent
from kando.world.graph import World

__all__ = ["Handlers"]

#: Field of a ``tool.called`` that a model has chosen: the conversation that it belongs to.
_CHOSEN_BY_MODEL = "conversation"


class Handlers:
    """The responders of a runtime, in firing order: edge logic first, then registration order.

    Args:
        edge_logic: edge logic in addition to that among `responders`.
        responders: in registration order.

    Attributes:
        has_executors: whether one of them is an executor.
        cleaning: those that clean up after the run was cancelled; they handle nothing else.

    Raises:
        ConfigurationError: two have the same name.
    """

    def __init__(self, edge_logic: Iterable[Responder], responders: Iterable[Responder]) -> None:
        given = list(responders)
        edges = [*edge_logic, *(each for each in given if each.relation_type is not None)]
        others = [each for each in given if each.relation_type is None]
        self._registry = ResponderRegistry([*edges, *others])
        self.has_executors = any(each.effect is not None for each in self._registry)
        self.cleaning = tuple(each for each in self._registry if each.cleanup_seconds is not None)
        self._renamed = {was: each.name for each in self._registry for was in each.was}
        # Needed for every event, so cached by type.
        self._by_type: dict[str, tuple[Responder, ...]] = {}
        self._executors: dict[str, tuple[Responder, ...]] = {}

    def get(self, name: str) -> Responder | None:
        """Return the responder that has this name, or had it, or None."""
        return self._registry.get(name) or self._registry.get(self._renamed.get(name, ""))

    def get_known(self, name: str) -> Responder:
        """Return the responder with this name, which is one of them."""
        found = self._registry.get(name)
        assert found is not None, name
        return found

    def for_type(self, type: str) -> Sequence[Responder]:
        """Return the responders whose pattern matches a type, in firing order."""
        found = self._by_type.get(type)
        if found is None:
            # A grant releases an intent, which executors answer.
            is_release = type == APPROVAL_GRANTED
            found = tuple(
                h
                for h in self._registry
                if h.cleanup_seconds is None
                if not h.pattern or type in h.pattern or (is_release and h.effect is not None)
            )
            self._by_type[type] = found
        return found

    def executor_of(self, intent: KandoEvent, world: World) -> Responder | None:
        """Return the executor that answers an intent; None if the intent must stay open.

        The first that handles the intent and knows what it asks for answers it. A tool that none of
        them knows was either chosen by a model, which then gets an error as its answer, or is called by the kit
        itself: the kit's installed version lacks it, and another version may have it.
        """
        able = [each for each in self.executors_of(intent.type) if each.handles(intent, world)]
        for each in able:
            if each.effect is not None and each.effect.knows(intent):
                return each
        return able[0] if able and _CHOSEN_BY_MODEL in intent.data else None

    def executors_of(self, type: str) -> Sequence[Responder]:
        """Return the executors among the responders of `for_type`."""
        found = self._executors.get(type)
        if found is None:
            found = tuple(h for h in self.for_type(type) if h.effect is not None)
            self._executors[type] = found
        return found
