"""The command line works on an EventStoreDB server as it does on a file.

The server is the fake one, unless EVENTSTORE_URL names a real one.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kando.app.status import STOPPED, WAITING
from kando.cli.main import main
from kando_eventstore.testing import FakeEventStoreServer

Kando = Callable[..., str]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    real = os.environ.get("EVENTSTORE_URL")
    if real:
        yield real
        return
    with FakeEventStoreServer(tmp_path_factory.mktemp("fake") / "store") as server:
        yield server.url


@pytest.fixture
def kando(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Kando:
    for name in list(os.environ):
        if name.startswith("KANDO_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EVENTSTORE_URL", url)

    def call(*arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        output = capsys.readouterr()
        assert ended.value.code == code, output.err
        return output.out.strip()

    return call


def events(kando: Kando, run: str, *options: str) -> list[dict[str, Any]]:
    """Return the comparable part of a run's events: without ids of runs, times and observations."""
    found = [json.loads(line) for line in kando(*options, "events", run, "--json").splitlines()]
    for event in found:
        del event["timestamp"]
        event["source"] = event["source"].partition(":")[0]
        event["data"].pop("observed", None)
    return found


@pytest.mark.parametrize("kit", ["diligence", "research"])
@pytest.mark.parametrize("is_demo", [False, True], ids=["goal", "demo"])
def test_a_run_on_a_server_has_the_same_events_as_on_a_file(
    kando: Kando, tmp_path: Path, kit: str, is_demo: bool
) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text("# Acme\n\nAcme was founded in 1999 and has 40 employees.\n")
    start = ["run", kit, "--goal", "Evaluate Acme", "--input", str(notes), "--llm", "echo"]
    if is_demo:
        start = ["run", kit, "--demo"]
    # The echo has no source, so the diligence kit ends with a problem.
    code = 0 if is_demo or kit == "research" else 6
    here = kando(*start, code=code)
    file = f"sqlite:{tmp_path / 'store.sqlite'}"
    there = kando("--ledger", file, *start, code=code)

    on_server, on_file = events(kando, here), events(kando, there, "--ledger", file)

    assert len(on_server) > 15
    assert on_server == on_file
    assert "identical" in kando("replay", here, "--strict")
    assert "intact" in kando("verify", here)


def test_a_run_is_inspected_forked_compared_traced_and_resumed(kando: Kando) -> None:
    run = kando("run", "diligence", "--goal", "Evaluate Acme")
    assert json.loads(kando("status", run, "--json"))["state"] == WAITING

    branch = kando("fork", run, "--at", "2")
    # Requests that were pending at the fork are pending on the branch.
    assert json.loads(kando("status", branch, "--json"))["state"] == STOPPED
    kando("resume", branch, "--llm", "echo")
    status = json.loads(kando("status", branch, "--json"))
    assert (status["state"], status["parent_id"], status["fork_position"]) == ("finished", run, 2)

    assert "Claim" in kando("diff", run, branch)
    assert "(root)" in kando("trace", status["last_event_id"], "--run", branch)
    assert "identical" in kando("replay", branch, "--strict")
    kando("send", run, "--type", "note.made", "--data", '{"text": "hello"}')
    kando("resume", run, "--llm", "echo")
    types = [event["type"] for event in events(kando, run)]
    assert types.count("note.made") == 1
    assert {"llm.request", "llm.response"} <= set(types)
    listed = json.loads(kando("runs", "--json"))["items"]
    assert {run, branch} <= {item["run_id"] for item in listed}
    assert events(kando, run)[:2] == events(kando, branch)[:2]


def test_a_follower_in_another_process_sees_events_as_they_are_recorded(
    kando: Kando, url: str
) -> None:
    run = kando("run", "diligence", "--goal", "Evaluate Acme")
    before = len(events(kando, run))
    command = [sys.executable, "-m", "kando.cli.main", "events", run, "-f", "--json"]
    with subprocess.Popen(
        command, env={**os.environ, "EVENTSTORE_URL": url}, stdout=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        seen = [json.loads(following.stdout.readline()) for _ in range(before)]
        kando("resume", run, "--llm", "echo")
        seen += [json.loads(following.stdout.readline()) for _ in range(5)]
        following.kill()

    assert [event["position"] for event in seen] == list(range(before + 5))
