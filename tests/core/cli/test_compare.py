"""`kando diff` and `compare`: short by default, with an exit code on request."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def runs(kando: Run, tiny: Path) -> tuple[str, str]:
    """Return a finished run, and a branch of it with another answer."""
    parent = kando("run", "tiny", "--goal", "hello", "--llm", "parrot").stdout.strip()
    branch = kando("fork", parent, "--at", "2").stdout.strip()
    source = tiny.read_text().replace('event.data["data"]["text"]}', '"another question"}')
    tiny.write_text(source)
    return parent, branch


@pytest.fixture
def changed(runs: tuple[str, str], process: Run) -> tuple[str, str]:
    """Return the same after the branch was resumed with a kit that asks another question."""
    assert process("resume", runs[1], "--llm", "parrot").returncode == 0
    return runs


def test_the_details_are_truncated_without_the_option_world(
    kando: Run, install: Run, tiny: Path
) -> None:
    install(
        "many",
        """
        from kando.emit import create
        from kando.kit import Kit
        from kando.plugins import KitSpec, hookimpl

        kit = Kit("many", version="1")

        @kit.seeds
        def seeds(goal, run_id):
            return [create("Thing", {"n": n, "text": "x" * 300}) for n in range(30)]

        @hookimpl
        def kando_kits():
            return [KitSpec("many", "many_plugin:kit", "many things")]
        """,
    )
    run_id = kando("run", "many", "--goal", "x").stdout.strip()

    short = kando("diff", f"{run_id}@0", run_id).stdout.splitlines()
    whole = kando("diff", f"{run_id}@0", run_id, "--world").stdout.splitlines()

    assert short[0] == whole[0] == "+30 objects"
    assert len(short) == 22
    assert short[-1] == "... 10 more lines; --world shows all"
    assert len(whole) == 31
    assert "x" * 300 in whole[1]
    assert max(map(len, short)) < 130


def test_a_step_that_differs_is_shown_before_and_after(
    kando: Run, changed: tuple[str, str]
) -> None:
    lines = kando("diff", *changed, "--events").stdout.splitlines()

    assert lines[0] == "~1 objects patched"
    assert lines[1] == "steps: 3 changed"
    assert "    data.text: 'hello' -> 'another question'" in lines
    assert "    data.messages[0].content: 'hello' -> 'another question'" in lines


def test_stat_shows_the_usage_of_each_side_after_they_diverge(
    kando: Run, changed: tuple[str, str]
) -> None:
    lines = kando("diff", *changed, "--stat").stdout.splitlines()

    assert lines[1] == "diverge at 2; after that:"
    assert lines[2].split() == [f"run:{changed[0]}", f"branch:{changed[1]}"]
    assert ["cost", "USD", "0.5000", "0.5000"] in [line.split() for line in lines]
    found = json.loads(kando("diff", *changed, "--json").stdout)
    assert found["parts_at"] == 2
    assert (found["a"]["llm_after"]["cost_usd"], found["b"]["llm_after"]["requests"]) == (0.5, 1)
    assert found["steps"]["changed"][0]["fields"]


def test_the_exit_code_reports_a_difference_on_request(
    kando: Run, changed: tuple[str, str]
) -> None:
    parent, branch = changed

    assert kando("diff", parent, branch).returncode == 0
    assert kando("diff", parent, branch, "--exit-code").returncode == 1
    assert kando("diff", parent, branch, "--exit-code", "--json").returncode == 1
    same = kando("diff", f"{parent}@2", f"{branch}@2", "--exit-code")
    assert (same.returncode, same.stdout) == (0, "no changes\n")


def test_several_runs_are_compared_in_one_table(kando: Run, changed: tuple[str, str]) -> None:
    parent, branch = changed

    head, *rows = kando("compare", parent, branch, "demo").stdout.splitlines()

    assert head.split()[:4] == ["RUN", "STATE", "EVENTS", "OBJECTS"]
    assert [row.split()[0] for row in rows] == [parent, branch, "demo"]
    found = json.loads(kando("compare", parent, branch, "demo", "--json").stdout)["items"]
    assert [item["parts_at"] for item in found] == [found[0]["events"], 2, 0]
    assert [item["state"] for item in found] == ["finished"] * 3
    assert [item["llm"]["cost_usd"] for item in found] == [0.5, 0.5, 0.0]
    assert found[0]["objects"] == {"Claim": 1, "Goal": 1}
