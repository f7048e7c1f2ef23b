"""The Tasks extension: a run is a task, for clients that declare tasks."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mcp_host import Place
from mcp_wire import wire

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(place: Place) -> Iterator[Ask]:
    tasks = {"io.modelcontextprotocol/tasks": {}}

    def asked(method: str, extensions: Any = tasks, **params: Any) -> dict[str, Any]:
        return connection.ask(method, extensions, **params)

    with wire(place) as connection:
        yield asked


def wait_for(ask: Ask, task: str) -> None:
    state = "running"
    while state == "running":
        result = ask("tools/call", name="get_run", arguments={"run_id": task, "wait_s": 45})
        state = result["result"]["structuredContent"]["state"]


def test_starting_a_run_returns_a_task_with_the_state_of_the_run(place: Place, ask: Ask) -> None:
    arguments = {"kit": "tiny", "goal": "gate", "wait_s": 45}
    begun = (ask("tools/call", name="start_run", arguments=arguments))["result"]
    assert begun["resultType"] == "task"
    assert (begun["status"], begun["ttlMs"]) == ("working", None)
    task = begun["taskId"]
    working = (ask("tasks/get", taskId=task))["result"]
    assert (working["status"], "result" in working) == ("working", False)
    assert (ask("tasks/update", taskId=task, inputResponses={}))["result"]
    place.open_gate()
    wait_for(ask, task)

    done = (ask("tasks/get", taskId=task))["result"]

    assert done["status"] == "completed"
    assert done["result"]["structuredContent"]["state"] == "finished"
    (text,) = done["result"]["content"]
    assert json.loads(text["text"]) == done["result"]["structuredContent"]
    assert done["createdAt"] <= done["lastUpdatedAt"]


def test_cancelling_a_task_cancels_the_run(place: Place, ask: Ask) -> None:
    arguments = {"kit": "tiny", "goal": "gate"}
    begun = (ask("tools/call", name="start_run", arguments=arguments))["result"]
    assert (ask("tasks/cancel", taskId=begun["taskId"]))["result"]
    place.open_gate()
    wait_for(ask, begun["taskId"])
    task = (ask("tasks/get", taskId=begun["taskId"]))["result"]
    assert task["status"] == "cancelled"


def test_a_client_that_does_not_declare_tasks_gets_no_task(place: Place, ask: Ask) -> None:
    arguments = {"kit": "tiny", "goal": "plain", "wait_s": 45}
    plain = ask("tools/call", {}, name="start_run", arguments=arguments)
    assert plain["result"]["resultType"] == "complete"
    run_id = plain["result"]["structuredContent"]["run_id"]
    refused = ask("tasks/get", {}, taskId=run_id)
    assert refused["error"]["code"] == -32021
    unknown = ask("tasks/get", taskId="nope")
    assert unknown["error"]["code"] == -32602
    beginning = ask("tasks/get", taskId=run_id[:6])
    assert beginning["error"]["code"] == -32602
    wrong = ask("tools/call", name="start_run", arguments={"kit": "tinny", "goal": "x"})
    assert wrong["result"]["isError"]
