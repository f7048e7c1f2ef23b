"""Runs and branches as pages, newest first."""

from __future__ import annotations

from collections.abc import Iterator

from kando.app.status import RunStatus
from kando.app.store import Store
from kando.ledger.substrate import LedgerInfo
from kando_mcp.results.paging import clip, page
from kando_mcp.results.shapes import RunLine, RunList

__all__ = ["run_page"]

_Entry = tuple[LedgerInfo, RunStatus]

#: Runs whose states are looked up together; those that do not fit the page were in vain.
_AT_ONCE = 20

_GOAL_CHARS = 200


def run_page(app: Store, cursor: str | None, limit: int, chars: int) -> RunList:
    """Return a page of runs and branches.

    Args:
        app: where.
        cursor: of the page.
        limit: how many at most.
        chars: of the page.

    Raises:
        ConfigurationError: the cursor is of no run.
    """
    items, stop = page(_entries(app, cursor), 0, limit, chars, _line)
    running = sum(item["state"] == "running" for item in items)
    more = ", more follow" if stop is not None else ""
    return {
        "summary": f"{len(items)} runs, {running} of them running{more}",
        "items": items,
        "next_cursor": items[-1]["run_id"] if stop is not None else None,
    }


def _entries(app: Store, cursor: str | None) -> Iterator[_Entry]:
    while True:
        found = app.runs(limit=_AT_ONCE, cursor=cursor)
        yield from zip(found.infos, found, strict=True)
        if found.next_cursor is None:
            return
        cursor = found.next_cursor


def _line(entry: _Entry) -> RunLine:
    info, status = entry
    return {
        "run_id": info.id,
        "state": status.state,
        "goal": clip(status.goal, _GOAL_CHARS) if status.goal is not None else None,
        "kit": status.kit,
        "events": status.events,
        "llm_cost_usd": status.llm_cost_usd,
        "created_at": info.created_at.isoformat(),
        "parent_id": info.parent_id,
        "fork_position": info.fork_position,
    }
