"""The child runs that an export takes along, and that an import accepts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

from kando.app.child_ids import child_ids_of, opened_child
from kando.app.opened import OpenedRun
from kando.errors import InvalidData, LedgerNotFound
from kando.ledger.jsonl import ExportedLedger
from kando.schema.events import RUN_REQUESTED
from kando.views.children import RequestedRun, track_children
from kando.views.choices import CHOOSING, Choices
from kando.views.stored import status_fold_of

__all__ = ["children_first", "exported_children", "require_children"]


def exported_children(run: OpenedRun, end: int) -> list[tuple[OpenedRun, int]]:
    """Return the child runs of a run, and theirs, each after the run that started it.

    Args:
        run: opened for reading.
        end: how many of its events count.

    Returns:
        Each child with the number of its events.
    """
    found: dict[str, tuple[OpenedRun, int]] = {run.id: (run, end)}
    waiting = [(run, end)]
    for asking, length in waiting:
        for child in _started(asking, length):
            if child.id not in found:
                found[child.id] = (child, child.ledger.length())
                waiting.append(found[child.id])
    return [*found.values()][1:]


def _started(run: OpenedRun, end: int) -> Iterator[OpenedRun]:
    if run.is_demo_run:
        return
    stored = run.snapshot
    fold = status_fold_of(stored) if stored is not None else None
    if fold is None or fold.length > end:
        known, start = dict[str, RequestedRun](), 0
    else:
        known, start = {**fold.children}, fold.length
    for event in islice(run.ledger.read(start), end - start):
        track_children(known, event)
    for asked in known.values():
        if asked.run_id is None:
            child = opened_child(run.context, run.ledger.stream_name(), asked.lineage_key)
        else:
            child = _ended(run, asked.run_id)
        # An imported event may name any run of the store, and a child that was being created when its
        # process died does not name its run yet: it is a child only if both name each other.
        request = {asked.event_id: {asked.lineage_key}}
        if child is not None and _is_started_by(child.id, child.choices, request):
            yield child


def _ended(run: OpenedRun, id: str) -> OpenedRun | None:
    """Return a child that has ended; None if the store lacks it."""
    with suppress(LedgerNotFound):
        return OpenedRun(run.context, run.context.substrate().open(id))
    return None


def _is_started_by(id: str, choices: Choices, requests: dict[str, set[str]]) -> bool:
    """Whether a ledger is the child of one of the requests.

    Args:
        id: of the ledger.
        choices: for it.
        requests: lineage keys by the id of the request.
    """
    named = choices.started_by or {}
    starter, event_id = named.get("run_id"), named.get("event_id")
    if not isinstance(starter, str) or not isinstance(event_id, str):
        return False
    return any(id in child_ids_of(f"run:{starter}", key) for key in requests.get(event_id, ()))


def require_children(ledgers: Sequence[ExportedLedger]) -> None:
    """Refuse a file that holds other ledgers than a run and the children of the runs before each.

    Args:
        ledgers: of the file, in its order.

    Raises:
        InvalidData: a ledger is not a child, or occurs twice; the message names its first line.
    """
    requests: dict[str, set[str]] = {}
    seen: set[str] = set()
    for each in ledgers:
        id = each.header.ledger_id
        if seen and (id in seen or not _is_started_by(id, _choices_of(each), requests)):
            msg = f"Line {each.line} begins the ledger {id!r:.80}, which no run before it started."
            raise InvalidData(msg, hint="Export the run again; nothing was imported.")
        seen.add(id)
        for event in each.events:
            if event.type == RUN_REQUESTED:
                requests.setdefault(event.id, set()).add(event.lineage_key)


def _choices_of(exported: ExportedLedger) -> Choices:
    choices = Choices()
    for event in exported.events:
        if event.type in CHOOSING:
            choices = choices.apply(event)
    return choices


def children_first(ledgers: Sequence[ExportedLedger]) -> list[ExportedLedger]:
    """Return the ledgers in the order in which they are written: a run after its children.

    So an import that was killed leaves no run without its children. A branch follows the ledger that it was forked from.
    """
    by_id = {each.header.ledger_id: each for each in ledgers}
    ordered: dict[str, ExportedLedger] = {}
    for each in reversed(ledgers):
        line: dict[str, ExportedLedger] = {}
        at: ExportedLedger | None = each
        while at is not None and (id := at.header.ledger_id) not in ordered and id not in line:
            line[id] = at
            at = by_id.get(at.header.parent.id) if at.header.parent is not None else None
        ordered |= dict(reversed(line.items()))
    return [*ordered.values()]
