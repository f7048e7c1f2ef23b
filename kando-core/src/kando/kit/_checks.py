"""Checks of a whole kit: each name that a part of it uses is one that it declares, or that Kando has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kando.errors import ConfigurationError
from kando.schema.events import CONVERSATION_COMPACTED, HUMAN_MESSAGE, KNOWN_TYPES
from kando.schema.names import nearest
from kando.schema.typed import check_defaults

if TYPE_CHECKING:
    from kando.kit._kit import Kit

__all__ = ["check_kit", "require_name"]

#: The first words of Kando's types of events: another type that begins with one is a mistake.
#: Kits may have further types of messages and conversations.
_NAMESPACES = frozenset(
    type.partition(".")[0] for type in KNOWN_TYPES - {CONVERSATION_COMPACTED, HUMAN_MESSAGE}
)


def check_kit(kit: Kit) -> None:
    """Check the names that the responders, relations, policies, tools and upcasters of a kit use.

    Raises:
        ConfigurationError: one of them is misspelled, or a default of a class cannot be filled in.
    """
    for cls in (*kit.object_types.values(), kit.settings_class):
        if cls is not None:
            check_defaults(cls)
    for responder in (*kit.responders, *kit.edge_responders):
        of = f"Responder {responder.name!r}"
        for type in sorted(responder.pattern):
            _require_event_type(f"{of} handles", type, kit)
        _require_object_type(f"{of} handles objects of", responder.object_type, kit)
        if responder.relation_type is not None:
            what = f"{of} handles relations of"
            require_name(what, "type", responder.relation_type, kit.relation_types)
    for relation in kit.relation_types.values():
        for end in (relation.source, relation.target):
            _require_object_type(f"Relation type {relation.name!r} relates objects of", end, kit)
    for policy in kit.policies:
        _require_object_type("A policy judges objects of", policy.object_type, kit)
    for upcaster in kit.upcasters:
        _require_event_type("An upcaster upgrades", upcaster.type, kit)
    for tool in kit.tools.values():
        if tool.undo is not None and tool.undo not in kit.tools:
            meant = nearest(tool.undo, kit.tools)
            msg = f"Tool {tool.name!r} of kit {kit.name!r} is undone by {tool.undo!r}, which it lacks."
            hint = f"Did you mean {meant!r}?" if meant else "Declare it with @kit.tool."
            raise ConfigurationError(msg, hint=hint)


def require_name(what: str, kind: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that is not known, but nearly equal to one that is.

    Args:
        what: how the message begins.
        kind: of the name, such as ``object type``.
        name: as it is written.
        known: the right names.

    Raises:
        ConfigurationError: it is misspelled.
    """
    names = [*known]
    meant = None if name in names else nearest(name, names)
    if meant is not None:
        msg = f"{what} {kind} {name!r}, which is not declared."
        raise ConfigurationError(msg, hint=f"Write {meant!r}, or declare {name!r}, too.")


def _require_object_type(what: str, name: str | None, kit: Kit) -> None:
    if name is not None:
        require_name(what, "type", name, kit.object_types)


def _require_event_type(what: str, name: str, kit: Kit) -> None:
    known = KNOWN_TYPES | kit.event_types
    if name in known:
        return
    meant, namespace = nearest(name, known), name.partition(".")[0]
    if meant is None and not (namespace in _NAMESPACES and "." in name):
        # An event of the kit, or from outside.
        return
    own = sorted(each for each in known if each.partition(".")[0] == namespace)
    msg = f"{what} events of type {name!r}, which does not exist."
    cure = f"Write {meant!r}" if meant else f"Write one of {', '.join(own)}"
    raise ConfigurationError(msg, hint=f"{cure}, or declare it: kit.event({name!r}).")
