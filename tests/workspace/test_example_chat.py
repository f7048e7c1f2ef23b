"""The chat in examples/chat: several turns in several processes, an approval, and a turn undone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kando import open_store
from kando.app.kits.script import kit_in_file
from kando.kit import Kit
from kando.testing.kits import KitContract

EXAMPLE = Path(__file__).parents[2] / "examples" / "chat"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KANDO_QUIET", "0")
    monkeypatch.chdir(tmp_path)
    for name in ("notes.py", "model.json"):
        shutil.copy(EXAMPLE / name, tmp_path)
    return tmp_path


class TestKit(KitContract):
    goal = "I need milk"
    is_installed = False

    def make_kit(self) -> Kit:
        return kit_in_file(EXAMPLE / "notes.py")

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        call = {"id": "1", "name": "remember", "arguments": {"note": "milk"}}
        is_done = request["messages"][-1]["role"] == "tool"
        return {"text": "Noted."} if is_done else {"text": "", "tool_calls": [call]}

    def decide(self, question: Any) -> bool:
        return True

    def reset(self) -> None:
        Path("notes.txt").unlink(missing_ok=True)


def chat(lines: str, *arguments: str) -> tuple[str, str]:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "kando.cli.main",
            "chat",
            *arguments,
            "--llm",
            "scripted:model.json",
        ],
        input=lines,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_the_conversation_of_the_readme() -> None:
    said, shown = chat("I need milk\ny\n/quit\n", "./notes.py")
    assert said == "I have noted the milk.\n"
    assert 'Allow remember {"note": "milk"}? it is written to notes.txt' in shown
    assert Path("notes.txt").read_text() == "milk\n"

    said, _ = chat("I need tea\nwhat do I need?\n", "@last", "--kit", "./notes.py")
    assert said == "Noted: tea.\nMilk and tea.\n"

    said, shown = chat("/undo\n/undo\nwhat do I need?\n", "@last", "--kit", "./notes.py")
    assert said == "Milk.\n"
    assert "undone: I need tea" in shown
    assert Path("notes.txt").read_text() == "milk\n", "a branch repeats no call"

    with open_store(kits=[kit_in_file("notes.py")]) as store:
        runs = [store.run(each.run_id) for each in store.runs()]
        assert len(runs) == 3
        assert [each.replay(strict=True).is_strict for each in runs] == [True] * 3


def test_the_goal_of_a_run_can_be_undone() -> None:
    said, shown = chat("I need tea\n/undo\n/undo\nI need milk\nn later\n", "./notes.py")

    assert said.startswith("Noted: tea.\n")
    assert "the run has no turn to undo" in shown
    assert not Path("notes.txt").exists()
    with open_store(kits=[kit_in_file("notes.py")]) as store:
        branch, run = (store.run(each.run_id) for each in store.runs())
        assert branch.branch_meta() is not None
        assert [e.data["text"] for e in branch.events() if e.type == "human.message"] == [
            "I need milk"
        ]
        assert branch.replay(strict=True).is_strict
        assert run.status().state == "finished"
