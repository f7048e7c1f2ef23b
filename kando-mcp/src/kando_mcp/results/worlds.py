"""A world as pages of objects and relations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kando.app.addresses import parse_address
from kando.app.store import Store
from kando.app.world_cache import WorldCache
from kando.world.graph import Relation, World, WorldObject
from kando_mcp.results.paging import format_cursor, page, parse_cursor, truncate
from kando_mcp.results.shapes import ObjectShape, RelationShape, WorldResult

__all__ = ["object_shape", "relation_shape", "world_page"]


def object_shape(o: WorldObject) -> ObjectShape:
    """Return the shape of an object."""
    return {"id": o.id, "type": o.type, "data": o.data, "event_id": o.event_id}


def relation_shape(r: Relation) -> RelationShape:
    """Return the shape of a relation."""
    return {
        "id": r.id,
        "type": r.type,
        "source_id": r.source_id,
        "target_id": r.target_id,
        "data": r.data,
        "event_id": r.event_id,
    }


def world_page(
    store: Store,
    worlds: WorldCache,
    run: str,
    at: int | None,
    type: str | None,
    cursor: str | None,
    limit: int,
    chars: int,
) -> WorldResult:
    """Return a page of a world: its objects, then its relations, in order of creation.

    Args:
        store: the store of the run.
        worlds: cache of recently shown worlds.
        run: ``RUN`` or ``RUN@N``.
        at: the same as N.
        type: only objects and relations of this type.
        cursor: cursor of the page; None for the first page. All pages show the same position.
        limit: maximum number of objects and relations together.
        chars: maximum length of the page, in characters of its JSON.

    Raises:
        LedgerNotFound, AmbiguousName: no run, or more than one, has this id.
        PositionOutOfRange: the run has fewer events.
        ConfigurationError: the cursor is malformed.
    """
    start = 0
    if cursor is not None:
        at, start = parse_cursor(cursor, 2)
        run = parse_address(run).ledger
    with worlds.borrow(store, run, at) as (world, run_id, position):
        objects = [o for o in world.objects.values() if type in (None, o.type)]
        relations = [r for r in world.relations.values() if type in (None, r.type)]
        items: list[WorldObject | Relation] = [*objects, *relations]
        shown, stop = page(items, start, limit, chars, _shape)
        filtered = _type_note(world, type, is_found=bool(items)) if type is not None else ""
    split = max(0, len(objects) - start)
    return {
        "summary": f"{len(objects)} objects and {len(relations)} relations after {position} "
        f"events{filtered}{', more on the next page' if stop is not None else ''}",
        "run_id": run_id,
        "position": position,
        "object_count": len(objects),
        "relation_count": len(relations),
        "objects": shown[:split],
        "relations": shown[split:],
        "next_cursor": format_cursor(position, stop) if stop is not None else None,
    }


def _type_note(world: World, type: str, *, is_found: bool) -> str:
    """Return the requested type for the summary, with the existing types if it has no items."""
    if is_found:
        return f", of type {type}"
    items: list[WorldObject | Relation] = [*world.objects.values(), *world.relations.values()]
    known = sorted({item.type for item in items})
    existing = f"; its types are {', '.join(known)}" if known else ""
    return truncate(f", of type {truncate(type, 100)}{existing}", 1_000)


def _shape(item: WorldObject | Relation) -> Any:
    make: Callable[[Any], Any] = object_shape if isinstance(item, WorldObject) else relation_shape
    return make(item)
