"""`kando kits`: the list, the parts of a kit, and its graph in every format."""

import json
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("tiny")


def test_the_list_names_each_kit_with_its_distribution(kando: Run) -> None:
    rows = json.loads(kando("kits", "--json").stdout)["items"]

    mine = next(row for row in rows if row["name"] == "tiny")
    assert mine == {
        "name": "tiny",
        "distribution": "tiny",
        "version": "1.0",
        "about": "one claim about a goal",
    }
    assert "one claim about a goal" in kando("kits").stdout


def test_show_lists_the_parts_of_a_kit(kando: Run) -> None:
    assert "tiny.on_goal    object.created of Goal" in kando("kits", "show", "tiny").stdout
    card = json.loads(kando("kits", "show", "tiny", "--json").stdout)
    assert [each["name"] for each in card["responders"]] == ["tiny.on_goal", "tiny.on_answer"]


@pytest.mark.parametrize(
    ("form", "beginning"),
    [
        ("text", "(goal)"),
        ("dot", 'digraph "tiny" {'),
        ("mermaid", "flowchart LR"),
        ("svg", "<svg "),
    ],
)
def test_the_graph_is_written_in_the_requested_format(
    kando: Run, form: str, beginning: str
) -> None:
    done = kando("kits", "graph", "tiny", "--format", form)

    assert done.returncode == 0
    assert done.stdout.startswith(beginning)
    assert "tiny.on_answer" in done.stdout


def test_the_graph_as_json_has_its_edges(kando: Run) -> None:
    graph = json.loads(kando("kits", "graph", "tiny", "--json").stdout)

    ends = {(edge["source"], edge["target"]) for edge in graph["edges"]}
    assert {("(goal)", "tiny.on_goal"), ("(model)", "tiny.on_answer")} <= ends


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["show"], 2), (["graph"], 2), (["draw", "tiny"], 2), (["show", "tny"], 3)],
)
def test_an_unknown_kit_or_action_is_refused(kando: Run, arguments: list[str], code: int) -> None:
    done = kando("kits", *arguments)

    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("kando: ")


def test_a_new_package_whose_name_is_already_offered_is_written_with_a_warning(kando: Run) -> None:
    assert "only one can be used" not in kando("new", "kit", "little").stderr

    done = kando("new", "kit", "tiny")

    assert done.returncode == 0
    assert "tiny 1.0 also offers a kit 'tiny': only one can be used." in done.stderr
