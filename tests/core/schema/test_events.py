"""The event model."""

from datetime import UTC, datetime

import attrs
import pytest

from kando.ledger.completion import complete
from kando.schema import events
from kando.schema.events import KandoEvent, RecordedEvent, make_event

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


def test_make_event_leaves_the_id_open_and_stamps_a_timezone_aware_time() -> None:
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


def test_the_names_of_event_types_are_fixed() -> None:
    constants = {name for name in events.__all__ if name.isupper()} - {"ECHOED"}
    values = {name: value for name, value in vars(events).items() if name in constants}

    assert values == {
        "OBJECT_CREATED": "object.created",
        "OBJECT_PATCHED": "object.patched",
        "RELATION_CREATED": "relation.created",
        "RELATION_REMOVED": "relation.removed",
        "BRANCH_CREATED": "branch.created",
        "BRANCH_CHANGED": "branch.changed",
        "BUDGET_EXHAUSTED": "budget.exhausted",
        "LLM_REQUEST": "llm.request",
        "LLM_RESPONSE": "llm.response",
        "TOOL_CALLED": "tool.called",
        "TOOL_RETURNED": "tool.returned",
        "RESPONDER_FIRED": "responder.fired",
        "RESPONDER_COMPLETED": "responder.completed",
        "RESPONDER_FAILED": "responder.failed",
        "KIT_LOADED": "kit.loaded",
        "APPROVAL_REQUESTED": "approval.requested",
        "APPROVAL_GRANTED": "approval.granted",
        "APPROVAL_DENIED": "approval.denied",
        "TIMER_SET": "timer.set",
        "TIMER_FIRED": "timer.fired",
        "RUN_PAUSED": "run.paused",
        "RUN_RESUMED": "run.resumed",
        "RUN_CANCELLED": "run.cancelled",
        "INBOX_REFUSED": "inbox.refused",
        "OBSERVED": "observed",
    }
