"""Two complete runs of the research kit over the documentation of this project."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def kando(tmp_path: Path):
    def call(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "kando.cli.main", *arguments],
            cwd=ROOT,
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def events_of(kando, run_id: str) -> list[dict]:
    return [json.loads(line) for line in kando("events", run_id, "--json").splitlines()]


def without_differences(event: dict, run_id: str) -> dict:
    data = {name: value for name, value in event["data"].items() if name != "observed"}
    kept = {name: value for name, value in event.items() if name != "timestamp"}
    return json.loads(json.dumps(kept | {"data": data}).replace(run_id, "RUN"))


def test_findings_trace_to_a_source_and_the_goal_and_a_second_run_is_equal(kando) -> None:
    goal = "What does this project promise?"
    start = ("run", "research", "--goal", goal, "--input", "docs/", "README.md", "--llm", "echo")
    first, second = kando(*start).strip(), kando(*start).strip()

    world = json.loads(kando("world", first, "--json"))
    by_type: dict[str, list[dict]] = {}
    for each in world["objects"]:
        by_type.setdefault(each["type"], []).append(each)
    assert len(by_type["Synthesis"]) == 1
    assert len(by_type["Finding"]) == len(by_type["Question"]) == 3
    assert {f["data"]["status"] for f in by_type["Finding"]} == {"completed"}
    assert by_type["Source"]
    sources = {source["event_id"] for source in by_type["Source"]}
    (goal_event,) = [g["event_id"] for g in by_type["Goal"]]
    for finding in by_type["Finding"]:
        steps = json.loads(kando("trace", finding["id"], "--run", first, "--json"))["items"]
        ids = [step["id"] for step in steps]
        assert sources & set(ids)
        assert goal_event in ids
        assert steps[-1]["cause"] == []

    a, b = events_of(kando, first), events_of(kando, second)
    assert [without_differences(e, first) for e in a] == [without_differences(e, second) for e in b]
    assert "identical" in kando("replay", first, "--strict")
