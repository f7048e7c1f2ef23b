"""`kando metrics`: what a run has done and used."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., Any]


def test_a_run_is_measured_and_a_branch_shows_what_the_cache_served(kando: Run, tiny: Path) -> None:
    parent = kando("run", "tiny", "--goal", "x", "--llm", "parrot").stdout.strip()
    branch = kando("fork", parent, "--at", "2").stdout.strip()
    kando("resume", branch, "--llm", "parrot")

    ours = json.loads(kando("metrics", parent, "--json").stdout)
    theirs = json.loads(kando("metrics", branch, "--json").stdout)

    assert (ours["run_id"], ours["events"]) == (parent, sum(ours["types"].values()))
    assert (ours["llm"]["cost_usd"], ours["llm"]["cached"]) == (0.5, 0)
    assert (theirs["llm"]["cost_usd"], theirs["llm"]["cached"]) == (0.0, 1)
    assert ours["models"]["parrot"]["answers"] == 1
    asker = ours["responders"]["tiny.on_goal"]
    assert (asker["firings"], asker["llm"]["cost_usd"]) == (1, 0.5)
    assert ours["elapsed_seconds"] > 0


def test_the_tables_name_types_models_and_responders(kando: Run, tiny: Path) -> None:
    kando("run", "tiny", "--goal", "x", "--llm", "parrot")

    lines = kando("metrics").stdout.splitlines()

    assert "cost      0.5000 USD" in lines
    assert "cache     0 hits" in lines
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert rows["llm.response"] == ["1"]
    assert rows["parrot"] == ["1", "0", "0", "0.5000", "0", "0"]
    assert rows["tiny.on_goal"][:4] == ["1", "3", "0", "1"]


def test_the_first_events_of_a_run_can_be_measured(kando: Run, tiny: Path) -> None:
    run_id = kando("run", "tiny", "--goal", "x", "--llm", "parrot").stdout.strip()

    found = json.loads(kando("metrics", f"{run_id}@2", "--json").stdout)

    assert found["types"] == {"kit.loaded": 1, "object.created": 1}
    assert json.loads(kando("metrics", f"{run_id}@0", "--json").stdout)["started_at"] is None
