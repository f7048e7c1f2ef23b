"""The difference between two runs as pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kando.app.addresses import parse_address
from kando.app.shapes import file_change_dict
from kando.app.store import Store
from kando.branch.comparison import LedgerDiff, Side
from kando.branch.steps import StepChange
from kando.schema.events import RecordedEvent
from kando.trace.figure import about
from kando.world.graph import Relation, WorldObject
from kando_mcp.results.paging import format_cursor, page, parse_cursor
from kando_mcp.results.shapes import DiffResult, MovedShape, SideShape, StepShape
from kando_mcp.results.worlds import object_shape, relation_shape

__all__ = ["diff_page"]


def diff_page(
    store: Store, run_a: str, run_b: str, cursor: str | None, limit: int, chars: int, *, files: bool
) -> DiffResult:
    """Return a page of the differences between two runs.

    Args:
        store: the store of the runs.
        run_a: ``RUN`` or ``RUN@N``.
        run_b: ``RUN`` or ``RUN@N``.
        cursor: cursor of the page; None for the first page.
        limit: maximum number of differences.
        chars: maximum length of the page, in characters of its JSON.
        files: whether files that differ are differences, too.

    Raises:
        LedgerNotFound, AmbiguousName: no run, or more than one, has this id.
        PositionOutOfRange: a run has fewer than N events.
        ConfigurationError: the cursor is malformed.
        StoreDamaged: a file is missing or damaged.
    """
    start = 0
    if cursor is not None:
        # All pages compare the same positions, even if the runs have grown since the first page.
        end_a, end_b, start = parse_cursor(cursor, 3)
        run_a, run_b = _up_to(run_a, end_a), _up_to(run_b, end_b)
    (a, at), (b, other_at) = store.run_at(run_a), store.run_at(run_b)
    found = a.diff(b, at=at, other_at=other_at)
    entries = _entries(found)
    if files:
        changes = a.diff_files(b, at=at, other_at=other_at)
        entries += [("files", file_change_dict(each)) for each in changes]
    shown, stop = page(entries, start, limit, chars, lambda entry: entry[1])
    kinds = [kind for kind, _ in entries[start : start + len(shown)]]

    def of(kind: str) -> list[Any]:
        return [body for known, body in zip(kinds, shown, strict=True) if known == kind]

    result: DiffResult = {
        "summary": found.world.summary() + (", more on the next page" if stop is not None else ""),
        "parts_at": found.shared,
        "a": _side(found.a),
        "b": _side(found.b),
        "added_objects": of("added_objects"),
        "removed_objects": of("removed_objects"),
        "patched_objects": of("patched_objects"),
        "moved_objects": of("moved_objects"),
        "added_relations": of("added_relations"),
        "removed_relations": of("removed_relations"),
        "moved_relations": of("moved_relations"),
        "changed_steps": of("changed_steps"),
        "steps_only_a": of("steps_only_a"),
        "steps_only_b": of("steps_only_b"),
        "next_cursor": format_cursor(found.a.events, found.b.events, stop)
        if stop is not None
        else None,
    }
    return result | {"files": of("files")} if files else result


def _up_to(run: str, end: int) -> str:
    return f"{parse_address(run).ledger}@{end}"


def _entries(found: LedgerDiff) -> list[tuple[str, Any]]:
    """Return every difference with the name of its field: worlds first, then steps."""
    world, steps = found.world, found.steps
    objects, relations = world.objects, world.relations
    return [
        *(("added_objects", object_shape(o)) for o in objects.after(world.added_objects)),
        *(("removed_objects", object_shape(o)) for o in objects.before(world.removed_objects)),
        *(
            (
                "patched_objects",
                {"id": o.id, "type": o.type, "fields": _before_and_after(objects[o.id].fields)},
            )
            for o in objects.after(world.patched_objects)
        ),
        *(("moved_objects", _moved(*pair)) for pair in objects.pairs(world.moved_objects)),
        *(("added_relations", relation_shape(r)) for r in relations.after(world.added_relations)),
        *(
            ("removed_relations", relation_shape(r))
            for r in relations.before(world.removed_relations)
        ),
        *(("moved_relations", _moved(*pair)) for pair in relations.pairs(world.moved_relations)),
        *(("changed_steps", _changed(change)) for change in steps.changed),
        *(("steps_only_a", _line(event)) for event in steps.only_a),
        *(("steps_only_b", _line(event)) for event in steps.only_b),
    ]


def _before_and_after(fields: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
    return {name: {"before": old, "after": new} for name, (old, new) in fields.items()}


def _moved(old: WorldObject | Relation, new: WorldObject | Relation) -> MovedShape:
    return {"type": new.type, "before_id": old.id, "after_id": new.id}


def _line(event: RecordedEvent) -> StepShape:
    return {"id": event.id, "type": event.type, "actor": event.actor, "about": about(event)}


def _changed(change: StepChange) -> Any:
    return {**_line(change.after), "fields": _before_and_after(change.fields)}


def _side(side: Side) -> SideShape:
    llm = side.tail.llm
    return {
        "run_id": side.stream.partition(":")[2],
        "events": side.events,
        "own_events": side.tail.events,
        "llm_requests": llm.requests,
        "llm_cached": llm.cached,
        "llm_cost_usd": llm.cost_usd,
    }
