"""Old events are upcast when they are read; the stored events do not change."""

from collections.abc import Iterator
from typing import Any

import pytest

from kando.emit import create, emit
from kando.errors import ConfigurationError, InvalidData, ReplayDivergence
from kando.kit import Kit
from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemoryLedgerStore
from kando.ledger.upcast import UpcastLedger
from kando.ledger.verification import verify
from kando.plugins import Plugins, hookimpl
from kando.runtime import Runtime
from kando.schema.events import KandoEvent, RecordedEvent
from kando.schema.upcasting import Upcaster, Upcasters
from kando.world.graph import World


def shop(version: int) -> Kit:
    """A kit whose orders named a customer in version 1, a person in 2, and a currency in 3."""
    kit = Kit("shop", version=str(version))

    @kit.responder("order.placed")
    def on_order(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        by = event.data["customer" if version == 1 else "person"]
        yield create("Invoice", {"to": by})

    if version >= 2:

        @kit.upcaster("order.placed", 1)
        def rename(data: dict[str, Any]) -> dict[str, Any]:
            rest = {name: value for name, value in data.items() if name != "customer"}
            return {"person": data["customer"], **rest}

    if version >= 3:

        @kit.upcaster("order.placed", 2)
        def in_currency(data: dict[str, Any]) -> dict[str, Any]:
            return {**data, "currency": "EUR"}

    return kit


def runtime_on(ledger: MemoryLedgerStore, version: int, **options: Any) -> Runtime:
    return Runtime(ledger, shop(version).create(), edge_logic=(), **options)


def placed(version: int, who: str) -> KandoEvent:
    name = "customer" if version == 1 else "person"
    return emit("order.placed", {name: who} | ({"currency": "USD"} if version == 3 else {}))


def test_a_run_of_old_versions_is_replayed_and_resumed_under_new_ones() -> None:
    ledger = MemoryLedgerStore("r")
    for version in (1, 2, 3):
        runtime_on(ledger, version).run([placed(version, f"ann-{version}")])

    orders = [e for e in ledger.read_all() if e.type == "order.placed"]
    assert [e.version for e in orders] == [1, 2, 3]
    assert [sorted(e.data) for e in orders] == [["customer"], ["person"], ["currency", "person"]]
    runtime = runtime_on(ledger, 3)
    read = [e for e in runtime.ledger.read_all() if e.type == "order.placed"]
    assert [e.data["currency"] for e in read] == ["EUR", "EUR", "USD"]
    assert [e.version for e in read] == [3, 3, 3]
    assert runtime.replay(strict=True) == runtime.load()
    assert verify(ledger).is_intact
    with pytest.raises(ReplayDivergence):
        runtime_on(ledger, 1).replay(strict=True)


def test_an_event_that_is_looked_up_is_upcast() -> None:
    ledger = MemoryLedgerStore("r")
    runtime_on(ledger, 1).run([placed(1, "ann")])

    read = runtime_on(ledger, 2).ledger

    for found in (read.at(0), read.find("order.placed-0")):
        assert found is not None
        assert found.data == {"person": "ann"}
    assert read.at(99) is None
    assert read.digest(3) == ledger.digest(3)


def test_an_upcast_ledger_has_every_method_of_a_ledger() -> None:
    offered = {name for name in vars(LedgerStore) if not name.startswith("_")}

    assert offered - set(vars(UpcastLedger)) == {"keeps_blobs", "read_all"}
    ledger = MemoryLedgerStore("r")
    runtime_on(ledger, 1).run([placed(1, "ann")])
    read = runtime_on(ledger, 2).ledger
    assert read.keeps_blobs == ledger.keeps_blobs
    invoice = ledger.at(2)
    assert invoice is not None
    assert list(read.events_about([invoice.data["id"]], [], 4)) == [invoice]
    assert list(read.links(0, 4)) == list(ledger.links(0, 4))
    assert (read.stray_position(), read.length(), read.stream_name()) == (None, 4, "run:r")
    read.close()


def test_a_snapshot_of_other_versions_is_ignored() -> None:
    class Kept:
        body: bytes | None = None
        least = 1

        def get(self) -> bytes | None:
            return self.body

        def put(self, body: bytes) -> None:
            self.body = body

    ledger, kept = MemoryLedgerStore("r"), Kept()
    runtime_on(ledger, 1, snapshots=kept).run([placed(1, "ann")])

    with pytest.warns(UserWarning, match="other versions"):
        runtime_on(ledger, 2, snapshots=kept).load()


def test_a_gap_or_two_upcasters_of_one_version_are_refused() -> None:
    def same(data: dict[str, Any]) -> dict[str, Any]:
        return data

    with pytest.raises(ConfigurationError, match="gap"):
        Upcasters([Upcaster("x", 2, same)])
    with pytest.raises(ConfigurationError, match="Two upcasters"):
        Upcasters([Upcaster("x", 1, same), Upcaster("x", 1, lambda data: data)])
    assert Upcasters([Upcaster("x", 2, same), Upcaster("x", 1, same)]).versions == {"x": 3}


@pytest.mark.parametrize("fn", [lambda data: data["missing"], lambda data: [1]])
def test_the_error_of_a_failing_upcaster_names_the_event(fn: Any) -> None:
    ledger = MemoryLedgerStore("r")
    ledger.append([emit("x", {})])

    with pytest.raises(InvalidData, match="x-0 cannot be upcast from version 1"):
        Runtime(ledger, [], upcasters=[Upcaster("x", 1, fn)]).load()


def test_plugins_provide_upcasters_of_types_that_belong_to_no_kit() -> None:
    class Offers:
        @hookimpl
        def kando_upcasters(self) -> list[Upcaster]:
            return [Upcaster("x", 1, lambda data: {**data, "new": True})]

    plugins = Plugins(entry_points=False, environ={})
    plugins.register(Offers(), name="offers")
    ledger = MemoryLedgerStore("r")
    ledger.append([emit("x", {"old": 1})])

    read = Runtime(ledger, [], upcasters=plugins.upcasters()).ledger

    assert [e.data for e in read.read_all()] == [{"old": 1, "new": True}]
