"""A causal graph as DOT, the language of Graphviz (https://graphviz.org/doc/info/lang.html)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kando.trace.figure import Node

__all__ = ["dot"]


def dot(nodes: Iterable[Node], title: str) -> Iterator[str]:
    """Yield the lines of a DOT file, with nodes and edges in the given order.

    Args:
        nodes: of the graph.
        title: of the graph.
    """
    yield f"digraph {_quoted(title)} {{"
    yield "  rankdir=LR;"
    yield "  node [shape=box];"
    for node in nodes:
        label = "\\n".join(_escaped(text) for text in (node.id, node.actor, node.about) if text)
        yield f'  e{node.position} [label="{label}", class="{node.kind}"];'
        for cause in node.causes:
            yield f"  e{cause} -> e{node.position};"
    yield "}"


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    # A backslash starts an escape sequence in labels, such as \\N for the name of the node.
    return text.replace("\\", "\\\\").replace('"', '\\"')
