"""The web service of docs/how-to/use-kando-in-a-service.md, started, killed and started again."""

import http.client
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import pytest

from doc_examples import blocks_in, match
from wire import Reply, Says, Seen, Wire, reaching

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-kando-in-a-service.md"
BLOCKS = blocks_in(PAGE.read_text())
GOAL = {"kit": "research", "goal": "What is an event log?"}


@attrs.define
class Service:
    """The service in a process of its own."""

    process: subprocess.Popen[str]
    port: int

    @contextmanager
    def request(
        self, path: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with closing(connection):
            connection.request("GET" if body is None else "POST", path, body, headers or {})
            with connection.getresponse() as response:
                yield response

    def ask(self, path: str, body: object = None) -> dict[str, object]:
        with self.request(path, None if body is None else json.dumps(body)) as response:
            answer: dict[str, object] = json.load(response)
        return answer

    def stream(self, run_id: object, after: int = -1) -> Iterator[tuple[int, object]]:
        """Yield the position and content of each event, and at last -1 and the run's state."""
        headers = {"Last-Event-ID": str(after)}
        with self.request(f"/runs/{run_id}/events", headers=headers) as response:
            fields: dict[str, str] = {}
            for line in response:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif "event" in fields:
                    yield -1, fields["data"]
                else:
                    yield int(fields["id"]), json.loads(fields["data"])
                    fields = {}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (block,) = (each for each in BLOCKS if each.mark == "file: service.py")
    (tmp_path / "service.py").write_text(block.text)
    return tmp_path


@contextmanager
def served(folder: Path, **settings: str) -> Iterator[Service]:
    environ = {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "KANDO_LEDGER": "sqlite:runs.sqlite",
        "KANDO_LLM": "echo",
        "PYTHONWARNINGS": "error",
        **settings,
    }
    command = [sys.executable, "-m", "uvicorn", "service:app", "--port", "0"]
    command += ["--timeout-graceful-shutdown", "1"]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            log = ""
            for line in process.stderr:
                log += line
                started = re.search(r"running on http://127\.0\.0\.1:(\d+)", line)
                if started:
                    break
            else:
                raise AssertionError(log)
            # Further output is read, so that it does not fill the pipe.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield Service(process, int(started[1]))
        finally:
            process.kill()


class Model:
    """A model that answers at once, but for the last of the three questions: when it may."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.has_stalled = threading.Event()
        self.may_answer = threading.Event()

    def __call__(self, seen: Seen, before: int) -> Reply:
        self.asked.append(seen.text)
        if "what remains open?" in seen.text:
            self.has_stalled.set()
            assert self.may_answer.wait(60)
        return Says("An append-only record.")

    def count(self, question: str) -> int:
        return sum(question in text for text in self.asked)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def settings(model: Model) -> Iterator[dict[str, str]]:
    with Wire(model) as wire:
        yield {"KANDO_LLM": "openai:some-model", **reaching("openai", wire.url)}
        model.may_answer.set()


def test_the_requests_of_the_page_are_answered_as_it_shows(folder: Path) -> None:
    ids: dict[str, str] = {}
    with served(folder) as service:
        for block in BLOCKS:
            for command, shown in block.commands() if "sends the requests" in block.mark else ():
                printed = sent(service, command, ids)
                assert match(shown.strip(), printed.strip(), ids), f"{command}\n{printed}"
    assert ids


def sent(service: Service, command: str, ids: dict[str, str]) -> str:
    """Send the request of a curl command to the service, and return the body of its answer."""
    for shown, printed in ids.items():
        command = command.replace(shown, printed)
    curl, *words = [word for word in shlex.split(command) if word != "-N"]
    assert curl == "curl"
    url, *data = [word for word in words if word != "-d"]
    with service.request(urlsplit(f"http://{url}").path, *data) as response:
        return response.read().decode()


def test_a_run_of_a_killed_service_is_finished_by_the_next(
    folder: Path, model: Model, settings: dict[str, str]
) -> None:
    with served(folder, **settings) as service:
        run_id = service.ask("/runs", GOAL)["run_id"]
        before = []
        for position, event in service.stream(run_id):
            before.append((position, event))
            if isinstance(event, dict) and event["type"] == "llm.response":
                break
        assert model.has_stalled.wait(60)
        assert service.ask(f"/runs/{run_id}")["state"] == "running"
        service.process.send_signal(signal.SIGKILL)
        service.process.wait(60)
    model.may_answer.set()

    with served(folder, **settings) as service:
        after = list(service.stream(run_id, before[-1][0]))
        again = list(service.stream(run_id))
        whole = list(service.stream(service.ask("/runs", GOAL)["run_id"]))

    assert after[-1] == (-1, "finished")
    assert [*before, *after] == again
    assert list(map(decided, again)) == list(map(decided, whole))
    # By the killed service and in the whole run; what had no answer was asked again.
    assert (model.count("what is claimed?"), model.count("what remains open?")) == (2, 3)


def decided(message: tuple[int, object]) -> object:
    """Return a message without what was measured."""
    position, event = message
    if isinstance(event, dict):
        data = {name: value for name, value in event["data"].items() if name != "observed"}
        return position, event["id"], event["cause"], data
    return message


def test_a_terminated_service_pauses_its_runs_and_the_next_resumes_them(
    folder: Path, model: Model, settings: dict[str, str]
) -> None:
    with served(folder, **settings) as service:
        run_id = service.ask("/runs", GOAL)["run_id"]
        assert model.has_stalled.wait(60)
        service.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            service.process.wait(0.5)
        model.may_answer.set()
        # uvicorn ends in order, and then by the signal that it caught.
        assert service.process.wait(60) == -signal.SIGTERM

    with served(folder, **settings) as service:
        *events, (_, state) = service.stream(run_id)

    assert state == "finished"
    types = [event["type"] for _, event in events if isinstance(event, dict)]
    assert types.index("run.paused") < types.index("run.resumed") < types.index("object.patched")
    assert types.count("llm.request") == len(model.asked)


def test_runs_are_worked_on_side_by_side(folder: Path) -> None:
    with served(folder) as service:
        ids = [service.ask("/runs", GOAL)["run_id"] for _ in range(10)]
        streams = [list(service.stream(id)) for id in ids]

    assert {messages[-1] for messages in streams} == {(-1, "finished")}
    assert all([*map(decided, each)] == [*map(decided, streams[0])] for each in streams)
