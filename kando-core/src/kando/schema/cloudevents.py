"""An event as a CloudEvent of version 1.0 in JSON (https://github.com/cloudevents/spec)."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any
from urllib.parse import quote

from kando.schema.events import RecordedEvent
from kando.schema.visible import clean

__all__ = ["cloud_event"]


def cloud_event(event: RecordedEvent, stream: str, digest: bytes) -> dict[str, Any]:
    """Return an event as the attributes and data of a CloudEvent.

    Fields that the specification does not have become extensions: ``kandoactor``, ``kandocause``
    (a JSON list), ``kandolineage``, ``kandoledger``, ``kandohash``, and the documented
    ``sequence``.

    Args:
        event: as recorded.
        stream: name of the exported ledger; a shared event of a branch has another source.
        digest: chained hash up to and including the event.
    """
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": _text(event.id),
        "source": "urn:kando:" + quote(event.source, safe=":-._~", errors="replace"),
        "type": f"dev.kando.{_text(event.type)}.v{event.version}",
        "time": event.timestamp.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "sequence": f"{event.position:010d}",
        "kandocause": _text(json.dumps(event.cause, ensure_ascii=False)),
        "kandolineage": event.lineage_key,
        "kandoledger": _text(stream),
        "kandohash": digest.hex(),
    }
    subject = event.data.get("id", event.data.get("cause_object_id"))
    # The specification allows no empty attributes.
    optional = {"kandoactor": event.actor, "subject": subject}
    attributes |= {k: _text(v) for k, v in optional.items() if isinstance(v, str) and v}
    return attributes | {"data": event.data}


def _text(value: str) -> str:
    """Return a string without the characters that the specification's type String excludes."""
    return "".join("\ufffd" if _is_noncharacter(c) else c for c in clean(value))


def _is_noncharacter(c: str) -> bool:
    code = ord(c)
    return 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE
