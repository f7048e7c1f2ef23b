"""The tools of MCP servers as tools of a kit: listed, recorded, called, and ended with the run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs
import pytest

from kando.app.group_worker import GroupWorker
from kando.app.run import Run
from kando.app.store import Store, open_store
from kando.emit import call_tool, create
from kando.errors import ConfigurationError, InvalidData, NotFoundError
from kando.kit import Kit
from kando.responders.policies import Ask
from kando.responders.tool_context import ToolContext, context_of
from kando.schema.events import KIT_LOADED, LLM_REQUEST, TOOL_RETURNED, KandoEvent
from kando.world.graph import World
from kando_mcp.client import McpSession, open_session
from mcp_host import HANG_SECONDS
from tool_server import PIXEL

SERVER = [sys.executable, str(Path(__file__).parents[1] / "helpers" / "tool_server.py")]

MORE = {"command": SERVER, "env": ["PLACE"]}

needs_providers = pytest.mark.skipif(
    find_spec("kando_llm") is None, reason="kando-llm offers the providers that answer"
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which the server writes what happens to it."""
    monkeypatch.setenv("PLACE", str(tmp_path))
    return tmp_path


@pytest.fixture
def store(place: Path) -> Iterator[Store]:
    with open_store(f"sqlite:{place / 'runs.db'}") as opened:
        yield opened


@attrs.frozen
class Task:
    text: str
    answer: str = ""


def toy_kit(version: str = "1", **server: Any) -> Kit:
    """Return a kit whose goal is a list of calls, each a tool and its arguments."""
    kit = Kit("toys", version=version, prompts={"work": "Work: $text"})
    kit.object(Task)
    kit.mcp("toy", **{"command": SERVER, "env": ["PLACE"], **server})

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [create("Calls", {"calls": json.loads(goal)})]

    @kit.responder("object.created", type="Calls")
    def on_calls(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        for tool, arguments in event.data["data"]["calls"]:
            if tool == "ask":
                yield create(Task(**arguments))
            else:
                yield call_tool(tool, arguments)

    @kit.llm_responder("object.created", type=Task, prompt="work", tools=["toy"])
    def on_task(event: Any, world: World) -> dict[str, Any]:
        return {"text": event.data["data"]["text"]}

    return kit


def goal(*calls: tuple[str, dict[str, Any]]) -> str:
    return json.dumps(calls)


def results(run: Run) -> list[Any]:
    """Return the results of a run's calls, and the errors in their place."""
    found = [event.data for event in run.events() if event.type == TOOL_RETURNED]
    return [each["result"] if "result" in each else each["error"] for each in found]


def log_of(place: Path) -> list[str]:
    file = place / "log"
    return file.read_text().splitlines() if file.exists() else []


def starts(place: Path) -> int:
    return sum(line.startswith("start") for line in log_of(place))


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


async def until_async(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "waited too long"
        await asyncio.sleep(0.02)


def toy_session() -> McpSession:
    server = toy_kit().tool_servers["toy"]
    return open_session(server, os.environ)


def context() -> ToolContext:
    return context_of(attrs.evolve(call_tool("note", {}), id="call-1", source="run:r1"))


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def alive(place: Path) -> list[int]:
    """Return the ids of the servers that still run."""
    pids = [int(line.split()[1]) for line in log_of(place) if line.startswith("start")]
    return [pid for pid in pids if is_alive(pid)]


def test_the_tools_are_recorded_at_the_start_with_their_schemas_as_they_are(
    store: Store, place: Path
) -> None:
    run = store.start(toy_kit(tools=["plot", "add"]), goal(("toy__add", {"a": 2, "b": 3})))

    [loaded] = [event for event in run.events() if event.type == KIT_LOADED]
    plot, add = loaded.data["tool_servers"]["toy"]["tools"]
    assert (plot["name"], plot["tool"]) == ("toy__plot", "plot")
    assert plot["parameters"]["properties"]["points"]["items"] == {"$ref": "#/$defs/Point"}
    assert plot["parameters"]["properties"]["kind"]["enum"] == ["line", "bar"]
    assert add["annotations"] == {"readOnlyHint": True}
    assert results(run) == ["5"]
    assert starts(place) == 1
    assert alive(place) == []


@needs_providers
def test_a_model_is_offered_the_tools_and_sees_their_results(store: Store, place: Path) -> None:
    script = place / "answers.json"
    asked = {
        "contains": "Work",
        "tool_calls": [{"name": "toy__add", "arguments": {"a": 20, "b": 22}}],
    }
    answered = {"contains": "42", "text": "forty-two"}
    script.write_text(json.dumps({"answers": [answered, asked]}))

    run = store.start(toy_kit(), goal(("ask", {"text": "add"})), llm=f"scripted:{script}")

    first, second = (event.data for event in run.events() if event.type == LLM_REQUEST)
    assert [tool["name"] for tool in first["tools"]][:2] == ["toy__add", "toy__die_once"]
    assert set(first["tools"][0]) == {"name", "description", "parameters"}
    assert second["tools"] == first["tools"]
    assert results(run) == ["42"]
    assert [task.data["text"] for task in run.world().objects_of("Task")] == ["forty-two"]


def test_replay_status_and_comparison_start_no_server(store: Store, place: Path) -> None:
    run = store.start(toy_kit(), goal(("toy__add", {"a": 2, "b": 3})))
    branch = run.fork(at=4)

    assert run.replay(strict=True).events == run.length()
    run.replay()
    run.diff(branch)
    run.status()
    run.verify()

    assert starts(place) == 1


def test_arguments_that_do_not_fit_the_schema_do_not_reach_the_server(
    store: Store, place: Path
) -> None:
    calls = [
        ("toy__add", {"a": "two", "b": 3}),
        ("toy__add", {"a": 2}),
        ("toy__plot", {"points": [{"y": 1}], "kind": "line"}),
        ("toy__plot", {"points": [], "kind": "pie"}),
        ("toy__plot", {"points": [{"x": 1}], "kind": "bar"}),
    ]

    run = store.start(toy_kit(), goal(*calls))

    *errors, last = results(run)
    assert [error["type"] for error in errors] == ["InvalidArguments"] * 4
    assert "arguments.a" in errors[0]["message"]
    assert "'b'" in errors[1]["message"]
    assert "arguments.points[0]" in errors[2]["message"]
    assert last == {"result": "bar: [Point(x=1, y=0)]"}
    assert "add" not in log_of(place)


def test_structured_content_images_and_resources_are_kept(store: Store) -> None:
    calls = [("toy__locate", {"place": "Rome"}), ("toy__show", {})]

    run = store.start(toy_kit(), goal(*calls))

    located, shown = results(run)
    assert located == {"x": 4, "y": 0}
    assert shown == {
        "content": [
            {"type": "text", "text": "a picture"},
            {"type": "image", "media_type": "image/png", "data": PIXEL},
            {"type": "file", "media_type": "audio/wav", "data": PIXEL},
            {"type": "text", "text": "[resource: report file:///report.txt text/plain]"},
            {"type": "text", "text": "[resource: memo://1]\nremember"},
            {"type": "file", "media_type": "application/pdf", "data": PIXEL},
        ]
    }


def test_errors_of_tools_and_of_the_protocol_are_answers(store: Store) -> None:
    calls = [
        ("toy__fail", {"how": "politely"}),
        ("toy__fail", {"how": "badly"}),
        ("toy__many", {"count": 5000}),
        ("toy__nothing", {}),
    ]

    run = store.start(toy_kit(max_result_bytes=1000), goal(*calls))

    politely, badly, many = results(run)
    assert politely["type"] == "ToolFailed"
    assert "There is no such thing." in politely["message"]
    assert "a secret" not in badly["message"]
    assert many["type"] == "ResultTooLarge"
    assert "5,002 bytes; the limit is 1,000" in many["message"]
    # A tool that the kit itself calls and that does not exist is answered by nothing.
    assert run.status().unanswered == 1


def test_the_environment_of_a_server_is_small_and_secrets_are_not_recorded(
    store: Store, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_TOKEN", "s3cret-value")
    monkeypatch.setenv("OTHER_TOKEN", "another-value")

    run = store.start(toy_kit(env=["PLACE", "TOY_TOKEN"]), goal(("toy__variables", {})))

    assert results(run) == ["token [TOY_TOKEN]"]
    names = log_of(place)[-1].split()
    assert {"PATH", "TOY_TOKEN"} <= {*names}
    assert "OTHER_TOKEN" not in names


def test_a_read_is_repeated_if_the_server_dies_in_it_and_a_write_is_not(
    store: Store, place: Path
) -> None:
    call = goal(("toy__die_once", {}), ("toy__add", {"a": 1, "b": 1}))

    read = store.start(toy_kit(effect="annotated"), call)

    assert results(read) == ["alive", "2"]
    assert log_of(place).count("die") == 2
    (place / "died").unlink()

    write = store.start(toy_kit(max_parallel=1), call)

    error, then = results(write)
    assert error["type"] == "ServerGone"
    assert "the last words" in error["message"]
    assert "was not repeated" in error["message"]
    assert then == "2"
    assert log_of(place).count("die") == 3
    assert alive(place) == []


def test_a_server_that_cannot_be_started_is_reported_and_no_run_is_created(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="there is no command"):
        store.start(toy_kit(command=["no-such-command-here"]), goal())
    bad = [sys.executable, "-c", "import sys; sys.exit('no words from me')"]
    with pytest.raises(ConfigurationError, match="no words from me"):
        store.start(toy_kit(command=bad), goal())
    with pytest.raises(NotFoundError, match="no tool 'ad'") as caught:
        store.start(toy_kit(tools=["ad"]), goal())

    assert "add" in caught.value.hint
    assert list(store.runs()) == []


def test_a_variable_that_is_not_set_is_named(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="needs TOY_KEY, which is not set"):
        store.start(toy_kit(env=["PLACE", "TOY_KEY"]), goal())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "a__b", "command": ["x"]}, "its name is malformed"),
        ({"name": "a", "command": "npx server"}, "not a list of texts"),
        ({"name": "a"}, "either a command or a URL"),
        ({"name": "a", "command": ["x"], "url": "http://localhost"}, "either a command or a URL"),
        ({"name": "a", "url": "localhost"}, "not an HTTP URL"),
        ({"name": "a", "command": ["x"], "effect": "wild"}, "its effect is 'wild'"),
        ({"name": "a", "command": ["x"], "env": ["A=1"]}, "names of environment variables"),
        ({"name": "a", "command": ["x"], "env": "HOME"}, "names of environment variables"),
        ({"name": "a", "command": ["x"], "headers_from": {"A": "B"}}, "needs a URL"),
        ({"name": "a", "command": ["x"], "tools": "one"}, "tools is a text"),
        ({"name": "a", "command": ["x"], "timeout": 0}, "timeout must be more than 0"),
        ({"name": "toy", "command": ["x"]}, "twice"),
    ],
)
def test_a_malformed_declaration_is_refused_when_it_is_made(
    arguments: dict[str, Any], message: str
) -> None:
    kit = toy_kit()

    with pytest.raises(ConfigurationError, match=message):
        kit.mcp(**arguments)


@needs_providers
def test_a_changed_server_is_reported_on_resume_and_the_recorded_tools_stay(
    store: Store, place: Path
) -> None:
    kit = toy_kit()
    calls = [
        ("toy__plot", {"points": [{"x": 1}], "kind": "bar"}),
        ("toy__note", {"text": "hi"}),
        ("ask", {"text": "something"}),
    ]
    run = store.start(kit, goal(*calls), work=False)
    (place / "changed").touch()

    with pytest.warns(UserWarning, match="has changed") as caught:
        run.resume(llm="echo")

    said = str(caught[0].message)
    assert "note is missing" in said
    assert "plot has changed: new parameter colour, no parameter kind" in said
    assert [result["type"] for result in results(run)] == ["ToolFailed", "ToolFailed"]
    [request] = [event.data for event in run.events() if event.type == LLM_REQUEST]
    assert "toy__note" in [tool["name"] for tool in request["tools"]]
    assert len([event for event in run.events() if event.type == KIT_LOADED]) == 1


def test_another_version_of_the_kit_records_the_tools_anew(store: Store, place: Path) -> None:
    run = store.start(toy_kit(), goal(("toy__add", {"a": 1, "b": 1})))
    (place / "changed").touch()
    run.send("unrelated", {})

    run.resume(kit=toy_kit(version="2"))

    first, second = (event.data for event in run.events() if event.type == KIT_LOADED)
    names = [
        [tool["tool"] for tool in each["tool_servers"]["toy"]["tools"]] for each in (first, second)
    ]
    assert "note" in names[0]
    assert "note" not in names[1]
    assert run.replay(strict=True).events == run.length()


def test_a_branch_does_not_repeat_a_write_and_is_served_its_result(
    store: Store, place: Path
) -> None:
    run = store.start(toy_kit(), goal(("toy__note", {"text": "hi"})))
    called = next(event.position for event in run.events() if event.type == "tool.called")

    branch = run.fork(at=called)
    branch.resume()

    assert results(branch) == results(run) == [{"result": "noted"}]
    assert log_of(place).count("note hi") == 1
    assert branch.replay(strict=True).events == branch.length()


def test_a_policy_judges_calls_of_a_server(store: Store, place: Path) -> None:
    kit = toy_kit()

    @kit.policy
    def only_reads(intent: KandoEvent) -> Any:
        return Ask("it writes") if intent.data["tool"] == "toy__note" else None

    run = store.start(kit, goal(("toy__note", {"text": "asked"}), ("toy__add", {"a": 1, "b": 1})))

    [approval] = run.approvals()
    assert "note asked" not in log_of(place)
    with pytest.raises(InvalidData, match="text"):
        run.approve(approval.event_id, arguments={"text": 5})
    run.approve(approval.event_id, arguments={"text": "changed"})
    run.resume()

    assert "note changed" in log_of(place)
    assert run.status().state == "finished"


def test_workers_call_the_tools_and_leave_no_server(store: Store, place: Path) -> None:
    calls = [("toy__add", {"a": n, "b": n}) for n in range(3)]
    run = store.start(toy_kit(), goal(*calls), group="g")

    GroupWorker(store.context, "g").work(until_idle=True)

    assert results(run) == ["0", "2", "4"]
    assert run.replay(strict=True).events == run.length()
    # One to list the tools, one for all the calls of the worker.
    assert starts(place) == 2
    assert alive(place) == []


def test_a_call_that_times_out_is_answered_with_an_error(store: Store, place: Path) -> None:
    run = store.start(toy_kit(timeout=0.5), goal(("toy__wait", {})))

    [error] = results(run)
    assert error["type"] == "Timeout"
    assert alive(place) == []


def test_a_cancelled_run_does_not_wait_for_the_limit_of_a_call(store: Store, place: Path) -> None:
    run = store.start(toy_kit(timeout=3000), goal(("toy__wait", {})), work=False)
    works = threading.Thread(target=run.resume)
    works.start()
    until(lambda: "wait" in log_of(place))
    run.cancel()
    works.join(HANG_SECONDS)

    assert not works.is_alive()
    assert run.status().state == "cancelled"
    [error] = results(run)
    assert "cancelled before MCP server 'toy' answered" in error["message"]
    until(lambda: "cancelled" in log_of(place))
    assert alive(place) == []
    assert run.replay(strict=True)


def test_a_paused_run_records_what_a_call_returns(store: Store, place: Path) -> None:
    run = store.start(toy_kit(timeout=3000), goal(("toy__wait", {})), work=False)
    works = threading.Thread(target=run.resume)
    works.start()
    until(lambda: "wait" in log_of(place))
    run.pause()
    until(lambda: any(event.type == "run.paused" for event in run.events()))
    (place / "go").touch()
    works.join(HANG_SECONDS)

    assert run.status().state == "paused"
    run.resume()
    assert results(run) == [{"result": "went"}]
    assert log_of(place).count("wait") == 1
    assert "cancelled" not in log_of(place)


def test_a_call_that_is_given_up_is_cancelled_at_the_server(place: Path) -> None:
    async def call() -> None:
        session = toy_session()
        task = asyncio.create_task(session.call("wait", {}, context()))
        await until_async(lambda: "wait" in log_of(place))
        task.cancel()
        await until_async(lambda: "cancelled" in log_of(place))
        await session.close()

    asyncio.run(call())

    assert log_of(place).count("cancelled") == 1
    assert alive(place) == []


def test_a_server_that_has_ended_between_two_calls_is_started_again(place: Path) -> None:
    async def call() -> None:
        session = toy_session()
        assert await session.call("note", {"text": "one"}, context()) == {"result": "noted"}
        [pid] = alive(place)
        os.kill(pid, signal.SIGKILL)
        await until_async(lambda: not session.is_connected)
        assert await session.call("note", {"text": "two"}, context()) == {"result": "noted"}
        await session.close()

    asyncio.run(call())

    assert [line for line in log_of(place) if "note" in line] == ["note one", "note two"]
    assert starts(place) == 2
    assert alive(place) == []


def test_the_progress_of_a_call_is_shown_and_not_recorded(store: Store, place: Path) -> None:
    seen: set[str] = set()

    def is_reported() -> bool:
        seen.update(each.progress.report for each in store.activities() if each.progress)
        return "waiting: 1 of 4" in seen

    def watch() -> None:
        until(is_reported)
        (place / "go").touch()

    watcher = threading.Thread(target=watch)
    watcher.start()
    run = store.start(toy_kit(), goal(("toy__wait", {})))
    watcher.join()

    assert "waiting: 1 of 4" in seen
    assert results(run) == [{"result": "went"}]
    assert not any("waiting" in str(event.data) for event in run.events())


def test_a_server_by_url_gets_its_headers_and_is_called(
    store: Store, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_TOKEN", "token-of-the-toy")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([*SERVER, "http", str(port)], stderr=subprocess.DEVNULL)
    try:
        until(lambda: answers(port))
        headers = {"Authorization": "Bearer $TOY_TOKEN"}
        server = {"url": f"http://127.0.0.1:{port}/mcp", "headers_from": headers}
        kit = toy_kit(command=(), env=(), **server)
        run = store.start(kit, goal(("toy__add", {"a": 2, "b": 2}), ("toy__header", {})))
    finally:
        process.terminate()
        process.wait()

    assert results(run) == ["4", "Bearer [TOY_TOKEN]"]
    with pytest.raises(ConfigurationError, match="cannot be reached"):
        store.start(kit, goal())


@needs_providers
def test_a_person_adds_a_server_and_gives_it_again_to_resume(store: Store, place: Path) -> None:
    with open_store(store.url) as first:
        run = first.start(
            toy_kit(), goal(("ask", {"text": "Hello"})), mcp={"more": MORE}, work=False
        )
        [loaded] = [event.data for event in run.events() if event.type == KIT_LOADED]
    assert loaded["tool_servers"]["more"]["added"] is True
    assert SERVER[1] not in json.dumps(loaded)

    again = open_store(store.url, kits=[toy_kit()])
    with pytest.raises(ConfigurationError, match="'more', whose command") as caught:
        again.run(run.id).resume(llm="echo")
    assert "--mcp more=COMMAND" in caught.value.hint

    again.run(run.id).resume(llm="echo", mcp={"more": MORE})

    [request] = [event.data for event in again.run(run.id).events() if event.type == LLM_REQUEST]
    names = {tool["name"] for tool in request["tools"]}
    assert {"toy__add", "more__add"} <= names
    again.context.close()


def test_the_settings_may_name_the_command_of_an_added_server(place: Path) -> None:
    url = f"sqlite:{place / 'runs.db'}"
    with open_store(url) as first:
        run = first.start(
            toy_kit(), goal(("more__add", {"a": 1, "b": 2})), mcp={"more": MORE}, work=False
        )
    servers = json.dumps({"more": MORE})
    environ = {**os.environ, "KANDO_MCP_SERVERS": servers}

    with open_store(url, kits=[toy_kit()], environ=environ) as again:
        again.run(run.id).resume()

        assert results(again.run(run.id)) == ["3"]


@needs_providers
def test_a_conversation_without_tools_of_its_own_takes_an_added_server(
    store: Store, place: Path
) -> None:
    kit = Kit("talk", version="1")
    kit.conversation()
    script = place / "answers.json"
    calls = [{"name": "more__add", "arguments": {"a": 20, "b": 22}}]
    answers = [{"contains": "42", "text": "It is 42."}, {"contains": "sum", "tool_calls": calls}]
    script.write_text(json.dumps({"answers": answers}))

    run = store.start(kit, "the sum", mcp={"more": MORE}, llm=f"scripted:{script}")

    assert results(run) == ["42"]
    [chat] = run.world().objects_of("Chat")
    assert chat.data["text"] == "It is 42."
    assert run.replay(strict=True).events == run.length()


def test_a_kit_without_tools_takes_no_added_server(store: Store) -> None:
    kit = Kit("bare")
    kit.seeds(lambda goal, run_id: [create("Goal", {})])

    with pytest.raises(ConfigurationError, match="takes no added MCP server"):
        store.start(kit, "x", mcp={"more": MORE})


def test_an_imported_run_is_given_its_added_server_by_a_person(store: Store, place: Path) -> None:
    kit = toy_kit()
    run = store.start(kit, goal(("more__add", {"a": 1, "b": 2})), mcp={"more": MORE}, work=False)
    with (place / "run.jsonl").open("wb") as file:
        run.export(file)
    environ = {**os.environ, "KANDO_MCP_SERVERS": json.dumps({"more": MORE})}

    with open_store(f"sqlite:{place / 'other.db'}", kits=[kit], environ=environ) as other:
        with (place / "run.jsonl").open("rb") as lines:
            imported = other.run(other.import_run(lines).run_id)
        # The user's settings may name another server in this way.
        with pytest.raises(ConfigurationError, match="was imported and uses MCP server 'more'"):
            imported.resume()
        imported.resume(mcp={"more": MORE})

        assert results(imported) == ["3"]
