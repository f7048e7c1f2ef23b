"""A goal is an argument, a file, or what stdin holds; an empty one is refused."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

GOAL = "Café 🎉\nsecond line"


@pytest.fixture
def started(environ: dict[str, str], tiny: Path, tmp_path: Path) -> Callable[..., Any]:
    """Return ``started(goal, stdin)``, which starts a run, and returns the ended process."""

    def started(goal: str, stdin: bytes = b"", **variables: str) -> Any:
        return subprocess.run(
            [sys.executable, "-m", "kando.cli.main", "run", "tiny", "--goal", goal, "--json"],
            cwd=tmp_path,
            env=environ | variables,
            input=stdin,
            capture_output=True,
            timeout=60,
        )

    return started


@pytest.mark.parametrize("variables", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0"}], ids=["UTF-8", "C"])
def test_a_goal_is_read_from_stdin_from_a_file_or_from_the_argument(
    started: Run, tmp_path: Path, variables: dict[str, str]
) -> None:
    (tmp_path / "goal.txt").write_bytes(b"\xef\xbb\xbf" + GOAL.encode())

    for done in (
        started("-", f"{GOAL}\n".encode(), **variables),
        started("@goal.txt", **variables),
        started(GOAL, **variables),
    ):
        assert json.loads(done.stdout)["goal"] == GOAL


@pytest.mark.parametrize(
    ("goal", "stdin", "said"),
    [
        ("", b"", "The goal is empty"),
        (" \n", b"", "The goal is empty"),
        ("-", b"", "The goal is empty"),
        ("@missing.txt", b"", "missing.txt"),
        ("@", b"", "No such file"),
        ("-", b"\xff\xfe", "stdin is not text in UTF-8"),
        ("-", b"x" * 1_000_001, "longer than 1000000 bytes"),
    ],
)
def test_a_goal_that_is_empty_or_cannot_be_read_is_refused(
    started: Run, kando: Run, goal: str, stdin: bytes, said: str
) -> None:
    done = started(goal, stdin)

    assert (done.returncode, done.stdout) == (2, b"")
    assert said in json.loads(done.stderr)["error"]["message"]
    assert json.loads(kando("runs", "--json").stdout)["items"] == []


def test_a_branch_has_a_goal_from_a_file(kando: Run, tiny: Path, tmp_path: Path) -> None:
    run_id = kando("run", "tiny", "--goal", "x").stdout.strip()
    (tmp_path / "goal.txt").write_text("another goal")

    kando("fork", run_id, "--at", "0", "--goal", "@goal.txt")

    assert "another goal" in kando("events", "@last", "--json").stdout
