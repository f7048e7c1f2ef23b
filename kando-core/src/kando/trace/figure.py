"""The nodes of a causal graph, independent of the format in which it is drawn."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from kando.schema.events import (
    LLM_REQUEST,
    LLM_RESPONSE,
    OBJECT_CREATED,
    OBJECT_PATCHED,
    RELATION_CREATED,
    RELATION_REMOVED,
    TOOL_CALLED,
    TOOL_RETURNED,
    KandoEvent,
    RecordedEvent,
)
from kando.schema.visible import clean, truncate

__all__ = ["Node", "about", "node_of"]

_LABEL = 40

#: Classes of nodes, by the type of the event.
_KINDS = {
    OBJECT_CREATED: "object",
    OBJECT_PATCHED: "object",
    RELATION_CREATED: "relation",
    RELATION_REMOVED: "relation",
    LLM_REQUEST: "llm",
    LLM_RESPONSE: "llm",
    TOOL_CALLED: "tool",
    TOOL_RETURNED: "tool",
}


@attrs.frozen
class Node:
    """An event in a figure. Its texts are on one line, without control characters.

    Attributes:
        position: of the event, which identifies the node.
        id: of the event.
        actor: who emitted it.
        about: short description of its subject.
        kind: ``root``, ``object``, ``relation``, ``llm``, ``tool`` or ``other``.
        causes: positions of its causes within the figure.
    """

    position: int
    id: str
    actor: str
    about: str
    kind: str
    causes: tuple[int, ...]


def node_of(event: RecordedEvent, causes: Iterable[int]) -> Node:
    """Return the node of an event.

    Args:
        event: of a ledger; its content is untrusted.
        causes: positions of its causes within the figure.
    """
    kind = "root" if event.is_root else _KINDS.get(event.type, "other")
    id, actor = truncate(event.id, _LABEL), truncate(event.actor, _LABEL)
    return Node(event.position, id, actor, about(event), kind, tuple(causes))


def about(event: KandoEvent) -> str:
    """Return a short description of an event's subject, on one line without control characters."""
    data = event.data
    if event.type == OBJECT_CREATED:
        words = [data.get("type"), data.get("id")]
    elif event.type == OBJECT_PATCHED:
        patch = data.get("patch")
        words = [data.get("id"), ", ".join(patch) if isinstance(patch, dict) else ""]
    elif event.type == RELATION_CREATED:
        words = [data.get("source_id"), data.get("type"), data.get("target_id")]
    elif event.type == RELATION_REMOVED:
        words = [data.get("id")]
    elif event.type in (LLM_REQUEST, LLM_RESPONSE):
        words = [data.get("model")]
    elif event.type == TOOL_CALLED:
        words = [data.get("tool")]
    else:
        words = []
    return truncate(" ".join(clean(str(word)) for word in words if word), _LABEL)
