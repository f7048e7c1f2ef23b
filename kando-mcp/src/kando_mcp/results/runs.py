"""Runs and branches as pages, newest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kando.app.inspect import cursor_of
from kando.app.status import RunStatus
from kando.app.store import Store
from kando.ledger.substrate import LedgerInfo
from kando_mcp.results.paging import page, truncate
from kando_mcp.results.shapes import RunLine, RunList

__all__ = ["run_page"]

_Entry = tuple[LedgerInfo, RunStatus]

#: Runs whose states are looked up together, including any that do not fit on the page.
_BATCH = 20

_GOAL_CHARS = 200


def run_page(
    store: Store,
    cursor: str | None,
    limit: int,
    chars: int,
    labels: Mapping[str, str] | None = None,
) -> RunList:
    """Return a page of runs and branches.

    Args:
        store: the store of the runs.
        cursor: cursor of the page; None for the first page.
        limit: maximum number of runs.
        chars: maximum length of the page, in characters of its JSON.
        labels: only runs that have all of these labels.

    Raises:
        ConfigurationError: the cursor is malformed.
        InvalidData: a label is malformed.
    """
    cursors: list[str] = []

    def line(entry: _Entry) -> RunLine:
        cursors.append(cursor_of(entry[0]))
        return _line(entry)

    items, stop = page(_entries(store, cursor, labels), 0, limit, chars, line)
    running = sum(item["state"] == "running" for item in items)
    more = ", more on the next page" if stop is not None else ""
    return {
        "summary": f"{len(items)} runs, {running} of them running{more}",
        "items": items,
        "next_cursor": cursors[len(items) - 1] if stop is not None else None,
    }


def _entries(
    store: Store, cursor: str | None, labels: Mapping[str, str] | None
) -> Iterator[_Entry]:
    while True:
        found = store.runs(labels=labels, limit=_BATCH, cursor=cursor)
        yield from zip(found.infos, found, strict=True)
        if found.next_cursor is None:
            return
        cursor = found.next_cursor


def _line(entry: _Entry) -> RunLine:
    info, status = entry
    return {
        "run_id": info.id,
        "state": status.state,
        "goal": truncate(status.goal, _GOAL_CHARS) if status.goal is not None else None,
        "labels": status.labels,
        "kit": status.kit,
        "events": status.events,
        "llm_cost_usd": status.llm_cost_usd,
        "unread": status.unread,
        "parked": status.parked,
        "created_at": info.created_at.isoformat(),
        "parent_id": info.parent_id,
        "fork_position": info.fork_position,
    }
