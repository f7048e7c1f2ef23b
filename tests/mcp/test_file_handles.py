"""A server that works for a long time holds no more files than at its start."""

from pathlib import Path

import pytest

from mcp_host import Place
from mcp_wire import wire


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_the_file_handles_of_a_server_do_not_grow_with_runs_and_requests(place: Place) -> None:
    with wire(place) as server:

        def work(runs: int) -> int:
            for _ in range(runs):
                arguments = {"kit": "tiny", "goal": "plain", "wait_s": 45}
                made = server.ask("tools/call", name="start_run", arguments=arguments)
                run = {"run_id": made["result"]["structuredContent"]["run_id"], "wait_s": 45}
                while (state := server.ask("tools/call", name="get_run", arguments=run))["result"][
                    "structuredContent"
                ]["state"] == "running":
                    pass
                assert state["result"]["structuredContent"]["state"] == "finished"
                for tool in ("list_runs", "list_kits", "list_approvals"):
                    server.ask("tools/call", name=tool, arguments={})
                server.write("nonsense")
                assert "error" in server.receive()
            return len([*Path(f"/proc/{server.pid}/fd").iterdir()])

        first = work(2)
        assert work(6) == first
