"""`kando approvals`, `approve` and `deny`: asked in one process, answered in another."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

PAYING = """
    from pathlib import Path

    from kando.emit import call_tool, create, patch
    from kando.kit import Kit
    from kando.plugins import KitSpec, hookimpl
    from kando.responders.policies import Ask
    from kando.schema.events import make_event

    kit = Kit("paying", version="1")

    @kit.seeds
    def seeds(goal, run_id):
        data = {"id": "goal", "type": "Goal", "data": {"text": goal}}
        return [make_event("object.created", f"run:{run_id}", "cli", [], data)]

    @kit.tool("pay")
    def pay(amount: int) -> str:
        with Path("paid").open("a") as file:
            file.write(f"{amount} ")
        return "paid"

    @kit.policy
    def careful(intent):
        return Ask(f"pay {intent.data['arguments']['amount']}?")

    @kit.policy(type="Report")
    def gated(event):
        return Ask("publish?")

    @kit.responder("object.created", type="Goal")
    def on_goal(event, world):
        yield call_tool("pay", {"amount": 7}, about="goal")
        yield create("Report", {"text": "fine"}, id="report")

    @kit.responder("tool.returned")
    def on_paid(event, world):
        yield patch("goal", {"paid": event.data.get("result") or event.data["error"]["message"]})

    @hookimpl
    def kando_kits():
        return [KitSpec("paying", "paying_plugin:kit", "pays")]
"""


@pytest.fixture
def started(install: Callable[[str, str], Path], kando: Run) -> str:
    """Start a run, and return its id."""
    install("paying", PAYING)
    started = kando("run", "paying", "--goal", "x")
    assert started.returncode == 0, started.stderr
    assert "2 approvals are pending: kando approvals" in started.stderr
    return started.stdout.strip()


def in_own_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kando.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def paid() -> str:
    return Path("paid").read_text() if Path("paid").exists() else ""


def world_of(kando: Run, run: str) -> dict[str, dict[str, object]]:
    objects = json.loads(kando("world", run, "--json").stdout)["objects"]
    return {each["id"]: each["data"] for each in objects}


def test_an_approval_is_requested_granted_and_used_in_three_processes(
    started: str, kando: Run
) -> None:
    assert json.loads(kando("status", started, "--json").stdout)["state"] == "waiting"
    listed = json.loads(kando("approvals", started, "--json").stdout)["items"]
    assert [(each["type"], each["reason"]) for each in listed] == [
        ("object.created", "publish?"),
        ("tool.called", "pay 7?"),
    ]
    assert [(each["tool"], each["arguments"]) for each in listed] == [
        (None, None),
        ("pay", {"amount": 7}),
    ]
    everywhere = json.loads(kando("approvals", "--json").stdout)["items"]
    assert [(each["tool"], each["arguments"]) for each in everywhere] == [
        (None, None),
        ("pay", {"amount": 7}),
    ]
    assert "pay 7?" in kando("approvals", started).stdout

    for each in listed:
        approved = in_own_process("approve", started, each["event_id"])
        assert (approved.returncode, approved.stdout.strip()) == (0, started)
    assert paid() == ""
    assert in_own_process("resume", started).returncode == 0

    assert paid() == "7 "
    assert world_of(kando, started) == {
        "goal": {"text": "x", "paid": "paid"},
        "report": {"text": "fine"},
    }
    assert json.loads(kando("status", started, "--json").stdout)["state"] == "finished"
    assert kando("replay", started, "--strict").returncode == 0
    assert "no approvals are pending" in kando("approvals", started).stderr


def test_other_arguments_are_checked_recorded_and_sent(started: str, kando: Run) -> None:
    call = json.loads(kando("approvals", started, "--json").stdout)["items"][1]["event_id"]
    wrong = kando("approve", started, call, "--arguments", '{"amount": "3"}')
    assert wrong.returncode == 1
    assert "expected int, not str '3' @ data.amount" in wrong.stderr
    for malformed in ("{", "[3]", ""):
        assert kando("approve", started, call, "--arguments", malformed).returncode == 2

    done = in_own_process("approve", started, call, "--arguments", '{"amount": 3}', "--by", "ann")
    assert done.returncode == 0, done.stderr
    kando("resume", started)

    assert paid() == "3 "
    listed = json.loads(kando("approvals", started, "--all", "--json").stdout)["items"]
    assert [each["is_open"] for each in listed] == [True, False]
    assert listed[0]["decision"] is None
    decision = listed[1]["decision"]
    assert (decision["by"], decision["arguments"]) == ("ann", {"amount": 3})
    shown = kando("approvals", started, "--all").stdout.splitlines()
    assert shown[0].endswith("pending")
    assert shown[1].endswith('granted by ann with {"amount":3}')
    events = [json.loads(line) for line in kando("events", started, "--json").stdout.splitlines()]
    returned = next(each["id"] for each in events if each["type"] == "tool.returned")
    traced = kando("trace", returned, "--run", started).stdout.splitlines()
    assert [line.split()[1] for line in traced if line.startswith("approval.granted")] == ["ann"]
    assert kando("replay", started, "--strict").returncode == 0


def test_status_shows_the_next_deadline(install: Callable[[str, str], Path], kando: Run) -> None:
    expiring = PAYING.replace('Ask("publish?")', 'Ask("publish?", expires=3600)')
    install("paying", expiring.replace("amount']}?\")", "amount']}?\", expires=60)"))
    run_id = kando("run", "paying", "--goal", "x").stdout.strip()

    later, first = json.loads(kando("approvals", run_id, "--json").stdout)["items"]
    state = json.loads(kando("status", run_id, "--json").stdout)

    assert state["deadlines"] == [
        {"event_id": each["event_id"], "expires_at": each["expires_at"]} for each in (first, later)
    ]
    line = f"deadline  {first['expires_at']} for {first['event_id']} and 1 more"
    assert line in kando("status", run_id).stdout.splitlines()


def test_without_a_run_the_approvals_of_all_runs_are_listed_in_pages(
    started: str, kando: Run
) -> None:
    other = kando("run", "paying", "--goal", "y").stdout.strip()
    cancelled = kando("run", "paying", "--goal", "z").stdout.strip()
    kando("cancel", cancelled)
    kando("resume", cancelled)
    everything = json.loads(kando("approvals", "--json").stdout)
    assert everything["next_cursor"] is None
    asked = [(each["run_id"], each["reason"]) for each in everything["items"]]
    both = ["publish?", "pay 7?"]
    assert asked == [(run, reason) for run in (other, started) for reason in both]
    assert everything["items"][0]["requested_at"].endswith("Z")
    assert everything["items"][0]["expires_at"] is None

    found, cursor = [], []
    while True:
        page = json.loads(kando("approvals", "--limit", "1", "--json", *cursor).stdout)
        found += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = ["--cursor", page["next_cursor"]]
    assert found == everything["items"]
    # A decision in the meantime does not shift the pages.
    first = kando("approvals", "--limit", "1")
    assert "more approvals: --cursor" in first.stderr
    kando("deny", other, found[0]["event_id"], "--by", "ann")
    kando("resume", other)
    cursor = ["--cursor", f"{other}:{found[0]['event_id']}"]
    page = json.loads(kando("approvals", "--json", *cursor).stdout)
    assert page["items"] == everything["items"][1:]
    text = kando("approvals").stdout
    assert text.splitlines()[0].startswith(f"{other}  {found[1]['event_id']}  tool.called")
    assert "since 20" in text

    assert kando("approvals", "--cursor", "nothing").returncode == 2
    assert kando("approvals", "--all").returncode == 2
    assert kando("approvals", started, "--cursor", "x").returncode == 2


def test_a_store_without_approvals_lists_an_empty_page(kando: Run) -> None:
    done = kando("approvals", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"items": [], "next_cursor": None})
    assert "no approvals are pending" in kando("approvals").stderr


def test_a_decision_without_a_name_is_refused(started: str, kando: Run) -> None:
    call = json.loads(kando("approvals", started, "--json").stdout)["items"][1]["event_id"]

    assert kando("approve", started, call, "--by", " ").returncode == 1
    assert kando("deny", started, call, "--by", "ann").returncode == 0


def test_the_first_answer_counts(started: str, kando: Run) -> None:
    call = json.loads(kando("approvals", started, "--json").stdout)["items"][1]

    assert kando("deny", started, call["intent"], "--reason", "no money").returncode == 0
    assert "ignored" in kando("approve", started, call["event_id"]).stderr
    kando("resume", started)

    assert paid() == ""
    assert world_of(kando, started)["goal"]["paid"] == "no money"
    # Once the answer is recorded, the approval is no longer pending.
    assert kando("approve", started, call["event_id"]).returncode == 3


def test_a_held_object_can_be_approved_by_its_id(started: str, kando: Run) -> None:
    assert kando("approve", started, "report").returncode == 0
    kando("resume", started)

    assert "report" in world_of(kando, started)
    assert json.loads(kando("status", started, "--json").stdout)["approvals"] == 1


def test_a_branch_needs_its_own_approvals(started: str, kando: Run) -> None:
    length = json.loads(kando("status", started, "--json").stdout)["events"]
    branch = kando("fork", started, "--at", str(length)).stdout.strip()
    kando("approve", started, "goal", "--json")
    call = json.loads(kando("approvals", started, "--json").stdout)["items"][1]
    kando("approve", started, call["event_id"])
    kando("resume", started)
    assert paid() == "7 "

    kando("resume", branch)
    assert paid() == "7 "
    assert len(json.loads(kando("approvals", branch, "--json").stdout)["items"]) == 2
    kando("approve", branch, call["event_id"])
    kando("resume", branch)
    # Approved, and answered as it was for the parent: a branch does not pay a second time.
    assert paid() == "7 "
    assert "tool.returned" in kando("events", branch).stdout


@pytest.mark.parametrize("type", ["approval.granted", "approval.requested", "approval.denied"])
def test_an_approval_cannot_be_sent_as_an_event(started: str, kando: Run, type: str) -> None:
    done = kando("send", started, "--type", type, "--data", '{"approval": "approval.requested-5"}')

    assert done.returncode != 0


def test_an_approval_that_is_not_pending_cannot_be_answered(started: str, kando: Run) -> None:
    for command in ("approve", "deny"):
        done = kando(command, started, "nothing-1")
        assert done.returncode == 3
        assert "kando approvals" in done.stderr


def test_an_approval_in_an_imported_file_is_refused(started: str, kando: Run) -> None:
    for each in json.loads(kando("approvals", started, "--json").stdout)["items"]:
        kando("approve", started, each["event_id"])
    kando("resume", started)
    events = [json.loads(line) for line in kando("events", started, "--json").stdout.splitlines()]
    granted = max(e["position"] for e in events if e["type"] == "approval.granted")
    kando("export", f"{started}@{granted + 1}", "-o", "run.jsonl")
    elsewhere = ("--ledger", "sqlite:elsewhere.db")

    refused = kando(*elsewhere, "import", "run.jsonl")
    assert refused.returncode == 1
    assert "pay 7?" in refused.stderr
    assert kando(*elsewhere, "status", started).returncode == 3

    # The cure that the error names.
    assert kando(*elsewhere, "import", "run.jsonl", "--accept-approvals").returncode == 0
    kando(*elsewhere, "resume", started)
    assert paid() == "7 7 "


def test_a_run_whose_approved_calls_are_made_can_be_imported(started: str, kando: Run) -> None:
    for each in json.loads(kando("approvals", started, "--json").stdout)["items"]:
        kando("approve", started, each["event_id"])
    kando("resume", started)
    kando("export", started, "-o", "run.jsonl")

    assert kando("--ledger", "sqlite:elsewhere.db", "import", "run.jsonl").returncode == 0


def test_a_call_that_waits_is_answered_by_hand(started: str, kando: Run) -> None:
    call = json.loads(kando("approvals", started, "--json").stdout)["items"][1]["intent"]
    wrong = in_own_process("answer", started, call, "--text", "t")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
    for options in (["--result", "{"], []):
        assert in_own_process("answer", started, call, *options).returncode == 2

    given = in_own_process("answer", started, call, "--result", '"by hand"', "--by", "ann")
    assert (given.returncode, given.stdout.strip()) == (0, started)
    assert "kando resume" in given.stderr
    assert in_own_process("resume", started).returncode == 0

    assert (paid(), world_of(kando, started)["goal"]["paid"]) == ("", "by hand")
    items = json.loads(kando("approvals", started, "--json").stdout)["items"]
    assert [each["intent"] for each in items] == [None]
    again = in_own_process("answer", started, call, "--result", "1", "--json")
    assert json.loads(again.stderr)["error"]["code"] == "invalid_data"
    assert "of ann" in json.loads(again.stderr)["error"]["message"]


def test_a_fork_before_an_event_excludes_a_position(started: str, kando: Run) -> None:
    call = json.loads(kando("approvals", started, "--json").stdout)["items"][1]["intent"]
    branch = json.loads(kando("fork", started, "--before", call, "--json").stdout)
    by_address = f"{started}@{branch['fork_position']}"
    same = json.loads(kando("fork", started, "--before", by_address, "--json").stdout)
    assert same["fork_position"] == branch["fork_position"]
    for twice in ([started, "--at", "1"], [f"{started}@1"]):
        refused = kando("fork", *twice, "--before", call)
        assert (refused.returncode, "given twice" in refused.stderr) == (2, True)
