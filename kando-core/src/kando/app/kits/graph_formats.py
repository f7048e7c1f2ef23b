"""The graph of a kit as text, DOT, Mermaid and SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from kando.app.kits.graph import GOAL, Edge, KitGraph

__all__ = ["FORMATS"]

_WIDTH, _HEIGHT, _ACROSS, _DOWN, _MARGIN = 230, 36, 330, 64, 20


def as_text(graph: KitGraph) -> str:
    """Return a line for each trigger; ``?`` marks an uncertain one."""
    width = max((len(edge.source) for edge in graph.edges), default=0)
    lines = []
    for source, target, labels in _joined(graph.edges):
        lines.append(f"{source.ljust(width)}  -> {target}  ({', '.join(labels)})")
    for node in graph.nodes:
        if node.known == "unknown":
            lines.append(f"{node.name}: its emissions are unknown, since its source cannot be read")
    if any(node.known == "read" for node in graph.nodes):
        lines.append("Inferred from the source of the responders; their behaviour may differ.")
    return "\n".join([*lines, *(f"warning: {each}" for each in graph.warnings)])


def as_dot(graph: KitGraph) -> str:
    """Return the graph in the language of Graphviz."""
    lines = [f"digraph {_quoted(graph.kit)} {{", "  rankdir=LR;", "  node [shape=box];"]
    for node in graph.nodes:
        dashed = "" if node.known == "declared" else ", style=dashed"
        lines.append(f"  {_quoted(node.name)} [label={_quoted(node.name)}{dashed}];")
    for source, target, labels in _joined(graph.edges):
        lines.append(
            f"  {_quoted(source)} -> {_quoted(target)} [label={_quoted(', '.join(labels))}];"
        )
    return "\n".join([*lines, "}"])


def as_mermaid(graph: KitGraph) -> str:
    """Return the graph as a Mermaid flow chart."""
    ids = {node.name: f"n{number}" for number, node in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    lines += [f'  {ids[node.name]}["{_entities(node.name)}"]' for node in graph.nodes]
    for source, target, labels in _joined(graph.edges):
        lines.append(f'  {ids[source]} -->|"{_entities(", ".join(labels))}"| {ids[target]}')
    return "\n".join(lines)


def as_svg(graph: KitGraph) -> str:
    """Return the graph as a drawing: a column for each step from the goal."""
    places = _places(graph)
    width = max(x for x, _ in places.values()) + _WIDTH + _MARGIN
    height = max(y for _, y in places.values()) + _HEIGHT + _DOWN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" font-family="sans-serif" font-size="12">',
        f"<title>Kit {escape(graph.kit)}: which responder can trigger which</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for source, target, labels in _joined(graph.edges):
        title = escape(f"{source} to {target}: {', '.join(labels)}")
        path = _curve(places[source], places[target])
        lines.append(
            f'<path d="{path}" fill="none" stroke="#555" marker-end="url(#tip)">'
            f"<title>{title}</title></path>"
        )
    for node in graph.nodes:
        x, y = places[node.name]
        dash = "" if node.known == "declared" else ' stroke-dasharray="4 3"'
        lines.append(
            f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="5" fill="#eef3f8" '
            f'stroke="#357"{dash}/><text x="{x + _WIDTH // 2}" y="{y + 22}" '
            f'text-anchor="middle" fill="#123">{escape(node.name)}</text>'
        )
    return "\n".join([*lines, "</svg>"])


#: By name, as ``--format`` takes them.
FORMATS: dict[str, Callable[[KitGraph], str]] = {
    "text": as_text,
    "dot": as_dot,
    "mermaid": as_mermaid,
    "svg": as_svg,
}


def _joined(edges: Sequence[Edge]) -> list[tuple[str, str, list[str]]]:
    """Return one entry for each pair of nodes, with all that triggers."""
    found: dict[tuple[str, str], list[str]] = {}
    for edge in edges:
        label = edge.label if edge.is_certain else f"{edge.label}?"
        labels = found.setdefault((edge.source, edge.target), [])
        if label not in labels:
            labels.append(label)
    return [(source, target, labels) for (source, target), labels in found.items()]


def _places(graph: KitGraph) -> dict[str, tuple[int, int]]:
    steps = {GOAL: 0}
    waiting = [GOAL]
    while waiting:
        name = waiting.pop(0)
        for edge in graph.edges:
            if edge.source == name and edge.target not in steps:
                steps[edge.target] = steps[name] + 1
                waiting.append(edge.target)
    rows: dict[int, int] = {}
    places = {}
    for node in graph.nodes:
        column = steps.get(node.name, 0)
        row = rows[column] = rows.get(column, -1) + 1
        places[node.name] = (_MARGIN + column * _ACROSS, _MARGIN + row * _DOWN)
    return places


def _curve(source: tuple[int, int], target: tuple[int, int]) -> str:
    middle = _HEIGHT // 2
    x1, y1, x2, y2 = source[0] + _WIDTH, source[1] + middle, target[0], target[1] + middle
    if x2 > x1:
        bend = (x2 - x1) // 2
        return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
    # Back, or to itself: below the boxes, and into the target from the left.
    low = max(y1, y2) + _DOWN - middle
    return f"M{x1} {y1}C{x1 + 60} {low} {x2 - 60} {low} {x2} {y2}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'


def _entities(text: str) -> str:
    return escape(text.replace("\n", " "))
