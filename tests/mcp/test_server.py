"""kando-mcp, driven over stdio by the official client in both protocol eras."""

import os
import sys
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from mcp import Client, StdioServerParameters

TOOLS = ["diff_branches", "explain_trace", "fork_run", "query_world", "start_run"]

KIT = """
from kando.emit import create, relate
from kando.kit import Kit
from kando.plugins import KitSpec, hookimpl
from kando.schema.events import make_event

kit = Kit("tiny", version="1")

@kit.seeds
def seeds(goal, run_id):
    data = {"id": "goal", "type": "Goal", "data": {"text": goal}}
    return [make_event("object.created", f"run:{run_id}", "cli", [], data)]

@kit.responder("object.created", type="Goal")
def on_goal(event, world):
    print("a kit may print; the protocol must not see it")
    step = yield create("Step", {"of": event.data["data"]["text"]}, id="step")
    yield relate("part_of", step, event)

@hookimpl
def kando_kits():
    return [KitSpec("tiny", "tiny_kit:kit", "one step")]
"""


@pytest.fixture
def parameters(tmp_path: Path) -> StdioServerParameters:
    (tmp_path / "tiny_kit.py").write_text(KIT)
    info = tmp_path / "tiny-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kando]\ntiny = tiny_kit\n")
    environ = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
        "KANDO_LEDGER": f"sqlite:{tmp_path}/store.sqlite",
    }
    return StdioServerParameters(command=sys.executable, args=["-m", "kando_mcp.main"], env=environ)


def drive(parameters: StdioServerParameters, mode: Any, story: Any) -> None:
    async def connected() -> None:
        with anyio.fail_after(60):
            async with Client(parameters, mode=mode) as client:
                await story(client)

    anyio.run(connected)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_run_is_started_queried_forked_compared_and_explained(
    parameters: StdioServerParameters, mode: Literal["auto", "legacy"]
) -> None:
    async def story(client: Client) -> None:
        async def call(tool: str, **arguments: Any) -> dict[str, Any]:
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, result.content
            assert result.structured_content is not None
            return result.structured_content

        started = await call("start_run", kit="tiny", goal="Say hello")
        run_id = started["run_id"]
        assert started["state"] == "finished"
        assert started["objects"] == {"Goal": 1, "Step": 1}

        world = await call("query_world", run_id=run_id)
        assert [o["id"] for o in world["objects"]] == ["goal", "step"]

        branch = await call("fork_run", run_id=run_id, fork_at=2)
        assert branch["parent_run_id"] == run_id

        found = await call("diff_branches", run_a=run_id, run_b=branch["branch_id"])
        assert [o["id"] for o in found["removed_objects"]] == ["step"]

        trace = await call("explain_trace", event_id="step", run_id=run_id)
        assert trace["steps"][-1]["is_root"]
        assert trace["steps"][0]["actor"] == "tiny.on_goal"

    drive(parameters, mode, story)


def test_the_tools_are_those_of_the_specification_with_all_four_annotations(
    parameters: StdioServerParameters,
) -> None:
    async def story(client: Client) -> None:
        tools = (await client.list_tools()).tools
        assert sorted(tool.name for tool in tools) == TOOLS
        for tool in tools:
            hints = tool.annotations
            assert hints is not None
            assert None not in (
                hints.read_only_hint,
                hints.destructive_hint,
                hints.idempotent_hint,
                hints.open_world_hint,
            )
            assert tool.output_schema

    drive(parameters, "auto", story)


def test_an_error_says_what_and_what_next(parameters: StdioServerParameters) -> None:
    async def story(client: Client) -> None:
        unknown = await client.call_tool("start_run", {"kit": "tinny", "goal": "x"})
        assert unknown.is_error
        assert "tiny" in str(unknown.content)

        nowhere = await client.call_tool("query_world", {"run_id": "nope"})
        assert nowhere.is_error
        assert "no run 'nope'" in str(nowhere.content)

    drive(parameters, "auto", story)
