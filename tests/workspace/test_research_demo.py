"""The demo of the research kit works offline, cites its sources, and resumes after a kill."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

START = ("run", "research", "--goal", "How should Eastbridge protect itself from floods?", "--demo")

Kando = Callable[..., str]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    keys = dict.fromkeys(("OPENROUTER_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"), "no-key")
    return {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", **keys}


@pytest.fixture
def kando(environ: dict[str, str]) -> Kando:
    def kando(*arguments: str) -> str:
        command = [sys.executable, "-m", "kando.cli.main", *arguments]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return kando


def test_the_synthesis_answers_planned_questions_from_cited_sources(kando: Kando) -> None:
    run = kando(*START).strip()

    world = json.loads(kando("world", run, "--json"))
    questions = [o["data"]["text"] for o in world["objects"] if o["type"] == "Question"]
    assert len(questions) == 3
    synthesis = kando("artifacts", run, "synthesis.md")
    assert "3 of 3 questions answered." in synthesis
    for question in questions:
        assert f"## {question}" in synthesis
    cited = [line for line in synthesis.splitlines() if line.startswith("- [")]
    assert [line.split()[2].strip(",") for line in cited] == [
        "demo/gauge-readings.md",
        "demo/anglers-letter.html",
        "demo/engineers-report.md",
        "demo/gauge-readings.md",
        "demo/council-minutes.txt",
        "demo/engineers-report.md",
    ]
    for each in world["objects"]:
        if each["type"] == "Document":
            assert "document are invented" in each["data"]["text"]
        if each["type"] == "Finding":
            trace = json.loads(kando("trace", each["id"], "--run", run, "--json"))["items"]
            assert "Document" in [step["data"].get("type") for step in trace]
            assert trace[-1]["data"]["type"] == "Goal"
    assert kando("replay", run, "--strict").startswith("identical: ")


def test_a_run_killed_as_soon_as_it_has_an_id_is_completed_by_resume(
    kando: Kando, environ: dict[str, str]
) -> None:
    command = [sys.executable, "-m", "kando.cli.main", *START]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        run = child.stdout.readline().strip()
        os.kill(child.pid, signal.SIGKILL)

    kando("resume", run)

    whole = kando(*START).strip()
    assert kando("diff", run, whole) == "no changes\n"
    assert kando("artifacts", run) == kando("artifacts", whole)
