"""Project events to a world: one projection for live runs and for every kind of replay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, Protocol, TypeGuard

from kando.errors import DuplicateEvent, InvalidData, UnknownReference
from kando.ledger.interface import LedgerStore
from kando.schema.events import (
    APPROVAL_REQUESTED,
    EXPIRES,
    KIT_LOADED,
    LONGEST_EXPIRES,
    OBJECT_CREATED,
    OBJECT_PATCHED,
    PERSON_ASKED,
    RELATION_CREATED,
    RELATION_REMOVED,
    REMIND,
    RUN_REQUESTED,
    SETTINGS,
    SHORTEST_REMIND,
    TIMER_SET,
    TOOL_SERVERS,
    KandoEvent,
    RecordedEvent,
    event_label,
)
from kando.world.graph import Relation, SettingsChange, World, WorldObject, make_object

__all__ = ["apply", "project", "reproject"]

#: Types of events that ask a person and may have a deadline.
_QUESTIONS = frozenset({APPROVAL_REQUESTED, PERSON_ASKED})

#: The change that an event makes to a world: an object, a relation or settings to put, the id of a
#: relation to drop, or None.
Change = WorldObject | Relation | SettingsChange | str | None

_CREATED = itemgetter("id", "type", "data")
_type = type

# Most values in the data of events are of these types.
_IMMUTABLE = frozenset({str, int, float, bool, type(None)})


class Lookup(Protocol):
    """Looks up the objects and relations that an event refers to: a world or a `StagedWorld`."""

    def get_object(self, id: str) -> WorldObject | None:
        """Return the object with this id, or None."""

    def get_relation(self, id: str) -> Relation | None:
        """Return the relation with this id, or None."""


def project(events: Iterable[KandoEvent]) -> World:
    """Return the world that `events` project to.

    The data of recorded events belongs to their ledger and must not be changed; the data of other
    events is copied.

    Raises:
        RefusedEvent: an event cannot be applied.
    """
    world = World()
    for event in events:
        commit(world, change_of(event, world, copies=not isinstance(event, RecordedEvent)))
    return world


def reproject(ledger: LedgerStore) -> World:
    """Return the world of a whole ledger, built from its events alone.

    Raises:
        RefusedEvent: an event cannot be applied.
    """
    return project(ledger.read_all())


def apply(world: World, event: KandoEvent) -> None:
    """Apply one event to a world; on an error the world is unchanged.

    The event's data is copied: changing it afterwards does not change the world.

    Raises:
        UnknownReference: the event refers to an object or relation that does not exist.
        InvalidData: a field of its data is missing or has the wrong type.
        DuplicateEvent: it creates a relation whose id already exists.
    """
    commit(world, change_of(event, world, copies=True))


def change_of(event: KandoEvent, world: Lookup, *, copies: bool = False) -> Change:
    """Return the change that `event` makes, without making it.

    Args:
        event: recorded or not.
        world: as it is before the event.
        copies: whether the change shares no mutable data with the event. A recorded event needs
            no copy: its data was copied when it was recorded.

    Raises:
        UnknownReference, InvalidData, DuplicateEvent: as for `apply`.
    """
    kind = event.type
    if kind == OBJECT_CREATED:
        event_id = event.id
        try:
            id, type, data = _CREATED(event.data)
        except KeyError:
            id = type = data = None
        is_plain = _type(id) is _type(type) is str and _type(data) is dict
        if copies or not is_plain or not id or not type:
            data = _object(event, "data", copies)
            id, type = _text(event, "id"), _text(event, "type")
        return make_object(id, type, data, event_id, event_id)
    if kind == OBJECT_PATCHED:
        old = world.get_object(_text(event, "id"))
        if old is None:
            raise _unknown(event, "object", event.data["id"])
        data = old.data | _object(event, "patch", copies)
        return make_object(old.id, old.type, data, old.event_id, event.id)
    if kind == RELATION_CREATED:
        return _relation(event, world, copies)
    if kind == RELATION_REMOVED:
        id = _text(event, "id")
        if world.get_relation(id) is None:
            raise _unknown(event, "relation", id)
        return id
    if kind == KIT_LOADED:
        data, servers = (_dict_in(event.data, each) for each in (SETTINGS, TOOL_SERVERS))
        return SettingsChange(*(map(_copy, (data, servers)) if copies else (data, servers)))
    if kind == TIMER_SET or (kind in _QUESTIONS and EXPIRES in event.data):
        due_at(event)
    if kind == PERSON_ASKED and REMIND in event.data:
        seconds_between_reminders(event)
    if kind == RUN_REQUESTED:
        _text(event, "kit")
        _text(event, "goal")
    return None


def commit(world: World, change: Change) -> None:
    """Make a change that `change_of` returned."""
    if change is None:
        return
    if isinstance(change, WorldObject):
        world.objects.put(change.id, change)
    elif isinstance(change, Relation):
        world.relations.put(change.id, change)
    elif isinstance(change, SettingsChange):
        world.kit_settings, world.tool_servers = change.data, change.tool_servers
    else:
        del world.relations[change]


def _dict_in(data: Mapping[str, Any], field: str) -> dict[str, Any]:
    found = data.get(field)
    return found if isinstance(found, dict) else {}


def due_at(event: KandoEvent) -> datetime:
    """Return when a ``timer.set``, or the deadline of a question to a person, is due.

    A timer is due at its ``at``, or ``seconds`` after it was recorded; a question is due ``expires``
    seconds after it was recorded.

    Raises:
        InvalidData: the event has neither or both of these, or one of them is malformed.
    """
    if event.type in _QUESTIONS:
        return _deadline_of(event)
    at, seconds = event.data.get("at"), event.data.get("seconds")
    try:
        if isinstance(at, str) and seconds is None:
            moment = datetime.fromisoformat(at)
            if moment.tzinfo is not None:
                return moment
        elif at is None and _is_number(seconds):
            return event.timestamp + timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        pass
    msg = f"{event_label(event)}: data.at is {at!r:.40} and data.seconds is {seconds!r:.40}."
    raise InvalidData(
        msg, hint="Set either `seconds`, a number, or `at`, an ISO 8601 time with a time zone."
    )


def _deadline_of(asked: KandoEvent) -> datetime:
    seconds = asked.data.get(EXPIRES)
    if _is_number(seconds) and 0 < seconds <= LONGEST_EXPIRES:
        return asked.timestamp + timedelta(seconds=seconds)
    msg = f"{event_label(asked)}: data.{EXPIRES} is {seconds!r:.40}."
    raise InvalidData(msg, hint="Set it to a number of seconds, more than 0.")


def seconds_between_reminders(asked: KandoEvent) -> float:
    """Return the seconds after which a ``person.asked`` with reminders is repeated.

    Raises:
        InvalidData: they are malformed.
    """
    seconds = asked.data.get(REMIND)
    if _is_number(seconds) and SHORTEST_REMIND <= seconds <= LONGEST_EXPIRES:
        # As a stored view has it: one that is restored equals one that is computed anew.
        return float(seconds)
    msg = f"{event_label(asked)}: data.{REMIND} is {seconds!r:.40}."
    raise InvalidData(msg, hint=f"Set it to a number of seconds, at least {SHORTEST_REMIND}.")


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _relation(event: KandoEvent, world: Lookup, copies: bool) -> Relation:
    id = _text(event, "id")
    if world.get_relation(id) is not None:
        msg = f"{event_label(event)} creates relation {id!r}, which already exists."
        raise DuplicateEvent(msg, hint="Remove it first, or give the new one another id.")
    source, target = _text(event, "source_id"), _text(event, "target_id")
    for end in (source, target):
        if world.get_object(end) is None:
            raise _unknown(event, "object", end)
    data = _object(event, "data", copies)
    return Relation(id, _text(event, "type"), source, target, data, event.id)


def _text(event: KandoEvent, field: str) -> str:
    value = event.data.get(field)
    if isinstance(value, str) and value:
        return value
    msg = f"{event_label(event)}: data.{field} must be a non-empty string, not {value!r:.80}."
    raise InvalidData(msg, hint=f"Put {field!r} into the event's data.")


def _object(event: KandoEvent, field: str, copies: bool) -> dict[str, Any]:
    value = event.data.get(field)
    if isinstance(value, dict):
        return _copy(value) if copies else value
    if value is None and field == "data":
        return {}
    msg = f"{event_label(event)}: data.{field} must be an object, not {value!r:.80}."
    raise InvalidData(msg, hint=f"Put {field!r}, a JSON object, into the event's data.")


def _copy(value: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a JSON object, in a tenth of the time of `copy.deepcopy`."""
    return {
        name: each if type(each) in _IMMUTABLE else _copy_of_any(each)
        for name, each in value.items()
    }


def _copy_of_any(value: Any) -> Any:
    if isinstance(value, dict):
        return _copy(value)
    if isinstance(value, list):
        return [each if type(each) in _IMMUTABLE else _copy_of_any(each) for each in value]
    return tuple(map(_copy_of_any, value)) if isinstance(value, tuple) else value


def _unknown(event: KandoEvent, kind: str, id: str) -> UnknownReference:
    msg = f"{event_label(event)} refers to {kind} {id!r}, which does not exist."
    return UnknownReference(msg, hint=f"Create the {kind} first.")
