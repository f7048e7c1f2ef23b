"""A kit in a file that the command line names."""

from __future__ import annotations

from pathlib import Path

import pytest

SCRIPT = """
import random
from kando import Kit, create, make_event, rng
from helper_beside_it import TITLE

print("loaded")
kit = Kit("script")

@kit.seeds
def seeds(goal, run_id):
    return [make_event("opened", "", "cli", [], {"goal": goal})]

@kit.responder("opened")
def on_opened(event, world):
    yield create("Note", {"title": TITLE, "n": rng(event).randrange(1000)})

@kit.responder("more")
def on_more(event, world):
    yield create("Note", {"title": "more", "n": rng(event).randrange(1000)})
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "helper_beside_it.py").write_text("TITLE = 'beside'")
    path = tmp_path / "my_kit.py"
    path.write_text(SCRIPT)
    return path


def test_a_kit_in_a_file_runs_resumes_forks_and_replays(process, script: Path) -> None:
    started = process("run", "./my_kit.py", "--goal", "x")
    assert started.returncode == 0, started.stderr
    run = started.stdout.strip()
    assert "loaded" not in run

    assert process("send", run, "--type", "more").returncode == 0
    assert process("resume", run, "--kit", "./my_kit.py").returncode == 0
    branch = process("fork", run, "--at", "2", "--kit", str(script), "--run")
    assert branch.returncode == 0, branch.stderr
    replayed = process("replay", run, "--strict", "--kit", "./my_kit.py")
    assert replayed.returncode == 0, replayed.stderr

    notes = [
        line.split(maxsplit=2)[2]
        for each in (run, "@last")
        for line in process("world", each).stdout.splitlines()
    ]
    assert len(notes) == 3
    assert notes[0] == notes[2], "the same step has the same random numbers on a branch"


def test_a_run_of_a_file_is_resumed_with_the_file_that_the_hint_asks_for(
    process, script: Path
) -> None:
    run = process("run", "./my_kit.py", "--goal", "x").stdout.strip()

    refused = process("resume", run)
    assert refused.returncode != 0
    assert "--kit ./FILE.py" in refused.stderr
    assert process("resume", run, "--kit", "./my_kit.py").returncode == 0


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("x = 1", "holds no kit"),
        ("from kando import Kit\na, b = Kit('a'), Kit('b')", "holds 2 kits"),
        ("1 / 0", "ZeroDivisionError"),
        ("def f(:", "SyntaxError"),
    ],
)
def test_a_file_without_a_kit_is_refused(kando, tmp_path: Path, body: str, says: str) -> None:
    (tmp_path / "bad_script.py").write_text(body)

    done = kando("run", "./bad_script.py", "--goal", "x")

    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_does_not_exist_is_refused(kando) -> None:
    done = kando("run", "./missing.py", "--goal", "x")

    assert "no file './missing.py'" in done.stderr


CHAT = """
from kando import Kit
from kando.responders.llm_executor import provider_executor

kit = Kit("helper")
kit.conversation(system="Be brief.")

def model(request):
    said = [each["content"] for each in request["messages"]]
    return {"text": " / ".join(said), "model": "m", "cost_usd": 0.0}

kit.responders.append(provider_executor(model))
"""


def test_a_conversation_in_a_file_is_continued_by_what_is_sent(process, tmp_path: Path) -> None:
    (tmp_path / "chat_kit.py").write_text(CHAT)
    process("run", "./chat_kit.py", "--goal", "one")
    process("send", "@last", "--text", "two", "--key", "k")
    process("send", "@last", "--text", "two again", "--key", "k")
    process("resume", "@last", "--kit", "./chat_kit.py")
    process("send", "@last", "--text", "three", "--about", "chat")
    process("resume", "@last", "--kit", "./chat_kit.py")

    shown = process("world", "@last", "--json").stdout
    assert "Be brief. / one / Be brief. / one / two" in shown
    assert " / three" in shown
    assert "two again" not in shown


DECIDED = """
from kando import Kit, call_tool, create
from kando.responders.policies import Ask

kit = Kit("decided")

@kit.seeds
def seeds(goal, run_id):
    return [create("Seat", {"of": goal}, id="seat")]

@kit.tool(undo="release")
def book(seats: int) -> str:
    "Book seats."
    return f"booked {seats}"

@kit.tool()
def release(seats: int) -> str:
    "Release seats."
    return f"released {seats}"

@kit.policy
def ask(call):
    return Ask("It costs money.") if call.data["tool"] == "book" else None

@kit.responder("object.created", type="Seat")
def on_seat(event, world):
    yield call_tool("book", {"seats": 1}, about=event)

@kit.responder("tool.returned")
def broken(event, world):
    raise RuntimeError("broken")
"""


def test_what_needs_the_kit_of_a_run_takes_a_kit_in_a_file(process, tmp_path: Path) -> None:
    (tmp_path / "decided.py").write_text(DECIDED)
    run = process("run", "./decided.py", "--goal", "x").stdout.strip()
    asked = process("approvals", run).stdout.split()[0]
    approve = ("approve", run, asked, "--arguments", '{"seats": 2}')
    assert "No plugin offers a kit 'decided'" in process(*approve).stderr
    granted = process(*approve, "--kit", "./decided.py")
    assert granted.returncode == 0, granted.stderr
    failed = process("resume", run, "--kit", "./decided.py")
    assert "broken" in failed.stderr

    ids = [line.split()[1] for line in process("events", run).stdout.splitlines()]
    (returned,) = [id for id in ids if id.startswith("tool.returned")]
    parked = process("park", run, returned, "decided.broken", "--kit", "./decided.py")
    assert parked.returncode == 0, parked.stderr
    undone = process("undo", run, returned, "--kit", "./decided.py")
    assert undone.returncode == 0, undone.stderr
    process("resume", run, "--kit", "./decided.py")

    assert '"tool": "release"' in process("events", run).stdout


PROBLEM = """
from kando import Kit, create

kit = Kit("empty")

@kit.seeds
def seeds(goal, run_id):
    report = {"text": "# Nothing", "name": "report.md", "media_type": "text/markdown"}
    return [create("Report", report | {"problem": "no claim was found"})]
"""


def test_the_problem_of_an_artifact_is_a_sentence(process, tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text(PROBLEM)

    done = process("run", "./empty.py", "--goal", "x")

    assert done.returncode == 6
    assert "kando: no claim was found. `kando events " in done.stderr
