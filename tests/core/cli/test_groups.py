"""`kando worker`, `kando groups` and `--group`."""

import json
import re
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


def test_a_run_of_a_group_is_finished_by_a_worker(kando: Run) -> None:
    started = kando("run", "tiny", "--goal", "hello", "--group", "g")
    run = started.stdout.strip()
    assert started.returncode == 0
    assert groups(kando) == [{"name": "g", "waiting": 1, "in_flight": 0, "parked": 0, "delayed": 0}]
    assert kando("groups").stdout.splitlines()[0].split() == [
        "GROUP",
        "WAITING",
        "IN",
        "FLIGHT",
        "PARKED",
        "DELAYED",
    ]

    done = kando("worker", "--group", "g", "--kit", "tiny", "--llm", "parrot", "--until-idle")

    assert (done.returncode, done.stdout) == (0, "3 jobs done\n")
    assert state(kando, run) == "finished"
    assert groups(kando) == []
    assert "identical" in kando("replay", run, "--strict").stdout


def test_resume_with_a_group_hands_a_run_to_its_workers(kando: Run) -> None:
    run = kando("run", "tiny", "--goal", "hello").stdout.strip()
    assert state(kando, run) == "waiting"

    assert kando("resume", run, "--group", "g").stdout.strip() == run
    done = kando("worker", "--group", "g", "--llm", "parrot:yes", "--until-idle", "--json")

    assert json.loads(done.stdout)["items"] == [{"group": "g", "jobs": 3}]
    assert state(kando, run) == "finished"


def test_a_cancelled_run_is_not_offered_to_a_group(kando: Run) -> None:
    run = kando("run", "tiny", "--goal", "hello", "--group", "g").stdout.strip()
    kando("cancel", run)

    kando("worker", "--group", "g", "--kit", "tiny", "--llm", "parrot", "--until-idle")

    assert state(kando, run) == "cancelled"
    assert groups(kando) == []


def test_a_worker_for_another_kit_parks_the_run(kando: Run, install: Run) -> None:
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

    worker = kando("worker", "--group", "g", "--kit", "other", "--until-idle")

    assert f"{run} is parked" in worker.stderr
    parked = json.loads(kando("groups", "parked", "g", "--json").stdout)["items"]
    assert [(each["run_id"], each["intent"]) for each in parked] == [(run, None)]
    assert "is a run of kit 'tiny'" in kando("groups", "parked", "g").stdout
    assert kando("groups", "replay-parked", "g").stdout == "1 parked job will be retried\n"
    kando("worker", "--group", "g", "--llm", "parrot", "--until-idle")
    assert state(kando, run) == "finished"


def test_a_worker_until_idle_leaves_a_timer_that_is_not_due(kando: Run, install: Run) -> None:
    later = """
        from kando.emit import create, set_timer
        from kando.kit import Kit
        from kando.plugins import KitSpec, hookimpl

        kit = Kit("later", version="1")

        @kit.seeds
        def seeds(goal, run_id):
            return [create("Goal", {"text": goal}), set_timer(seconds=3600)]

        @hookimpl
        def kando_kits():
            return [KitSpec("later", "later_plugin:kit", "waits for an hour")]
    """
    install("later", later)
    begun = kando("run", "later", "--goal", "hello", "--group", "g")
    assert begun.returncode == 0, begun.stderr
    run = begun.stdout.strip()

    done = kando("worker", "--group", "g", "--kit", "later", "--until-idle")

    assert (done.returncode, done.stdout) == (0, "1 jobs done\n")
    assert re.search(r"^kando: 1 job is delayed; the next is due at \d{4}-\S+Z$", done.stderr, re.M)
    assert state(kando, run) == "waiting"
    assert groups(kando) == [{"name": "g", "waiting": 1, "in_flight": 0, "parked": 0, "delayed": 1}]


def test_the_provider_must_be_given_to_the_workers(kando: Run) -> None:
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


def test_commands_that_only_read_create_no_store(kando: Run, home: Path) -> None:
    assert kando("groups").returncode == 0
    assert kando("groups", "parked", "g").stdout == ""
    assert kando("groups", "replay-parked", "g").stdout == "0 parked jobs will be retried\n"

    assert list(home.rglob("*.sqlite")) == []
    assert kando("groups", "parked", "a b").returncode != 0
