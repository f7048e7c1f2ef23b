"""Events as the nodes of a figure, independent of the format in which it is drawn."""

from __future__ import annotations

from collections.abc import Iterable

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
from kando.text.figure import Node

__all__ = ["COLOURS", "about", "node_of"]

_LABEL = 40

#: Colours of the nodes in an image, by their kind.
COLOURS = {
    "root": "#fdebc8",
    "object": "#e3effb",
    "relation": "#e6f5e6",
    "llm": "#f3e6fa",
    "tool": "#fbe6e6",
}

#: Kinds of nodes, by the type of the event.
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


def node_of(event: RecordedEvent, causes: Iterable[int]) -> Node:
    """Return the node of an event, whose number is its position.

    The kind is ``root``, ``object``, ``relation``, ``llm``, ``tool`` or ``other``.

    Args:
        event: of a ledger; its content is untrusted.
        causes: positions of its causes within the figure.
    """
    kind = "root" if event.is_root else _KINDS.get(event.type, "other")
    lines = (truncate(event.id, _LABEL), truncate(event.actor, _LABEL), about(event))
    return Node(event.position, tuple(filter(None, lines)), kind, tuple(causes))


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
