"""`rng`: random numbers that depend on the step alone."""

from collections.abc import Iterator

import pytest

from kando import Kit, MemoryLedgerStore, Runtime, create, make_event, rng
from kando.errors import InvalidData
from kando.schema.events import KandoEvent
from kando.world.graph import World


def test_a_responder_with_random_choices_is_pure_and_replays() -> None:
    kit = Kit("dice")

    @kit.responder("roll")
    def on_roll(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        numbers = [rng(event).random(), rng(event).random(), rng(event, "other").random()]
        roll = yield create("Roll", {"numbers": numbers})
        yield create("Choice", {"word": rng(roll).choice(["a", "b", "c"])})

    ledger = MemoryLedgerStore("r1")
    runtime = Runtime(ledger, kit.create(), edge_logic=(), checks_purity=True)
    world = runtime.run([make_event("roll", "", "", [], {}), make_event("roll", "", "", [], {})])

    first, second = (each.data["numbers"] for each in world.objects_of("Roll"))
    assert first[0] == first[1] != first[2]
    assert first != second
    assert runtime.replay(strict=True) == world


def test_an_event_that_is_not_recorded_has_no_generator() -> None:
    with pytest.raises(InvalidData, match="is not recorded"):
        rng(make_event("roll", "", "", [], {}))
