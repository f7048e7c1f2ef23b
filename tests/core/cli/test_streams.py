"""Broken output streams have no influence on the work of a command."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kando import open_store

Run = Callable[..., Any]

GOAL = "Café 🎉 কাণ্ড"

#: Closes stdout, stderr or both, or connects them to a full device or to a reader that went away.
WRAPPER = """
import os, sys
for name in sys.argv[1].split(","):
    descriptor, how = int(name[0]), name[1:]
    if how == "closed":
        os.close(descriptor)
    elif how == "full":
        os.dup2(os.open("/dev/full", os.O_WRONLY), descriptor)
    else:
        reads, writes = os.pipe()
        os.dup2(writes, descriptor)
        if how == "gone":
            os.close(reads)
        else:
            os.set_inheritable(reads, True)
            os.set_blocking(writes, False)
            try:
                while True:
                    os.write(writes, b"x")
            except BlockingIOError:
                os.set_blocking(writes, True)
os.execv(sys.executable, [sys.executable, "-m", "kando.cli.main", *sys.argv[2:]])
"""


@pytest.fixture
def ending(environ: dict[str, str], tiny: Path, tmp_path: Path) -> Run:
    """Return ``ending(streams, *arguments)``, which runs a command with streams that are broken."""

    def ending(streams: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", WRAPPER, streams, *arguments],
            cwd=tmp_path,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return ending


@pytest.mark.parametrize(
    ("streams", "code"),
    [
        *(("2gone", 0), ("2full", 0), ("2closed", 0), ("2stuck", 0)),
        *(("1gone", 141), ("1full", 1), ("1closed", 1)),
        *(("1gone,2gone", 141), ("1full,2full", 1), ("1closed,2closed", 1)),
    ],
)
@pytest.mark.parametrize("extra", [(), ("--json",)], ids=["text", "json"])
def test_a_run_finishes_whatever_happens_to_its_output(
    ending: Run, kando: Run, tiny: Path, streams: str, code: int, extra: tuple[str, ...]
) -> None:
    tiny.write_text(tiny.read_text().replace("claim = yield", 'print("x" * 9000); claim = yield'))

    done = ending(streams, "run", "tiny", "--goal", "x", "--llm", "parrot", "--stream", *extra)

    assert done.returncode == code
    (status,) = json.loads(kando("runs", "--json").stdout)["items"]
    assert status["state"] == "finished"
    assert "Traceback" not in done.stderr
    assert done.stderr.count("The output cannot be written") == (code == 1 and "2" not in streams)


@pytest.mark.parametrize(
    "command", ["status demo", "status demo --json", "--help", "--version", "export demo -o -"]
)
@pytest.mark.parametrize(("streams", "code"), [("1gone", 141), ("1full", 1), ("1closed", 1)])
def test_output_that_cannot_be_shown_is_reported_in_one_line(
    ending: Run, command: str, streams: str, code: int
) -> None:
    done = ending(streams, *command.split())

    assert done.returncode == code
    assert len(done.stderr.splitlines()) == (code == 1)


@pytest.mark.parametrize("streams", ["2gone", "2full", "2closed", "2stuck"])
def test_an_error_that_cannot_be_shown_keeps_its_exit_code(ending: Run, streams: str) -> None:
    assert ending(streams, "status", "nowhere").returncode == 3
    assert ending(streams, "status", "nowhere", "--json").returncode == 3
    assert ending(streams, "export", "demo").returncode == 2


@pytest.mark.parametrize(
    "variables",
    [
        *({"PYTHONIOENCODING": name} for name in ("cp1252", "utf-16", "ascii:strict", "cp037")),
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=lambda each: each.get("PYTHONIOENCODING", "LANG=C"),
)
def test_json_parses_as_utf8_on_a_stream_of_any_encoding(
    kando: Run, environ: dict[str, str], tiny: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    kando("run", "tiny", "--goal", GOAL, "--llm", "parrot")

    def output(*arguments: str) -> tuple[bytes, bytes]:
        done = subprocess.run(
            [sys.executable, "-m", "kando.cli.main", *arguments, "--json"],
            cwd=tmp_path,
            env=environ | variables,
            capture_output=True,
            timeout=60,
        )
        return done.stdout, done.stderr

    assert json.loads(output("runs")[0].decode("utf-8"))["items"][0]["goal"] == GOAL
    events = output("events", "@last")[0].decode("utf-8").splitlines()
    assert GOAL in json.dumps([json.loads(each) for each in events], ensure_ascii=False)
    error = json.loads(output("status", "not-é")[1].decode("utf-8"))["error"]
    assert error["code"] == "run_not_found"


def test_what_shows_an_answer_has_no_part_in_the_run(tiny: Path, environ: dict[str, str]) -> None:
    @contextmanager
    def listen(request: dict[str, Any]) -> Any:
        def on_text(piece: str) -> None:
            raise SystemExit(3)

        yield on_text
        raise OSError(28, os.strerror(28))

    with open_store(listen=listen) as store:
        with pytest.warns(UserWarning, match="is not shown"):
            run = store.start("tiny", "x", llm="parrot")

        assert run.status().state == "finished"


#: Interrupts the program at the moment when a write to a stream has reached its reader.
INTERRUPTED = """
import sys
from kando.app.streams import safe_streams

def interrupt(frame, event, called):
    if event == "c_return" and called.__name__ == "write" and called.__self__.__class__.__name__ == "FileIO":
        sys.setprofile(None)
        raise KeyboardInterrupt

with safe_streams():
    stream = getattr(sys, sys.argv[1])
    try:
        sys.setprofile(interrupt)
        print("blocked", file=stream, flush=True)
    except KeyboardInterrupt:
        print("interrupted", file=stream)
    finally:
        sys.setprofile(None)
"""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_an_interruption_writes_no_text_twice(environ: dict[str, str], stream: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, stream],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0
    assert "".join((done.stdout + done.stderr).split("\n")) == "blockedinterrupted"
