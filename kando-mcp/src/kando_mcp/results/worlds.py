"""A world as pages of objects and relations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kando.app.addresses import parse_address
from kando.app.store import Store
from kando.world.graph import Relation, World, WorldObject
from kando_mcp.results.paging import clip, cursor_text, page, read_cursor
from kando_mcp.results.shapes import ObjectShape, RelationShape, WorldResult
from kando_mcp.world_cache import KeptWorlds

__all__ = ["object_shape", "relation_shape", "world_page"]


def object_shape(o: WorldObject) -> ObjectShape:
    """Return an object as the tools show it."""
    return {"id": o.id, "type": o.type, "data": o.data, "event_id": o.event_id}


def relation_shape(r: Relation) -> RelationShape:
    """Return a relation as the tools show it."""
    return {
        "id": r.id,
        "type": r.type,
        "source_id": r.source_id,
        "target_id": r.target_id,
        "data": r.data,
        "event_id": r.event_id,
    }


def world_page(
    app: Store,
    worlds: KeptWorlds,
    run: str,
    at: int | None,
    type: str | None,
    cursor: str | None,
    limit: int,
    chars: int,
) -> WorldResult:
    """Return a page of a world: its objects, then its relations, in the order of creation.

    Args:
        app: where.
        worlds: that were shown last.
        run: ``RUN`` or ``RUN@N``.
        at: the same as N.
        type: only objects and relations of this type.
        cursor: of the page; all pages show the world as it was at the first.
        limit: of objects and relations, together.
        chars: of the page.

    Raises:
        LedgerNotFound, AmbiguousName: there is no such run.
        PositionOutOfRange: it is shorter.
        ConfigurationError: the cursor is none.
    """
    start = 0
    if cursor is not None:
        at, start = read_cursor(cursor, 2)
        run = parse_address(run).ledger
    with worlds.showing(app, run, at) as (world, run_id, position):
        objects = [o for o in world.objects.values() if type in (None, o.type)]
        relations = [r for r in world.relations.values() if type in (None, r.type)]
        items: list[WorldObject | Relation] = [*objects, *relations]
        shown, stop = page(items, start, limit, chars, _shape)
        of = _of_type(world, type, is_found=bool(items)) if type is not None else ""
    split = max(0, len(objects) - start)
    return {
        "summary": f"{len(objects)} objects and {len(relations)} relations after {position} "
        f"events{of}{', more follow' if stop is not None else ''}",
        "run_id": run_id,
        "position": position,
        "object_count": len(objects),
        "relation_count": len(relations),
        "objects": shown[:split],
        "relations": shown[split:],
        "next_cursor": cursor_text(position, stop) if stop is not None else None,
    }


def _of_type(world: World, type: str, *, is_found: bool) -> str:
    """Return which type was asked for, and which there are if none is of that one."""
    if is_found:
        return f", of type {type}"
    items: list[WorldObject | Relation] = [*world.objects.values(), *world.relations.values()]
    known = sorted({item.type for item in items})
    there = f"; its types are {', '.join(known)}" if known else ""
    return clip(f", of type {clip(type, 100)}{there}", 1_000)


def _shape(item: WorldObject | Relation) -> Any:
    make: Callable[[Any], Any] = object_shape if isinstance(item, WorldObject) else relation_shape
    return make(item)
