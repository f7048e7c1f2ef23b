"""Handlers: the responders of an event, in the order in which they fire."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kando.responders.base import Responder, ResponderRegistry
from kando.schema.events import APPROVAL_GRANTED

__all__ = ["Handlers"]


class Handlers:
    """The responders of a runtime, in firing order: edge logic first, then registration order.

    Args:
        edge_logic: edge logic in addition to that among `responders`.
        responders: in registration order.

    Attributes:
        has_executors: whether one of them is an executor.

    Raises:
        ConfigurationError: two have the same name.
    """

    def __init__(self, edge_logic: Iterable[Responder], responders: Iterable[Responder]) -> None:
        given = list(responders)
        edges = [*edge_logic, *(each for each in given if each.relation_type is not None)]
        others = [each for each in given if each.relation_type is None]
        self._registry = ResponderRegistry([*edges, *others])
        self.has_executors = any(each.effect is not None for each in self._registry)
        # Needed for every event, so cached by type.
        self._by_type: dict[str, tuple[Responder, ...]] = {}
        self._executors: dict[str, tuple[Responder, ...]] = {}

    def get(self, name: str) -> Responder | None:
        """Return the responder with this name, or None."""
        return self._registry.get(name)

    def for_type(self, type: str) -> Sequence[Responder]:
        """Return the responders whose pattern matches a type, in firing order."""
        found = self._by_type.get(type)
        if found is None:
            # A grant releases an intent, which executors answer.
            is_release = type == APPROVAL_GRANTED
            found = tuple(
                h
                for h in self._registry
                if not h.pattern or type in h.pattern or (is_release and h.effect is not None)
            )
            self._by_type[type] = found
        return found

    def executors_of(self, type: str) -> Sequence[Responder]:
        """Return the executors among the responders of `for_type`."""
        found = self._executors.get(type)
        if found is None:
            found = tuple(h for h in self.for_type(type) if h.effect is not None)
            self._executors[type] = found
        return found
