"""`kando reply`: a question asked in one process is answered in another, and the run continues."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., subprocess.CompletedProcess[str]]

TRAVEL = """
    from typing import Literal

    from kando.emit import ask_person, create, patch
    from kando.kit import Kit
    from kando.plugins import KitSpec, hookimpl

    kit = Kit("travel", version="1")

    @kit.seeds
    def seeds(goal, run_id):
        return [create("Trip", {"text": goal}, id="trip")]

    @kit.responder("object.created", type="Trip")
    def on_trip(event, world):
        yield ask_person("How many\\x1b[2J?", int, about=event)

    @kit.responder("person.replied", type="Trip")
    def on_reply(event, world):
        yield patch("trip", {"seats": event.data["answer"]})

    @hookimpl
    def kando_kits():
        return [KitSpec("travel", "travel_plugin:kit", "travels")]
"""


def test_the_reminders_of_a_question_are_shown(
    install: Callable[[str, str], Path], kando: Run
) -> None:
    install("travel", TRAVEL.replace("about=event", "about=event, remind=3600"))
    run = kando("run", "travel", "--goal", "Rome").stdout.strip()
    (shown,) = json.loads(kando("status", run, "--json").stdout)["reminders"]
    (listed,) = json.loads(kando("approvals", run, "--json").stdout)["items"]
    assert shown["event_id"] == listed["event_id"]
    assert shown["reminded"] == listed["reminded"] == 0
    assert (listed["remind_at"], listed["schema"]) == (shown["remind_at"], {"type": "integer"})
    assert f"for {shown['event_id']}, not reminded yet" in kando("status", run).stdout
    assert f"not reminded yet, next {shown['remind_at']}" in kando("approvals", run).stdout


def test_a_question_is_listed_answered_and_the_run_resumed(
    install: Callable[[str, str], Path], kando: Run
) -> None:
    install("travel", TRAVEL)
    started = kando("run", "travel", "--goal", "Rome")
    run = started.stdout.strip()
    assert f"1 question waits for a reply: kando approvals {run}" in started.stderr
    assert "unanswered" not in started.stderr

    listed = kando("approvals", run)
    question = listed.stdout.split()[0]
    assert "How many\\u001b[2J?" in listed.stdout
    assert f"to reply: kando reply {run} EVENT ANSWER" in listed.stderr
    (item,) = json.loads(kando("approvals", run, "--json").stdout)["items"]
    assert (item["event_id"], item["type"]) == (question, "person.asked")
    status = json.loads(kando("status", run, "--json").stdout)
    assert (status["state"], status["questions"], status["approvals"]) == ("waiting", 1, 0)
    assert "questions 1" in kando("status", run).stdout

    refused = kando("reply", run, question, "many")
    assert refused.returncode == 1
    assert '"integer"' in refused.stderr
    assert kando("reply", run, question, "3", "--by", "ann").stdout.strip() == run
    again = kando("reply", run, question, "4")
    assert again.returncode == 1
    assert "answered already" in again.stderr

    assert kando("resume", run).returncode == 0
    assert json.loads(kando("status", run, "--json").stdout)["state"] == "finished"
    replied = [
        json.loads(line) for line in kando("events", run, "--json").stdout.splitlines() if line
    ]
    (reply,) = [each for each in replied if each["type"] == "person.replied"]
    assert (reply["data"]["answer"], reply["actor"]) == (3, "ann")
    assert kando("replay", run, "--strict").returncode == 0
