"""@modelcontextprotocol/inspector: the official TypeScript client drives the demo."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Inspect = Callable[..., dict[str, Any]]


@pytest.fixture
def inspect(era: str, environ: dict[str, str], tmp_path: Path) -> Inspect:
    """Return a function that sends a request to a new server through the inspector."""
    server = [sys.executable, "-P", "-m", "kando_mcp.main"]
    settings = ["-e", f"KANDO_LEDGER={environ['KANDO_LEDGER']}", "-e", f"HOME={tmp_path}"]

    def inspected(method: str, *options: str, code: int = 0) -> dict[str, Any]:
        command = ["mcp-inspector", "--cli", "-q", "--format", "json"]
        command += ["--protocol-era", era, *settings, "--method", method, *options]
        done = subprocess.run(
            [*command, "--", *server],
            env=environ,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == code, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout or "{}")
        return found

    return inspected


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspector_starts_explains_forks_and_compares_a_demo(
    inspect: Inspect,
) -> None:
    def call(tool: str, /, **arguments: Any) -> dict[str, Any]:
        options = ["--tool-name", tool, "--tool-args-json", json.dumps(arguments)]
        found = inspect("tools/call", *options)
        structured = found.get(
            "structuredContent", found.get("result", {}).get("structuredContent")
        )
        assert isinstance(structured, dict), found
        return structured

    # Strict: no schema that other hosts could not read.
    inspect("tools/list", "--strict")
    assert "diligence" in [kit["name"] for kit in call("list_kits")["kits"]]
    state = call("start_run", kit="diligence", demo=True, wait_s=0)
    run_id = state["run_id"]
    # Each call is a separate host, and the run outlives all of them.
    while state["state"] == "running":
        state = call("get_run", run_id=run_id, wait_s=45)
    assert state["state"] == "finished"
    claims = call("query_world", run_id=run_id, type="Claim")
    assert claims["object_count"] == state["objects"]["Claim"]
    trace = call("explain_trace", event_id=claims["objects"][-1]["id"], run_id=run_id)
    assert trace["steps"][-1]["is_root"]
    (document, *_) = call("query_world", run_id=run_id, at=8, type="Document")["objects"]
    change = {document["id"]: {"text": "Nothing is known."}}
    branch = call(
        "fork_run", run_id=run_id, fork_at=8, patch=change, wait_s=45, **{"continue": True}
    )
    assert branch["run"]["state"] == "finished"
    found = call("diff_branches", run_a=run_id, run_b=branch["branch_id"])
    assert document["id"] in [each["id"] for each in found["patched_objects"]]


@pytest.mark.parametrize("era", ["modern"])
def test_the_inspector_reads_resources_prompts_and_errors(inspect: Inspect) -> None:
    assert "kando://runs" in json.dumps(inspect("resources/list"))
    assert "items" in json.dumps(inspect("resources/read", "--uri", "kando://runs"))
    assert "debug_run" in json.dumps(inspect("prompts/list"))
    prompt = inspect("prompts/get", "--prompt-name", "debug_run", "--prompt-args", "run_id=demo")
    assert "get_run" in json.dumps(prompt)
    # Exit code 5: the tool returned an error for the model.
    options = ["--tool-name", "get_run", "--tool-args-json", '{"run_id": "nope"}']
    inspect("tools/call", *options, code=5)
