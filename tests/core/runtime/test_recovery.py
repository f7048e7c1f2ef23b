"""A run is recovered from its snapshot and the events after it: as from its whole ledger, but sooner."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from kando.cache.llm import LLMCache
from kando.emit import ask, call_tool, create, patch
from kando.errors import DuplicateEvent
from kando.kit import Kit
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.base import Responder, responder
from kando.responders.llm_executor import LLMExecutorResponder
from kando.responders.policies import Allow, Ask, Deny
from kando.runtime import Runtime
from kando.runtime.stored_recovery import mismatched_recovery
from kando.schema.events import (
    OBJECT_CREATED,
    OBJECT_PATCHED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.world._container import pack, unpack
from kando.world.graph import World
from kando.world.snapshot import open_snapshot

LENGTH = 300


class Kept:
    """A snapshot in memory."""

    least = 1

    def __init__(self) -> None:
        self.body: bytes | None = None

    def get(self) -> bytes | None:
        return self.body

    def put(self, body: bytes) -> None:
        self.body = body

    def replace(self, name: str, section: bytes) -> None:
        """Replace one section."""
        container = unpack(self.body or b"")
        assert container is not None
        sections = {each: container.section(each) or b"" for each, _ in container.header.sections}
        self.body = pack(container.header, sections | {name: section})


class Watched(MemoryLedgerStore):
    """A ledger that notes from which positions it is read."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.reads: list[int] = []

    def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        self.reads.append(from_position)
        return super().read(from_position)


@responder("count", {OBJECT_CREATED, OBJECT_PATCHED})
def count(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    number = world.objects["counter"].data["number"]
    if number < LENGTH // 3:
        yield patch("counter", {"number": number + 1})


def seed() -> KandoEvent:
    return create("Counter", {"number": 0}, id="counter")


def runtime(
    ledger: MemoryLedgerStore, kept: Kept | None, *more: Responder, **named: Any
) -> Runtime:
    return Runtime(ledger, [count, *more], edge_logic=(), snapshots=kept, **named)


def note(number: int = 0, id: str = "") -> KandoEvent:
    event = make_event("note", "", "cli", [], {"number": number})
    return KandoEvent(id, event.type, "", "cli", [], event.timestamp, event.data) if id else event


def counted() -> tuple[Watched, Kept]:
    """Return the ledger of a run that has ended, and its snapshot."""
    ledger, kept = Watched("r"), Kept()
    runtime(ledger, kept).run([seed(), note(1, "first"), note(2), note(2)])
    ledger.reads.clear()
    return ledger, kept


def test_a_resumed_run_reads_only_what_follows_its_snapshot_and_what_is_not_dispatched() -> None:
    ledger, kept = counted()
    length = ledger.length()

    runtime(ledger, kept).run([note(3)])

    assert ledger.at(length).type == "note"
    assert min(ledger.reads) > length - 10


def test_a_run_that_died_is_resumed_from_the_last_snapshot_that_it_stored_before() -> None:
    class Killed(BaseException):
        pass

    @responder("dies", {OBJECT_PATCHED})
    def dies(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        if world.objects["counter"].data["number"] == 90:
            raise Killed
        yield from ()

    ledger, kept, whole = Watched("r"), Kept(), Watched("r")
    with pytest.raises(Killed):
        runtime(ledger, kept, dies, snapshot_interval=20, save_interval=0).run([seed()])
    stored = open_snapshot(ledger, kept)
    assert stored is not None
    ledger.reads.clear()

    runtime(ledger, kept).run([])
    runtime(whole, None).run([seed()])

    assert 20 <= stored.position < 270
    assert min(ledger.reads) > stored.position - 10
    assert [(e.id, e.lineage_key, e.data) for e in ledger.read()] == [
        (e.id, e.lineage_key, e.data) for e in whole.read()
    ]


def test_ids_and_equal_roots_from_before_the_snapshot_are_known() -> None:
    ledger, kept = counted()
    whole, _ = counted()
    resumed, read = runtime(ledger, kept), runtime(whole, None)

    for each in (resumed, read):
        with pytest.raises(DuplicateEvent, match="at position 1"):
            each.record([note(9, "first")])
        with pytest.raises(DuplicateEvent, match="at position 7"):
            each.record([note(9, next(ledger.read(7)).id)])
        each.record([make_event("note", "", "cli", ["first"], {}), note(2)])

    assert [(e.id, e.lineage_key) for e in ledger.read()] == [
        (e.id, e.lineage_key) for e in whole.read()
    ]


@pytest.mark.parametrize(
    ("section", "body"),
    [
        ("recovery", b"{}"),
        ("recovery", b"[1, 2"),
        ("recovery-depths", b"\0" * 8),
        ("recovery-roots", b"short"),
        ("answered-requests", b"\0\0\0\0"),
    ],
)
def test_what_recovery_cannot_use_is_ignored_with_a_warning_and_replaced(
    section: str, body: bytes
) -> None:
    ledger, kept = counted()
    whole = kept.body
    kept.replace(section, body)

    with pytest.warns(UserWarning, match="snapshot of run:r is ignored"):
        runtime(ledger, kept).run([])

    assert 0 in ledger.reads
    assert kept.body == whole


def test_a_state_that_does_not_match_the_ledger_is_found_by_verification() -> None:
    ledger, kept = counted()
    stored = open_snapshot(ledger, kept)
    assert stored is not None
    assert mismatched_recovery(stored) == []
    body = unpack(kept.body or b"").section("recovery")
    kept.replace("recovery", body.replace(b'"halted_by":null', b'"halted_by":"run.paused"'))

    stored = open_snapshot(ledger, kept)

    assert stored is not None
    assert mismatched_recovery(stored) == ["recovery"]


def test_answers_from_before_the_snapshot_are_in_the_cache_of_the_process() -> None:
    asked: list[str] = []

    def answer(messages: list[dict[str, Any]], model: str, max_tokens: int) -> tuple[str, float]:
        asked.append(messages[-1]["content"])
        return "yes", 0.5

    @responder("asks", {"question"})
    def asks(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield ask([{"role": "user", "content": event.data["text"]}])

    def run(text: str) -> None:
        executor = LLMExecutorResponder(answer)
        question = make_event("question", "", "cli", [], {"text": text})
        runtime(ledger, kept, asks, executor, cache=LLMCache()).run([question])

    ledger, kept = Watched("r"), Kept()
    run("one")
    run("two")
    run("one")

    assert asked == ["one", "two"]


def test_objects_of_another_type_than_before_keep_their_order_after_a_snapshot() -> None:
    def again(id: str, type: str) -> KandoEvent:
        return make_event(OBJECT_CREATED, "", "cli", [], {"id": id, "type": type, "data": {}})

    ledger, kept = Watched("r"), Kept()
    seeds = [again("a", "T"), again("b", "U"), again("a", "U")]
    Runtime(ledger, [], edge_logic=(), snapshots=kept).run(seeds)

    world = Runtime(ledger, [], edge_logic=(), snapshots=kept).run([])

    assert [each.id for each in world.objects_of("U")] == ["b", "a"]
    assert world.objects.former_types == {"a": [("object.created-2", "T")]}


def kit_with(policy: Any, version: str = "1") -> Kit:
    """Return a kit with a tool that is not known here, and a policy."""
    kit = Kit("k", version=version)
    kit.policy("tool.called")(policy)

    @kit.responder("object.created")
    def pays(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield call_tool("pay", {})

    return kit


def careless(intent: KandoEvent, world: World) -> Allow:
    return Allow()


def strict(intent: KandoEvent, world: World) -> Deny:
    return Deny("never")


def curious(intent: KandoEvent) -> Ask:
    return Ask("May it?")


@pytest.mark.parametrize(
    ("policy", "event_type"), [(strict, "tool.returned"), (curious, "approval.requested")]
)
def test_open_calls_are_judged_by_the_policies_of_today(policy: Any, event_type: str) -> None:
    def run(kit: Kit, *seeds: KandoEvent) -> None:
        loaded = {"name": kit.name, "version": kit.version, "distribution": None}
        Runtime(
            *(ledger, kit.create()),
            kits=[kit],
            edge_logic=(),
            snapshots=kept,
            kit_loaded=loaded,
        ).run(seeds)

    ledger, kept = Watched("r"), Kept()
    run(kit_with(careless), create("T", {}))

    run(kit_with(policy, version="2"))

    assert event_type in [event.type for event in ledger.read()]


def test_a_snapshot_without_a_state_is_used_for_views_and_causes_no_warning() -> None:
    ledger, kept = counted()
    container = unpack(kept.body or b"")
    assert container is not None
    sections = {name: container.section(name) or b"" for name, _ in container.header.sections}
    del sections["recovery"]
    kept.body = pack(container.header, sections)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runtime(ledger, kept).run([])

    assert 0 in ledger.reads
