"""CloudEvents 1.0: events meet the specification's rules for names, types and texts."""

import re
import unicodedata
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kando.schema.cloudevents import cloud_event
from kando.schema.events import RecordedEvent

# https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
REQUIRED = {"specversion", "id", "source", "type"}
OPTIONAL = {"datacontenttype", "dataschema", "subject", "time"}
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
URI_REFERENCE = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")


def recorded(*, data: dict[str, Any], **fields: Any) -> RecordedEvent:
    given = {"id": "e-0", "type": "note", "source": "run:r", "actor": "a", "cause": []} | fields
    at = datetime(2026, 1, 2, 3, 4, 5, 678, UTC)
    return RecordedEvent(
        **given, timestamp=at, data=data, position=7, lineage_key="0" * 32, encoded=b"{}"
    )


def assert_conforms(event: dict[str, Any]) -> None:
    assert set(event) >= REQUIRED
    assert event["specversion"] == "1.0"
    for name, value in event.items():
        if name == "data":
            continue
        assert re.fullmatch(r"[a-z0-9]+", name), name
        assert len(name) <= 20
        assert isinstance(value, str)
        assert value
        for c in value:
            assert unicodedata.category(c) not in {"Cc", "Cs"}
            assert not 0xFDD0 <= ord(c) <= 0xFDEF
            assert ord(c) & 0xFFFE != 0xFFFE
    assert RFC3339.fullmatch(event["time"])
    assert URI_REFERENCE.fullmatch(event["source"])


def test_an_event_has_the_documented_attributes_and_extensions() -> None:
    event = recorded(
        id="object.created-7", type="object.created", cause=["a-1", "b-2"], data={"id": "claim-1"}
    )

    attributes = cloud_event(event, "branch:b", bytes(32))

    assert_conforms(attributes)
    assert attributes == {
        "specversion": "1.0",
        "id": "object.created-7",
        "source": "urn:kando:run:r",
        "type": "dev.kando.object.created.v1",
        "time": "2026-01-02T03:04:05.000678Z",
        "datacontenttype": "application/json",
        "sequence": "0000000007",
        "kandocause": '["a-1", "b-2"]',
        "kandolineage": "0" * 32,
        "kandoledger": "branch:b",
        "kandohash": "0" * 64,
        "kandoactor": "a",
        "subject": "claim-1",
        "data": {"id": "claim-1"},
    }


def test_only_an_event_about_an_object_has_a_subject() -> None:
    about = cloud_event(recorded(data={"cause_object_id": "c1"}), "run:r", b"")

    assert about["subject"] == "c1"
    for data in ({}, {"id": ""}, {"id": 7}):
        assert "subject" not in cloud_event(recorded(data=data), "run:r", b"")
    assert "kandoactor" not in cloud_event(recorded(data={}, actor=""), "run:r", b"")


texts = st.text(max_size=6) | st.sampled_from(["\x00", "\x9b31m", "\ufffe", "\U0001ffff", "a b/ü"])


@settings(deadline=None)
@given(texts, texts, texts, texts, texts)
def test_the_attributes_of_any_event_conform_to_the_specification(
    id: str, type: str, source: str, actor: str, subject: str
) -> None:
    event = recorded(
        id=id or "x", type=type, source=source, actor=actor, cause=[id], data={"id": subject}
    )

    assert_conforms(cloud_event(event, "run:r", b"x"))
