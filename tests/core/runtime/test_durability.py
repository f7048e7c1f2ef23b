"""Events are on disk when promised: another process that opens the file sees it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from kando.cache.llm import LLMCache
from kando.emit import ask, create, emit
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.responders.base import Responder
from kando.responders.budget import Budget
from kando.responders.delivery import DeliveryBus, create_delivery_responder
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime
from kando.schema.events import KandoEvent
from kando.world.graph import World

#: Longer than any test takes: nothing is saved only because time passed.
NEVER = 3600.0


def types_on_disk(path: Path) -> list[str]:
    with SQLiteSubstrate(path, read_only=True) as substrate:
        return [event.type for event in substrate.open("r1").read_all()]


def on_goal(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    yield ask([{"role": "user", "content": "Why?"}])


def count(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    if event.data["n"] < 20:
        yield emit("number", {"n": event.data["n"] + 1})


def test_a_request_is_on_disk_before_its_call_starts(tmp_path: Path) -> None:
    path, seen = tmp_path / "store.sqlite", []

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        seen.extend(types_on_disk(path))
        return {"text": "Because.", "model": "m", "cost_usd": 0.0}

    with SQLiteSubstrate(path) as substrate:
        responders = [Responder("goal", {"object.created"}, on_goal), provider_executor(complete)]
        Runtime(substrate.create("r1"), responders, save_interval=NEVER).run([create("Goal", {})])

    assert "llm.request" in seen
    assert "llm.response" not in seen


def test_an_answer_is_on_disk_before_the_next_firing(tmp_path: Path) -> None:
    path, seen = tmp_path / "store.sqlite", []

    def on_answer(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        seen.extend(types_on_disk(path))
        return iter(())

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        return {"text": "Because.", "model": "m", "cost_usd": 0.0}

    with SQLiteSubstrate(path) as substrate:
        responders = [
            Responder("goal", {"object.created"}, on_goal),
            Responder("answer", {"llm.response"}, on_answer),
            provider_executor(complete),
        ]
        Runtime(substrate.create("r1"), responders, save_interval=NEVER).run([create("Goal", {})])

    assert "llm.response" in seen


@pytest.mark.parametrize(("save_interval", "is_on_disk"), [(0.0, True), (NEVER, False)])
def test_a_firing_is_saved_once_the_save_interval_has_passed(
    tmp_path: Path, save_interval: float, is_on_disk: bool
) -> None:
    path, lengths = tmp_path / "store.sqlite", []

    def look(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        lengths.append(len(types_on_disk(path)))
        return iter(())

    with SQLiteSubstrate(path) as substrate:
        responders = [
            Responder("count", {"number"}, count),
            Responder("look", {"number"}, look),
        ]
        ledger = substrate.create("r1")
        Runtime(ledger, responders, save_interval=save_interval).run([emit("number", {"n": 1})])

        assert len(set(lengths)) == (19 if is_on_disk else 1)
        assert ledger.length() == 1 + 19 * 3


@pytest.mark.parametrize("ends", ["returns", "raises", "exhausts its budget"])
def test_everything_recorded_is_on_disk_when_run_ends(tmp_path: Path, ends: str) -> None:
    path = tmp_path / "store.sqlite"

    def fail(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        if event.data["n"] == 20:
            msg = "too many"
            raise ValueError(msg)
        return iter(())

    responders = [Responder("count", {"number"}, count)]
    if ends == "raises":
        responders.append(Responder("fail", {"number"}, fail))
    budget = Budget(max_events=30) if ends == "exhausts its budget" else None
    with SQLiteSubstrate(path) as substrate:
        runtime = Runtime(substrate.create("r1"), responders, budget, save_interval=NEVER)
        if ends == "raises":
            with pytest.raises(ValueError, match="too many"):
                runtime.run([emit("number", {"n": 1})])
        else:
            runtime.run([emit("number", {"n": 1})])

        last = {"raises": "responder.failed", "exhausts its budget": "budget.exhausted"}
        types = types_on_disk(path)
        assert types.count("number") == (20 if budget is None else 10)
        assert types[-1] == last.get(ends, "responder.completed")


#: Works on the run ``r1`` of a file; its model notes the id of each request in another file, and
#: the process dies in the first call.
CALLER = dedent("""
    import os, sys
    from pathlib import Path
    from kando.emit import ask, create
    from kando.ledger.sqlite import SQLiteLedgerStore
    from kando.responders.base import Responder
    from kando.responders.idempotency import idempotency_key
    from kando.responders.llm_executor import provider_executor
    from kando.runtime import Runtime

    def on_goal(event, world):
        yield ask([{"role": "user", "content": "Why?"}])

    def complete(request):
        with calls.open("a") as file:
            file.write(idempotency_key() + "\\n")
        if len(calls.read_text().splitlines()) == 1:
            os._exit(9)
        return {"text": "Because.", "model": "m", "cost_usd": 0.0}

    path, calls = sys.argv[1], Path(sys.argv[2])
    ledger = SQLiteLedgerStore("r1", path)
    responders = [Responder("goal", {"object.created"}, on_goal), provider_executor(complete)]
    Runtime(ledger, responders).run([] if ledger.length() else [create("Goal", {})])
    """)


def test_a_call_that_a_dead_process_left_is_made_again_with_the_same_idempotency_key(
    tmp_path: Path,
) -> None:
    path, calls = tmp_path / "store.sqlite", tmp_path / "calls"
    command = [sys.executable, "-c", CALLER, str(path), str(calls)]

    codes = [subprocess.run(command, check=False).returncode for _ in range(3)]

    assert codes == [9, 0, 0]
    first, second = calls.read_text().splitlines()
    assert first == second
    assert types_on_disk(path).count("llm.request") == 1
    assert types_on_disk(path).count("llm.response") == 1


def test_a_subscriber_may_get_an_event_again_after_a_crash(tmp_path: Path) -> None:
    delivered: list[str] = []

    def on_event(event: KandoEvent) -> None:
        delivered.append(event.id)
        if len(delivered) == 1:
            raise SystemExit

    bus = DeliveryBus()
    bus.subscribe(on_event, pattern={"number"})
    with SQLiteSubstrate(tmp_path / "store.sqlite") as substrate:
        runtime = Runtime(substrate.create("r1"), [create_delivery_responder(bus)])
        with pytest.raises(SystemExit):
            runtime.run([emit("number", {"n": 20})])
        Runtime(substrate.open("r1"), [create_delivery_responder(bus)]).run([])

    assert delivered == ["number-0", "number-0"]


def test_seeds_survive_a_process_that_is_killed_in_the_first_responder(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    script = """
        import os, signal, sys
        from kando.emit import create
        from kando.ledger.sqlite import SQLiteLedgerStore
        from kando.responders.base import Responder
        from kando.runtime import Runtime

        def die(event, world):
            os.kill(os.getpid(), signal.SIGKILL)

        ledger = SQLiteLedgerStore("r1", sys.argv[1])
        Runtime(ledger, [Responder("die", {"object.created"}, die)]).run([create("Goal", {})])
    """

    done = subprocess.run([sys.executable, "-c", dedent(script), path], check=False)

    assert done.returncode == -signal.SIGKILL
    assert types_on_disk(path) == ["object.created"]


def test_cached_answers_are_saved_together_and_not_before_they_are_used(tmp_path: Path) -> None:
    cache, on_disk = LLMCache(), []

    def ask_all(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        for number in range(5):
            yield ask([{"role": "user", "content": f"Question {number}?"}])

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        return {"text": "Because.", "model": "m", "cost_usd": 0.0}

    def on_answer(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        on_disk.append(types_on_disk(path).count("llm.response"))
        return iter(())

    responders = [
        Responder("asks", {"object.created"}, ask_all),
        Responder("answer", {"llm.response"}, on_answer),
        provider_executor(complete),
    ]
    for path in (tmp_path / "called.sqlite", tmp_path / "cached.sqlite"):
        on_disk.clear()
        with SQLiteSubstrate(path) as substrate:
            runtime = Runtime(substrate.create("r1"), responders, cache=cache, save_interval=NEVER)
            runtime.run([create("Goal", {})])
        found = [*on_disk]
        assert types_on_disk(path).count("llm.response") == 5
        # An answer of a call is on disk before a responder uses it.
        assert found == ([5] * 5 if path.name == "called.sqlite" else [0] * 5)
