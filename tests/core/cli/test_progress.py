"""The display of progress: a status line on a terminal, plain lines elsewhere, and its limits."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from terminals import Terminal, screen

Run = Callable[..., Any]

#: `kando` with a display that does not wait before it draws, and that heeds signals even if
#: this process ignores them, as a job in the background does.
COMMAND = """
import signal
import kando.cli.progress as progress
from kando.cli.main import main
progress._DELAY_SECONDS, progress._LINE_SECONDS = 0.0, 0.05
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
main()
"""

#: Three requests, which a provider answers as soon as the test makes a file. Before and after
#: it, responders print.
SLOW = """
    import os, sys, threading, time, warnings
    from kando.emit import ask, create
    from kando.kit import Kit
    from kando.plugins import KitSpec, ProviderSpec, hookimpl
    from kando.schema.events import make_event

    kit = Kit("slow", seed=lambda goal, run_id: [make_event("go", "", "cli", [], {"goal": goal})])

    @kit.responder("go")
    def on_go(event, world):
        threads = sorted(each.name for each in threading.enumerate())
        print("threads:", *threads, flush=True)
        for number in range(3):
            yield ask([{"role": "user", "content": f"question {number}"}])

    @kit.responder("llm.response")
    def on_answer(event, world):
        for number in range(50):
            print(f"line {number} of {event.data['text']}.", file=(sys.stdout, sys.stderr)[number % 2])
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("careful")
        yield create("Answer", {})

    def open_gate(argument, environ):
        def complete(request):
            while not os.path.exists(argument):
                time.sleep(0.01)
            text = request["messages"][-1]["content"]
            return {"text": text, "model": "gate", "cost_usd": 0.25}
        return complete

    @hookimpl
    def kando_kits():
        return [KitSpec("slow", "slow_plugin:kit")]

    @hookimpl
    def kando_providers():
        return [ProviderSpec("gate", "slow_plugin:open_gate")]
"""

#: A seed whose handling waits for a file, in a run and in a replay.
BLOCKED = """
    import os, time
    from kando.emit import create
    from kando.kit import Kit
    from kando.plugins import KitSpec, hookimpl
    from kando.schema.events import make_event

    kit = Kit("blocked", seed=lambda goal, run_id: [make_event("go", "", "cli", [], {"goal": goal})])

    @kit.responder("go")
    def on_go(event, world):
        while not os.path.exists(event.data["goal"]):
            time.sleep(0.01)
        return [create("Thing", {})]

    @hookimpl
    def kando_kits():
        return [KitSpec("blocked", "blocked_plugin:kit")]
"""


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Return the file for which slow work waits."""
    return tmp_path / "gate"


@pytest.fixture
def slow(install: Run, gate: Path) -> list[str]:
    """Install the kit ``slow``, and return the arguments that start a run of it."""
    install("slow", SLOW)
    return ["run", "slow", "--goal", "x", "--llm", f"gate:{gate}"]


@pytest.fixture
def shown(environ: dict[str, str]) -> dict[str, str]:
    """Return the environment of a process that may show its progress."""
    return {name: value for name, value in environ.items() if name != "KANDO_QUIET"} | {
        "TERM": "xterm-256color"
    }


@pytest.fixture
def on_terminal(shown: dict[str, str], tmp_path: Path) -> Iterator[Run]:
    """Return ``on_terminal(*arguments, **how)``, which starts a command on a terminal."""
    terminals = []

    def on_terminal(*arguments: str, environ: dict[str, str] | None = None, **how: Any) -> Terminal:
        command = [sys.executable, "-c", COMMAND, *arguments]
        terminals.append(Terminal(command, shown | (environ or {}), tmp_path, **how))
        return terminals[-1]

    yield on_terminal
    for each in terminals:
        each.close()


def test_a_status_line_shows_the_calls_of_a_run_and_is_cleared_at_its_end(
    on_terminal: Run, slow: list[str], gate: Path
) -> None:
    terminal = on_terminal(*slow)
    terminal.until("3 calls in flight, 0 of 3 answered, 7 events")
    gate.touch()

    assert terminal.end() == 0
    last = screen(terminal.written)[-1]
    assert last.startswith("kando: finished: ")
    assert not any("in flight" in line for line in screen(terminal.written))
    # A process that is killed leaves a cursor that is visible.
    assert "\x1b[?25l" not in terminal.written


def test_other_output_does_not_tear_the_status_line(
    on_terminal: Run, slow: list[str], gate: Path
) -> None:
    terminal = on_terminal(*slow)
    terminal.until("3 calls in flight")
    gate.touch()

    assert terminal.end() == 0
    printed = [line for line in screen(terminal.written) if line.startswith("line ")]
    assert len(printed) == len(set(printed)) == 150
    assert all(line.endswith(".") for line in printed)
    assert "kando: careful" in screen(terminal.written)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_clears_the_status_line(on_terminal: Run, slow: list[str], number: int) -> None:
    terminal = on_terminal(*slow, "--grace", "0.1")
    terminal.until("3 calls in flight")

    terminal.process.send_signal(number)

    assert terminal.end() == 130
    lines = screen(terminal.written)
    assert "was interrupted" in " ".join(lines[-3:])
    assert not any("in flight, " in line for line in lines)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -15), (signal.SIGINT, 130)])
def test_a_signal_that_ends_a_reader_clears_the_status_line(
    on_terminal: Run, install: Run, kando: Run, gate: Path, number: int, code: int
) -> None:
    install("blocked", BLOCKED)
    gate.touch()
    run_id = kando("run", "blocked", "--goal", str(gate)).stdout.strip()
    gate.unlink()
    terminal = on_terminal("replay", run_id, "--strict")
    terminal.until(f"re-fire {run_id}")

    terminal.process.send_signal(number)

    assert terminal.end() == code
    assert not any("re-fire" in line for line in screen(terminal.written))


def test_a_run_continues_when_its_terminal_is_closed(
    on_terminal: Run, slow: list[str], gate: Path, kando: Run
) -> None:
    terminal = on_terminal(*slow)
    terminal.until("3 calls in flight")

    terminal.hang_up()
    gate.touch()

    terminal.process.wait(timeout=60)
    assert json.loads(kando("status", "@last", "--json").stdout)["state"] == "finished"


@pytest.mark.parametrize(
    ("variables", "columns"),
    [({"TERM": "dumb"}, 100), ({"TERM": "unknown"}, 100), ({}, 0), ({}, 5)],
    ids=["dumb", "unknown", "width-0", "width-5"],
)
def test_a_terminal_that_cannot_draw_gets_no_escape_sequences(
    on_terminal: Run, slow: list[str], gate: Path, variables: dict[str, str], columns: int
) -> None:
    terminal = on_terminal(*slow, environ=variables, columns=columns)
    terminal.until("kando-progress")
    if variables:
        # It gets plain lines instead.
        terminal.until("3 calls in flight")
    gate.touch()

    assert terminal.end() == 0
    assert "\x1b" not in terminal.written


def test_no_color_and_ascii_are_respected(on_terminal: Run, slow: list[str], gate: Path) -> None:
    plain = {"NO_COLOR": "1", "PYTHONIOENCODING": "ascii"}
    terminal = on_terminal(*slow, environ=plain)
    terminal.until("3 calls in flight")
    gate.touch()

    assert terminal.end() == 0
    assert "\x1b[2K" in terminal.written
    assert "m" not in {each[-1] for each in terminal.written.split("\x1b[")[1:] if each[:2] != "2K"}
    assert terminal.written.isascii()


def test_the_line_fits_the_width_of_the_terminal(
    on_terminal: Run, slow: list[str], gate: Path
) -> None:
    terminal = on_terminal(*slow, environ={"NO_COLOR": "1"}, columns=30)
    terminal.until("3 cal")
    gate.touch()

    assert terminal.end() == 0
    drawn = [each.partition("\r")[0] for each in terminal.written.split("\x1b[2K")[1:]]
    assert max(len(each) for each in drawn if "run " in each and "kando" not in each) <= 29


@pytest.mark.parametrize(
    ("options", "variables"), [(["--quiet"], {}), (["-q"], {}), ([], {"KANDO_QUIET": "1"})]
)
def test_quiet_shows_no_progress(
    on_terminal: Run, slow: list[str], gate: Path, options: list[str], variables: dict[str, str]
) -> None:
    terminal = on_terminal(*slow, *options, environ=variables)
    terminal.until("threads:")
    gate.touch()

    assert terminal.end() == 0
    assert "kando-progress" not in terminal.written
    assert "\x1b" not in terminal.written


def piped(arguments: list[str], environ: dict[str, str], folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_without_a_terminal_there_are_plain_lines_now_and_then(
    slow: list[str], gate: Path, shown: dict[str, str], tmp_path: Path
) -> None:
    with piped(slow, shown, tmp_path) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        run_id = child.stdout.readline().strip()
        found = next(line for line in child.stderr if "3 calls in flight" in line)
        gate.touch()
        child.communicate(timeout=60)

    assert child.returncode == 0
    assert found.startswith("kando: 0:")
    assert found.endswith(f" run {run_id}: 3 calls in flight, 0 of 3 answered, 7 events\n")


def test_with_json_stderr_is_left_alone_unless_it_is_a_terminal(
    slow: list[str], gate: Path, shown: dict[str, str], tmp_path: Path
) -> None:
    with piped([*slow, "--json"], shown, tmp_path) as child:
        assert child.stderr is not None
        assert "kando-progress" not in child.stderr.readline()
        gate.touch()
        out, err = child.communicate(timeout=60)

    assert json.loads(out)["state"] == "finished"
    assert "in flight" not in err


def test_with_json_on_a_terminal_stdout_holds_nothing_but_json(
    on_terminal: Run, slow: list[str], gate: Path, tmp_path: Path
) -> None:
    with (tmp_path / "out").open("wb") as out:
        terminal = on_terminal(*slow, "--json", stdout=out.fileno())
    terminal.until("3 calls in flight")
    gate.touch()

    assert terminal.end() == 0
    assert json.loads((tmp_path / "out").read_text())["state"] == "finished"
    assert not any("in flight" in line for line in screen(terminal.written))


@pytest.mark.parametrize("how", ["closed", "full", "gone"])
def test_a_run_without_a_usable_stderr_finishes(
    slow: list[str], gate: Path, shown: dict[str, str], tmp_path: Path, how: str
) -> None:
    prepared = {
        "closed": "os.close(2)",
        "full": "os.dup2(os.open('/dev/full', os.O_WRONLY), 2)",
        "gone": "r, w = os.pipe(); os.dup2(w, 2); os.close(w); os.close(r)",
    }[how]
    started = f"import os; {prepared}; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    child = subprocess.Popen(
        [sys.executable, "-c", f"import sys; {started}", "-c", COMMAND, *slow],
        cwd=tmp_path,
        env=shown,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline().strip()
        gate.touch()
        assert child.wait(timeout=60) == 0


HOSTILE = "\x1b]0;title\x07[bold]loud[/bold]\x1b[2J\u202e\n"


def test_names_from_a_ledger_are_shown_as_text(
    shown: dict[str, str], gate: Path, tmp_path: Path
) -> None:
    code = f"""
import os, time
from kando.app.activities import Activities
from kando.app.streams import safe_streams
from kando.cli import progress
progress._DELAY_SECONDS = 0.0
activities = Activities()
with safe_streams(), progress.progress_shown(activities, "kando x", as_json=False, is_paged=False):
    with activities.step({HOSTILE!r}):
        while not os.path.exists({str(gate)!r}):
            time.sleep(0.01)
"""
    terminal = Terminal([sys.executable, "-c", code], shown, tmp_path)
    try:
        terminal.until("[bold]loud[/bold]")
        gate.touch()
        assert terminal.end() == 0
    finally:
        terminal.close()
    for obeyed in ("\x1b]", "\x1b[2J", "\x07", "\u202e", "\x1b[1m"):
        assert obeyed not in terminal.written


def test_a_run_that_waits_for_a_message_says_so(on_terminal: Run, kando: Run, tiny: Path) -> None:
    run_id = kando("run", "tiny", "--goal", "x").stdout.strip()
    terminal = on_terminal("resume", run_id, "--wait")
    terminal.until(f"run {run_id}: waiting for a timer or a message")

    terminal.process.send_signal(signal.SIGINT)

    assert terminal.end() == 130
    assert not any("waiting for a timer" in line for line in screen(terminal.written))


def test_rich_is_imported_only_to_draw(environ: dict[str, str], tmp_path: Path, tiny: Path) -> None:
    code = """
import sys
from kando.cli.main import main
try:
    main(["run", "tiny", "--goal", "x", "--llm", "parrot"])
finally:
    print("rich" in sys.modules, "kando.cli.progress" in sys.modules)
"""
    shown = {name: value for name, value in environ.items() if name != "KANDO_QUIET"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=shown,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.stdout.splitlines()[-1] == "False True"


def test_a_worker_without_jobs_does_not_repeat_its_report(
    shown: dict[str, str], tmp_path: Path, kando: Run, tiny: Path
) -> None:
    kando("run", "tiny", "--goal", "x", "--group", "g")
    with piped(["worker", "--group", "g"], shown, tmp_path) as child:
        assert child.stderr is not None
        lines = [next(line for line in child.stderr if line.endswith("group g: 1 jobs done\n"))]
        kando("run", "tiny", "--goal", "y", "--group", "g")
        for line in child.stderr:
            lines.append(line)
            if line.endswith("group g: 2 jobs done\n"):
                break
        child.terminate()
        child.communicate(timeout=60)

    assert child.returncode == 0
    reports = [line.partition(" group ")[2] for line in lines]
    waiting = [each.endswith("jobs done\n") for each in reports]
    assert not any(
        each and one == other
        for each, one, other in zip(waiting, reports, reports[1:], strict=False)
    )
