"""A causal graph as a Mermaid flowchart for Markdown pages (https://mermaid.js.org)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from kando.trace.figure import Node

__all__ = ["LARGEST", "mermaid"]

#: Maximum number of nodes in a flowchart. Mermaid draws at most 500 edges, needs seconds for 400,
#: and the reader of a page cannot raise that limit.
LARGEST = 150

# Characters with a meaning in Mermaid: quotes and Markdown in labels, HTML, and the per cent signs
# of its directives, which it recognises everywhere.
_ESCAPES = {c: f"#{ord(c)};" for c in '"#<>&`\\%{}[]'}


def mermaid(nodes: Iterable[Node], title: str, total: int) -> Iterator[str]:
    """Yield the lines of a flowchart of the first `LARGEST` nodes and the number of the others.

    Args:
        nodes: of the graph; no more than `LARGEST` are taken.
        title: of the graph.
        total: number of nodes in the graph.
    """
    yield "flowchart LR"
    yield f"  accTitle: {_escaped(title)}"
    drawn = list(islice(nodes, LARGEST))
    for node in drawn:
        label = "<br>".join(_escaped(text) for text in (node.id, node.actor, node.about) if text)
        yield f'  e{node.position}["{label}"]:::{node.kind}'
    positions = {node.position for node in drawn}
    edges = [
        (cause, node.position) for node in drawn for cause in node.causes if cause in positions
    ]
    for cause, effect in edges[: 3 * LARGEST]:
        yield f"  e{cause} --> e{effect}"
    if total > len(drawn) or len(edges) > 3 * LARGEST:
        yield f'  more["and {total - len(drawn)} more events"]'


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(c, c) for c in text)
