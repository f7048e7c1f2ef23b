"""`kando delete`: what it says, asks, deletes and refuses."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kando.ledger.claims import Worker
from kando.ledger.sqlite_substrate import SQLiteSubstrate

Run = Callable[..., Any]


@pytest.fixture
def started(kando: Run, tiny: Path) -> Callable[[], str]:
    def started() -> str:
        done = kando("run", "tiny", "--goal", "hello", "--llm", "parrot")
        return str(done.stdout.strip())

    return started


def ids(kando: Run) -> list[str]:
    return [each["run_id"] for each in json.loads(kando("runs", "--json").stdout)["items"]]


def test_without_a_terminal_it_needs_yes(kando: Run, process: Run, started: Run):
    run = started()

    refused = process("delete", run)

    assert refused.returncode == 2
    assert "--yes deletes without asking" in refused.stderr
    assert ids(kando) == [run]
    assert kando("delete", run, "--yes").stdout == f"deleted {run}\n"
    assert ids(kando) == []


def test_several_runs_are_named_before_any_is_deleted(kando: Run, started: Run):
    kept, second, first = started(), started(), started()

    done = kando("delete", "@last", "@last~1", first, "--yes", "--json")

    assert json.loads(done.stdout) == {"deleted": [first, second]}
    assert ids(kando) == [kept]


def test_a_failure_says_what_was_deleted_before(kando: Run, started: Run):
    second, first = started(), started()
    assert kando("fork", second, "--at", "2").returncode == 0

    done = kando("delete", first, second, "--yes", "--json")

    assert done.returncode == 1
    assert json.loads(done.stdout) == {"deleted": [first]}
    assert json.loads(done.stderr)["error"]["code"] == "run_in_use"
    assert second in ids(kando)


@pytest.mark.parametrize(
    ("name", "code"), [("nothing", 3), ("demo", 3), ("@last", 3)], ids=["unknown", "demo", "last"]
)
def test_a_run_that_does_not_exist_is_refused(kando: Run, name: str, code: int):
    assert kando("delete", name, "--yes").returncode == code


def test_a_run_that_is_worked_on_is_refused(kando: Run, started: Run, home: Path):
    run = started()
    with SQLiteSubstrate(home / ".local/share/kando/kando.sqlite") as substrate:
        substrate.claim(run, Worker("elsewhere", 1), 600)

    done = kando("delete", run, "--yes")

    assert done.returncode == 8
    assert ids(kando) == [run]


@pytest.fixture
def at_terminal(environ: dict[str, str], tmp_path: Path) -> Iterator[Run]:
    """Return a function that runs a command whose stdin is a terminal, at which it gets an answer."""
    opened: list[int] = []

    def at_terminal(answer: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        outer, inner = pty.openpty()
        opened.extend((outer, inner))
        os.write(outer, answer.encode())
        return subprocess.run(
            [sys.executable, "-m", "kando.cli.main", *arguments],
            cwd=tmp_path,
            env=environ,
            stdin=inner,
            capture_output=True,
            text=True,
            timeout=60,
        )

    yield at_terminal
    for each in opened:
        os.close(each)


def test_at_a_terminal_it_says_what_goes_and_asks(kando: Run, started: Run, at_terminal: Run):
    run = started()
    length = len(kando("events", run, "--all", "--json").stdout.splitlines())

    kept = at_terminal("n\n", "delete", run)

    assert f"{run} will be deleted: {length} events, 0.5000 USD spent." in kept.stderr
    assert "This cannot be undone. Delete it?" in kept.stderr
    assert f"{run} was kept." in kept.stderr
    assert (kept.returncode, kept.stdout) == (0, "")
    assert ids(kando) == [run]

    assert at_terminal("y\n", "delete", run).stdout == f"deleted {run}\n"
    assert ids(kando) == []


def test_the_other_commands_say_that_a_run_was_deleted(kando: Run, started: Run):
    run = started()
    kando("delete", run, "--yes")

    for command in ("status", "events", "world", "resume", "cancel", "delete"):
        done = kando(command, run)
        assert done.returncode == 3, command
        assert f"{run} was deleted on " in done.stderr


def test_a_follower_of_a_run_that_is_deleted_ends(
    kando: Run, started: Run, environ: dict[str, str], tmp_path: Path
):
    run = started()
    command = [sys.executable, "-m", "kando.cli.main", "events", run, "--follow"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as follower:
        assert follower.stdout is not None
        # It has read all that there is.
        follower.stdout.readline()
        kando("delete", run, "--yes")
        _, said = follower.communicate(timeout=60)

    assert follower.returncode == 3
    assert f"{run} was deleted on " in said


def test_doctor_finds_nothing_after_a_deletion(kando: Run, started: Run):
    kept, run = started(), started()
    kando("delete", run, "--yes")

    assert kando("doctor").returncode == 0
    assert kando("verify", "--all").returncode == 0
    assert ids(kando) == [kept]
