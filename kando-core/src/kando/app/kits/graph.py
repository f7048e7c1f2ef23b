"""Which responder of a kit can trigger which, and what looks wrong with that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from kando.app.kits.emissions import Emission, emissions_of
from kando.kit import Kit
from kando.responders.base import Responder
from kando.responders.llm_responder import CONVERSATION, LLMResponder
from kando.schema.events import (
    LLM_REQUEST,
    LLM_RESPONSE,
    OBJECT_CREATED,
    OBJECT_PATCHED,
    RELATION_CREATED,
    RELATION_REMOVED,
    TIMER_FIRED,
    TIMER_SET,
    TOOL_CALLED,
    TOOL_RETURNED,
)

__all__ = ["DECLARED", "GOAL", "READ", "UNKNOWN", "Edge", "KitGraph", "Node", "kit_graph"]

#: Where a node's emissions are known from: from declarations, from its source, or not at all.
DECLARED, READ, UNKNOWN = "declared", "read", "unknown"

#: Nodes that are no responders of the kit.
GOAL, MODEL, CLOCK, INPUT = "(goal)", "(model)", "(clock)", "(input)"

_ANY = frozenset[str]()


@attrs.frozen
class Node:
    """Something that reacts or emits.

    Attributes:
        name: of the responder; in parentheses what is no responder of the kit.
        pattern: event types that it takes; empty for every type.
        subject: object or relation type that they must be about; None for any.
        emissions: what it may emit.
        known: one of `DECLARED`, `READ`, `UNKNOWN`.
        reacts: whether anything can trigger it.
    """

    name: str
    pattern: frozenset[str]
    subject: str | None
    emissions: tuple[Emission, ...]
    known: str
    reacts: bool = True

    def takes(self, emission: Emission) -> bool:
        """Whether it may react to an emission."""
        if not self.reacts:
            return False
        if emission.type is not None and self.pattern and emission.type not in self.pattern:
            return False
        if self.subject is None or emission.subject is None:
            return True
        return self.subject == emission.subject or emission.type in _ABOUT_ANY


# Their subject is not what the responder is about: an answer is about the object asked about.
_ABOUT_ANY = frozenset({TOOL_CALLED, TOOL_RETURNED, LLM_RESPONSE})


_ANSWERED_BY = {LLM_REQUEST: LLM_RESPONSE, TOOL_CALLED: TOOL_RETURNED, TIMER_SET: TIMER_FIRED}

_KEPT = frozenset({OBJECT_CREATED, OBJECT_PATCHED, RELATION_CREATED, RELATION_REMOVED})


@attrs.frozen
class Edge:
    """One node can trigger another.

    Attributes:
        source: name of the node that emits.
        target: name of the node that reacts.
        label: what triggers it, such as ``object.created Claim``.
        is_certain: whether every firing of the source does so, as far as one can tell.
    """

    source: str
    target: str
    label: str
    is_certain: bool


@attrs.frozen
class KitGraph:
    """The graph of a kit.

    Attributes:
        kit: its name.
        nodes: the goal first, then the kit's responders in firing order.
        edges: in the order of their sources.
        warnings: what looks wrong, a line each.
    """

    kit: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    warnings: tuple[str, ...]


def kit_graph(kit: Kit) -> KitGraph:
    """Return the graph of a kit: its seed is made, and no responder is run."""
    responders = kit.create()
    own = [_node_of(responder) for responder in responders]
    emitted = {emission.type for node in own for emission in node.emissions}
    nodes = [_goal_of(kit), *_hosts(own), *own, *_answerers(emitted)]
    edges = list(_edges_among(nodes))
    edges += _edges_by_patches(nodes, edges)
    places = {node.name: place for place, node in enumerate(nodes)}
    edges.sort(key=lambda edge: places[edge.source])
    warnings = tuple(_warnings(nodes, edges, emitted))
    return KitGraph(kit.name, tuple(nodes), tuple(edges), warnings)


def _goal_of(kit: Kit) -> Node:
    emissions = []
    try:
        for seed in kit.seed("goal", "run") if kit.seed is not None else []:
            emissions.append(Emission(seed.type, _text(seed.data.get("type")), True))
        known = DECLARED
    except Exception:
        known = UNKNOWN
    return Node(GOAL, _ANY, None, tuple(emissions), known, reacts=False)


def _hosts(nodes: Sequence[Node]) -> Iterator[Node]:
    """Yield the documents that ``--input`` brings in, if anybody wants them."""
    wanted = [name for name in ("Document", "SkippedDocument") if _has_subject(nodes, name)]
    if wanted:
        documents = tuple(Emission(OBJECT_CREATED, name) for name in wanted)
        yield Node(INPUT, _ANY, None, documents, DECLARED, reacts=False)


def _answerers(emitted: set[str | None]) -> Iterator[Node]:
    """Yield what answers from outside the kit, where it is asked to."""
    if LLM_REQUEST in emitted:
        answer = (Emission(LLM_RESPONSE, None, True),)
        yield Node(MODEL, frozenset({LLM_REQUEST}), None, answer, DECLARED)
    if TIMER_SET in emitted:
        fired = (Emission(TIMER_FIRED, None, True),)
        yield Node(CLOCK, frozenset({TIMER_SET}), None, fired, DECLARED)


def _has_subject(nodes: Sequence[Node], subject: str) -> bool:
    return any(node.subject == subject for node in nodes)


def _node_of(responder: Responder) -> Node:
    subject = responder.object_type or responder.relation_type
    emissions, known = _emissions_of(responder)
    return Node(responder.name, responder.pattern, subject, tuple(emissions), known)


def _emissions_of(responder: Responder) -> tuple[list[Emission], str]:
    if responder.effect is not None:
        return [Emission(responder.effect.answer_type, None, True)], DECLARED
    asking = getattr(responder.fn, "__self__", None)
    if isinstance(asking, LLMResponder):
        return _declared(asking, getattr(responder.fn, "__name__", "")), DECLARED
    found = emissions_of(responder.fn)
    if found is None:
        return [], UNKNOWN
    # A patch names no type. What a responder for one type patches is mostly of that type.
    subject = responder.object_type
    return [
        attrs.evolve(each, subject=subject)
        if each.type == OBJECT_PATCHED and subject is not None
        else each
        for each in found
    ], READ


def _declared(asking: LLMResponder, method: str) -> list[Emission]:
    request = [Emission(OBJECT_CREATED, CONVERSATION), Emission(LLM_REQUEST)]
    if method == "on_event":
        return request
    again = [Emission(OBJECT_PATCHED, CONVERSATION), Emission(LLM_REQUEST)]
    if method == "on_tool":
        return again
    found = [*again]
    if asking.options.get("tools"):
        found.append(Emission(TOOL_CALLED))
    if asking.output is not None:
        name = asking.output.__name__
        found += [Emission(OBJECT_CREATED, name), Emission(OBJECT_PATCHED, name)]
    else:
        found.append(Emission(OBJECT_PATCHED))
    if asking.relation is not None:
        found.append(Emission(RELATION_CREATED, asking.relation))
    for follow in (asking._then, asking._failed):
        found += emissions_of(follow) or [] if follow is not None else []
    return found


def _edges_among(nodes: Sequence[Node]) -> Iterator[Edge]:
    lonely = {node.name for node in nodes} - {
        target.name
        for source in nodes
        for target in nodes
        if any(target.takes(each) for each in source.emissions)
    }
    for source in nodes:
        for target in nodes:
            for emission in source.emissions:
                # What is patched was a guess, which is wrong if a responder then has no trigger.
                if emission.type == OBJECT_PATCHED and target.name in lonely:
                    emission = attrs.evolve(emission, subject=None)
                if target.takes(emission):
                    label = " ".join(filter(None, (emission.type or "?", emission.subject)))
                    # Whether it is about what the target wants is known only if it says so.
                    is_sure = emission.is_certain and emission.type is not None
                    is_sure &= target.subject in (None, emission.subject)
                    yield Edge(source.name, target.name, label, is_sure)


def _edges_by_patches(nodes: Sequence[Node], edges: Sequence[Edge]) -> Iterator[Edge]:
    """Yield who may trigger those that react to patches and that nothing else triggers.

    A patch names no type: that one is of its responder's own type is a guess. Where nobody takes
    it as such, it is probably a patch of what else somebody waits for.
    """
    triggered = {edge.target for edge in edges}
    waiting = [
        node for node in nodes if OBJECT_PATCHED in node.pattern and node.name not in triggered
    ]
    for source in nodes:
        patches = [e for e in source.emissions if e.type == OBJECT_PATCHED and e.subject]
        if not any(node.takes(patch) for patch in patches for node in nodes):
            for target in waiting if patches else ():
                yield Edge(source.name, target.name, f"{OBJECT_PATCHED} {target.subject}", False)


def _warnings(
    nodes: Sequence[Node], edges: Sequence[Edge], emitted: set[str | None]
) -> Iterator[str]:
    for loop in _endless(nodes, edges):
        yield f"loop without an end: {' -> '.join([*loop, loop[0]])}"
    # What the world is made of is kept there, whether somebody reacts to it or not.
    for type in sorted(type for type in emitted if type is not None and type not in _KEPT):
        if not any(node.takes(Emission(type)) for node in nodes):
            yield f"nobody reacts to {type}"
    for asked, answered in _ANSWERED_BY.items():
        reacting = [node for node in nodes if node.takes(Emission(answered))]
        if asked in emitted and not reacting:
            yield f"nobody reacts to {answered}"
    triggered = {edge.target for edge in edges}
    is_all_known = None not in emitted and all(node.known != UNKNOWN for node in nodes)
    for node in nodes if is_all_known else ():
        if node.reacts and node.name not in triggered:
            yield f"nothing triggers {node.name}"


def _endless(nodes: Sequence[Node], edges: Sequence[Edge]) -> Iterator[list[str]]:
    """Yield each loop whose every step is certain, from its first node on, once."""
    after: dict[str, list[str]] = {node.name: [] for node in nodes}
    for edge in edges:
        if edge.is_certain and edge.target not in after[edge.source]:
            after[edge.source].append(edge.target)
    places = {name: place for place, name in enumerate(after)}
    done: set[str] = set()
    for start in after:
        path = _way_back(start, after, done)
        if path is not None:
            first = min(path, key=lambda name: places[name])
            at = path.index(first)
            yield path[at:] + path[:at]
            done.update(path)


def _way_back(start: str, after: dict[str, list[str]], done: set[str]) -> list[str] | None:
    """Return the shortest way from a node back to itself, or None."""
    waiting: list[list[str]] = [[start]]
    seen = {*done}
    while waiting and start not in done:
        path = waiting.pop(0)
        for name in after[path[-1]]:
            if name == start:
                return path
            if name not in seen:
                seen.add(name)
                waiting.append([*path, name])
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
