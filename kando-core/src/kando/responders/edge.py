"""Edge logic: behaviour attached to a relation type, which fires when such a relation is created.

The decorator in this module is for scripts: the functions it registers act in every `Runtime` that
the process creates directly. A kit declares its own edge logic (`kando.kit.Kit.edge_logic`), which
acts only in runs of that kit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kando.errors import ConfigurationError
from kando.responders.base import Responder
from kando.schema.events import RELATION_CREATED, KandoEvent
from kando.world.graph import World

__all__ = ["dispatch", "edge_logic"]

# A decorator without a kit needs a registry of the process.
_registered: dict[str, Responder] = {}


def check_relation_type(name: object) -> None:
    """Check the name of a relation type: a decorator without parentheses gets its function instead.

    Raises:
        ConfigurationError: it is not a text.
    """
    if not isinstance(name, str):
        msg = f"The name of a relation type is {name!r:.60}, which is not a text."
        raise ConfigurationError(msg, hint='Pass its name, such as "contradicts", in parentheses.')


def edge_responder(
    relation_type: str, fn: Callable[[Any, World], Any], name: str, **attributes: Any
) -> Responder:
    """Make a responder that reacts to the creation of relations of one type.

    Args:
        relation_type: such as ``contradicts``.
        fn: ``fn(event, world)``; yields the events to emit.
        name: unique within a runtime.
        attributes: further attributes of the `Responder`.
    """
    return Responder(
        name, frozenset({RELATION_CREATED}), fn, relation_type=relation_type, **attributes
    )


def edge_logic(
    relation_type: str,
) -> Callable[[Callable[[Any, World], Any]], Callable[[Any, World], Any]]:
    """Attach the decorated function ``fn(event, world)`` to a relation type.

    Several functions may be attached to one type; all fire, in the order they were attached. If a
    module redefines a function, the new definition replaces the old one.

    Raises:
        ConfigurationError: `relation_type` is not the name of one.
    """
    check_relation_type(relation_type)

    def decorate(fn: Callable[[Any, World], Any]) -> Callable[[Any, World], Any]:
        base = f"edge.{relation_type}.{fn.__qualname__}"
        name, nth = base, 1
        while name in _registered and not _is_redefinition(_registered[name].fn, fn):
            nth += 1
            name = f"{base}.{nth}"
        _registered[name] = edge_responder(relation_type, fn, name)
        return fn

    return decorate


def registered() -> list[Responder]:
    """Return the edge logic that `edge_logic` registered in this process, in order."""
    return list(_registered.values())


def dispatch(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    """Yield the events that the edge logic registered by `edge_logic` emits for an event."""
    for each in registered():
        if each.handles(event, world):
            yield from each.fn(event, world) or ()


def _is_redefinition(old: Callable[..., Any], new: Callable[..., Any]) -> bool:
    is_local = "<locals>" in new.__qualname__
    return not is_local and old.__module__ == new.__module__
