"""Wait for a run, as long as a client may wait, telling it how far the run is."""

from __future__ import annotations

from typing import Annotated

import anyio
from mcp.server.mcpserver.context import Context
from pydantic import Field

from kando.app.demo import DEMO_ID
from kando.app.store import Store
from kando_mcp.access import Access
from kando_mcp.results.run_state import run_state
from kando_mcp.results.shapes import RunState
from kando_mcp.settings import MAX_WAIT_SECONDS
from kando_mcp.worker.pool import Workers, is_at_work

__all__ = ["DEFAULT_WAIT", "RunId", "WaitSeconds", "awaited_state"]

_LOOK_SECONDS = 0.1
_TELL_SECONDS = 1.0

#: Seconds.
DEFAULT_WAIT = 20.0

RunId = Annotated[
    str, Field(description="Id of a run or branch, a unique beginning of one, or @last.")
]
WaitSeconds = Annotated[
    float,
    Field(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait for it; it goes on in any case."),
]


async def awaited_state(
    access: Access, workers: Workers, run: str, wait_s: float, ctx: Context
) -> RunState:
    """Return the state of a run when nobody works on it any more, or when the time is up.

    Args:
        access: to the runs.
        workers: what this server has started.
        run: an id, a unique prefix, or ``@last``.
        wait_s: seconds to wait at most.
        ctx: of the request; a client that asked for progress is told it.
    """
    run_id = await access.ask(lambda app: _id_of(app, run))
    start = anyio.current_time()
    told = 0.0
    known = -1
    while (waited := anyio.current_time() - start) < wait_s:
        events, is_over = await access.ask(lambda app: _pulse(app, workers, run_id))
        if is_over:
            break
        if events != known or waited - told >= _TELL_SECONDS:
            known, told = events, waited
            await ctx.report_progress(round(waited, 3), wait_s, f"{run_id}: {events} events")
        await anyio.sleep(min(_LOOK_SECONDS, max(0.0, wait_s - waited)))
    return await access.ask(
        lambda app: run_state(
            app,
            run_id,
            workers.report_of(run_id),
            is_read_only=access.settings.is_read_only,
        )
    )


def _id_of(app: Store, run: str) -> str:
    return app.run(run).id


def _pulse(app: Store, workers: Workers, run_id: str) -> tuple[int, bool]:
    """Return the length of a ledger, and whether nobody is at work on it."""
    ledger = app.context.ledger(run_id)
    if not workers.is_over(run_id):
        return ledger.length(), False
    return ledger.length(), run_id == DEMO_ID or not is_at_work(app, run_id)
