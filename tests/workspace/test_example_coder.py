"""The coding agent in examples/coder: killed in a call and resumed, forked before a wrong edit."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from kando.kit import Kit
from kando.testing.kits import KitContract

CODER = Path(__file__).parents[2] / "examples" / "coder" / "coder.py"

SECONDS = 120

#: Kills the process whose tool runs it, the first time.
DEADLY = """
import os, pathlib, signal, unittest
from calc import add

marker = pathlib.Path(os.environ["MARKER"])
if not marker.exists():
    marker.touch()
    pathlib.Path("left over").touch()
    os.kill(os.getppid(), signal.SIGKILL)

class TestCalc(unittest.TestCase):
    def test_add(self):
        self.assertEqual(add(2, 3), 5)
"""

WRONG, RIGHT = "def add(a, b):\n    return a * b\n", "def add(a, b):\n    return a + b\n"


def call(name: str, **arguments: str) -> dict[str, Any]:
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


def script(edit: str) -> list[dict[str, Any]]:
    """Return the answers of a model that reads, tests, edits and tests again."""
    return [
        {"contains": "\nOK", "text": "I replaced - by + in calc.py."},
        {"contains": ["6 != 5"], "text": "The tests still fail."},
        {"contains": ["wrote calc.py"], **call("run_tests")},
        {"contains": ["-1 != 5"], **call("write_file", path="calc.py", text=edit)},
        {"contains": ["return a - b"], **call("run_tests")},
        {"contains": "Make the tests pass", **call("read_files")},
    ]


Kando = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def kando(tmp_path: Path) -> Kando:
    """Return ``kando(*arguments)``, which runs the command in a project with a wrong function."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "calc.py").write_text("def add(a, b):\n    return a - b\n")
    (project / "test_calc.py").write_text(DEADLY)
    for name, edit in (("wrong", WRONG), ("right", RIGHT)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"answers": script(edit)}))
    environ = {
        **os.environ,
        "KANDO_LEDGER": f"sqlite:{tmp_path / 'runs.sqlite'}",
        "KANDO_WORKSPACES": str(tmp_path / "folders"),
        "MARKER": str(tmp_path / "marker"),
    }

    def kando(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kando.cli.main", *arguments]
        return subprocess.run(
            command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS
        )

    return kando


def test_a_coder_is_killed_resumed_and_forked_before_a_wrong_edit(
    kando: Kando, tmp_path: Path
) -> None:
    kit, wrong, right = ["--kit", str(CODER)], "scripted:wrong.json", "scripted:right.json"

    def succeeds(*arguments: str) -> str:
        done = kando(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    # Killed by SIGKILL in a call of run_tests.
    goal = ["--goal", "Make the tests pass.", "--workspace", "project", "--llm", wrong]
    started = kando("run", str(CODER), *goal)
    assert started.returncode == -9, started.stderr
    run = started.stdout.split()[0]

    # Resumed: the call is made again, without the file that the killed one has left.
    succeeds("resume", run, *kit, "--llm", wrong)
    assert not [*(tmp_path / "folders").glob("*/*/files/left over")]
    (waiting,) = json.loads(succeeds("approvals", run, "--json"))["items"]
    assert json.loads(succeeds("workspace", run, "--json"))["items"][0]["path"] == "calc.py"

    # A person approves the edit, which is wrong.
    succeeds("approve", run, waiting["event_id"])
    succeeds("resume", run, *kit, "--llm", wrong)
    assert last_words(succeeds("world", run, "--json")) == "The tests still fail."

    # Forked before the answer of the model that makes the edit, and asked another one.
    events = [json.loads(line) for line in succeeds("events", run, "--json").splitlines()]
    edit = next(e for e in events if "a * b" in json.dumps(e["data"]))
    assert edit["type"] == "llm.response"
    branch = succeeds("fork", run, "--at", str(edit["position"] - 1), *kit, "--llm", right).split()[
        0
    ]
    succeeds("resume", branch, *kit, "--llm", right)
    (waiting,) = json.loads(succeeds("approvals", branch, "--json"))["items"]
    succeeds("approve", branch, waiting["event_id"])
    succeeds("resume", branch, *kit, "--llm", right)
    assert last_words(succeeds("world", branch, "--json")) == "I replaced - by + in calc.py."

    # Files and worlds are compared, and the project is as it was.
    shown = json.loads(succeeds("diff", run, branch, "--files", "--json"))
    assert [each["path"] for each in shown["files"]] == ["calc.py"]
    (change,) = shown["files"]
    assert (change["path"], change["change"]) == ("calc.py", "changed")
    assert "-    return a * b\n+    return a + b\n" in change["diff"]
    (chat,) = [each for each in shown["patched_objects"] if each["type"] == "Chat"]
    assert chat["fields"].keys() == {"text"}
    assert "a - b" in (tmp_path / "project" / "calc.py").read_text()
    succeeds("workspace", branch, "--to", "fixed")
    assert (tmp_path / "fixed" / "calc.py").read_text() == RIGHT
    for each in (run, branch):
        assert "identical" in succeeds("replay", each, "--strict", *kit)
        succeeds("verify", each)


def last_words(world: str) -> str:
    (chat,) = [each for each in json.loads(world)["objects"] if each["type"] == "Chat"]
    text: str = chat["data"]["text"]
    return text


def test_the_agent_has_at_most_60_lines() -> None:
    assert len(CODER.read_text().splitlines()) <= 60


class TestCoder(KitContract):
    """The promises of every kit, for the agent: its workspace is empty at first."""

    goal = "Make the tests pass."
    is_installed = False

    def make_kit(self) -> Kit:
        spec = spec_from_file_location("coder", CODER)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        kit: Kit = module.kit
        return kit

    def decide(self, question: object) -> bool:
        return True

    def answer(self, request: dict[str, Any]) -> Any:
        said = json.dumps(request["messages"])
        if "OK" in said:
            return "Done."
        if "wrote test_calc.py" in said:
            return named("run_tests")
        if "NO TESTS RAN" in said or "Ran 0 tests" in said:
            text = "import unittest\nclass T(unittest.TestCase):\n    def test(self): pass\n"
            return named("write_file", path="test_calc.py", text=text)
        return named("run_tests")


def named(name: str, **arguments: str) -> dict[str, Any]:
    return {"text": "", "tool_calls": [{"id": "c", "name": name, "arguments": arguments}]}
