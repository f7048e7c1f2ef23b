"""Causal figures are well-formed and inert for any content of the events."""

import re
from collections.abc import Iterator
from itertools import chain, count
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kando.ledger.memory import MemoryLedgerStore
from kando.schema.events import RecordedEvent, make_event
from kando.text.figure import LARGEST, Node, dot, mermaid, svg
from kando.trace.figure import about, node_of

SVG = "{http://www.w3.org/2000/svg}"

hostile = st.text(max_size=12) | st.sampled_from(
    [
        *('"', "\\", '\\" onload="x', "</title><script>alert(1)</script>", "]]>", "&amp;"),
        *("%%{init: {}}%%", "end", "`md`", "\x1b[31m", "\x9b31m", "\u202e", "\ufffe", "\x00"),
        *("<br>", "a\nb", '"]; click e1 "javascript:alert(1)"', "\\N", "#quot;", "}", "\ud800"),
    ]
)


def recorded(
    data: dict[str, object], type: str = "object.created", actor: str = "a"
) -> RecordedEvent:
    ledger = MemoryLedgerStore("r")
    ledger.append([make_event("e", "", "", [], {}), make_event(type, "", actor, ["e-0"], data)])
    event = ledger.at(1)
    assert event is not None
    return event


def drawn(form: str, nodes: list[Node], title: str) -> str:
    lines: Iterator[str]
    if form == "dot":
        lines = dot(nodes, title)
    elif form == "mermaid":
        lines = mermaid(nodes, title, len(nodes))
    else:
        lines = svg(nodes, title, {"ledger": title})
    return "\n".join(lines)


def nodes_of(*texts: str) -> list[Node]:
    first = Node(0, ("e-0", "cli"), "root", ())
    return [first, Node(1, texts[:3], "object", (0,))]


@settings(deadline=None)
@given(st.lists(hostile, min_size=4, max_size=4))
def test_svg_is_xml_with_exact_texts_and_without_scripts_or_links(
    texts: list[str],
) -> None:
    root = ElementTree.fromstring(
        drawn("svg", nodes_of(*texts), texts[3]).encode("utf-8", "replace")
    )

    known = {
        f"{SVG}{tag}" for tag in ["svg", "title", "metadata", "style", "path", "g", "rect", "text"]
    }
    assert {each.tag for each in root.iter()} <= known
    attributes = set(chain.from_iterable(each.keys() for each in root.iter()))
    assert not any(name.startswith("on") or "href" in name for name in attributes)
    assert len(root.findall(f"{SVG}path")) == 1
    assert len(root.findall(f"{SVG}g")) == 2


@settings(deadline=None)
@given(st.lists(hostile, min_size=4, max_size=4))
def test_dot_strings_are_escaped(texts: list[str]) -> None:
    text = drawn("dot", nodes_of(*[t.replace("\n", " ") for t in texts[:3]]), "t")

    without_strings = re.sub(r'"(?:[^"\\]|\\.)*"', "S", text, flags=re.DOTALL)
    assert re.fullmatch(
        r"digraph S \{\n  rankdir=LR;\n  node \[shape=box\];\n"
        r"(  e\d+ \[label=S, class=S\];\n(  e\d+ -> e\d+;\n)*)*\}",
        without_strings,
    )


@settings(deadline=None)
@given(st.lists(hostile, min_size=4, max_size=4))
def test_the_labels_of_a_flowchart_contain_no_mermaid_syntax(texts: list[str]) -> None:
    nodes = nodes_of(*[t.replace("\n", " ").replace("\r", " ") for t in texts[:3]])
    lines = drawn("mermaid", nodes, "t").split("\n")

    labels = [re.fullmatch(r'  e\d+\["(.*)"\]:::\w+', line, re.DOTALL) for line in lines[2:4]]
    for label in labels:
        assert label is not None
        rest = re.sub(r"#\d+;|<br>", "", label[1])
        assert not set('"<>&`\\%{}[]#') & set(rest)
    assert lines[4:] == ["  e0 --> e1"]


@pytest.mark.parametrize("form", ["dot", "mermaid", "svg"])
@settings(deadline=None)
@given(texts=st.lists(hostile.filter(lambda t: "\ud800" not in t), min_size=4, max_size=4))
def test_texts_of_an_event_are_shown_without_terminal_escapes(form: str, texts: list[str]) -> None:
    type, id, other, actor = (text or "x" for text in texts)
    node = node_of(recorded({"type": type, "id": id, "data": {other: 1}}, actor=actor), [])

    assert not set("\x1b\x9b\u202e\x00\n\r") & set("".join(node.lines))
    assert not set("\x1b\x9b\u202e\x00") & set(drawn(form, [node], "t"))


@pytest.mark.parametrize(
    ("type", "data", "said"),
    [
        ("object.created", {"type": "Claim", "id": "c1"}, "Claim c1"),
        ("object.patched", {"id": "c1", "patch": {"status": 1, "text": 2}}, "c1 status, text"),
        ("relation.created", {"source_id": "a", "type": "near", "target_id": "b"}, "a near b"),
        ("relation.removed", {"id": "r1"}, "r1"),
        ("llm.request", {"model": "m"}, "m"),
        ("tool.called", {"tool": "search"}, "search"),
        ("object.patched", {"id": 7, "patch": None}, "7"),
        ("note", {"id": "c1"}, ""),
    ],
)
def test_a_node_says_what_its_event_is_about(type: str, data: dict[str, object], said: str) -> None:
    assert about(recorded(data, type)) == said


def test_causes_are_drawn_above_their_effects_and_side_by_side() -> None:
    nodes = [
        Node(5, ("e-5",), "other", (0, 3)),
        Node(0, ("e-0",), "root", ()),
        Node(3, ("e-3",), "other", (0,)),
        Node(4, ("e-4",), "other", (0,)),
    ]
    root = ElementTree.fromstring("".join(svg(nodes, "t", {})))

    places = [(r.get("x"), int(r.get("y") or 0)) for r in root.iter(f"{SVG}rect")]
    assert places[0][1] < places[1][1] == places[2][1] < places[3][1]
    assert places[1][0] != places[2][0]


def test_a_flowchart_reads_only_the_nodes_it_draws_and_counts_the_others() -> None:
    taken = count()

    def nodes() -> Iterator[Node]:
        for n in taken:
            yield Node(n, (f"e-{n}",), "other", (n - 1, n + 1))

    lines = list(mermaid(nodes(), "t", 10_000, more="events"))

    assert next(taken) <= LARGEST + 1
    assert lines[-1] == f'  more["and {10_000 - LARGEST} more events"]'
    ends = {end for line in lines for end in re.findall(r"^  e(\d+) --> e(\d+)", line)}
    assert all(int(n) < LARGEST for pair in ends for n in pair)
    assert len("\n".join(lines)) < 50_000


def test_a_node_has_a_colour_by_its_kind() -> None:
    node = Node(1, ("a",), "done", ())
    colours = {"done": "#efe"}

    assert 'style=filled, fillcolor="#efe"' in "".join(dot([node], "t", colours))
    assert "classDef done fill:#efe" in "".join(mermaid([node], "t", 1, colours))
    assert ".done rect{fill:#efe}" in "".join(svg([node], "t", {}, colours))
