"""Inspect runs: list them, and read their events and worlds. This module never writes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice

import attrs

from kando.app.context import Context
from kando.app.opened import OpenedRun
from kando.app.status import RunStatus, damaged_status, status_of
from kando.errors import (
    ConfigurationError,
    EventNotFound,
    LedgerDeleted,
    ObjectNotFound,
    PositionOutOfRange,
    StoreDamaged,
)
from kando.ledger.substrate import LedgerInfo
from kando.schema.events import RecordedEvent
from kando.views.labels import check_labels
from kando.world.graph import Relation, World, WorldObject
from kando.world.projection import apply, project

__all__ = [
    "RunPage",
    "at_cursor",
    "cursor_of",
    "event_of",
    "list_runs",
    "object_at",
    "read_events",
    "relation_at",
    "status_in_list",
    "world_at",
]

_EPOCH = datetime.fromtimestamp(0, UTC)

#: When a ledger was created, in a cursor.
_MICROSECONDS = re.compile(r"[0-9]{1,20}")


@attrs.frozen
class RunPage:
    """One page of a list of runs, newest first.

    Attributes:
        items: the state of each run.
        infos: metadata of each, such as its time of creation.
        next_cursor: continues the list after this page; None on the last page.
    """

    items: list[RunStatus]
    infos: list[LedgerInfo]
    next_cursor: str | None = None

    def __iter__(self) -> Iterator[RunStatus]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def list_runs(
    context: Context,
    limit: int,
    cursor: str | None = None,
    *,
    state: str | None = None,
    kit: str | None = None,
    text: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> RunPage:
    """Return runs and branches, newest first.

    A damaged run is listed as such; it does not hide the others.

    Args:
        context: the plugins, the settings and the substrate.
        limit: maximum number of runs.
        cursor: `RunPage.next_cursor` of the previous page, which names its last run; runs that were
            started or deleted since then do not shift the pages.
        state: only runs in this state.
        kit: only runs of the kit with this name.
        text: only runs whose id or goal contains it, in any case.
        labels: only runs that have all of these labels.

    Raises:
        ConfigurationError: the cursor is malformed.
        InvalidData: a label is malformed.
    """
    wanted = check_labels(labels).items()
    ledgers = context.substrate().ledgers()
    if cursor is not None:
        ledgers = iter(at_cursor(ledgers, cursor)[1])
    page = RunPage([], [])
    for info in ledgers:
        if len(page) == limit:
            # The filters may exclude all runs that follow: the next page is then empty.
            return attrs.evolve(page, next_cursor=cursor_of(page.infos[-1]))
        try:
            status = status_in_list(context, info)
        except LedgerDeleted:
            # Since the ledgers were listed.
            continue
        is_wanted = state in (None, status.state) and kit in (None, status.kit)
        is_wanted = is_wanted and wanted <= status.labels.items()
        if is_wanted and (text is None or _mentions(status, text)):
            page.items.append(status)
            page.infos.append(info)
    return page


def cursor_of(info: LedgerInfo) -> str:
    """Return the cursor of a page of ledgers, newest first, that ends with this one."""
    return f"{info.id}.{_created_us(info)}"


def at_cursor(
    ledgers: Iterable[LedgerInfo], cursor: str
) -> tuple[LedgerInfo | None, list[LedgerInfo]]:
    """Return the ledger that a cursor names, None if it was deleted, and those after it.

    Args:
        ledgers: newest first.
        cursor: `cursor_of` the last ledger of the previous page, or the id of one that exists.

    Raises:
        ConfigurationError: the cursor is malformed.
    """
    found = list(ledgers)
    id, _, created = cursor.rpartition(".")
    for place, info in enumerate(found):
        if info.id in (id, cursor):
            return info, found[place + 1 :]
    if not id or not _MICROSECONDS.fullmatch(created):
        msg = f"{cursor!r:.200} is not a cursor of this list."
        raise ConfigurationError(msg, hint="Use the next_cursor of the previous page.")
    return None, [each for each in found if _created_us(each) < int(created)]


def _created_us(info: LedgerInfo) -> int:
    return (info.created_at - _EPOCH) // timedelta(microseconds=1)


def _mentions(status: RunStatus, text: str) -> bool:
    return text.casefold() in f"{status.run_id}\n{status.goal or ''}".casefold()


def status_in_list(context: Context, info: LedgerInfo) -> RunStatus:
    """Return the status of a run for a list of runs, which a damaged run does not end.

    Raises:
        LedgerDeleted: it was deleted.
    """
    try:
        return status_of(OpenedRun(context, context.substrate().open(info.id)))
    except StoreDamaged as error:
        return damaged_status(info, error.message)


def read_events(run: OpenedRun, end: int, *, start: int = 0) -> Iterator[RecordedEvent]:
    """Return the events of a run from position `start` up to, but not including, `end`.

    Raises:
        PositionOutOfRange: `start` is after `end`.
    """
    if start > end:
        msg = f"{run.ledger.stream_name()} has {end} events; position {start} is out of range."
        raise PositionOutOfRange(msg, hint=f"Use 0 to {end}.")
    return islice(run.ledger.read(start), end - start)


def event_of(run: OpenedRun, end: int, event_id: str) -> RecordedEvent:
    """Return one of the first `end` events of a run.

    Raises:
        EventNotFound: it is not one of them.
    """
    event = run.ledger.find(event_id)
    if event is None or event.position >= end:
        msg = f"{run.ledger.stream_name()} has no event {event_id!r:.200}."
        raise EventNotFound(msg, hint=f"`kando events {run.id}` lists its events.")
    return event


def world_at(run: OpenedRun, end: int) -> World:
    """Return the world of a run after its first `end` events."""
    stored = run.snapshot_at(end)
    world = stored.world() if stored is not None else None
    if stored is None or world is None:
        return project(islice(run.current.read_all(), end))
    for event in islice(run.current.read(stored.position), end - stored.position):
        apply(world, event)
    return world


def object_at(run: OpenedRun, end: int, id: str) -> WorldObject:
    """Return an object of a run after its first `end` events; only the events about it are read.

    Raises:
        ObjectNotFound: the run does not have the object at that position.
    """
    found = project(run.current.events_about({id}, (), end)).get_object(id)
    if found is None:
        raise _not_there(run, "object", id)
    return found


def relation_at(run: OpenedRun, end: int, id: str) -> Relation:
    """Return a relation of a run after its first `end` events; only the events about it are read.

    Raises:
        ObjectNotFound: there is no such relation then.
    """
    ends = {
        str(event.data.get(name))
        for event in run.current.events_about((), {id}, end)
        for name in ("source_id", "target_id")
    }
    # A relation is projected after the objects that it connects.
    found = project(run.current.events_about(ends, {id}, end)).get_relation(id)
    if found is None:
        raise _not_there(run, "relation", id)
    return found


def _not_there(run: OpenedRun, kind: str, id: str) -> ObjectNotFound:
    msg = f"{run.ledger.stream_name()} has no {kind} {id!r:.200}."
    return ObjectNotFound(msg, hint=f"`kando world {run.id}` lists them.")
