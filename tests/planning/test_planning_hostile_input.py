"""No text of a goal, a model or another kit acts as markup in the plan or its pictures."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

HOSTILE = [
    '"]; click e1 "javascript:alert(1)"',
    "</title><script>alert(1)</script>",
    "```\n# Plan: forged\n```",
    "%%{init: {}}%% end",
    '\\" -> e9; e9 [label="x',
    "\x1b[31m\u202e\x00",
    "[link](https://evil.example) <b>&amp;</b>",
]


@pytest.fixture(params=HOSTILE, ids=range(len(HOSTILE)))
def hostile(planner, done, failed, request):
    """Return a run whose every text is hostile."""
    text = request.param
    plan = [
        {"name": text, "title": text},
        {"name": "b", "title": text, "depends_on": [text]},
        {"name": "c", "title": text, "depends_on": ["b"]},
    ]
    refused = [{"name": text, "title": text, "depends_on": [text]}]
    run = planner([refused, plan], results={"b": [done(text)], "c": [failed(text)]})
    run.run(text)
    return run


def test_the_report_has_no_headings_blocks_or_tags_but_its_own(hostile):
    lines = hostile.artifact().splitlines()

    assert len([line for line in lines if line.startswith("# ")]) == 1
    assert len([line for line in lines if line.startswith("## ")]) == 1 + len(hostile.statuses())
    assert len([line for line in lines if line.startswith("```")]) == 2
    outside = "\n".join(lines[: lines.index("## Picture")])
    assert not re.search(r"<\w|(?<!\\)\]\(|[\x00-\x08\x1b\u202e]", outside)


def test_the_flowchart_has_only_labels_of_ours(hostile):
    text = hostile.artifact()
    drawn = text[text.index("flowchart") : text.rindex("```")].splitlines()[2:]

    for line in drawn:
        assert re.fullmatch(
            r'  e\d+\["[^"<>`%{}\[\]]*(?:<br>[^"<>`%{}\[\]]*)*"\]:::\w+|  e\d+ --> e\d+|  classDef .*',
            line,
        ), line


def test_the_pictures_are_well_formed(hostile):
    svg = ElementTree.fromstring(hostile.artifact("plan.svg").encode("utf-8", "replace"))
    dot = re.sub(r'"(?:[^"\\]|\\.)*"', "S", hostile.artifact("plan.dot"))

    tags = {each.tag.partition("}")[2] for each in svg.iter()}
    assert tags <= {"svg", "title", "metadata", "style", "path", "g", "rect", "text"}
    for line in dot.splitlines()[3:-1]:
        assert re.fullmatch(
            r"  e\d+ \[label=S, class=S(, style=filled, fillcolor=S)?\];|  e\d+ -> e\d+;", line
        ), line
