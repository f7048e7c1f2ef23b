"""The service in examples/service works on a queue of goals, also after it was killed in a call."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kando import open_store
from kando.app.kits.script import kit_in_file
from kando.errors import StoreError
from kando.kit import Kit
from kando.testing.kits import KitContract

SERVICE = Path(__file__).parents[2] / "examples" / "service" / "service.py"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestKit(KitContract):
    goal = "bob 50"
    is_installed = False

    def make_kit(self) -> Kit:
        return kit_in_file(SERVICE)

    def decide(self, question: Any) -> bool:
        return True

    def reset(self) -> None:
        Path("payments.txt").unlink(missing_ok=True)


def serve() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SERVICE), "sqlite:refunds.sqlite"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def served(lines: str) -> list[str]:
    with serve() as process:
        out, err = process.communicate(lines, timeout=120)
    assert process.returncode == 0, err
    return [line.partition(" ")[2] for line in out.splitlines()]


def paid() -> list[str]:
    return sorted(line.partition(" ")[2] for line in Path("payments.txt").read_text().splitlines())


def test_each_line_is_a_run_and_the_rule_answers_approvals() -> None:
    assert served("ann 5\nbob 50\ncyd 500\n") == [
        *("ann: paid 5", "bob: paid 50", "cyd: more than 100")
    ]
    assert paid() == ["ann 5", "bob 50"]
    with open_store("sqlite:refunds.sqlite", kits=[kit_in_file(SERVICE)]) as store:
        runs = [store.run(each.run_id) for each in store.runs()]
        assert [each.replay(strict=True).is_strict for each in runs] == [True] * 3


def test_a_service_that_was_killed_in_a_call_pays_once_in_the_next() -> None:
    # A reader of this waits for a writer: the call does not return.
    os.mkfifo("payments.txt")
    with serve() as process:
        assert process.stdin is not None
        process.stdin.write("ann 5\nbob 50\n")
        process.stdin.close()
        try:
            wait_for_call()
        finally:
            process.kill()
    os.unlink("payments.txt")

    assert sorted(served("cyd 7\n")) == ["ann: paid 5", "bob: paid 50", "cyd: paid 7"]
    assert paid() == ["ann 5", "bob 50", "cyd 7"]


def wait_for_call() -> None:
    end = time.monotonic() + 60
    while not is_paying():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_paying() -> bool:
    # The service may be creating the file at this moment.
    with suppress(StoreError), open_store("sqlite:refunds.sqlite") as store:
        runs = [store.run(each.run_id) for each in store.runs()]
        return any(event.type == "tool.called" for run in runs for event in run.follow())
    return False
