"""The planning kit at the command line: its demo, branches, approvals, workers and child runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Kando = Callable[..., str]

TASKS = ("survey", "estimate", "notice", "contractor", "funding", "schedule")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    keys = dict.fromkeys(("OPENROUTER_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"), "no-key")
    return {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", **keys}


@pytest.fixture
def kando(environ: dict[str, str]) -> Kando:
    def kando(*arguments: str) -> str:
        command = [sys.executable, "-m", "kando.cli.main", *arguments]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return kando


def tasks(kando: Kando, run: str) -> dict[str, str]:
    """Return the statuses of the tasks of a run by name."""
    world = json.loads(kando("world", run, "--json"))
    found = [each["data"] for each in world["objects"] if each["type"] == "Task"]
    return {each["name"]: each["status"] for each in found}


def test_the_demo_shows_a_refusal_a_retry_a_replacement_and_a_block(kando: Kando) -> None:
    run = kando("run", "planning", "--demo")

    plan = kando("artifacts", run, "plan.md")
    assert "The first proposal was refused: schedule depends on carpenter, which is not" in plan
    assert "8 of 8 tasks are done." in plan
    assert "- Attempt 1 failed: The price of an oak plank is missing" in plan
    assert "- Attempt 1 does not count: the task was stopped or reopened." in plan
    assert "contractor: replaced by other tasks" in plan
    assert "obstacle 1: done" in plan
    assert set(TASKS) < set(tasks(kando, run))
    assert kando("artifacts", run, "plan.svg").startswith("<svg ")
    assert kando("artifacts", run, "plan.dot").startswith("digraph ")
    assert kando("replay", run, "--strict").startswith("identical: ")


def test_the_demo_is_completed_after_a_kill(kando: Kando, environ: dict[str, str]) -> None:
    command = [sys.executable, "-m", "kando.cli.main", "run", "planning", "--demo"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        run = child.stdout.readline().strip()
        os.kill(child.pid, signal.SIGKILL)

    kando("resume", run)

    assert kando("diff", run, kando("run", "planning", "--demo")) == "no changes"


def test_a_branch_with_other_settings_ends_otherwise(kando: Kando) -> None:
    run = kando("run", "planning", "--demo")

    branch = kando("fork", run, "--at", "3", "--set", "retries=0", "--set", "replans=0", "--run")

    branch = branch.splitlines()[0]
    assert tasks(kando, branch) == {
        "survey": "done",
        "estimate": "failed",
        "notice": "done",
        **dict.fromkeys(("contractor", "funding", "schedule"), "pending"),
    }
    assert "2 of 6 tasks are done." in kando("artifacts", branch, "plan.md")


def test_a_person_approves_the_tasks_of_the_demo(kando: Kando) -> None:
    run = kando("run", "planning", "--demo", "--set", "approval=all")
    asked = 0
    while waiting := json.loads(kando("approvals", run, "--json"))["items"]:
        for each in waiting:
            assert "work on the task" in each["reason"]
            kando("approve", run, each["event_id"])
            asked += 1
        kando("resume", run)

    assert asked == 12
    assert "8 of 8 tasks are done." in kando("artifacts", run, "plan.md")


def answers(path: Path, plan: list[dict[str, Any]]) -> str:
    """Write a script of answers, and return the provider that plays it."""
    result = json.dumps({"succeeded": True, "summary": "It is done."})
    script = {
        "answers": [
            {"contains": "Decompose this goal", "text": json.dumps({"items": plan})},
            {"contains": "Work on one task", "text": result},
        ],
        "default": "The town owns it [1].",
    }
    path.write_text(json.dumps(script))
    return f"scripted:{path}"


def test_research_works_on_a_question_as_a_child_run(kando: Kando, tmp_path: Path) -> None:
    plan = [
        {"name": "owner", "title": "Who owns the bridge?", "kind": "question"},
        {"name": "letter", "title": "Write to the owner.", "depends_on": ["owner"]},
    ]
    llm = answers(tmp_path / "answers.json", plan)
    start = ("run", "planning", "--goal", "Mend the bridge", "--llm", llm)
    run = kando(*start, "--set", 'kits={"question": "research"}')

    status = json.loads(kando("status", run, "--json"))
    assert [(each["kit"], each["state"]) for each in status["children"]] == [
        ("research", "finished")
    ]
    assert tasks(kando, run) == {"owner": "done", "letter": "done"}
    assert "The town owns it" in kando("artifacts", run, "plan.md")
    assert kando("replay", run, "--strict").startswith("identical: ")


def test_workers_of_a_group_give_the_plan_that_one_process_gives(
    kando: Kando, tmp_path: Path
) -> None:
    plan = [
        {"name": "a", "title": "Clear the way"},
        {"name": "b", "title": "Who owns the bridge?", "kind": "question", "depends_on": ["a"]},
        {"name": "c", "title": "Buy timber", "depends_on": ["a"]},
        {"name": "d", "title": "Build", "depends_on": ["b", "c"]},
    ]
    llm = answers(tmp_path / "answers.json", plan)
    start = (
        "run",
        "planning",
        "--goal",
        "Mend the bridge",
        "--set",
        'kits={"question": "research"}',
    )
    grouped = kando(*start, "--group", "g")
    # A worker may find no job that is due while another one is being offered.
    for _ in range(20):
        kando("worker", "--group", "g", "--until-idle", "--llm", llm)
        if json.loads(kando("status", grouped, "--json"))["state"] == "finished":
            break

    alone = kando(*start, "--llm", llm)

    assert tasks(kando, grouped) == dict.fromkeys("abcd", "done")
    assert kando("artifacts", grouped, "plan.md") == kando("artifacts", alone, "plan.md")
    assert kando("replay", grouped, "--strict").startswith("identical: ")


def test_a_goal_without_a_valid_plan_ends_with_exit_code_6_and_says_why(
    environ: dict[str, str], tmp_path: Path
) -> None:
    # Of two proposals with mistakes one is mended, but not a cycle.
    ends = (("a", "b"), ("b", "a"))
    plan = [{"name": a, "title": f"Do {a}", "depends_on": [b]} for a, b in ends]
    llm = answers(tmp_path / "answers.json", plan)
    command = [sys.executable, "-m", "kando.cli.main", "run", "planning", "--goal", "Mend it"]
    done = subprocess.run(
        [*command, "--llm", llm], env=environ, capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 6
    assert "no valid plan: a cycle: a depends on b depends on a" in done.stderr
