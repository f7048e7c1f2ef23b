"""Draw a graph as DOT, Mermaid or SVG. Its texts are untrusted: none of them acts as markup."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from types import MappingProxyType

import attrs

__all__ = ["LARGEST", "Node", "dot", "mermaid", "svg"]

#: Maximum number of nodes in a flowchart. Mermaid draws at most 500 edges, needs seconds for 400,
#: and the reader of a page cannot raise that limit.
LARGEST = 150

# Characters with a meaning in Mermaid: quotes and Markdown in labels, HTML, and the per cent signs
# of its directives, which it recognises everywhere.
_MERMAID = {c: f"#{ord(c)};" for c in '"#<>&`\\%{}[]'}

_WIDTH, _HEIGHT, _GAP = 260, 58, 34

_NO_COLOURS: Mapping[str, str] = MappingProxyType({})


@attrs.frozen
class Node:
    """A node of a figure.

    Attributes:
        number: identifies the node in the figure.
        lines: of its label, each without control characters; up to three have room.
        kind: class of the node, which has a colour; one word.
        sources: numbers of the nodes from which an edge leads to it.
    """

    number: int
    lines: tuple[str, ...]
    kind: str
    sources: tuple[int, ...]


def dot(
    nodes: Iterable[Node], title: str, colours: Mapping[str, str] = _NO_COLOURS
) -> Iterator[str]:
    """Yield the lines of a DOT file (https://graphviz.org/doc/info/lang.html).

    Args:
        nodes: of the graph, in the order in which they are written.
        title: of the graph.
        colours: of the nodes by their kind, such as ``#ffe``.
    """
    yield f'digraph "{_dot_escaped(title)}" {{'
    yield "  rankdir=LR;"
    yield "  node [shape=box];"
    for node in nodes:
        label = "\\n".join(map(_dot_escaped, node.lines))
        filled = f', style=filled, fillcolor="{colours[node.kind]}"' if node.kind in colours else ""
        yield f'  e{node.number} [label="{label}", class="{node.kind}"{filled}];'
        for source in node.sources:
            yield f"  e{source} -> e{node.number};"
    yield "}"


def mermaid(
    nodes: Iterable[Node],
    title: str,
    total: int,
    colours: Mapping[str, str] = _NO_COLOURS,
    *,
    more: str = "nodes",
) -> Iterator[str]:
    """Yield the lines of a flowchart for Markdown pages (https://mermaid.js.org).

    It has the first `LARGEST` nodes, and the number of the others.

    Args:
        nodes: of the graph; no more than `LARGEST` are taken.
        title: of the graph.
        total: number of nodes in the graph.
        colours: of the nodes by their kind.
        more: word for the nodes that are left out.
    """
    yield "flowchart LR"
    yield f"  accTitle: {_mermaid_escaped(title)}"
    drawn = list(islice(nodes, LARGEST))
    for node in drawn:
        label = "<br>".join(map(_mermaid_escaped, node.lines))
        yield f'  e{node.number}["{label}"]:::{node.kind}'
    numbers = {node.number for node in drawn}
    edges = [
        (source, node.number) for node in drawn for source in node.sources if source in numbers
    ]
    for source, target in edges[: 3 * LARGEST]:
        yield f"  e{source} --> e{target}"
    if total > len(drawn) or len(edges) > 3 * LARGEST:
        yield f'  more["and {total - len(drawn)} more {more}"]'
    for kind, colour in colours.items():
        yield f"  classDef {kind} fill:{colour},color:#223"


def svg(
    nodes: Iterable[Node],
    title: str,
    metadata: Mapping[str, str],
    colours: Mapping[str, str] = _NO_COLOURS,
) -> Iterator[str]:
    """Yield the lines of an SVG image without scripts and external resources.

    Each node is below those that lead to it and have a smaller number.

    Args:
        nodes: of the graph, in any order.
        title: of the graph.
        metadata: origin of the graph, such as the run and the hash of its ledger.
        colours: of the nodes by their kind.
    """
    shown = sorted(nodes, key=lambda node: node.number)
    places = _places(shown)
    width = max((place.x for place in places.values()), default=0) + _WIDTH + _GAP
    height = max((place.y for place in places.values()), default=0) + _HEIGHT + _GAP
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img">'
    )
    yield f"<title>{_xml_escaped(title)}</title>"
    yield f"<metadata>{_xml_escaped(json.dumps(dict(metadata), sort_keys=True))}</metadata>"
    yield f"<style>{_style(colours)}</style>"
    for node in shown:
        for source in node.sources:
            yield _edge(places[source], places[node.number])
    for node in shown:
        yield _box(node, places[node.number])
    yield "</svg>"


@attrs.frozen
class _Place:
    x: int
    y: int


def _style(colours: Mapping[str, str]) -> str:
    return (
        "rect{fill:#fff;stroke:#667}"
        + "".join(f".{kind} rect{{fill:{colour}}}" for kind, colour in colours.items())
        + "text{font:12px sans-serif;fill:#223}path{fill:none;stroke:#889}"
    )


def _places(nodes: Iterable[Node]) -> dict[int, _Place]:
    """Place each node one row below the lowest of its sources, to the right of earlier nodes."""
    rows: dict[int, int] = {}
    taken: dict[int, int] = {}
    places: dict[int, _Place] = {}
    for node in nodes:
        row = rows[node.number] = 1 + max(
            (rows.get(source, 0) for source in node.sources), default=-1
        )
        column = taken.get(row, 0)
        taken[row] = column + 1
        places[node.number] = _Place(_GAP + column * (_WIDTH + _GAP), _GAP + row * (_HEIGHT + _GAP))
    return places


def _edge(source: _Place, target: _Place) -> str:
    x1, y1 = source.x + _WIDTH // 2, source.y + _HEIGHT
    x2, y2 = target.x + _WIDTH // 2, target.y
    middle = (y1 + y2) // 2
    return f'<path d="M{x1} {y1}C{x1} {middle} {x2} {middle} {x2} {y2}"/>'


def _box(node: Node, place: _Place) -> str:
    texts = "".join(
        f'<text x="{place.x + 8}" y="{place.y + 17 * number}">{_xml_escaped(line)}</text>'
        for number, line in enumerate(node.lines, 1)
    )
    return (
        f'<g class="{node.kind}"><title>{_xml_escaped(" · ".join(node.lines))}</title>'
        f'<rect x="{place.x}" y="{place.y}" width="{_WIDTH}" height="{_HEIGHT}" rx="4"/>{texts}</g>'
    )


def _dot_escaped(text: str) -> str:
    # A backslash starts an escape sequence in labels, such as \\N for the name of the node.
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _mermaid_escaped(text: str) -> str:
    return "".join(_MERMAID.get(c, c) for c in text)


def _xml_escaped(text: str) -> str:
    # XML 1.0 cannot represent some code points at all.
    known = "".join(c if _is_xml(c) else "\ufffd" for c in text)
    for c, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        known = known.replace(c, entity)
    return known


def _is_xml(c: str) -> bool:
    code = ord(c)
    return (
        code in (9, 10, 13) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code > 0xFFFF
    )
