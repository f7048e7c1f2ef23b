"""The graph of a kit: which responder can trigger which, and warnings about likely mistakes."""

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
    PERSON_ASKED,
    PERSON_REMINDED,
    PERSON_REPLIED,
    RELATION_CREATED,
    RELATION_REMOVED,
    RUN_ENDED,
    RUN_REQUESTED,
    TIMER_FIRED,
    TIMER_SET,
    TOOL_CALLED,
    TOOL_RETURNED,
)

__all__ = ["DECLARED", "GOAL", "READ", "UNKNOWN", "Edge", "KitGraph", "Node", "kit_graph"]

#: How a node's emissions are known: from declarations, from its source, or not at all.
DECLARED, READ, UNKNOWN = "declared", "read", "unknown"

#: Nodes that are not responders of the kit.
GOAL, MODEL, CLOCK, INPUT = "(goal)", "(model)", "(clock)", "(input)"
PERSON, CHILD_RUN = "(person)", "(child run)"

_ANY = frozenset[str]()


@attrs.frozen
class Node:
    """A responder, or another source of events.

    Attributes:
        name: of the responder; in parentheses if it is not a responder of the kit.
        pattern: event types that it handles; empty for every type.
        subject: object or relation type that they must be about; None for any.
        emissions: what it may emit.
        known: one of `DECLARED`, `READ`, `UNKNOWN`.
        reacts: whether events can trigger it.
    """

    name: str
    pattern: frozenset[str]
    subject: str | None
    emissions: tuple[Emission, ...]
    known: str
    reacts: bool = True

    def handles(self, emission: Emission) -> bool:
        """Whether an emission may trigger it."""
        if not self.reacts:
            return False
        if emission.type is not None and self.pattern and emission.type not in self.pattern:
            return False
        if self.subject is None or emission.subject is None:
            return True
        return self.subject == emission.subject or emission.type in _ABOUT_ANY


# Their subject is not the subject of the responder: an answer is about the object of its request.
_ABOUT_ANY = frozenset(
    {
        TOOL_CALLED,
        TOOL_RETURNED,
        LLM_RESPONSE,
        PERSON_ASKED,
        PERSON_REMINDED,
        PERSON_REPLIED,
        RUN_REQUESTED,
        RUN_ENDED,
    }
)


_ANSWERED_BY = {
    LLM_REQUEST: LLM_RESPONSE,
    TOOL_CALLED: TOOL_RETURNED,
    TIMER_SET: TIMER_FIRED,
    PERSON_ASKED: PERSON_REPLIED,
    RUN_REQUESTED: RUN_ENDED,
}

_BY_CLOCK = {TIMER_SET: TIMER_FIRED, PERSON_ASKED: PERSON_REMINDED}

#: Nodes outside the kit, by the request that each answers.
_ANSWERERS = {LLM_REQUEST: MODEL, PERSON_ASKED: PERSON, RUN_REQUESTED: CHILD_RUN}

_KEPT = frozenset({OBJECT_CREATED, OBJECT_PATCHED, RELATION_CREATED, RELATION_REMOVED})


@attrs.frozen
class Edge:
    """A node that can trigger another.

    Attributes:
        source: name of the node that emits.
        target: name of the node that reacts.
        label: the event that triggers it, such as ``object.created Claim``.
        is_certain: whether every firing of the source triggers it, as far as the source shows.
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
        warnings: likely mistakes, one line each.
    """

    kit: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    warnings: tuple[str, ...]


def kit_graph(kit: Kit) -> KitGraph:
    """Return the graph of a kit. Its seed function is called, but none of its responders."""
    responders = kit.create()
    own = [_node_of(responder) for responder in responders]
    emitted = {emission.type for node in own for emission in node.emissions}
    nodes = [_goal_of(kit), *_inputs(own), *own, *_answerers(own, emitted)]
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


def _inputs(nodes: Sequence[Node]) -> Iterator[Node]:
    """Yield a node for the documents of ``--input``, if a responder handles them."""
    wanted = [name for name in ("Document", "SkippedDocument") if _has_subject(nodes, name)]
    if wanted:
        documents = tuple(Emission(OBJECT_CREATED, name) for name in wanted)
        yield Node(INPUT, _ANY, None, documents, DECLARED, reacts=False)


def _answerers(nodes: Sequence[Node], emitted: set[str | None]) -> Iterator[Node]:
    """Yield the nodes outside the kit that answer its requests."""
    for asked, name in _ANSWERERS.items():
        if asked in emitted:
            answer = (Emission(_ANSWERED_BY[asked], None, True),)
            yield Node(name, frozenset({asked}), None, answer, DECLARED)
    # Whether questions have reminders is known by who reacts to them.
    reminds = any(PERSON_REMINDED in node.pattern for node in nodes)
    if timed := ({TIMER_SET, PERSON_ASKED} if reminds else {TIMER_SET}) & emitted:
        fired = tuple(Emission(_BY_CLOCK[each], None, each == TIMER_SET) for each in sorted(timed))
        yield Node(CLOCK, frozenset(timed), None, fired, DECLARED)


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
    # A patch names no type. A responder for one type usually patches objects of that type.
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
    untriggered = {node.name for node in nodes} - {
        target.name
        for source in nodes
        for target in nodes
        if any(target.handles(each) for each in source.emissions)
    }
    for source in nodes:
        for target in nodes:
            for emission in source.emissions:
                # The type of a patch is a guess, and wrong if a responder then has no trigger.
                if emission.type == OBJECT_PATCHED and target.name in untriggered:
                    emission = attrs.evolve(emission, subject=None)
                if target.handles(emission):
                    label = " ".join(filter(None, (emission.type or "?", emission.subject)))
                    # It is certain to be about the target's subject only if it names the subject.
                    is_sure = emission.is_certain and emission.type is not None
                    is_sure &= target.subject in (None, emission.subject)
                    yield Edge(source.name, target.name, label, is_sure)


def _edges_by_patches(nodes: Sequence[Node], edges: Sequence[Edge]) -> Iterator[Edge]:
    """Yield the triggers of nodes that react to patches and have no other trigger.

    A patch names no type; that it has its responder's own type is a guess. If no node reacts to such a
    patch, it is probably a patch of an object that a node without a trigger reacts to.
    """
    triggered = {edge.target for edge in edges}
    waiting = [
        node for node in nodes if OBJECT_PATCHED in node.pattern and node.name not in triggered
    ]
    for source in nodes:
        patches = [e for e in source.emissions if e.type == OBJECT_PATCHED and e.subject]
        if not any(node.handles(patch) for patch in patches for node in nodes):
            for target in waiting if patches else ():
                yield Edge(source.name, target.name, f"{OBJECT_PATCHED} {target.subject}", False)


def _warnings(
    nodes: Sequence[Node], edges: Sequence[Edge], emitted: set[str | None]
) -> Iterator[str]:
    for loop in _endless(nodes, edges):
        yield f"endless loop: {' -> '.join([*loop, loop[0]])}"
    # Objects and relations are part of the world, even if no responder reacts to them.
    for type in sorted(type for type in emitted if type is not None and type not in _KEPT):
        if not any(node.handles(Emission(type)) for node in nodes):
            yield f"no responder reacts to {type}"
    for asked, answered in _ANSWERED_BY.items():
        reacting = [node for node in nodes if node.handles(Emission(answered))]
        if asked in emitted and not reacting:
            yield f"no responder reacts to {answered}"
    triggered = {edge.target for edge in edges}
    is_all_known = None not in emitted and all(node.known != UNKNOWN for node in nodes)
    for node in nodes if is_all_known else ():
        if node.reacts and node.name not in triggered:
            yield f"nothing triggers {node.name}"


def _endless(nodes: Sequence[Node], edges: Sequence[Edge]) -> Iterator[list[str]]:
    """Yield each loop of certain edges once, starting with its first node."""
    after: dict[str, list[str]] = {node.name: [] for node in nodes}
    for edge in edges:
        if edge.is_certain and edge.target not in after[edge.source]:
            after[edge.source].append(edge.target)
    places = {name: place for place, name in enumerate(after)}
    done: set[str] = set()
    for start in after:
        path = _cycle_from(start, after, done)
        if path is not None:
            first = min(path, key=lambda name: places[name])
            at = path.index(first)
            yield path[at:] + path[:at]
            done.update(path)


def _cycle_from(start: str, after: dict[str, list[str]], done: set[str]) -> list[str] | None:
    """Return the shortest path from a node back to itself, or None."""
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
