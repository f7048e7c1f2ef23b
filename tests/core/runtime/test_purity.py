"""The debug mode that detects impure responders."""

import os
import random
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime

import pytest

from kando.emit import create, emit
from kando.errors import ImpureResponder
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.base import Responder
from kando.responders.llm_executor import LLMExecutorResponder
from kando.runtime import Runtime
from kando.schema.events import KandoEvent, make_event
from kando.world.graph import World


def fire(fn: Callable[[KandoEvent, World], object]) -> World:
    runtime = Runtime(MemoryLedgerStore("r1"), [Responder("suspect", "go", fn)], checks_purity=True)
    return runtime.run([create("T", {"n": [1]}, id="t"), emit("go", {})])


@pytest.mark.parametrize(
    "ask",
    [
        time.time,
        time.monotonic,
        lambda: datetime.now(UTC),
        date.today,
        random.random,
        lambda: random.Random(1).getrandbits(8),
        uuid.uuid4,
        lambda: os.urandom(4),
        socket.socket,
        lambda: socket.gethostbyname("localhost"),
    ],
    ids=[
        "time",
        "monotonic",
        "now",
        "today",
        "random",
        "Random",
        "uuid4",
        "urandom",
        "socket",
        "dns",
    ],
)
def test_a_responder_that_uses_a_clock_random_numbers_or_a_socket_is_named(
    ask: Callable[[], object],
) -> None:
    def asks(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        asked = ask()
        if isinstance(asked, socket.socket):
            asked.close()
        yield create("T", {})

    with pytest.raises(ImpureResponder, match="'suspect' called"):
        fire(asks)


def test_a_responder_that_changes_the_world_is_named() -> None:
    def changes(event: KandoEvent, world: World) -> None:
        world.objects["t"].data["n"].append(2)

    with pytest.raises(ImpureResponder, match="'suspect' changed the world"):
        fire(changes)


def test_a_responder_that_only_reads_and_emits_passes() -> None:
    def pure(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        made = yield create("T", {"of": sorted(world.objects)})
        yield make_event("note", "", "", [made.id], {"at": datetime(2026, 1, 1, tzinfo=UTC)})

    assert len(fire(pure).objects) == 2


def test_executors_may_reach_outside() -> None:
    clock = LLMExecutorResponder(lambda messages, model, n: (str(time.time()), 0.0))
    runtime = Runtime(MemoryLedgerStore("r1"), [clock], checks_purity=True)

    runtime.run([make_event("llm.request", "", "cli", [], {"messages": []})])

    assert any(e.type == "llm.response" for e in runtime.ledger.read_all())
