"""The event model."""

import copy
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from kando.ledger.completion import complete
from kando.schema import events
from kando.schema.events import KandoEvent, RecordedEvent, make_event, make_recorded_event

FIELDS = ["id", "type", "source", "actor", "cause", "timestamp", "data"]


def test_an_event_has_seven_fields_in_this_order_also_positionally() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)

    event = KandoEvent("e-1", "x", "run:r", "cli", ["e-0"], at, {"a": 1})

    assert [field.name for field in attrs.fields(KandoEvent)] == FIELDS
    assert attrs.astuple(event) == ("e-1", "x", "run:r", "cli", ["e-0"], at, {"a": 1})


def test_an_event_is_immutable() -> None:
    event = make_event("x", "run:r", "cli", [], {})

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.type = "y"  # type: ignore[misc]


def test_make_event_leaves_the_id_empty_and_sets_a_timezone_aware_time() -> None:
    event = make_event("x", "run:r", "cli", ["a-0"], {"a": 1})

    assert event.id == ""
    assert event.timestamp.tzinfo is UTC
    assert (event.type, event.source, event.actor, event.cause) == ("x", "run:r", "cli", ["a-0"])


def test_a_recorded_event_equals_the_event_with_the_same_seven_fields() -> None:
    event = KandoEvent("x-0", "x", "run:r", "cli", [], datetime.now(UTC), {"a": 1})

    recorded = complete(event, 0, "run:r")

    assert isinstance(recorded, RecordedEvent)
    assert recorded == event
    assert hash(recorded) == hash(event)
    assert recorded != attrs.evolve(event, data={"a": 2})


def test_the_fast_constructors_return_what_the_classes_return() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    seven: tuple[Any, ...] = ("e-1", "x", "run:r", "cli", ["e-0"], at, {"a": 1})

    quick = make_recorded_event(*seven, 1, "k" * 32, b'{"a":1}', 2)
    slow = RecordedEvent(*seven, position=1, lineage_key="k" * 32, encoded=b'{"a":1}', version=2)

    assert type(quick) is RecordedEvent
    assert type(make_event("x", "run:r", "cli", [], {})) is KandoEvent
    assert attrs.astuple(quick) == attrs.astuple(slow)
    assert repr(quick) == repr(slow)
    assert attrs.evolve(quick, position=2).position == 2
    for copied in (copy.copy(quick), copy.deepcopy(quick)):
        assert attrs.astuple(copied) == attrs.astuple(quick)


@pytest.mark.parametrize("field", [*FIELDS, "position", "lineage_key", "encoded", "version"])
def test_a_recorded_event_is_immutable(field: str) -> None:
    event = make_recorded_event("e", "x", "r", "a", [], datetime.now(UTC), {}, 0, "k" * 32, b"{}")

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(event, field, "y")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        delattr(event, field)


def test_an_event_that_is_not_recorded_has_no_position() -> None:
    event = make_event("x", "run:r", "cli", [], {})

    assert not hasattr(event, "position")
    assert "position" not in repr(event)


def test_the_names_of_event_types_are_fixed() -> None:
    no_types = {"RESERVED", "KNOWN_TYPES", "SETTINGS", "ECHOED", "PARKED", "RAISED", "RETRIED"}
    no_types |= {"EXPIRES", "LONGEST_EXPIRES", "STARTED_BY", "TOOL_SERVERS", "CASE"}
    no_types |= {"REMIND", "SHORTEST_REMIND"}
    constants = {name for name in events.__all__ if name.isupper()} - no_types
    values = {name: value for name, value in vars(events).items() if name in constants}

    assert values == {
        "OBJECT_CREATED": "object.created",
        "OBJECT_PATCHED": "object.patched",
        "RELATION_CREATED": "relation.created",
        "RELATION_REMOVED": "relation.removed",
        "BRANCH_CREATED": "branch.created",
        "BRANCH_CHANGED": "branch.changed",
        "BUDGET_SET": "budget.set",
        "BUDGET_EXHAUSTED": "budget.exhausted",
        "LLM_REQUEST": "llm.request",
        "LLM_RESPONSE": "llm.response",
        "TOOL_CALLED": "tool.called",
        "TOOL_RETURNED": "tool.returned",
        "RESPONDER_FIRED": "responder.fired",
        "RESPONDER_COMPLETED": "responder.completed",
        "RESPONDER_FAILED": "responder.failed",
        "KIT_LOADED": "kit.loaded",
        "PERSON_ASKED": "person.asked",
        "PERSON_REMINDED": "person.reminded",
        "PERSON_REPLIED": "person.replied",
        "HUMAN_MESSAGE": "human.message",
        "CONVERSATION_COMPACTED": "conversation.compacted",
        "APPROVAL_REQUESTED": "approval.requested",
        "APPROVAL_GRANTED": "approval.granted",
        "APPROVAL_DENIED": "approval.denied",
        "TIMER_SET": "timer.set",
        "TIMER_FIRED": "timer.fired",
        "RUN_REQUESTED": "run.requested",
        "RUN_ENDED": "run.ended",
        "RUN_PAUSED": "run.paused",
        "RUN_RESUMED": "run.resumed",
        "RUN_CANCELLED": "run.cancelled",
        "RUN_LABELLED": "run.labelled",
        "INBOX_REFUSED": "inbox.refused",
        "WORKSPACE_LOADED": "workspace.loaded",
        "OBSERVED": "observed",
    }
