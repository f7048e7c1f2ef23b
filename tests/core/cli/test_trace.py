"""`kando trace`: up to the goal, down to everything caused, in five formats."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from kando.ledger.sqlite import SQLiteLedgerStore
from kando.schema.events import make_event

Run = Callable[..., Any]

FORMATS = ("text", "json", "dot", "mermaid", "svg")


@pytest.fixture
def run_id(kando: Run, tiny: Path) -> str:
    """Return the id of a finished run."""
    return str(kando("run", "tiny", "--goal", "hello", "--llm", "parrot").stdout.strip())


@pytest.fixture
def chain(environ: dict[str, str], tmp_path: Path) -> list[str]:
    """Return the options that select a chain of 3,000 events."""
    ledger = SQLiteLedgerStore("chain", tmp_path / "chain.sqlite")
    causes: list[list[str]] = [[], *([f"step-{n}"] for n in range(2999))]
    ledger.append([make_event("step", "", "walker", cause, {}) for cause in causes])
    ledger.close()
    return ["--ledger", f"sqlite:{tmp_path}/chain.sqlite", "--run", "chain"]


def test_down_shows_everything_that_followed_with_its_distance(kando: Run, run_id: str) -> None:
    lines = kando("trace", "goal", "--run", run_id, "--down").stdout.splitlines()

    assert lines[0].split()[:3] == ["0", "object.created-1", "(root)"]
    shown = [(int(line.split()[0]), line.split()[1].rpartition("-")[0]) for line in lines[1:]]
    assert shown == [
        (1, "object.created"),
        (1, "relation.created"),
        (1, "llm.request"),
        (2, "llm.response"),
        (3, "object.patched"),
    ]
    near = kando("trace", "goal", "--run", run_id, "--down", "--depth", "1").stdout.splitlines()
    assert near == lines[:4]
    everything = kando("trace", "goal", "--run", run_id, "--down", "--all").stdout
    assert "responder.fired" in everything
    assert "responder.fired" not in "\n".join(lines)


def test_a_position_hides_later_events(kando: Run, run_id: str) -> None:
    early = kando("trace", "goal", "--run", f"{run_id}@5", "--down").stdout
    assert len(early.splitlines()) == 3

    assert kando("trace", "object.patched-11", "--run", f"{run_id}@5").returncode == 3


def test_a_depth_limits_the_trace_and_counts_causes_beyond_it(kando: Run, run_id: str) -> None:
    done = kando("trace", "object.patched-11", "--run", run_id, "--depth", "1")

    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "object.patched-11",
        "llm.response-8",
    ]
    assert "1 more cause beyond --depth 1" in done.stderr


def test_an_object_stands_for_the_event_that_created_it_last(kando: Run, run_id: str) -> None:
    for id in ("claim", "about-goal"):
        steps = json.loads(kando("trace", id, "--run", run_id, "--json").stdout)["items"]
        assert steps[0]["data"]["id"] == id
        assert steps[-1]["id"] == "object.created-1"


@pytest.mark.parametrize("form", FORMATS)
def test_a_long_chain_is_written_line_by_line(kando: Run, chain: list[str], form: str) -> None:
    done = kando("trace", "step-2999", *chain, "--format", form)

    assert done.returncode == 0
    assert len(done.stdout) < 3000 * 700
    assert max(map(len, done.stdout.splitlines()[1:]), default=0) < 700
    if form == "text":
        assert [line.split()[0] for line in done.stdout.splitlines()] == [
            f"step-{n}" for n in range(2999, -1, -1)
        ]
    if form == "mermaid":
        assert "and 2850 more events" in done.stdout


def test_each_format_is_well_formed(kando: Run, run_id: str) -> None:
    shown = {
        form: kando("trace", "object.patched-11", "--run", run_id, "--format", form).stdout
        for form in FORMATS
    }

    assert shown["json"] == kando("trace", "object.patched-11", "--run", run_id, "--json").stdout
    assert shown["dot"].startswith(f'digraph "object.patched-11 of run:{run_id}" {{\n')
    assert "e8 -> e11;" in shown["dot"]
    assert shown["mermaid"].startswith("flowchart LR\n")
    assert "  e8 --> e11" in shown["mermaid"]
    root = ElementTree.fromstring(shown["svg"])
    metadata = root.findtext("{http://www.w3.org/2000/svg}metadata") or ""
    assert json.loads(metadata) == {"event": "object.patched-11", "ledger": f"run:{run_id}"}


def test_json_and_another_format_exclude_each_other(kando: Run) -> None:
    done = kando("trace", "object.created-2", "--json", "--format", "dot")

    assert done.returncode == 2
    assert "--json excludes" in done.stderr
    assert kando("trace", "object.created-2", "--format", "pdf").returncode == 2
