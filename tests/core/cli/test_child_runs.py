"""Child runs at the terminal: what a child waits for is shown and answered by the id of its run."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., subprocess.CompletedProcess[str]]

SCRIPT = """
from kando import Kit, ask_person, create, patch, start_run

child = Kit("trip", version="1")
child.seeds(lambda goal, run_id: [create("Trip", {"text": goal}, id="trip")])


@child.responder("object.created", type="Trip")
def on_trip(event, world):
    yield ask_person("How?", about="trip")


@child.responder("person.replied", type="Trip")
def on_reply(event, world):
    yield patch("trip", {"by": event.data["answer"]})


child.result(lambda world: world.get_object("trip").data["by"])

kit = Kit("tour", version="1")
kit.seeds(lambda goal, run_id: [create("Tour", {"text": goal}, id="tour")])


@kit.responder("object.created", type="Tour")
def on_tour(event, world):
    yield start_run(child, event.object["text"], about="tour")


@kit.responder("run.ended", type="Tour")
def on_end(event, world):
    yield patch("tour", {"by": event.data["result"]})
"""


def test_a_question_of_a_child_is_listed_and_answered_and_its_end_is_traced(
    tmp_path: Path, kando: Run
) -> None:
    script = tmp_path / "tour_kits.py"
    script.write_text(SCRIPT)
    started = kando("run", str(script), "--goal", "Rome")
    run = started.stdout.strip()
    assert f"1 child run has not ended. `kando status {run}` shows them." in started.stderr
    assert "unanswered" not in started.stderr

    def of_json(*args: str) -> Any:
        return json.loads(kando(*args, "--json").stdout)

    status = of_json("status", run)
    (child,) = status["children"]
    assert (status["state"], child["kit"], child["state"]) == ("waiting", "trip", "waiting")
    assert f"child     {child['run_id']}  trip  waiting" in kando("status", run).stdout
    assert of_json("status", child["run_id"])["started_by"] == {
        "run_id": run,
        "event_id": child["event_id"],
    }
    assert of_json("status")["run_id"] == run

    listed = kando("approvals", run)
    assert listed.stdout.startswith(f"{child['run_id']}  person.asked-")
    (item,) = of_json("approvals", run)["items"]
    assert (item["run_id"], item["type"]) == (child["run_id"], "person.asked")
    assert kando("reply", run, item["event_id"], "train").returncode == 0
    assert of_json("status", run)["state"] == "stopped"
    resumed = kando("resume", run, "--kit", str(script))
    assert resumed.returncode == 0, resumed.stderr

    status = of_json("status", run)
    assert (status["state"], status["children"][0]["state"]) == ("finished", "finished")
    tree = kando("branches", run).stdout.splitlines()
    assert tree[1].startswith(f"`- {child['run_id']}")
    assert tree[1].endswith("child run")
    patched = next(
        event["id"]
        for line in kando("events", run, "--json").stdout.splitlines()
        if (event := json.loads(line))["type"] == "object.patched"
    )
    sources = [each["source"] for each in of_json("trace", patched, "--run", run)["items"]]
    assert list(dict.fromkeys(sources)) == [f"run:{run}", f"run:{child['run_id']}"]
    assert f"run:{child['run_id']}" in kando("trace", patched, "--run", run).stdout.splitlines()
    assert kando("replay", run, "--strict", "--kit", str(script)).returncode == 0


def test_a_run_is_exported_with_its_child_or_alone(tmp_path: Path, kando: Run) -> None:
    script = tmp_path / "tour_kits.py"
    script.write_text(SCRIPT)
    run = kando("run", str(script), "--goal", "Rome").stdout.strip()
    (child,) = json.loads(kando("status", run, "--json").stdout)["children"]

    said = kando("export", run, "-o", "both").stdout.splitlines()
    assert said[1:] == [f"child runs: {child['run_id']}"]
    said = kando("export", run, "-o", "alone", "--alone").stdout.splitlines()
    assert len(said) == 1
    piped = kando("export", run, "-o", "-")
    assert piped.stdout == (tmp_path / "both").read_text()
    assert f"child runs: {child['run_id']}" in piped.stderr

    def imported(file: str) -> list[str]:
        there = ("--ledger", f"sqlite:{tmp_path / file}.sqlite")
        found = json.loads(kando("import", file, "--json", *there).stdout)
        listed = json.loads(kando("runs", "--json", *there).stdout)["items"]
        assert len(listed) == 1 + len(found["children"])
        return list(found["children"])

    assert imported("both") == [child["run_id"]]
    assert imported("alone") == []
