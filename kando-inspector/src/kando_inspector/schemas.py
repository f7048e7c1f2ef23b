"""JSON Schemas of the bodies of requests and responses, by name.

The schema of a class follows from its fields, so that it cannot differ from the JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs

from kando.app.artifacts import Artifact
from kando.app.branches import Branch
from kando.app.compare import Outcome
from kando.app.conversations import Conversation
from kando.app.status import RunStatus
from kando.views.approvals import Approval
from kando.views.metrics import RunMetrics, Usage
from kando.world.graph import Relation, WorldObject

__all__ = ["schema_of", "schemas"]

_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_COUNT = {"type": "integer", "minimum": 0}
_TIME = {"type": "string", "format": "date-time"}
_OBJECT: dict[str, Any] = {"type": "object"}
_ANY: dict[str, Any] = {}

_SCALARS: dict[Any, dict[str, Any]] = {
    str: _TEXT,
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    datetime: _TIME,
    NoneType: {"type": "null"},
}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(of: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


def _object(required: Mapping[str, Any], **optional: Any) -> dict[str, Any]:
    """Return the schema of an object; a later version may have further fields."""
    return {
        "type": "object",
        "required": [*required],
        "properties": {**required, **optional},
    }


def _page(of: str) -> dict[str, Any]:
    about = "Cursor of the next page; null on the last one."
    return _object({"items": _list(_ref(of)), "next": {**_TEXT_OR_NULL, "description": about}})


def _of_class(cls: type, **changed: Any) -> dict[str, Any]:
    """Return the schema of the JSON of a class.

    Args:
        cls: an attrs class.
        changed: schemas of fields whose JSON is not that of their type.
    """
    hints = get_type_hints(cls)
    fields = {each.name: _of_type(hints[each.name]) for each in attrs.fields(cls)}
    return _object({**fields, **changed})


def _of_type(kind: Any) -> dict[str, Any]:
    if kind in _SCALARS:
        return _SCALARS[kind]
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return {"anyOf": [_of_type(each) for each in inner]}
    if origin is list:
        return _list(_of_type(inner[0]))
    if origin is dict:
        values = _of_type(inner[1])
        return {"type": "object", "additionalProperties": values} if values else _OBJECT
    if attrs.has(kind):
        return _of_class(kind)
    return _OBJECT if kind is dict else _ANY


_DIFFERENCE = _object({"before": _ANY, "after": _ANY})
_FIELDS = {"type": "object", "additionalProperties": _DIFFERENCE}


def _moved(of: str) -> dict[str, Any]:
    return _list(_object({"before": _ref(of), "after": _ref(of)}))


_EVENT = {
    "id": _TEXT,
    "type": _TEXT,
    "source": _TEXT,
    "actor": _TEXT,
    "cause": _list(_TEXT),
    "timestamp": _TIME,
    "data": _OBJECT,
    "position": _COUNT,
}
_SIDE = _object(
    {
        "source": _TEXT,
        "events": _COUNT,
        "events_after": _COUNT,
        "llm_after": _ref("Usage"),
        "seconds_after": {"type": "number"},
    }
)
_CLAIM = _object(
    {
        "host": _TEXT,
        "pid": {"type": "integer"},
        "group": _TEXT_OR_NULL,
        "epoch": {"type": "integer"},
        "since": _TIME,
    }
)
_PARTS = (
    "settings",
    "object_types",
    "relation_types",
    "responders",
    "edge_logic",
    "tools",
    "policies",
    "prompts",
)


def _of_diff() -> dict[str, Any]:
    return _object(
        {
            "summary": _TEXT,
            "added_objects": _list(_ref("Object")),
            "removed_objects": _list(_ref("Object")),
            "patched_objects": _list(_object({"id": _TEXT, "type": _TEXT, "fields": _FIELDS})),
            "added_relations": _list(_ref("Relation")),
            "removed_relations": _list(_ref("Relation")),
            "moved_objects": _moved("Object"),
            "moved_relations": _moved("Relation"),
            "parts_at": _COUNT,
            "steps": _object(
                {
                    "summary": _TEXT,
                    "changed": _list(
                        _object(
                            {"before": _ref("Event"), "after": _ref("Event"), "fields": _FIELDS}
                        )
                    ),
                    "only_a": _list(_ref("Event")),
                    "only_b": _list(_ref("Event")),
                }
            ),
            "a": _SIDE,
            "b": _SIDE,
        }
    )


def _items() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what lists have as items, by name."""
    yield "RunStatus", _of_class(RunStatus, claim={"anyOf": [_CLAIM, {"type": "null"}]})
    yield "Event", _object(_EVENT)
    yield "TracedEvent", _object({**_EVENT, "run_id": _TEXT, "depth": _COUNT})
    yield "Branch", _of_class(Branch)
    waiting = {
        "schema": {"type": ["object", "null"]},
        "reminded": _COUNT,
        "remind_at": {"anyOf": [_TIME, {"type": "null"}]},
        "run_id": _TEXT,
        "arguments": _ANY,
    }
    yield "Approval", _of_class(Approval, **waiting)
    yield "Conversation", _of_class(Conversation)
    yield "Artifact", _of_class(Artifact)
    yield "Outcome", _of_class(Outcome)
    yield "Kit", _object(dict.fromkeys(("name", "distribution", "version", "about"), _TEXT))


def _results() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the other results, by name."""
    yield (
        "Session",
        _object(
            {
                "role": {"type": "string", "enum": ["look", "act"]},
                "version": _TEXT,
                "limits": _OBJECT,
            }
        ),
    )
    yield "Object", _of_class(WorldObject)
    yield "Relation", _of_class(Relation)
    yield (
        "World",
        _object(
            {
                "position": _COUNT,
                "objects": _list(_ref("Object")),
                "relations": _list(_ref("Relation")),
            }
        ),
    )
    yield "Usage", _of_class(Usage)
    times = {name: {"anyOf": [_TIME, {"type": "null"}]} for name in ("started_at", "ended_at")}
    seconds = {"elapsed_seconds": {"type": "number"}}
    yield "Metrics", _of_class(RunMetrics, run_id=_TEXT, **times, **seconds)
    yield "Diff", _of_diff()
    card = dict.fromkeys(_PARTS, _list(_OBJECT))
    yield (
        "KitCard",
        _object({"name": _TEXT, "version": _TEXT, "distribution": _TEXT_OR_NULL, **card}),
    )


def _bodies() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the bodies of requests, by name: other fields are refused."""
    token = {"type": "string", "minLength": 1, "maxLength": 1000}
    yield "Token", {**_object({"token": token}), "additionalProperties": False}


@cache
def schemas() -> dict[str, dict[str, Any]]:
    """Return every schema by name; a list of items named ``X`` is an ``XPage``."""
    items = dict(_items())
    pages = {_page_name(name): _page(name) for name in items}
    problem = _object(
        {
            "type": _TEXT,
            "title": _TEXT,
            "status": {"type": "integer"},
            "detail": _TEXT,
            "code": _TEXT,
            "hint": _TEXT_OR_NULL,
        }
    )
    return {**items, **pages, **dict(_results()), **dict(_bodies()), "Problem": problem}


def _page_name(item: str) -> str:
    return {"RunStatus": "RunPage", "TracedEvent": "TracePage"}.get(item, f"{item}Page")


def schema_of(named: str | Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return a schema, or the one of a name."""
    if isinstance(named, str):
        return schemas()[named]
    return named if named is not None else {}
