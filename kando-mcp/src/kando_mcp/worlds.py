"""A world as pages of objects and relations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kando.app.context import App
from kando.app.reading import world_at
from kando.world.graph import Relation, WorldObject
from kando_mcp.fitting import cursor_text, page, read_cursor
from kando_mcp.shapes import ObjectShape, RelationShape, WorldResult

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
    app: App,
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
        at, start = read_cursor(cursor)
        run = run.rpartition("@")[0] if run.rpartition("@")[2].isdecimal() else run
    world, position = world_at(app, run, at)
    objects = [o for o in world.objects.values() if type in (None, o.type)]
    relations = [r for r in world.relations.values() if type in (None, r.type)]
    items: list[WorldObject | Relation] = [*objects, *relations]
    shown, stop = page(items, start, limit, chars, _shape)
    split = max(0, len(objects) - start)
    of = f" of type {type}" if type else ""
    return {
        "summary": f"{len(objects)} objects and {len(relations)} relations{of} after {position} "
        f"events{', more follow' if stop is not None else ''}",
        "run_id": run,
        "position": position,
        "object_count": len(objects),
        "relation_count": len(relations),
        "objects": shown[:split],
        "relations": shown[split:],
        "next_cursor": cursor_text(position, stop) if stop is not None else None,
    }


def _shape(item: WorldObject | Relation) -> Any:
    make: Callable[[Any], Any] = object_shape if isinstance(item, WorldObject) else relation_shape
    return make(item)
