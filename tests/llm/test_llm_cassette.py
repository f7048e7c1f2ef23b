"""A live run is recorded to a file and played back from it."""

from __future__ import annotations

import json

import pytest

from kando.schema.events import LLM_RESPONSE
from kando_llm.cassette import open_recorded
from kando_llm.errors import ProviderError
from wire import Fails, Says, reaching

ASKED = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}


def test_a_run_is_recorded_and_played_back_with_the_same_ledger(runs, wire, dialect, tmp_path):
    tape = tmp_path / "tape.jsonl"
    server = wire(answer=lambda seen, before: Says(f"No. {'sky' in seen.text}", usage=(5, 3, 1, 0)))
    environ = reaching(dialect, server.url) | {"KANDO_RECORD": f"{dialect}:m"}

    live, _ = runs.start("sky sea", f"recorded:{tape}", **environ)
    played, _ = runs.start("sky sea", f"recorded:{tape}")

    assert len(server.seen) == 2
    assert tape.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in tape.read_text().splitlines()]
    assert [sorted(line) for line in lines] == [["answer", "key", "request"]] * 2
    assert "key-for-the-loopback" not in tape.read_text()
    one = [(e.type, e.data) for e in runs.events(live)]
    assert one == [(e.type, e.data) for e in runs.events(played)]
    assert len(runs.events(played, LLM_RESPONSE)) == 2


def test_a_recorded_answer_is_not_requested_again_while_recording(runs, wire, tmp_path):
    tape = tmp_path / "tape.jsonl"
    server = wire(Says())
    environ = reaching("openai", server.url) | {"KANDO_RECORD": "openai:m"}

    runs.start("sky", f"recorded:{tape}", **environ)
    runs.start("sky sea", f"recorded:{tape}", **environ)

    assert len(server.seen) == 2
    assert len(tape.read_text().splitlines()) == 2


def test_a_request_without_a_recorded_answer_is_refused_with_a_hint(tmp_path):
    tape = tmp_path / "tape.jsonl"
    tape.write_text("")

    complete = open_recorded(str(tape), {})

    with pytest.raises(ProviderError, match=r"no answer to 'Hi'.*KANDO_RECORD"):
        complete(ASKED)
    assert complete.worst_case_usd(ASKED) == 0.0


def test_a_failure_is_not_recorded(runs, wire, tmp_path):
    tape = tmp_path / "tape.jsonl"
    server = wire(Fails(500), Fails(500), Fails(500), Says())
    environ = reaching("openai", server.url) | {"KANDO_RECORD": "openai:m"}

    run, error = runs.start("sky", f"recorded:{tape}", **environ)
    assert isinstance(error, ProviderError)
    assert not tape.exists()
    runs.resume(run, f"recorded:{tape}", **environ)

    assert len(tape.read_text().splitlines()) == 1


def test_keys_in_requests_and_answers_are_not_recorded(tmp_path):
    tape = tmp_path / "tape.jsonl"
    environ = {"KANDO_RECORD": "echo", "ANTHROPIC_API_KEY": "sk-planted-0123456789"}
    asked = {**ASKED, "messages": [{"role": "user", "content": "sk-planted-0123456789"}]}

    answer = open_recorded(str(tape), environ)(asked)

    assert "[ANTHROPIC_API_KEY]" in answer["text"]
    assert "planted" not in tape.read_text()
    assert open_recorded(str(tape), {})(asked) == answer


def test_a_last_line_that_a_crash_truncated_is_replaced(tmp_path):
    tape = tmp_path / "tape.jsonl"
    record = open_recorded(str(tape), {"KANDO_RECORD": "echo"})
    record(ASKED)
    whole = tape.read_bytes()
    tape.write_bytes(whole + b'{"key": "cut o')

    other = {**ASKED, "max_tokens": 8}
    open_recorded(str(tape), {"KANDO_RECORD": "echo"})(other)

    assert tape.read_bytes().startswith(whole + b'{"key": "')
    assert len(tape.read_text().splitlines()) == 2
    assert open_recorded(str(tape), {})(other)["model"] == "echo"


@pytest.mark.parametrize(
    ("argument", "environ", "problem"),
    [
        ("", {}, "needs a cassette file"),
        ("none.jsonl", {}, "none.jsonl' does not exist"),
        ("bad.jsonl", {}, "Line 2 of cassette .* is malformed"),
        (".", {}, "cannot be read"),
        ("t.jsonl", {"KANDO_RECORD": "recorded:t.jsonl"}, "itself"),
    ],
)
def test_a_cassette_that_cannot_be_played_back_is_refused(
    tmp_path, monkeypatch, argument, environ, problem
):
    monkeypatch.chdir(tmp_path)
    good = '{"key": "k", "request": {}, "answer": {"text": "a"}}'
    (tmp_path / "bad.jsonl").write_text(f"{good}\n[1]\n")

    with pytest.raises(ProviderError, match=problem):
        open_recorded(argument, environ)


def test_a_cassette_that_cannot_be_written_is_refused(tmp_path):
    record = open_recorded(str(tmp_path / "no-folder" / "t.jsonl"), {"KANDO_RECORD": "echo"})

    with pytest.raises(ProviderError, match="cannot be written: No such file"):
        record(ASKED)
