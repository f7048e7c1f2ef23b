"""Golden ledgers: compare the events of a run with a file of reviewed events.

Ids, types, actors, causes and data are compared; timestamps, the name of the run and
``data["observed"]`` are not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kando.ledger.files import write_whole
from kando.ledger.interface import LedgerStore
from kando.schema.differences import decided_data, differences
from kando.schema.events import KandoEvent

__all__ = ["assert_golden", "assert_same_events", "decided", "difference"]

_SHOWN_FIELDS = 8


def decided(event: KandoEvent) -> dict[str, Any]:
    """Return the fields of an event that do not differ between equal runs."""
    return {
        "id": event.id,
        "type": event.type,
        "actor": event.actor,
        "cause": list(event.cause),
        "data": decided_data(event),
    }


def difference(actual: Sequence[dict[str, Any]], expected: Sequence[dict[str, Any]]) -> str | None:
    """Return a description of the first difference between two ledgers, or None.

    Args:
        actual: events as `decided` returns them.
        expected: the same.
    """
    for position, (new, old) in enumerate(zip(actual, expected, strict=False)):
        if found := differences(old, new, "", missing=_ABSENT):
            more = len(found) - _SHOWN_FIELDS
            shown = found[:_SHOWN_FIELDS]
            lines = [f"  {path}: {_shown(was)} -> {_shown(now)}" for path, was, now in shown]
            lines += [f"  ... and {more} more fields"] if more > 0 else []
            return "\n".join([f"position {position}, {_name(old)}:", *lines])
    if len(actual) < len(expected):
        missing = expected[len(actual)]
        return f"it ends after {len(actual)} events, without {_name(missing)}"
    if len(actual) > len(expected):
        added = actual[len(expected)]
        return f"it continues after {len(expected)} events with {_name(added)}"
    return None


def assert_same_events(
    actual: Iterable[KandoEvent], expected: Iterable[KandoEvent], what: str = "The ledger"
) -> None:
    """Fail with the first difference between the events of two ledgers, if there is one.

    Args:
        actual: the events of the run.
        expected: the events that it should have.
        what: the subject of the message.
    """
    found = difference([decided(e) for e in actual], [decided(e) for e in expected])
    assert found is None, f"{what} differs at {found}"


def assert_golden(ledger: LedgerStore, path: str | Path) -> None:
    """Compare a ledger with a golden file, one JSON object a line; fail with the first difference.

    With ``KANDO_UPDATE_GOLDEN=1`` in the environment the file is written instead. Review its changes
    before you commit it.

    Args:
        ledger: of the run.
        path: of the golden file.
    """
    file = Path(path)
    # Converted to JSON and back, so that both sides have the same types.
    actual = [json.loads(json.dumps(decided(event))) for event in ledger.read_all()]
    if os.environ.get("KANDO_UPDATE_GOLDEN") == "1":
        lines = [json.dumps(each, ensure_ascii=False) + "\n" for each in actual]
        write_whole(file, (line.encode() for line in lines), mode=0o666, make_folder=True)
        return
    cure = "To accept the ledger, run the test again with KANDO_UPDATE_GOLDEN=1."
    assert file.exists(), f"The golden file {file} does not exist. {cure}"
    expected = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    found = difference(actual, expected)
    assert found is None, f"{ledger.stream_name()} differs from {file} at {found}\n{cure}"


_ABSENT = object()


def _shown(value: Any) -> str:
    return "nothing" if value is _ABSENT else f"{value!r:.120}"


def _name(event: dict[str, Any]) -> str:
    return f"{event['id']} by {event['actor']}" if event["actor"] else str(event["id"])
