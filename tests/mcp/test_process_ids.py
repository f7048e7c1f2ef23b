"""A process id that the system has given to another process stands for no worker."""

from __future__ import annotations

import os

import attrs
import pytest
from mcp import Client

from kando.ledger.claims import this_process
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando_mcp.settings import Settings, operator_limits
from kando_mcp.worker.pool import RUNS_LANE
from mcp_host import Place, calling


@pytest.mark.skipif(not this_process().started, reason="the start of a process is unknown here")
def test_the_claim_and_the_slot_of_a_process_whose_id_was_reused_block_nothing(
    place: Place,
) -> None:
    # This process is alive, but began at another time than the one that made the claim.
    gone = attrs.evolve(this_process(), started="1")
    assert gone.pid == os.getpid()

    async def story(client: Client) -> None:
        call = calling(client)
        waiting = await call("start_run", kit="tiny", goal="ask why", wait_s=45)
        run_id = waiting["run_id"]
        with SQLiteSubstrate(place.root / "store.sqlite") as store:
            assert store.claim(run_id, gone, 3_600)
            assert store.acquire_slot(RUNS_LANE, 1, gone, 3_600)
            assert store.acquire_slot("usd/booked", 1, gone, 3_600, 0.99)

        assert (await call("get_run", run_id=run_id))["state"] == "waiting"
        state = await call("resume_run", run_id=run_id, llm="priced", wait_s=45)
        assert state["state"] == "finished"

    place.within(
        story,
        Settings(
            limits=operator_limits(allows_live_llm=True, max_usd_per_day=1.0), max_parallel_runs=1
        ),
    )
