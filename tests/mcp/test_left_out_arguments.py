"""Null and empty text for an optional argument count as an argument that is left out."""

from typing import Any

import pytest
from mcp import Client

from kando_mcp.app import has_page
from mcp_host import Place, calling, refusal
from mcp_wire import wire

BLANKS = [None, ""]
TASKS = "io.modelcontextprotocol/tasks"

#: The required arguments of each tool, and what else a call needs to succeed.
NEEDED: dict[str, dict[str, Any]] = {
    "list_kits": {},
    "list_runs": {},
    "list_approvals": {},
    "get_run": {"run_id": "RUN"},
    "query_world": {"run_id": "RUN"},
    "diff_branches": {"run_a": "RUN", "run_b": "RUN"},
    "list_workspace": {"run_id": "RUN"},
    "read_workspace_file": {"run_id": "NOTING", "path": "note.txt"},
    "explain_trace": {"run_id": "RUN", "event_id": "step"},
    **({"show_run": {"run_id": "RUN"}} if has_page() else {}),
    "start_run": {"kit": "tiny", "goal": "plain"},
    "resume_run": {"run_id": "RUN"},
    "fork_run": {"run_id": "RUN", "fork_at": 2},
    "cancel_run": {"run_id": "OTHER"},
    "answer_approval": {"run_id": "PAYING", "event_id": "APPROVAL", "approved": True},
    "answer_request": {"run_id": "ASKING", "request_id": "REQUEST", "text": "so"},
    "send_message": {"run_id": "RUN", "text": "more"},
    "park_firing": {
        "run_id": "FAILING",
        "event_id": "object.created-1",
        "responder": "tiny.on_goal",
    },
    "undo_call": {"run_id": "NOTING", "event_id": "CALL"},
    "label_run": {"run_id": "RUN", "labels": {"tenant": "a"}},
    "delete_run": {"run_id": "FAILING"},
}


def optional_arguments(place: Place) -> dict[str, list[str]]:
    """Return the optional arguments of each tool, as the tools declare them."""
    found: dict[str, list[str]] = {}

    async def story(client: Client) -> None:
        for tool in (await client.list_tools()).tools:
            schema = tool.input_schema
            found[tool.name] = [
                name for name in schema["properties"] if name not in schema.get("required", [])
            ]

    place.within(story)
    return found


@pytest.mark.parametrize("blank", BLANKS)
def test_each_tool_succeeds_with_all_its_optional_arguments_blank(
    place: Place, blank: str | None
) -> None:
    optional = optional_arguments(place)
    # Another test answers the form of the host that ask_person needs.
    assert optional.keys() - {"ask_person"} == NEEDED.keys()

    async def story(client: Client) -> None:
        call = calling(client)
        made = {"kit": "tiny", "wait_s": 45}
        runs = {
            word: await call("start_run", **made, goal=goal)
            for word, goal in {
                "RUN": "plain",
                "OTHER": "ask why",
                "PAYING": "pay 3",
                "ASKING": "ask who",
                "FAILING": "fail",
                "NOTING": "note it",
            }.items()
        }
        ids = {word: state["run_id"] for word, state in runs.items()}
        ids["APPROVAL"] = runs["PAYING"]["approvals"][0]["event_id"]
        world = await call("explain_trace", run_id=ids["ASKING"], event_id="goal", direction="down")
        ids["REQUEST"] = next(e["id"] for e in world["steps"] if e["type"] == "llm.request")
        steps = await call("explain_trace", run_id=ids["NOTING"], event_id="goal", direction="down")
        ids["CALL"] = next(e["id"] for e in steps["steps"] if e["type"] == "tool.called")
        for tool, needed in NEEDED.items():
            arguments = {name: ids.get(str(value), value) for name, value in needed.items()}
            blanks = {name: blank for name in optional[tool] if name not in needed}
            assert (await call(tool, **arguments, **blanks))["summary"]

    place.within(story)


def test_a_blank_goal_is_a_goal_that_is_left_out(place: Place) -> None:
    async def story(client: Client) -> None:
        expected = await refusal(client, "start_run", kit="tiny")
        for blank in BLANKS:
            assert await refusal(client, "start_run", kit="tiny", goal=blank) == expected

    place.within(story)


@pytest.mark.parametrize("blank", BLANKS)
def test_a_client_of_tasks_gets_a_task_at_once_with_a_blank_wait(
    place: Place, blank: str | None
) -> None:
    with wire(place) as server:
        arguments = {"kit": "tiny", "goal": "gate", "wait_s": blank}
        answer = server.ask("tools/call", {TASKS: {}}, name="start_run", arguments=arguments)
        assert answer["result"]["resultType"] == "task"
        place.open_gate()
        task = answer["result"]["taskId"]
        waiting = {"run_id": task, "wait_s": 45}
        while server.ask("tasks/get", {TASKS: {}}, taskId=task)["result"]["status"] == "working":
            server.ask("tools/call", {TASKS: {}}, name="get_run", arguments=waiting)
