"""A causal graph as an SVG image: causes above their effects, no scripts, no external resources."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

import attrs

from kando.trace.figure import Node

__all__ = ["svg"]

_WIDTH, _HEIGHT, _GAP = 260, 58, 34

_STYLE = (
    "rect{fill:#fff;stroke:#667}"
    ".root rect{fill:#fdebc8}.object rect{fill:#e3effb}.relation rect{fill:#e6f5e6}"
    ".llm rect{fill:#f3e6fa}.tool rect{fill:#fbe6e6}"
    "text{font:12px sans-serif;fill:#223}path{fill:none;stroke:#889}"
)


@attrs.frozen
class _Place:
    x: int
    y: int


def svg(nodes: Iterable[Node], title: str, metadata: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of an SVG file.

    Args:
        nodes: of the graph, in any order.
        title: of the graph.
        metadata: origin of the graph, such as the run and the hash of its ledger.
    """
    shown = sorted(nodes, key=lambda node: node.position)
    places = _places(shown)
    width = max((place.x for place in places.values()), default=0) + _WIDTH + _GAP
    height = max((place.y for place in places.values()), default=0) + _HEIGHT + _GAP
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img">'
    )
    yield f"<title>{_escaped(title)}</title>"
    yield f"<metadata>{_escaped(json.dumps(dict(metadata), sort_keys=True))}</metadata>"
    yield f"<style>{_STYLE}</style>"
    for node in shown:
        for cause in node.causes:
            yield _edge(places[cause], places[node.position])
    for node in shown:
        yield _box(node, places[node.position])
    yield "</svg>"


def _places(nodes: Iterable[Node]) -> dict[int, _Place]:
    """Place each node one row below the lowest of its causes, to the right of earlier nodes."""
    rows: dict[int, int] = {}
    taken: dict[int, int] = {}
    places: dict[int, _Place] = {}
    for node in nodes:
        row = rows[node.position] = 1 + max(
            (rows.get(cause, 0) for cause in node.causes), default=-1
        )
        column = taken.get(row, 0)
        taken[row] = column + 1
        places[node.position] = _Place(
            _GAP + column * (_WIDTH + _GAP), _GAP + row * (_HEIGHT + _GAP)
        )
    return places


def _edge(cause: _Place, effect: _Place) -> str:
    x1, y1 = cause.x + _WIDTH // 2, cause.y + _HEIGHT
    x2, y2 = effect.x + _WIDTH // 2, effect.y
    middle = (y1 + y2) // 2
    return f'<path d="M{x1} {y1}C{x1} {middle} {x2} {middle} {x2} {y2}"/>'


def _box(node: Node, place: _Place) -> str:
    lines = [text for text in (node.id, node.actor, node.about) if text]
    texts = "".join(
        f'<text x="{place.x + 8}" y="{place.y + 17 * number}">{_escaped(line)}</text>'
        for number, line in enumerate(lines, 1)
    )
    return (
        f'<g class="{node.kind}"><title>{_escaped(" · ".join(lines))}</title>'
        f'<rect x="{place.x}" y="{place.y}" width="{_WIDTH}" height="{_HEIGHT}" rx="4"/>{texts}</g>'
    )


def _escaped(text: str) -> str:
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
