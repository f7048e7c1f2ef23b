"""JSON forms of runs, events and differences: every face shows the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from kando.schema.visible import with_length

if TYPE_CHECKING:
    from kando.app.status import RunStatus
    from kando.app.workspace import FileChange
    from kando.branch.comparison import LedgerDiff, Side
    from kando.ledger.claims import Claim
    from kando.schema.events import RecordedEvent
    from kando.views.approvals import Approval
    from kando.views.metrics import RunMetrics
    from kando.views.questions import Question
    from kando.world.graph import World

__all__ = [
    "approval_dict",
    "diff_dict",
    "event_dict",
    "file_change_dict",
    "json_default",
    "listed_status_dict",
    "metrics_dict",
    "moment",
    "status_dict",
    "world_dict",
]


#: Most characters of a text of a run in a list of runs, and most reasons of parked firings.
_LISTED_CHARS, _LISTED_REASONS = 2_000, 10


def json_default(value: Any) -> Any:
    """Return the JSON form of a value that JSON does not know: of a time.

    Raises:
        TypeError: the value has none.
    """
    if isinstance(value, datetime):
        return moment(value)
    msg = f"{type(value).__name__} has no JSON form"
    raise TypeError(msg)


def moment(at: datetime | None) -> str | None:
    """Return a time as RFC 3339 in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at is not None else None


def event_dict(event: RecordedEvent) -> dict[str, Any]:
    """Return an event in its JSON form: its seven fields and ``position``."""
    return {
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "actor": event.actor,
        "cause": event.cause,
        "timestamp": moment(event.timestamp),
        "data": event.data,
        "position": event.position,
    }


def status_dict(status: RunStatus) -> dict[str, Any]:
    """Return a status in its JSON form."""
    return attrs.asdict(status) | {
        "created_at": moment(status.created_at),
        "updated_at": moment(status.updated_at),
        "claim": _claim_dict(status.claim) if status.claim is not None else None,
        "deadlines": [
            {"event_id": each.event_id, "expires_at": moment(each.expires_at)}
            for each in status.deadlines
        ],
        "reminders": [
            attrs.asdict(each) | {"remind_at": moment(each.remind_at)} for each in status.reminders
        ],
    }


def listed_status_dict(status: RunStatus) -> dict[str, Any]:
    """Return a status in its JSON form for a list: long texts are truncated, with their lengths."""
    found = status_dict(status)
    for name in ("goal", "problem"):
        if found[name] is not None:
            found[name] = with_length(found[name], _LISTED_CHARS)
    reasons = found["parked_reasons"][:_LISTED_REASONS]
    found["parked_reasons"] = [with_length(each, _LISTED_CHARS) for each in reasons]
    return found


def _claim_dict(claim: Claim) -> dict[str, Any]:
    worker = claim.worker
    return {
        "host": worker.host,
        "pid": worker.pid,
        "group": worker.group or None,
        "epoch": claim.epoch,
        "since": moment(claim.since),
    }


def world_dict(world: World, position: int, of_type: str | None = None) -> dict[str, Any]:
    """Return a world in its JSON form.

    Args:
        world: of a run.
        position: the number of events that it is projected from.
        of_type: leaves out objects of other types, and all relations; nothing is left out if None.
    """
    objects = [each for each in world.objects.values() if of_type in (None, each.type)]
    relations = [] if of_type is not None else list(world.relations.values())
    return {
        "position": position,
        "objects": [attrs.asdict(each) for each in objects],
        "relations": [attrs.asdict(each) for each in relations],
    }


def approval_dict(waiting: Approval | Question) -> dict[str, Any]:
    """Return an approval or a question to a person in its JSON form; both have the same fields."""
    # Not at the top: only commands about people show them.
    from kando.views.approvals import Approval, as_approval

    if isinstance(waiting, Approval):
        return attrs.asdict(waiting) | {"schema": None, "reminded": 0, "remind_at": None}
    of_question = {
        "schema": waiting.schema,
        "reminded": waiting.reminded,
        "remind_at": waiting.remind_at,
    }
    return attrs.asdict(as_approval(waiting)) | of_question


def metrics_dict(run_id: str, found: RunMetrics) -> dict[str, Any]:
    """Return the metrics of a run in their JSON form."""
    return {
        "run_id": run_id,
        **attrs.asdict(found),
        "started_at": moment(found.started_at),
        "ended_at": moment(found.ended_at),
        "elapsed_seconds": found.elapsed_seconds,
    }


def diff_dict(found: LedgerDiff) -> dict[str, Any]:
    """Return the differences of two runs in their JSON form."""
    world = found.world
    objects, relations = world.objects, world.relations
    return {
        "summary": world.summary(),
        "added_objects": [attrs.asdict(o) for o in objects.after(world.added_objects)],
        "removed_objects": [attrs.asdict(o) for o in objects.before(world.removed_objects)],
        "patched_objects": [
            {"id": o.id, "type": o.type, "fields": _fields_dict(objects[o.id].fields)}
            for o in objects.after(world.patched_objects)
        ],
        "added_relations": [attrs.asdict(r) for r in relations.after(world.added_relations)],
        "removed_relations": [attrs.asdict(r) for r in relations.before(world.removed_relations)],
        "moved_objects": [
            {"before": attrs.asdict(old), "after": attrs.asdict(new)}
            for old, new in objects.pairs(world.moved_objects)
        ],
        "moved_relations": [
            {"before": attrs.asdict(old), "after": attrs.asdict(new)}
            for old, new in relations.pairs(world.moved_relations)
        ],
        "parts_at": found.shared,
        "steps": {
            "summary": found.steps.summary(),
            "changed": [
                {
                    "before": event_dict(change.before),
                    "after": event_dict(change.after),
                    "fields": _fields_dict(change.fields),
                }
                for change in found.steps.changed
            ],
            "only_a": [event_dict(event) for event in found.steps.only_a],
            "only_b": [event_dict(event) for event in found.steps.only_b],
        },
        "a": _side_dict(found.a),
        "b": _side_dict(found.b),
    }


def file_change_dict(change: FileChange) -> dict[str, Any]:
    """Return a file that differs between two workspaces in its JSON form."""
    before, after = (
        None if each is None else attrs.asdict(each) for each in (change.before, change.after)
    )
    about = {"path": change.path, "change": change.kind, "before": before, "after": after}
    return about | {"diff": change.diff}


def _fields_dict(fields: dict[str, tuple[Any, Any]]) -> dict[str, dict[str, Any]]:
    return {name: {"before": old, "after": new} for name, (old, new) in fields.items()}


def _side_dict(side: Side) -> dict[str, Any]:
    return {
        "source": side.stream,
        "events": side.events,
        "events_after": side.tail.events,
        "llm_after": attrs.asdict(side.tail.llm),
        "seconds_after": side.tail.elapsed_seconds,
    }
