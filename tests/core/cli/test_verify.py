"""`kando verify --all` checks every run and branch of a store."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_all_runs_and_branches_are_verified_and_a_damaged_one_hides_no_other(
    kando: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KANDO_LEDGER", "sqlite:runs.sqlite")
    assert kando("verify", "--all").stdout == ""
    first = kando("run", "tiny", "--goal", "x").stdout.strip()
    branch = kando("fork", first, "--at", "2").stdout.strip()
    last = kando("run", "tiny", "--goal", "y").stdout.strip()

    intact = kando("verify", "--all")
    with closing(sqlite3.connect(tmp_path / "runs.sqlite")) as store, store:
        store.execute(
            "UPDATE events SET actor = 'x' WHERE address >> 32 = "
            "(SELECT number FROM ledgers WHERE id = ?) AND address % (1 << 32) = 1",
            (last,),
        )
    damaged = kando("verify", "--all", "--json")

    assert intact.returncode == 0
    assert [line.split()[:2] for line in intact.stdout.splitlines()] == [
        [id, "intact:"] for id in (last, branch, first)
    ]
    assert damaged.returncode == 4
    items = json.loads(damaged.stdout)["items"]
    assert [(item["run_id"], item["problem"] is None) for item in items] == [
        (last, False),
        (branch, True),
        (first, True),
    ]


def test_either_a_run_or_all_are_verified(kando: Run) -> None:
    assert kando("verify").returncode == 2
    assert kando("verify", "demo", "--all").returncode == 2
