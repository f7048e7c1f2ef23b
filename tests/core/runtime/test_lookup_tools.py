"""Tools that read the world of a run."""

from collections.abc import Iterator
from itertools import islice

from kando.emit import call_tool, create
from kando.kit import Kit
from kando.ledger.memory import MemoryLedgerStore
from kando.runtime import Runtime
from kando.schema.events import TOOL_RETURNED, KandoEvent
from kando.world.graph import World


def kit_that_counts() -> Kit:
    kit = Kit("counting")

    @kit.tool("count")
    def count(type: str, world: World) -> int:
        return world.count_of(type)

    @kit.responder("object.created", type="Thing")
    def on_thing(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield create("Seen", {})
        yield call_tool("count", {"type": "Seen"})

    return kit


def run(ledger: MemoryLedgerStore, seeds: list[KandoEvent]) -> list[object]:
    Runtime(ledger, kit_that_counts().create(), edge_logic=()).run(seeds)
    return [event.data for event in ledger.read_all() if event.type == TOOL_RETURNED]


def things(number: int) -> list[KandoEvent]:
    return [create("Thing", {"n": n}) for n in range(number)]


def test_a_lookup_tool_gets_the_world_at_the_dispatch_of_its_call() -> None:
    ledger = MemoryLedgerStore("r1")

    assert run(ledger, things(2)) == [{"result": 2}, {"result": 2}]
    again = Runtime(ledger, kit_that_counts().create(), edge_logic=())
    assert again.replay(strict=True) == again.load()


def test_a_caller_cannot_pass_a_world() -> None:
    ledger = MemoryLedgerStore("r1")
    forged = call_tool("count", {"type": "Seen", "world": {"objects": []}})

    (answer,) = run(ledger, [forged])

    assert answer["error"]["message"].startswith("count: unknown field 'world'")


def test_a_policy_judges_a_call_before_the_lookup() -> None:
    ledger, kit = MemoryLedgerStore("r1"), kit_that_counts()
    kit.policy(lambda intent: "not now")

    Runtime(ledger, kit.create(), edge_logic=()).run(things(1))

    (answer,) = [event.data for event in ledger.read_all() if event.type == TOOL_RETURNED]
    assert answer == {"error": {"type": "Denied", "message": "not now"}}


def test_a_run_stopped_at_any_position_looks_up_the_same() -> None:
    whole = MemoryLedgerStore("r1")
    answers = run(whole, things(3))

    for cut in range(3, whole.length()):
        part = MemoryLedgerStore("r1")
        part.append(list(islice(whole.read_all(), cut)))
        assert run(part, []) == answers, cut
        assert part.length() == whole.length()
