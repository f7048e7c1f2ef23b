"""Handlers: the responders of an event, in the order in which they fire."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from kando.responders.base import Responder, ResponderRegistry
from kando.schema.events import (
    APPROVAL_GRANTED,
    OBJECT_CREATED,
    OBJECT_PATCHED,
    RELATION_CREATED,
    KandoEvent,
)
from kando.world.graph import World

__all__ = ["Handlers"]

#: Field of a ``tool.called`` that a model has chosen: the conversation that it belongs to.
_CHOSEN_BY_MODEL = "conversation"


#: Types of events whose data name an object, or the type of a relation.
_TYPED = frozenset({OBJECT_CREATED, OBJECT_PATCHED, RELATION_CREATED})


class Handlers:
    """The responders of a runtime, in firing order: edge logic first, then registration order.

    Args:
        edge_logic: edge logic in addition to that among `responders`.
        responders: in registration order.

    Attributes:
        has_executors: whether one of them is an executor.
        for_type: returns the responders whose pattern matches a type, in firing order.
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
        # Called for every event, so it is the look-up of a dict and not a function.
        self.for_type: Callable[[str], Sequence[Responder]] = _ByType(self._registry).__getitem__
        self._executors: dict[str, tuple[Responder, ...]] = {}
        # By event type: by the object or relation type that a responder names, or None.
        self._by_subject = {type: _by_subject(type, self.for_type(type)) for type in _TYPED}

    def get(self, name: str) -> Responder | None:
        """Return the responder that has this name, or had it, or None."""
        return self._registry.get(name) or self._registry.get(self._renamed.get(name, ""))

    def get_known(self, name: str) -> Responder:
        """Return the responder with this name, which is one of them."""
        found = self._registry.get(name)
        assert found is not None, name
        return found

    def for_event(self, event: KandoEvent, world: World) -> Sequence[Responder]:
        """Return the responders of `for_type` that may handle an event, in firing order.

        Those that name another object or relation type than the event has are left out, so they cost
        nothing. Whether one of the others handles the event, `Responder.handles` decides.

        Args:
            event: recorded.
            world: after the event, or later.
        """
        kind = event.type
        by_subject = self._by_subject.get(kind)
        if by_subject is None:
            return self.for_type(kind)
        if kind != OBJECT_PATCHED:
            subject = event.data["type"]
        else:
            patched = world.get_object(event.data["id"])
            if patched is None or world.objects.former_types:
                return self.for_type(kind)
            subject = patched.type
        return by_subject.get(subject) or by_subject[None]

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


class _ByType(dict[str, tuple[Responder, ...]]):
    """The responders whose pattern matches a type, in firing order, by the types met so far."""

    def __init__(self, responders: Iterable[Responder]) -> None:
        self._responders = [each for each in responders if each.cleanup_seconds is None]

    def __missing__(self, type: str) -> tuple[Responder, ...]:
        # A grant releases an intent, which executors answer.
        is_release = type == APPROVAL_GRANTED
        found = self[type] = tuple(
            each
            for each in self._responders
            if each.matches(type) or (is_release and each.effect is not None)
        )
        return found


def _by_subject(
    type: str, responders: Sequence[Responder]
) -> dict[str | None, tuple[Responder, ...]]:
    """Return the responders of an event type by the subject that they name; None for any other."""
    named = [(_subject_named_by(each, type), each) for each in responders]
    found: dict[str | None, list[Responder]] = {None: []}
    for subject, each in named:
        if subject is not None and subject not in found:
            # Those before it that name no subject fire first.
            found[subject] = list(found[None])
        for those in found.values() if subject is None else (found[subject],):
            those.append(each)
    return {subject: tuple(those) for subject, those in found.items()}


def _subject_named_by(responder: Responder, type: str) -> str | None:
    """Return the object or relation type that a responder requires of the events of a type."""
    if responder.effect is not None:
        return None
    if type == RELATION_CREATED:
        # An object type is that of the object which the event names as its cause.
        return responder.relation_type
    return responder.object_type if responder.relation_type is None else None
