"""Wait for a run, and report its progress to the client."""

from __future__ import annotations

from typing import Annotated

import anyio
from mcp.server.mcpserver.context import Context
from pydantic import Field

from kando.app.demo import DEMO_ID
from kando.app.store import Store
from kando.views.progress import Follower, Progress
from kando_mcp.access import Access
from kando_mcp.results.run_state import run_state
from kando_mcp.results.shapes import RunState
from kando_mcp.settings import MAX_WAIT_SECONDS
from kando_mcp.worker.pool import Workers, has_worker

__all__ = ["DEFAULT_WAIT_SECONDS", "RunId", "WaitSeconds", "wait_for_run"]

_POLL_SECONDS = 0.1
_REPORT_SECONDS = 1.0

DEFAULT_WAIT_SECONDS = 20.0

RunId = Annotated[
    str, Field(description="Id of a run or branch, a unique prefix of one, or @last.")
]
WaitSeconds = Annotated[
    float,
    Field(
        ge=0,
        le=MAX_WAIT_SECONDS,
        description="Seconds to wait before returning; this does not stop the run.",
    ),
]


async def wait_for_run(
    access: Access, workers: Workers, run: str, wait_s: float, ctx: Context
) -> RunState:
    """Return the state of a run as soon as no worker has it, or after `wait_s` seconds.

    If the server is ending, it waits no longer.

    Args:
        access: access to the runs.
        workers: processes started by this server.
        run: an id, a unique prefix, or ``@last``.
        wait_s: maximum number of seconds to wait.
        ctx: context of the request, which receives the progress.
    """
    run_id = await access.call(lambda store: _id_of(store, run))
    start = anyio.current_time()
    reported = 0.0
    known: Progress | None = None
    follower = Follower()
    while (waited := anyio.current_time() - start) < wait_s:
        progress = await access.call(lambda store: _pulse(store, workers, run_id, follower))
        if progress is None or access.ending.has_begun:
            break
        if progress != known or waited - reported >= _REPORT_SECONDS:
            known, reported = progress, waited
            await ctx.report_progress(round(waited, 3), wait_s, f"{run_id}: {progress}")
        await anyio.sleep(min(_POLL_SECONDS, max(0.0, wait_s - waited)))
    return await access.call(
        lambda store: run_state(
            store,
            run_id,
            workers.report_of(run_id),
            is_read_only=access.settings.limits.is_read_only,
        )
    )


def _id_of(store: Store, run: str) -> str:
    return store.run(run).id


def _pulse(store: Store, workers: Workers, run_id: str, follower: Follower) -> Progress | None:
    """Return the progress of a run; None if no worker has it."""
    if workers.is_done(run_id) and (run_id == DEMO_ID or not has_worker(store, run_id)):
        return None
    return store.run(run_id).progress(follower)
