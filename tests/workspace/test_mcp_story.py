"""The demo of the diligence kit, driven over stdio by the official client."""

import os
import sys
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from mcp import Client, StdioServerParameters


@pytest.fixture
def parameters(tmp_path: Path) -> StdioServerParameters:
    environ = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(tmp_path),
        "KANDO_LEDGER": f"sqlite:{tmp_path}/store.sqlite",
    }
    command = ["-P", "-m", "kando_mcp.main"]
    return StdioServerParameters(command=sys.executable, args=command, env=environ, cwd=tmp_path)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_starts_explains_forks_and_compares_a_demo(
    parameters: StdioServerParameters, mode: Literal["auto", "legacy"]
) -> None:
    anyio.run(in_time, parameters, mode)


async def in_time(parameters: StdioServerParameters, mode: Literal["auto", "legacy"]) -> None:
    with anyio.fail_after(120):
        async with Client(parameters, mode=mode) as client:
            await story(client)


async def story(client: Client) -> None:
    async def call(tool: str, /, **arguments: Any) -> dict[str, Any]:
        result = await client.call_tool(tool, arguments)
        assert not result.is_error, result.content
        assert result.structured_content is not None
        assert result.structured_content["summary"]
        return result.structured_content

    assert "diligence" in [kit["name"] for kit in (await call("list_kits"))["kits"]]

    state = await call("start_run", kit="diligence", demo=True, wait_s=0)
    run_id = state["run_id"]
    while state["state"] == "running":
        state = await call("get_run", run_id=run_id, wait_s=5)
    assert (state["state"], state["llm_cost_usd"]) == ("finished", 0.0)

    claims, cursor = [], None
    while True:
        page = await call("query_world", run_id=run_id, type="Claim", cursor=cursor)
        claims += page["objects"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(claims) == state["objects"]["Claim"] == page["object_count"]
    founded = next(c for c in claims if c["data"]["statement"] == "Acme Corp was founded in 1949.")
    trace = await call("explain_trace", event_id=founded["id"], run_id=run_id)
    goal = trace["steps"][-1]
    assert goal["is_root"]
    assert goal["about"].startswith("Company")

    (company,) = (await call("query_world", run_id=run_id, type="Company"))["objects"]
    documents = (await call("query_world", run_id=run_id, at=8, type="Document"))["objects"]
    forum = next(d for d in documents if d["data"]["path"] == "demo/forum-post.html")
    assert goal["id"] == company["event_id"]
    branch = await call(
        "fork_run",
        run_id=run_id,
        fork_at=8,
        patch={forum["id"]: {"text": "This post was removed."}},
        wait_s=45,
        **{"continue": True},
    )
    assert branch["run"]["state"] == "finished"
    assert branch["run"]["parent_id"] == run_id

    found = await call("diff_branches", run_a=run_id, run_b=branch["branch_id"])
    assert found["parts_at"] == 8
    assert found["b"]["llm_cached"] > 0
    changed = next(change for change in found["patched_objects"] if change["id"] == forum["id"])
    assert changed["fields"]["text"]["after"] == "This post was removed."
    assert "objects" in found["summary"]
    same = await call("diff_branches", run_a=run_id, run_b=f"{branch['branch_id']}@8")
    assert same["added_objects"] == []
