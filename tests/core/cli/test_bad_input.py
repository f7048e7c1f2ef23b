"""Bad input: a one-line error, the documented exit code, and an unchanged store."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_refused(done: Any, code: int, *says: str) -> None:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("kando: ")
    assert "Traceback" not in line
    for part in says:
        assert part in line


def test_the_demo_needs_no_store_and_creates_none(process: Run, home: Path) -> None:
    status = process("status", "demo")
    trace = process("trace", "object.created-2")

    assert status.returncode == trace.returncode == 0
    assert "events    3" in status.stdout
    assert [line.split("  ")[0].rstrip() for line in trace.stdout.splitlines()] == [
        "object.created-2",
        "object.created-1",
        "object.created-0 (root)",
    ]
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [["runs"], ["status", "x"], ["events", "x"], ["world", "x"], ["replay", "x"], ["verify", "x"]],
)
def test_reading_where_nothing_was_recorded_creates_nothing(
    process: Run, home: Path, command: list[str]
) -> None:
    done = process(*command)

    assert done.returncode == (0 if command == ["runs"] else 3)
    assert list(home.iterdir()) == []


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (["statsu"], 2, ["No such command 'statsu'", "'status'"]),
        (["run", "tiny"], 2, ["--goal"]),
        (["run", "tinny", "--goal", "x"], 3, ["'tinny'", "tiny"]),
        (["run", "tiny", "--goal", "x", "--llm", "parot"], 3, ["'parot'", "parrot"]),
        (["run", "tiny", "--goal", "x", "--budget-events", "-1"], 2, ["-1"]),
        (["run", "tiny", "stray", "--goal", "x"], 2, ["stray"]),
        (["status", "nobody"], 3, ["no run 'nobody'"]),
        (["status", "@last~7"], 3, ["@last~7"]),
        (["trace", "object.created-99", "--run", "RUN"], 3, ["object.created-99"]),
        (["trace", "nothing", "--run", "RUN"], 3, ["'nothing'"]),
        (["world", "RUN", "--at", "999"], 3, ["999", "Use 0 to"]),
        (["events", "RUN@999"], 3, ["999"]),
        (["events", "RUN@x"], 3, ["RUN@N"]),
        (["fork", "RUN", "--at", "999"], 3, ["999"]),
        (["fork", "RUN"], 3, ["--at"]),
        (["fork", "RUN", "--at", "2", "--patch", "goal", "{"], 2, ["--patch is not JSON"]),
        (["fork", "RUN", "--at", "2", "--patch", "goal", "[]"], 2, ["JSON object"]),
        (["fork", "RUN", "--at", "2", "--patch", "nobody", "{}"], 1, ["'nobody'"]),
        (["fork", "RUN", "--at", "2", "--event", "missing.json"], 2, ["missing.json"]),
        (["fork", "RUN", "--at", "2", "--kit", "nokit", "--run"], 3, ["'nokit'"]),
        (["fork", "RUN", "--at", "2", "--llm", "parot", "--run"], 3, ["'parot'"]),
        (["fork", "RUN", "--at", "2", "--model", " "], 1, ["model"]),
        (["branches", "nobody"], 3, ["'nobody'"]),
        (["fork", "nobody", "--at", "1"], 3, ["'nobody'"]),
        (["diff", "RUN", "nobody"], 3, ["'nobody'"]),
        (["compare", "RUN", "nobody"], 3, ["'nobody'"]),
        (["metrics", "RUN@999"], 3, ["999"]),
        (["compare", "RUN@2"], 3, ["whole run"]),
        (["resume", "nobody"], 3, ["'nobody'"]),
        (["resume", "RUN", "--kit", "nokit"], 3, ["'nokit'"]),
        (["send", "RUN", "--type", "x", "--data", "[1"], 2, ["--data is not JSON"]),
        (["send", "RUN", "--type", "responder.fired", "--data", "{}"], 1, ["cannot be sent"]),
        (["send", "RUN", "--type", "person.reminded", "--data", "{}"], 1, ["cannot be sent"]),
        (["send", "RUN"], 2, ["--type"]),
        (["send", "RUN", "--about", "x"], 2, ["--text"]),
        (["send", "RUN", "--text", "x", "--type", "y"], 2, ["--text"]),
        (["send", "RUN", "--text", " "], 1, ["Say something"]),
        (["send", "RUN", "--text", "x", "--about", "no"], 3, ["no object 'no'"]),
        (["runs", "--cursor", "abc"], 2, ["'abc'"]),
        (["--ledger", "nonsense:x", "runs"], 3, ["nonsense"]),
        (["--ledger", "store.sqlite", "runs"], 2, ["sqlite:store.sqlite"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_a_wrong_name_or_position_is_refused_and_the_store_stays_unchanged(
    kando: Run, home: Path, command: list[str], code: int, says: list[str]
) -> None:
    run_id = kando("run", "tiny", "--goal", "x").stdout.strip()
    before = content_of(home)

    done = kando(*[part.replace("RUN", run_id) for part in command])

    assert_refused(done, code, *says)
    assert content_of(home) == before
    in_json = kando(*[part.replace("RUN", run_id) for part in command], "--json")
    assert in_json.returncode == code
    assert set(json.loads(in_json.stderr)["error"]) == {"code", "message", "hint"}


@pytest.mark.usefixtures("tiny")
def test_a_prefix_of_several_runs_lists_them(kando: Run) -> None:
    runs = [kando("run", "tiny", "--goal", "x").stdout.strip() for _ in range(40)]
    initials = [run_id[0] for run_id in runs]
    (initial, *_) = [c for c in initials if initials.count(c) > 1]

    done = kando("status", initial)

    assert_refused(done, 3, "prefix of several runs")
    assert any(run_id in done.stderr for run_id in runs)


def text_file(path: Path) -> None:
    path.write_text("not a database at all, and not a short text either\n" * 100)


def foreign_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (a)")
    connection.commit()
    connection.close()


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("make", [text_file, foreign_database, folder])
@pytest.mark.parametrize(
    "command", [["runs"], ["run", "tiny", "--goal", "x"]], ids=["read", "write"]
)
def test_a_file_that_is_not_a_store_is_refused_and_stays_unchanged(
    kando: Run, tmp_path: Path, make: Callable[[Path], None], command: list[str]
) -> None:
    place = tmp_path / "store"
    make(place)
    before = content_of(tmp_path)

    done = kando("--ledger", f"sqlite:{place}", *command)

    assert_refused(done, 4, str(place))
    assert content_of(tmp_path) == before


BAD_SEEDS = {
    "not a number": 'make_event("x", "", "", [], {"a": float("nan")})',
    "bytes": 'make_event("x", "", "", [], {"a": b""})',
    "a set": 'make_event("x", "", "", [], {"a": {1}})',
    "a key that is not a string": 'make_event("x", "", "", [], {"a": {1: 2}})',
    "an event without a type": 'make_event("", "", "", [], {})',
    "an object without a type": 'make_event("object.created", "", "", [], {"data": {}})',
    "a patch of an unknown object": 'make_event("object.patched", "", "", [], {"id": "g", "patch": {}})',
    "not an event": '"text"',
}


@pytest.mark.parametrize("seed", BAD_SEEDS.values(), ids=BAD_SEEDS)
def test_a_kit_whose_seed_cannot_be_recorded_records_nothing(
    kando: Run, install: Run, home: Path, seed: str
) -> None:
    install(
        "bad",
        f"""
        from kando.kit import Kit
        from kando.plugins import KitSpec, hookimpl
        from kando.schema.events import make_event

        kit = Kit("bad", seed=lambda goal, run_id: [make_event("a", "", "", [], {{}}), {seed}])

        @hookimpl
        def kando_kits():
            return [KitSpec("bad", "bad_plugin:kit")]
        """,
    )

    done = kando("run", "bad", "--goal", "x")

    assert_refused(done, 1)
    assert list(home.iterdir()) == []


RAISES = """
    from kando.kit import Kit
    from kando.plugins import KitSpec, hookimpl
    from kando.schema.events import make_event

    kit = Kit("raises", seed=lambda goal, run_id: [make_event("go", "", "", [], {})])

    @kit.responder("go")
    def on_go(event, world):
        raise ZeroDivisionError("by nothing")

    @hookimpl
    def kando_kits():
        return [KitSpec("raises", "raises_plugin:kit")]
"""


def test_a_run_whose_responder_raises_is_kept_and_can_be_resumed_after_a_fix(
    process: Run, install: Run
) -> None:
    path = install("raises", RAISES)

    done = process("run", "raises", "--goal", "x")
    run_id = done.stdout.strip()

    assert done.returncode == 6
    assert len(done.stderr.splitlines()) == 1
    assert "ZeroDivisionError: by nothing" in done.stderr
    assert f"kando resume {run_id}" in done.stderr
    assert json.loads(process("status", run_id, "--json").stdout)["state"] == "failed"
    assert "Traceback" in process("--debug", "resume", run_id).stderr
    path.write_text(path.read_text().replace('raise ZeroDivisionError("by nothing")', "return []"))
    assert process("resume", run_id).returncode == 0
    assert json.loads(process("status", run_id, "--json").stdout)["state"] == "finished"


def test_the_hint_of_a_failed_run_leads_to_the_failure_with_the_file_and_line_of_the_kit(
    kando: Run, install: Run
) -> None:
    path = install("raises", RAISES)
    line = path.read_text().splitlines().index('    raise ZeroDivisionError("by nothing")') + 1

    failed = kando("run", "raises", "--goal", "x")
    hinted = re.findall(r"`kando ([^`]*)`", failed.stderr)
    shown = [kando(*command.split()).stdout for command in hinted]

    reason = f"ZeroDivisionError: by nothing ({path}:{line})"
    assert f"failed: {reason}. " in failed.stderr
    # The first command shows the failure; the other steps over it.
    assert [sum(f"raised: {reason}" in each for each in out.splitlines()) for out in shown] == [
        1,
        0,
    ]


def test_the_text_of_a_goal_never_reaches_a_terminal_as_an_escape_sequence(
    kando: Run, tiny: Path
) -> None:
    hostile = "red \x1b[31m bell \x07 \u202e end"
    run_id = kando("run", "tiny", "--goal", hostile).stdout.strip()

    for command in ("status", "events", "world", "runs"):
        arguments = [] if command == "runs" else [run_id]
        shown = kando(command, *arguments).stdout
        assert not set("\x1b\x07\u202e") & set(shown)


STALLS = """
    import time
    from kando.emit import ask
    from kando.kit import Kit
    from kando.plugins import KitSpec, ProviderSpec, hookimpl
    from kando.schema.events import make_event

    kit = Kit("stalls", seed=lambda goal, run_id: [make_event("go", "", "", [], {})])

    @kit.responder("go")
    def on_go(event, world):
        yield ask([{"role": "user", "content": "?"}])

    def open_sleeper(argument, environ):
        def complete(request):
            if not argument:
                print("called", flush=True)
                time.sleep(600)
            return {"text": "awake", "model": "sleeper", "cost_usd": 0.0}
        return complete

    @hookimpl
    def kando_kits():
        return [KitSpec("stalls", "stalls_plugin:kit")]

    @hookimpl
    def kando_providers():
        return [ProviderSpec("sleeper", "stalls_plugin:open_sleeper")]
"""


def test_ctrl_c_ends_within_the_grace_keeps_recorded_events_and_says_how_to_resume(
    process: Run,
    install: Run,
    environ: dict[str, str],
    tmp_path: Path,
    interruptible: list[str],
) -> None:
    install("stalls", STALLS)
    environ["KANDO_GRACE_SECONDS"] = "1"
    command = [*interruptible, "run", "stalls", "--goal", "x"]
    with subprocess.Popen(
        [*command, "--llm", "sleeper"],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        run_id = child.stdout.readline().strip()
        assert child.stderr.readline() == "called\n"
        child.send_signal(signal.SIGINT)
        said = child.stderr.read()
        assert child.wait(timeout=30) == 130
    assert f"kando resume {run_id}" in said

    assert process("resume", run_id, "--llm", "sleeper:now").returncode == 0
    assert json.loads(process("status", run_id, "--json").stdout)["state"] == "finished"


def test_starting_imports_nothing_heavy(environ: dict[str, str]) -> None:
    code = """
import sys
import kando, kando.cli.main
from kando.cli.main import main
for arguments in (["--help"], ["--version"]):
    try:
        main(arguments)
    except SystemExit:
        pass
heavy = {"anthropic", "openai", "esdbclient", "kurrentdbclient", "grpc", "mcp", "pydantic", "rich",
         "attrs", "cattrs", "msgspec", "pluggy", "sqlite3", "importlib_metadata"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"
