"""A process is killed in the middle of a run, and another one finishes it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}


def kando(environ: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "kando.cli.main", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


START = ["run", "research", "--goal", "What is promised?", "--input", "README.md", "--llm", "echo"]


def test_a_run_killed_as_soon_as_it_has_an_id_is_finished_by_resume(
    environ: dict[str, str],
) -> None:
    command = [sys.executable, "-m", "kando.cli.main", *START]
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        run_id = child.stdout.readline().strip()
        os.kill(child.pid, signal.SIGKILL)
    assert run_id
    state = json.loads(kando(environ, "status", "@last", "--json"))["state"]
    assert state in ("stopped", "waiting", "finished")

    kando(environ, "resume", "@last", "--llm", "echo")

    status = json.loads(kando(environ, "status", run_id, "--json"))
    assert status["state"] == "finished"
    assert status["objects"]["Synthesis"] == 1
    assert "identical" in kando(environ, "replay", run_id, "--strict")
    assert "intact" in kando(environ, "verify", run_id)
    whole = kando(environ, *START).strip()
    assert [e["type"] for e in events(environ, run_id)] == [
        e["type"] for e in events(environ, whole)
    ]


def events(environ: dict[str, str], run_id: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in kando(environ, "events", run_id, "--json").splitlines()]
