"""Output of the commands: only data on stdout, in stable forms."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kando.cli.shared import stream_to_stderr

Run = Callable[..., Any]

STATUS = {
    *("run_id", "state", "goal", "kit", "kit_version", "events", "objects", "relations"),
    *("llm_requests", "llm_answered", "llm_cached", "llm_cost_usd", "unanswered", "timers"),
    *("created_at", "updated_at", "last_event_id", "problem", "parent_id", "fork_position"),
    *("llm_unpriced", "llm_tokens", "tool_calls", "own", "approvals", "questions", "limits"),
    *(
        "unread",
        "parked",
        "parked_reasons",
        "claim",
        "deadlines",
        "reminders",
        "children",
        "started_by",
        "labels",
    ),
}
EVENT = {"id", "type", "source", "actor", "cause", "timestamp", "data", "position"}
DIFF = {
    *("summary", "added_objects", "removed_objects", "patched_objects"),
    *("added_relations", "removed_relations", "moved_objects", "moved_relations"),
    *("parts_at", "steps", "a", "b"),
}
OUTCOME = {
    *("run_id", "state", "events", "objects", "relations", "llm", "elapsed_seconds", "parts_at"),
}

ONE_OBJECT = {
    "run tiny --goal x": STATUS | {"provider"},
    "resume RUN --llm parrot": STATUS | {"provider"},
    "status RUN": STATUS,
    "status demo": STATUS,
    "world RUN": {"position", "objects", "relations"},
    "fork RUN --at 2": {"branch_id", "parent_run_id", "fork_position"},
    "fork RUN --at 6 --run --llm parrot": STATUS | {"provider"},
    "diff RUN demo": DIFF,
    "metrics RUN": {
        *("run_id", "events", "types", "llm", "models", "responders", "tool_calls"),
        *("tool_errors", "started_at", "ended_at", "elapsed_seconds"),
    },
    "replay RUN": {"run_id", "events", "objects", "relations", "strict"},
    "replay RUN --strict": {"run_id", "events", "objects", "relations", "strict"},
    "cache RUN": {
        *("run_id", "requests", "hits", "misses", "spent_usd", "saved_usd"),
        *("shared_answers", "shared_usd"),
    },
    "pause RUN": {"run_id", "key", "is_new"},
    "label RUN tenant=a": {"run_id", "labels"},
    "completion bash": {"shell", "script"},
}
LISTS = {
    "runs": STATUS,
    "trace claim --run RUN": EVENT,
    "trace object.created-2": EVENT,
    "plugins": {"kind", "name", "distribution", "version", "state", "about"},
    "compare RUN demo": OUTCOME,
    "branches RUN": {"id", "parent_id", "fork_position", "length", "depth", "started_by"},
    "branches demo": {"id", "parent_id", "fork_position", "length", "depth", "started_by"},
    "config": {"key", "value", "origin", "where", "variable"},
    "doctor": {"what", "state", "detail", "cure"},
    "exit-codes": {"code", "meaning"},
}

# Control characters for a terminal: an escape sequence, the same in one character, a bell, and a
# change of the writing direction.
HOSTILE = "red \x1b[31m one \x9b31m bell \x07 turned \u202e end"
CONTROL = set("\x1b\x9b\x07\u202e\x7f")


@pytest.fixture
def run_id(kando: Run, tiny: Path) -> str:
    """Return the id of a run that waits for an answer."""
    return str(kando("run", "tiny", "--goal", "Say hello").stdout.strip())


@pytest.mark.parametrize("command", ONE_OBJECT)
def test_with_json_a_command_writes_one_object_with_known_fields(
    kando: Run, run_id: str, command: str
) -> None:
    done = kando(*command.replace("RUN", run_id).split(), "--json")

    assert done.returncode == 0
    assert set(json.loads(done.stdout)) == ONE_OBJECT[command]


@pytest.mark.parametrize("command", LISTS)
def test_with_json_a_list_is_one_object_with_items_and_a_cursor(
    kando: Run, run_id: str, command: str
) -> None:
    done = kando(*command.replace("RUN", run_id).split(), "--json")

    listed = json.loads(done.stdout)
    assert list(listed) == ["items", "next_cursor"]
    assert listed["next_cursor"] is None
    assert listed["items"]
    assert all(set(item) == LISTS[command] for item in listed["items"])


@pytest.mark.usefixtures("tiny")
def test_without_runs_the_list_is_empty_and_stderr_says_how_to_start_one(kando: Run) -> None:
    assert json.loads(kando("runs", "--json").stdout) == {"items": [], "next_cursor": None}
    done = kando("runs")
    assert (done.returncode, done.stdout) == (0, "")
    assert "kando run KIT --goal TEXT" in done.stderr


def test_runs_started_meanwhile_do_not_shift_the_pages(kando: Run, run_id: str) -> None:
    newer = kando("run", "tiny", "--goal", "b").stdout.strip()
    page = json.loads(kando("runs", "--limit", "1", "--json").stdout)
    assert [item["run_id"] for item in page["items"]] == [newer]

    kando("run", "tiny", "--goal", "c")

    rest = json.loads(kando("runs", "--cursor", page["next_cursor"], "--json").stdout)
    assert [item["run_id"] for item in rest["items"]] == [run_id]


@pytest.mark.parametrize("extra", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize(
    "command",
    [
        *("status RUN", "runs", "events RUN", "world RUN", "trace claim --run RUN"),
        *(f"trace claim --down --run RUN --format {form}" for form in ("dot", "mermaid", "svg")),
        *("diff RUN demo", "diff RUN demo --events --world --stat", "compare RUN demo"),
        *("metrics RUN", "metrics demo@0"),
    ],
)
def test_control_characters_of_a_goal_or_document_are_escaped(
    kando: Run, tiny: Path, tmp_path: Path, command: str, extra: list[str]
) -> None:
    (tmp_path / "notes.md").write_text(HOSTILE)
    run_id = kando(
        "run", "tiny", "--goal", HOSTILE, "--input", "notes.md", "--llm", "parrot"
    ).stdout.strip()

    if "--format" in command:
        extra = []
    done = kando(*command.replace("RUN", run_id).split(), *extra)

    assert done.returncode == 0
    assert not CONTROL & set(done.stdout + done.stderr)


def test_json_keeps_escaped_characters(kando: Run, tiny: Path) -> None:
    run_id = kando("run", "tiny", "--goal", HOSTILE).stdout.strip()

    assert json.loads(kando("status", run_id, "--json").stdout)["goal"] == HOSTILE


def test_scripts_that_need_joiners_are_shown_unchanged(kando: Run, tiny: Path) -> None:
    goal = "কাণ্ড, র\u200d্যাব, می\u200cخواهم"  # noqa: RUF001
    run_id = kando("run", "tiny", "--goal", goal).stdout.strip()

    assert goal in kando("status", run_id).stdout
    assert goal in kando("status", run_id, "--json").stdout


def test_a_locale_without_the_letters_of_a_goal_shows_it_escaped(process: Run, tiny: Path) -> None:
    run_id = process("run", "tiny", "--goal", "কাণ্ড").stdout.strip()

    shown = process("status", run_id, PYTHONIOENCODING="ascii")

    assert shown.returncode == 0
    assert r"\u0995\u09be" in shown.stdout


def test_what_a_kit_prints_goes_to_stderr(kando: Run, tiny: Path) -> None:
    source = tiny.read_text().replace("claim = yield", 'print("<kit>"); claim = yield')
    tiny.write_text('print("<import>")\n' + source)

    done = kando("run", "tiny", "--goal", "x")

    (run_id,) = done.stdout.split()
    assert {"<import>", "<kit>"} <= set(done.stderr.split())
    branch = kando("fork", run_id, "--at", "2").stdout.strip()
    for command in (["status", branch], ["replay", run_id, "--strict"], ["runs"], ["plugins"]):
        assert "<" not in kando(*command, "--json").stdout


def test_if_the_reader_closes_stdout_the_command_ends_silently(
    environ: dict[str, str], tmp_path: Path
) -> None:
    reads, writes = os.pipe()
    os.close(reads)

    done = subprocess.run(
        [sys.executable, "-m", "kando.cli.main", "events", "demo"],
        cwd=tmp_path,
        env=environ,
        stdout=writes,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )

    os.close(writes)
    assert (done.returncode, done.stderr) == (141, "")


def test_events_are_filtered_by_their_types(kando: Run, run_id: str) -> None:
    def shown(*options: str) -> list[str]:
        lines = kando("events", run_id, *options, "--json").stdout.splitlines()
        return [json.loads(line)["type"] for line in lines]

    assert shown("--type", "relation.created") == ["relation.created"]
    both = shown("--type", "kit.loaded", "--type", "responder.fired")
    assert both == ["kit.loaded", "responder.fired"]
    assert shown("--type", "no.such.type") == []
    as_text = kando("events", run_id, "--type", "responder.fired").stdout
    assert len(as_text.splitlines()) == 1


def test_events_that_are_followed_are_filtered_by_their_types(
    kando: Run, run_id: str, environ: dict[str, str], tmp_path: Path
) -> None:
    command = ["events", run_id, "--follow", "--type", "object.patched", "--json"]

    with subprocess.Popen(
        [sys.executable, "-m", "kando.cli.main", *command],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.PIPE,
    ) as following:
        assert kando("resume", run_id, "--llm", "parrot").returncode == 0
        assert following.stdout is not None
        first = json.loads(following.stdout.readline())
        following.kill()

    assert first["type"] == "object.patched"


def test_kando_without_arguments_shows_its_help_and_is_wrong_usage(kando: Run) -> None:
    done = kando()

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: kando")
    assert len(done.stderr.splitlines()) > 20


def test_the_exit_codes_are_listed(kando: Run) -> None:
    listed = json.loads(kando("exit-codes", "--json").stdout)["items"]

    assert [item["code"] for item in listed] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 130, 141]
    lines = kando("exit-codes").stdout.splitlines()
    assert [int(line.split()[0]) for line in lines] == [item["code"] for item in listed]


def test_shared_options_may_precede_or_follow_the_command(kando: Run, tiny: Path) -> None:
    url = "sqlite:here.sqlite"
    run_id = kando("run", "tiny", "--goal", "x", "--ledger", url).stdout.strip()

    assert kando("--ledger", url, "status", run_id).returncode == 0
    assert kando("status", run_id, "--ledger", url).returncode == 0
    assert kando("status", run_id).returncode == 3
    assert "Traceback" in kando("status", run_id, "--debug").stderr
    assert "Traceback" in kando("--debug", "status", run_id).stderr


def test_a_long_paragraph_is_shown_as_it_streams_in(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []

    with stream_to_stderr({"cause_object_id": "claim-1"}) as on_text:
        for word in ["anvil"] * 40:
            on_text(f"{word} ")
            shown.append(capsys.readouterr().err)
        on_text("x" * 300)
    shown.append(capsys.readouterr().err)

    lines = "".join(shown).splitlines()
    # Two lines are shown before the paragraph ends, and words are not broken.
    assert sum(bool(each) for each in shown[:-1]) == 2
    assert all(line.startswith("claim-1| anvil") for line in lines[:2])
    assert max(len(line) for line in lines[:2]) <= len("claim-1| ") + 100
    assert " ".join(line.removeprefix("claim-1| ") for line in lines).split() == [
        *["anvil"] * 40,
        "x" * 300,
    ]
