"""Held events are checked before a person is asked to approve them."""

from typing import Any

import attrs
import pytest

from kando.emit import create, patch, relate
from kando.errors import InvalidData, UnknownReference
from kando.kit import Kit
from kando.ledger.inbox import InboxEntry
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.policies import Ask
from kando.runtime import Runtime
from kando.runtime.inbox import Inbox
from kando.schema.events import (
    INBOX_REFUSED,
    OBJECT_CREATED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.views.approvals import open_approvals
from kando.world.graph import World


class OneEntry(Inbox):
    """An inbox with one entry."""

    def __init__(self, event: KandoEvent) -> None:
        super().__init__()
        self._entries = [InboxEntry("k", event)]

    def entries(self) -> list[InboxEntry]:
        return list(self._entries)

    def take(self, key: str) -> None:
        self._entries.clear()


def declaring(*more: KandoEvent) -> Kit:
    """Return a kit that creates a report with a declared text, and emits more events after it."""
    kit = Kit("declaring")

    @kit.object
    @attrs.frozen
    class Report:
        text: str

    @kit.policy(type="Report")
    def ask_first(intent: KandoEvent) -> Ask:
        return Ask("publish?")

    @kit.responder(OBJECT_CREATED, type="Goal")
    def on_goal(event: RecordedEvent, world: World) -> Any:
        draft = yield create("Draft", {})
        report = yield create("Report", {"text": "x"} if more else {"txt": 5}, cause=[draft])
        yield relate("about", report, draft, cause=[report, draft])
        yield from more

    return kit


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ((), InvalidData),
        ((create("Report", {"text": 5}),), InvalidData),
        ((patch("nobody", {}),), UnknownReference),
        ((create("Note", {}, cause=["nothing"]),), UnknownReference),
        ((make_event("", "", "", [], {}),), InvalidData),
    ],
)
def test_no_approval_is_requested_for_outputs_that_could_not_be_recorded(
    more: tuple[KandoEvent, ...], error: type[Exception]
) -> None:
    ledger = MemoryLedgerStore("r1")
    runtime = Runtime(ledger, declaring(*more).create(), edge_logic=())

    with pytest.raises(error):
        runtime.run([create("Goal", {})])

    assert open_approvals(ledger.read_all()) == []


def test_a_sent_event_that_could_not_be_recorded_is_refused_without_an_approval() -> None:
    ledger = MemoryLedgerStore("r1")
    inbox = OneEntry(create("Report", {"txt": 5}))

    Runtime(ledger, declaring().create(), edge_logic=(), inbox=inbox).run([create("Other", {})])

    (refused,) = (e for e in ledger.read_all() if e.type == INBOX_REFUSED)
    assert "txt" in refused.data["reason"]
    assert open_approvals(ledger.read_all()) == []
