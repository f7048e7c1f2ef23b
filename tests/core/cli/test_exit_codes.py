"""Early ends of a run: its budget, a failing responder, an interruption."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

ODD = """
    import sys, threading
    from pathlib import Path
    from kando.emit import create, emit, patch
    from kando.kit import Kit
    from kando.plugins import KitSpec, hookimpl
    from kando.schema.events import make_event

    kit = Kit("odd", seed=lambda goal, run_id: [make_event("go", "", "cli", [], {{"goal": goal}})])

    @kit.responder("go")
    def on_go(event, world):
        {body}

    @hookimpl
    def kando_kits():
        return [KitSpec("odd", "odd_plugin:kit")]
"""


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("flag", "limit"),
    [
        ("--budget-events 0", "max_events"),
        ("--budget-events 6", "max_events"),
        ("--budget-usd 0.1", "max_llm_cost_usd"),
        ("--budget-seconds 0", "max_wall_seconds"),
        ("--budget-depth 0", "max_recursion_depth"),
    ],
)
def test_an_exhausted_budget_keeps_the_goal_and_a_higher_one_finishes_the_run(
    kando: Run, flag: str, limit: str
) -> None:
    done = kando("run", "tiny", "--goal", "x", "--llm", "parrot", "--json", *flag.split())

    status = json.loads(done.stdout)
    assert done.returncode == 7
    assert (status["state"], status["goal"], status["problem"]) == ("exhausted", "x", limit)
    again = kando("resume", status["run_id"], "--llm", "parrot", *flag.split())
    assert again.returncode == 7
    # The command that it suggests, with a limit in place of N.
    cure = again.stderr.partition("Resume with a higher limit: kando ")[2].split()
    assert cure == ["resume", status["run_id"], "--llm", "parrot", flag.split()[0], "N"]
    cure[-1] = "1000"
    finished = json.loads(kando(*cure, "--json").stdout)
    assert (finished["state"], finished["llm_answered"]) == ("finished", 1)


@pytest.mark.parametrize(
    "body",
    [
        "raise ValueError('no')",
        "raise KeyError('no')",
        "sys.exit(0)",
        "return 'no events'",
        "return [None]",
        "return [patch('nobody', {})]",
        "return [create('Thing', {'a': float('nan')})]",
        "return [create('Thing', {'a': {1}})]",
        "return [emit('thing', {1: 2})]",
        "return [emit('', {})]",
    ],
)
def test_a_failing_responder_ends_the_run_with_code_6_and_one_line(
    kando: Run, install: Run, body: str
) -> None:
    install("odd", ODD.format(body=body))

    done = kando("run", "odd", "--goal", "x")

    run_id = done.stdout.strip()
    assert done.returncode == 6
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"kando: Run {run_id} failed: ")
    assert f"kando resume {run_id}" in line
    assert json.loads(kando("events", run_id, "--json").stdout.splitlines()[1])["type"] == "go"
    in_json = kando("run", "odd", "--goal", "x", "--json")
    assert (in_json.returncode, in_json.stdout) == (6, "")
    assert json.loads(in_json.stderr)["error"]["code"] == "run_failed"


def test_runs_whose_responder_raises_can_be_listed_and_shown(kando: Run, install: Run) -> None:
    install("odd", ODD.format(body="raise ValueError('no')"))
    run_id = kando("run", "odd", "--goal", "x").stdout.strip()
    kando("fork", run_id, "--at", "2")

    listed = json.loads(kando("runs", "--json").stdout)["items"]

    assert [item["state"] for item in listed] == ["stopped", "failed"]
    assert kando("status", "@last").returncode == 0


@pytest.mark.parametrize(
    ("seed", "says"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("sys.exit(0)", "SystemExit: 0"),
        ("None", "returned None"),
        ("['x']", "['x']"),
    ],
)
def test_a_failing_seed_is_reported_for_the_kit_and_creates_nothing(
    kando: Run, install: Run, home: Path, seed: str, says: str
) -> None:
    source = ODD.format(body="return []")
    before = '[make_event("go", "", "cli", [], {"goal": goal})]'
    assert before in source
    install("odd", source.replace(before, seed))

    done = kando("run", "odd", "--goal", "x")

    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "'odd'" in line
    assert says in line
    assert list(home.iterdir()) == []


def test_ctrl_c_for_the_whole_process_group_ends_a_blocked_responder_and_the_run_can_be_resumed(
    process: Run,
    install: Run,
    environ: dict[str, str],
    tmp_path: Path,
    interruptible: list[str],
) -> None:
    blocks = f"""
        if not Path({str(tmp_path / "free")!r}).exists():
            print("blocked", flush=True)
            threading.Event().wait()
        return [create("Thing", {{}})]"""
    install("odd", ODD.format(body=blocks.strip()))
    command = [*interruptible, "run", "odd", "--goal", "x"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        run_id = child.stdout.readline().strip()
        assert child.stderr.readline() == "blocked\n"
        os.killpg(child.pid, signal.SIGINT)
        (line,) = child.stderr.read().splitlines()
        assert child.wait(timeout=30) == 130
    assert line.endswith(f"Resume with: kando resume {run_id}")
    recorded = process("events", run_id, "--json").stdout.splitlines()
    assert [json.loads(each)["type"] for each in recorded] == ["kit.loaded", "go"]

    (tmp_path / "free").touch()
    resumed = process("resume", run_id, "--json")
    assert json.loads(resumed.stdout)["objects"] == {"Thing": 1}


def test_with_json_an_interruption_is_a_json_error(kando: Run, install: Run) -> None:
    install("odd", ODD.format(body="raise KeyboardInterrupt"))

    done = kando("run", "odd", "--goal", "x", "--json")

    assert (done.returncode, done.stdout) == (130, "")
    error = json.loads(done.stderr)["error"]
    assert error["code"] == "interrupted"
    assert "kando resume" in error["hint"]


def test_a_run_whose_kit_cannot_be_loaded_is_shown_and_not_resumed(
    process: Run, tiny: Path
) -> None:
    run_id = process("run", "tiny", "--goal", "x").stdout.strip()
    tiny.write_text("raise RuntimeError('no longer')")

    assert process("status", run_id).returncode == 0
    assert process("replay", run_id).returncode == 0
    resumed = process("resume", run_id)
    assert resumed.returncode == 1
    assert f"RuntimeError: no longer ({tiny}:1)" in resumed.stderr


REJECTING = """
    from kando.emit import ask
    from kando.errors import RequestRejected
    from kando.kit import Kit
    from kando.plugins import KitSpec, ProviderSpec, hookimpl
    from kando.schema.events import make_event

    kit = Kit("asks", seed=lambda goal, run_id: [make_event("go", "", "cli", [], {"goal": goal})])

    @kit.responder("go")
    def on_go(event, world):
        for word in event.data["goal"].split():
            yield ask([{"role": "user", "content": word}])

    def open_strict(argument, environ):
        def complete(request):
            if "bad" in request["messages"][-1]["content"]:
                raise RequestRejected("The prompt is too long.")
            return {"text": "Yes.", "model": "strict", "cost_usd": 0.0}
        return complete

    @hookimpl
    def kando_kits():
        return [KitSpec("asks", "asks_plugin:kit")]

    @hookimpl
    def kando_providers():
        return [ProviderSpec("strict", "asks_plugin:open_strict", summary="rejects requests")]
"""


def test_a_run_of_which_every_request_is_rejected_ends_with_the_code_of_a_failure(
    kando: Run, install: Run
) -> None:
    install("asks", REJECTING)

    done = kando("run", "asks", "--goal", "bad bad2", "--llm", "strict")
    shown = json.loads(kando("status", "@last", "--json").stdout)

    assert done.returncode == 6
    assert "2 requests have no answer: RequestRejected: The prompt is too long." in done.stderr
    assert (shown["state"], shown["problem"].split(":")[0]) == (
        "finished",
        "2 requests have no answer",
    )
    assert kando("resume", "@last", "--llm", "strict").returncode == 6


def test_a_run_with_one_answer_finishes_well(kando: Run, install: Run) -> None:
    install("asks", REJECTING)

    done = kando("run", "asks", "--goal", "bad good", "--llm", "strict")

    assert (done.returncode, "no answer" in done.stderr) == (0, False)


REPORTING = """
    from kando.emit import create, patch
    from kando.kit import Kit
    from kando.plugins import KitSpec, hookimpl
    from kando.schema.events import make_event

    kit = Kit("reports", version="0")

    @kit.seeds
    def seed(goal, run_id):
        return [make_event("go", "", "cli", [], {"goal": goal})]

    @kit.responder("go")
    def on_go(event, world):
        data = {"name": "report.md", "media_type": "text/markdown", "text": "Empty."}
        report = yield create("Report", {**data, "problem": "No claim was found."})
        yield create("Task", {"problem": "is that of a task"})
        if event.data["goal"] == "mend":
            yield patch(report, {"problem": ""})

    @hookimpl
    def kando_kits():
        return [KitSpec("reports", "reports_plugin:kit")]
"""


def test_a_run_whose_artifact_states_a_problem_ends_with_the_code_of_a_failure(
    kando: Run, install: Run
) -> None:
    install("reports", REPORTING)

    done = kando("run", "reports", "--goal", "x")

    assert done.returncode == 6
    assert "No claim was found." in done.stderr
    shown = json.loads(kando("status", "@last", "--json").stdout)
    assert (shown["state"], shown["problem"]) == ("finished", "No claim was found.")


def test_a_run_whose_artifact_states_a_problem_no_more_finishes_well(
    kando: Run, install: Run
) -> None:
    install("reports", REPORTING)

    assert kando("run", "reports", "--goal", "mend").returncode == 0
