"""`kando worker`, `kando groups` and `--group`, as a person meets them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("tiny")


def state(kando: Run, run: str) -> str:
    said: str = json.loads(kando("status", run, "--json").stdout)["state"]
    return said


def groups(kando: Run) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(kando("groups", "--json").stdout)["items"]
    return listed


def test_a_run_that_is_left_to_a_group_is_done_by_a_worker(kando: Run) -> None:
    started = kando("run", "tiny", "--goal", "hello", "--group", "g")
    run = started.stdout.strip()
    assert started.returncode == 0
    assert groups(kando) == [{"name": "g", "waiting": 1, "in_flight": 0, "parked": 0}]
    assert "g" in kando("groups").stdout

    done = kando("worker", "--group", "g", "--kit", "tiny", "--llm", "parrot", "--until-idle")

    assert (done.returncode, done.stdout) == (0, "3 jobs done\n")
    assert state(kando, run) == "finished"
    assert groups(kando) == []
    assert "identical" in kando("replay", run, "--strict").stdout


def test_a_run_that_exists_is_handed_over_by_resume(kando: Run) -> None:
    run = kando("run", "tiny", "--goal", "hello").stdout.strip()
    assert state(kando, run) == "waiting"

    assert kando("resume", run, "--group", "g").stdout.strip() == run
    done = kando("worker", "--group", "g", "--llm", "parrot:yes", "--until-idle", "--json")

    assert json.loads(done.stdout)["items"] == [{"group": "g", "jobs": 3}]
    assert state(kando, run) == "finished"


def test_a_run_that_was_cancelled_is_left_alone(kando: Run) -> None:
    run = kando("run", "tiny", "--goal", "hello", "--group", "g").stdout.strip()
    kando("cancel", run)

    kando("worker", "--group", "g", "--kit", "tiny", "--llm", "parrot", "--until-idle")

    assert state(kando, run) == "cancelled"
    assert groups(kando) == []


def test_a_group_whose_runs_are_of_another_kit_parks_them(kando: Run, install: Run) -> None:
    other = """
        from kando.kit import Kit
        from kando.plugins import KitSpec, hookimpl

        kit = Kit("other", version="1")

        @hookimpl
        def kando_kits():
            return [KitSpec("other", "other_plugin:kit", "another kit")]
    """
    install("other", other)
    run = kando("run", "tiny", "--goal", "hello", "--group", "g").stdout.strip()

    told = kando("worker", "--group", "g", "--kit", "other", "--until-idle")

    assert f"{run} is parked" in told.stderr
    parked = json.loads(kando("groups", "parked", "g", "--json").stdout)["items"]
    assert [(each["run_id"], each["intent"]) for each in parked] == [(run, None)]
    assert "is a run of kit 'tiny'" in kando("groups", "parked", "g").stdout
    assert kando("groups", "replay-parked", "g").stdout == "1 jobs are tried anew\n"
    kando("worker", "--group", "g", "--llm", "parrot", "--until-idle")
    assert state(kando, run) == "finished"


def test_the_provider_is_said_to_the_workers(kando: Run) -> None:
    done = kando("run", "tiny", "--goal", "hello", "--group", "g", "--llm", "parrot")

    assert done.returncode == 2
    assert "kando worker" in done.stderr


def test_workers_keep_the_limits_of_a_run(kando: Run) -> None:
    limits = ("--budget-events", "5")
    run = kando("run", "tiny", "--goal", "hello", "--group", "g", *limits).stdout.strip()

    kando("worker", "--group", "g", "--llm", "parrot", "--budget-events", "50", "--until-idle")

    assert state(kando, run) == "exhausted"
    refused = kando("resume", run, "--group", "g", "--budget-events", "50")
    assert refused.returncode == 2
    assert "kando worker" in refused.stderr


def test_commands_that_only_look_make_no_store(kando: Run, home: Path) -> None:
    assert kando("groups").returncode == 0
    assert kando("groups", "parked", "g").stdout == ""
    assert kando("groups", "replay-parked", "g").stdout == "0 jobs are tried anew\n"

    assert list(home.rglob("*.sqlite")) == []
    assert kando("groups", "parked", "a b").returncode != 0
