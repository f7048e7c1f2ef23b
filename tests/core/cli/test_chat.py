"""`kando chat`: a conversation in real processes, over pipes and on a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kando.schema.content import MAX_PART_BYTES
from terminals import Terminal

Run = Callable[..., Any]

#: Turns are kept in one object; the model's words have tools called and people asked.
TALKER = """
    import time
    from pathlib import Path
    from kando import Kit, ask, ask_person, call_tool, create, emit, patch, text_of
    from kando.plugins import KitSpec, ProviderSpec, hookimpl
    from kando.responders.policies import Ask

    kit = Kit("talker", version="1")

    @kit.tool
    def pay(amount: int) -> str:
        return f"paid {amount}"

    @kit.policy
    def careful(intent):
        return Ask("Is it yours?") if intent.type == "tool.called" else None

    @kit.seeds
    def seeds(goal, run_id):
        return [create("Talk", {"turns": []}, id="talk"), emit("human.message", {"text": goal})]

    @kit.responder("human.message")
    def on_message(event, world):
        turns = world.get_object("talk").data["turns"]
        turns = [*turns, {"role": "user", "content": event.data["text"]}]
        yield patch("talk", {"turns": turns})
        yield ask(turns, about="talk")

    @kit.responder("llm.response")
    def on_answer(event, world):
        text = text_of(event.data)
        if text is None:
            return
        turns = world.get_object("talk").data["turns"]
        yield patch("talk", {"turns": [*turns, {"role": "assistant", "content": text}]})
        if "I pay" in text:
            yield call_tool("pay", {"amount": 7})
        if "Which" in text:
            yield ask_person("Which one?", about="talk")

    class Model:
        def __init__(self, argument):
            self.argument = argument

        def __call__(self, request):
            return self.stream(request, lambda piece: None)

        def stream(self, request, on_text):
            said = [m["content"] for m in request["messages"] if m["role"] == "user"]
            said = [each if isinstance(each, str) else each[0]["text"] for each in said]
            pieces = [f"{len(said)}: ", said[-1], "!\\n"]
            if said[-1] == "fail":
                return {"error": {"type": "Down", "message": "the model is down"}}
            on_text(pieces[0])
            if said[-1].startswith("wait for "):
                path = Path(said[-1].removeprefix("wait for "))
                path.with_suffix(".begun").write_text("")
                while not path.exists():
                    time.sleep(0.01)
            for piece in pieces[1:]:
                on_text(piece)
            return {"text": "".join(pieces), "model": "m", "cost_usd": 0.25}

    def open_model(argument, environ):
        return Model(argument)

    declared = Kit("declared", version="1")
    declared.conversation(system="Be brief.")

    deaf = Kit("deaf", version="1", seed=seeds)
    about = Kit("about", version="1", seed=seeds)

    @about.responder("human.message", type="Talk")
    def on_turn(event, world):
        yield create("Heard", {"text": event.data["text"]})

    @hookimpl
    def kando_kits():
        names = {"talker": "kit", "deaf": "deaf", "about": "about", "declared": "declared"}
        return [KitSpec(name, f"talker_plugin:{target}", "talks") for name, target in names.items()]

    @hookimpl
    def kando_providers():
        return [ProviderSpec("model", "talker_plugin:open_model", summary="repeats what is said")]
"""


@pytest.fixture
def talker(install: Callable[[str, str], Path]) -> Path:
    """Install the kit ``talker`` and the provider ``model``."""
    return install("talker", TALKER)


@pytest.fixture
def chat(environ: dict[str, str], talker: Path, tmp_path: Path) -> Run:
    """Return ``chat(lines, *arguments)``, which talks over pipes until the lines end."""

    def chat(lines: str | bytes, *arguments: str, **variables: str) -> Any:
        given = lines.encode() if isinstance(lines, str) else lines
        done = subprocess.run(
            [sys.executable, "-m", "kando.cli.main", "chat", *arguments],
            cwd=tmp_path,
            env=environ | variables,
            input=given,
            capture_output=True,
            timeout=120,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return chat


def talks(kando: Run, run: str = "@last") -> list[str]:
    """Return the turns in the world of a run."""
    world = json.loads(kando("world", run, "--json").stdout)
    (talk,) = [each for each in world["objects"] if each["type"] == "Talk"]
    return [each["content"] for each in talk["data"]["turns"]]


def runs(kando: Run) -> list[dict[str, Any]]:
    return list(json.loads(kando("runs", "--json").stdout)["items"])


def test_each_line_is_a_turn_and_only_answers_are_data(chat: Run, kando: Run) -> None:
    done = chat("hello\n\n  how are you \n", "talker", "--llm", "model")

    assert done.returncode == 0, done.stderr
    assert done.stdout == "1: hello!\n2: how are you!\n"
    assert talks(kando) == ["hello", "1: hello!\n", "how are you", "2: how are you!\n"]
    assert f"kando chat {runs(kando)[0]['run_id']} --llm model" in done.stderr


def test_a_conversation_continues_in_later_processes(chat: Run, kando: Run) -> None:
    chat("one\n/quit\nnot a turn\n", "talker", "--llm", "model")
    second = chat("two", "@last", "--llm", "model")
    third = chat("", "@last", "--llm", "model")

    assert second.stdout == "2: two!\n"
    assert third.stdout == ""
    assert len(talks(kando)) == 4
    assert len(runs(kando)) == 1


def test_the_goal_is_the_first_turn(chat: Run) -> None:
    assert chat("", "talker", "--goal", "go", "--llm", "model").stdout == "1: go!\n"


def test_without_a_line_no_run_is_started(chat: Run, kando: Run) -> None:
    assert chat("\n/help\n/quit\n", "talker", "--llm", "model").returncode == 0
    assert runs(kando) == []


def test_a_kit_in_a_file_is_named_again_to_continue(
    chat: Run, talker: Path, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(talker.read_text())
    first = chat("one\n", "./own.py", "--llm", "model")
    second = chat("two\n", "@last", "--kit", "./own.py", "--llm", "model")

    assert "--kit ./own.py" in first.stderr
    assert second.stdout == "2: two!\n"


def test_undo_continues_on_a_branch_from_before_the_last_turn(chat: Run, kando: Run) -> None:
    done = chat("one\ntwo\n/undo\nthree\n/undo\n/undo\nfour\n", "talker", "--llm", "model")

    assert done.stdout == "1: one!\n2: two!\n2: three!\n1: four!\n"
    assert talks(kando) == ["four", "1: four!\n"]
    states = runs(kando)
    assert len(states) == 4
    assert {each["state"] for each in states} == {"finished"}
    assert talks(kando, states[-1]["run_id"]) == ["one", "1: one!\n", "two", "2: two!\n"]


def test_there_is_nothing_to_undo_before_the_first_turn(chat: Run, kando: Run) -> None:
    done = chat("one\n/undo\n/undo\n", "talker", "--llm", "model")

    assert "the run has no turn to undo" in done.stderr
    assert len(runs(kando)) == 1


def test_fork_continues_on_a_branch_from_here(chat: Run, kando: Run) -> None:
    done = chat("one\n/fork\ntwo\n", "talker", "--llm", "model")

    assert done.stdout == "1: one!\n2: two!\n"
    branch, run = runs(kando)
    assert branch["parent_id"] == run["run_id"]
    assert talks(kando, run["run_id"]) == ["one", "1: one!\n"]


def test_the_cost_and_the_state_are_shown_on_request(chat: Run) -> None:
    done = chat("one\ntwo\n/cost\n/status\n/what\n", "talker", "--llm", "model", KANDO_QUIET="0")

    assert "$0.5000: 2 answers" in done.stderr
    assert "is finished" in done.stderr
    assert "/undo" in done.stderr
    assert done.stderr.count("($0.2500, ") == 2


def test_a_file_is_sent_with_the_next_turn(chat: Run, kando: Run, tmp_path: Path) -> None:
    (tmp_path / "a plan.pdf").write_bytes(b"%PDF-1.4 plan")
    (tmp_path / "dot.png").write_bytes(b"\x89PNG\r\n\x1a\n dot")
    (tmp_path / "notes.txt").write_text("buy milk")
    lines = 'hello\n/attach "a plan.pdf"\n/attach dot.png\n/attach notes.txt\nlook\nbye\n'
    done = chat(lines, "declared", "--llm", "model")

    assert done.returncode == 0, done.stderr
    assert "kando: a plan.pdf (application/pdf) goes with your next turn" in done.stderr
    events = map(json.loads, kando("events", "@last", "--json").stdout.splitlines())
    hello, look, bye = [each["data"] for each in events if each["type"] == "human.message"]
    assert [(each["type"], each.get("media_type")) for each in look["content"]] == [
        ("text", None),
        ("file", "application/pdf"),
        ("image", "image/png"),
        ("file", "text/plain"),
    ]
    assert "content" not in hello
    assert "content" not in bye


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "needs the path of a file"),
        ("missing.png", "does not exist"),
        (".", "is not a file"),
        ("large.txt", "has more than"),
        ("noise.bin", "media type"),
    ],
)
def test_a_file_that_cannot_be_sent_is_refused_with_words(
    chat: Run, kando: Run, tmp_path: Path, path: str, says: str
) -> None:
    with (tmp_path / "large.txt").open("wb") as large:
        large.truncate(MAX_PART_BYTES + 1)
    (tmp_path / "noise.bin").write_bytes(b"\x00\xff\x00")
    done = chat(f"hello\n/attach {path}\nlook\n", "declared", "--llm", "model")

    assert done.returncode == 0, done.stderr
    assert says in done.stderr
    assert done.stdout.count("look") == 1
    assert '"content": [' not in kando("events", "@last", "--json").stdout


def test_the_first_turn_takes_no_file(chat: Run, kando: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("buy milk")
    lines = "/attach notes.txt\nhello\n/undo\n/attach notes.txt\nhi\n"
    done = chat(lines, "declared", "--llm", "model")

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("text alone") == 2
    assert '"content": [' not in kando("events", "@last", "--json").stdout


@pytest.mark.parametrize(
    ("decision", "result"),
    [("y", "paid 7"), ("YES", "paid 7"), ('{"amount": 9}', "paid 9"), ("n too much", None)],
)
def test_an_approval_is_asked_inline(
    chat: Run, kando: Run, decision: str, result: str | None
) -> None:
    lines = f'I pay\nmaybe\n[1]\n{{"amount": "x"}}\n{{"a\n{decision}\nthen\n'
    done = chat(lines, "talker", "--llm", "model", KANDO_QUIET="0")

    assert done.returncode == 0, done.stderr
    assert 'Allow pay {"amount": 7}? Is it yours?' in done.stderr
    assert done.stdout == "1: I pay!\n2: then!\n"
    events = [json.loads(line) for line in kando("events", "@last", "--json").stdout.splitlines()]
    (returned,) = [each for each in events if each["type"] == "tool.returned"]
    assert returned["data"].get("result") == result
    assert f"pay: {result}" in done.stderr or "too much" in done.stderr


def test_a_question_is_asked_inline(chat: Run, kando: Run) -> None:
    done = chat("Which\nthe red one\nthen\n", "talker", "--llm", "model")

    assert "Which one?" in done.stderr
    assert done.stdout == "1: Which!\n2: then!\n"
    events = kando("events", "@last", "--json").stdout
    assert '"answer": "the red one"' in events


def test_an_approval_that_is_not_answered_is_asked_again_by_the_next_process(
    chat: Run, kando: Run
) -> None:
    chat("I pay\n/quit\n", "talker", "--llm", "model")
    assert runs(kando)[0]["state"] == "waiting"

    chat("y\n", "@last", "--llm", "model")

    assert runs(kando)[0]["state"] == "finished"


def test_a_turn_that_was_cut_off_by_a_kill_is_taken_up_again(
    chat: Run, kando: Run, interruptible: list[str], environ: dict[str, str], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    command = [*interruptible, "chat", "talker", "--llm", "model", "--goal", f"wait for {gate}"]
    with subprocess.Popen(
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        wait_for(gate.with_suffix(".begun"))
        process.kill()
        process.communicate()
    gate.write_text("")

    done = chat("and\n", "@last", "--llm", "model", KANDO_LEASE_SECONDS="1")

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"1: wait for {gate}!\n2: and!\n"


def test_text_is_shown_before_its_answer_is_complete(
    talker: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    command = [sys.executable, "-m", "kando.cli.main", "chat", "talker", "--llm", "model"]
    with subprocess.Popen(
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"wait for {gate}\n".encode())
        process.stdin.flush()
        assert process.stdout.read(3) == b"1: "
        gate.write_text("")
        out, err = process.communicate(timeout=60)
    assert out.decode() == f"wait for {gate}!\n", err
    assert process.returncode == 0


def test_json_has_a_line_for_all_that_happens(chat: Run) -> None:
    done = chat("I pay\ny\n", "talker", "--llm", "model", "--json")

    found = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [each["kind"] for each in found]
    assert kinds[0] == "run"
    assert kinds[-1] == "turn_ended"
    assert [each for each in kinds if each not in ("text", "run")] == [
        *("text_ended", "tool_called", "approval", "tool_returned", "turn_ended")
    ]
    assert "".join(each["text"] for each in found if each["kind"] == "text") == "1: I pay!\n"
    assert found[-1]["status"]["state"] == "finished"
    assert found[-1]["cost_usd"] == 0.25


@pytest.mark.parametrize(
    ("lines", "arguments", "code", "says"),
    [
        ("x\n", ("nowhere",), 3, "There is no kit and no run 'nowhere'"),
        ("x\n", ("talker", "--kit", "talker"), 2, "--kit needs a RUN"),
        ("x\ny\n", ("deaf",), 2, "has no responder for human.message"),
        ("x\n", ("talker", "--llm", "unknown"), 3, "unknown"),
        ("fail\n", ("talker", "--llm", "model"), 6, "the model is down"),
        ("a\nb\nc\n", ("talker", "--llm", "model", "--budget-llm-calls", "1"), 7, "llm_calls"),
    ],
)
def test_a_problem_is_reported_with_the_exit_code_of_other_commands(
    chat: Run, lines: str, arguments: tuple[str, ...], code: int, says: str
) -> None:
    done = chat(lines, *arguments)

    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_options_of_a_new_run_are_refused_for_a_run(chat: Run) -> None:
    chat("one\n", "talker", "--llm", "model")

    assert chat("", "@last", "--goal", "x").returncode == 2


def test_a_turn_is_about_the_object_that_the_kit_wants_it_to_be_about(
    chat: Run, kando: Run
) -> None:
    chat("one\ntwo\n", "about")

    world = json.loads(kando("world", "@last", "--json").stdout)
    heard = [each["data"]["text"] for each in world["objects"] if each["type"] == "Heard"]
    assert heard == ["two"]


def test_a_terminal_obeys_nothing_that_a_model_writes(chat: Run) -> None:
    done = chat(b"\x1b[2J \xff end\r\n", "talker", "--llm", "model")

    assert done.stdout == "1: \\u001b[2J \N{REPLACEMENT CHARACTER} end!\n"


def wait_until_sent(kando: Run, text: str) -> None:
    end = time.monotonic() + 60
    # It may be recorded while the model answers.
    while not runs(kando)[0]["unread"] and text not in kando("events", "@last").stdout:
        assert time.monotonic() < end


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.01)


#: With this sequence an editor of lines begins.
EDITING = "\x1b[?2004h"


@pytest.fixture
def terminal(
    talker: Path, environ: dict[str, str], interruptible: list[str], tmp_path: Path
) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_terminal(*arguments: str, **variables: str) -> Terminal:
        command = [*interruptible, "chat", *arguments]
        opened.append(Terminal(command, environ | {"KANDO_QUIET": "0"} | variables, tmp_path))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()


def test_a_conversation_on_a_plain_terminal(terminal: Callable[..., Terminal], kando: Run) -> None:
    shown = terminal("talker", "--llm", "model", TERM="dumb")
    shown.until("> ")
    shown.type("hello\r")
    shown.until("($0.2500")
    shown.type("I pay\r")
    shown.until("[y, n REASON, JSON]")
    shown.type("y\r")
    shown.until("pay: paid 7")
    shown.type("/quit\r")

    assert shown.end() == 0
    assert "1: hello!" in shown.written
    assert "Continue with: kando chat" in shown.written
    assert talks(kando)[0] == "hello"


def test_a_line_typed_during_a_turn_is_sent_at_once(
    terminal: Callable[..., Terminal], kando: Run, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    shown = terminal("talker", "--llm", "model", "--goal", f"wait for {gate}", TERM="dumb")
    shown.until("1: ")
    shown.type("and this\r")
    wait_until_sent(kando, "and this")
    gate.write_text("")
    shown.until("2: and this!")
    shown.type("/quit\r")

    assert shown.end() == 0
    assert "and this" in talks(kando)


def test_ctrl_c_interrupts_the_turn_and_keeps_the_run(
    terminal: Callable[..., Terminal], kando: Run, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    shown = terminal("talker", "--llm", "model", "--goal", f"wait for {gate}", TERM="dumb")
    shown.until("1: ")
    os.kill(shown.process.pid, signal.SIGINT)
    shown.until("interrupted: the next line resumes the run")
    shown.type("go on\r")
    gate.write_text("")
    shown.until("2: go on!")
    shown.type("/quit\r")

    assert shown.end() == 0
    assert talks(kando)[-1] == "2: go on!\n"


def test_a_declared_conversation_records_lines_of_a_turn_and_those_after_ctrl_c(
    terminal: Callable[..., Terminal], kando: Run, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    shown = terminal("declared", "--llm", "model", "--goal", f"wait for {gate}", TERM="dumb")
    shown.until("1: ")
    shown.type("one more\r")
    wait_until_sent(kando, "one more")
    os.kill(shown.process.pid, signal.SIGINT)
    shown.until("interrupted: the next line resumes the run")
    shown.type("go on\r")
    gate.write_text("")
    shown.until("3: go on!")
    shown.type("/quit\r")

    assert shown.end() == 0
    assert kando("replay", "@last", "--strict").returncode == 0
    world = json.loads(kando("world", "@last", "--json").stdout)
    (conversation,) = [each for each in world["objects"] if each["type"] == "Conversation"]
    said = [each["content"] for each in conversation["data"]["messages"] if each["role"] == "user"]
    assert said == [f"wait for {gate}", "one more", "go on"]


def test_a_process_that_is_asked_to_end_keeps_the_answer_in_flight(
    chat: Run, kando: Run, talker: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    command = [sys.executable, "-m", "kando.cli.main", "chat", "talker", "--llm", "model"]
    with subprocess.Popen(
        [*command, "--goal", f"wait for {gate}"],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        wait_for(gate.with_suffix(".begun"))
        process.terminate()
        assert process.stderr is not None
        while b"ending: calls in flight" not in process.stderr.readline():
            assert process.poll() is None
        gate.write_text("")
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"Continue with: kando chat" in err

    done = chat("and\n", "@last", "--llm", "model")

    assert done.stdout == f"1: wait for {gate}!\n2: and!\n" or done.stdout == "2: and!\n"
    assert len(talks(kando)) == 4


def test_an_error_in_a_turn_leaves_the_prompt_on_a_terminal(
    terminal: Callable[..., Terminal],
) -> None:
    shown = terminal("deaf", TERM="dumb")
    shown.until("> ")
    shown.type("one\r")
    shown.until("($0.0000")
    shown.type("two\r")
    shown.until("has no responder for human.message")
    shown.type("/quit\r")

    assert shown.end() == 2


def test_lines_are_edited_with_prompt_toolkit_on_a_terminal(
    terminal: Callable[..., Terminal], kando: Run
) -> None:
    pytest.importorskip("prompt_toolkit")
    shown = terminal("talker", "--llm", "model", TERM="xterm")
    shown.until(EDITING)
    shown.type("helxx\x7f\x7flo\r")
    shown.until(EDITING, times=2)
    shown.type("\x1b[A again\r")
    shown.until(EDITING, times=3)
    assert "2: hello again!" in shown.written
    shown.type("\x04")

    assert shown.end() == 0
    assert talks(kando)[2] == "hello again"
