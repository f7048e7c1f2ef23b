"""A failure leaves a record in the ledger, and nothing else."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from kando.emit import ask, create, emit
from kando.errors import ConfigurationError, DuplicateEvent, InvalidData, UnknownReference
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.base import Responder, Retry
from kando.responders.llm_executor import LLMExecutorResponder, provider_executor
from kando.runtime import Runtime
from kando.runtime.failure import raised_at
from kando.schema.events import RESPONDER_FAILED, KandoEvent, make_event
from kando.world.graph import World


def failing(fn: Callable[[KandoEvent, World], object], expected: type[Exception]) -> list[str]:
    """Run a responder that must fail, and return the types of the events in the ledger."""
    ledger = MemoryLedgerStore("r1")
    with pytest.raises(expected):
        Runtime(ledger, [Responder("r", "go", fn)]).run([emit("go", {})])
    return [event.type for event in ledger.read_all()]


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (emit("x", {"a": float("nan")}), InvalidData),
        (emit("x", {"a": b""}), InvalidData),
        (emit("", {}), InvalidData),
        (emit("x", {}, cause=["nobody-7"]), UnknownReference),
        (KandoEvent("go-0", "x", "", "", [], None, {}), DuplicateEvent),
        (create("", {}), InvalidData),
        ("not an event", InvalidData),
        (None, ConfigurationError),
        (emit("x", {}, cause=[""]), InvalidData),
    ],
)
def test_an_output_that_is_refused_fails_the_firing_as_a_whole(
    bad: object, error: type[Exception]
) -> None:
    def yields(event: KandoEvent, world: World) -> Iterator[object]:
        yield create("T", {})
        yield bad

    assert failing(yields, error) == ["go", RESPONDER_FAILED]


def test_a_generator_may_yield_from_generators_and_from_lists() -> None:
    def pair(event: KandoEvent) -> Iterator[KandoEvent]:
        made = yield create("T", {"after": event.id})
        yield from [emit("x", {}), create("T", {"after": made.id})]

    def yields(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield from pair(event)
        yield from (emit("y", {}), emit("z", {}))

    ledger = MemoryLedgerStore("r1")
    Runtime(ledger, [Responder("r", "go", yields)]).run([emit("go", {})])

    outputs = [event for event in ledger.read_all() if event.actor == "r"][1:-1]
    assert [event.type for event in outputs] == ["object.created", "x", "object.created", "y", "z"]
    assert outputs[2].data["data"] == {"after": outputs[0].id}


@pytest.mark.parametrize("returned", ["text", 3, {"a": 1}])
def test_outputs_that_are_not_events_fail_the_firing(returned: object) -> None:
    assert failing(lambda event, world: returned, ConfigurationError) == ["go", RESPONDER_FAILED]


@pytest.mark.parametrize("on_error", ["raise", "park"])
def test_a_responder_that_exits_fails_and_is_not_retried(on_error: str) -> None:
    def exits(event: KandoEvent, world: World) -> None:
        sys.exit("no licence")

    responder = Responder("r", "go", exits, retry=Retry(attempts=3), on_error=on_error)
    ledger = MemoryLedgerStore("r1")

    with pytest.raises(SystemExit):
        Runtime(ledger, [responder]).run([emit("go", {})])

    _, failed = ledger.read_all()
    assert failed.data["error"] == {"type": "SystemExit", "message": "no licence"}
    assert (failed.data["attempt"], failed.data["outcome"]) == (1, "raised")


def test_a_failure_names_type_and_message_and_hides_the_values_of_secret_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ACME_API_KEY", "sk-very-secret")

    def leaks(event: KandoEvent, world: World) -> None:
        raise RuntimeError("cannot log in with sk-very-secret")

    ledger = MemoryLedgerStore("r1")
    with pytest.raises(RuntimeError):
        Runtime(ledger, [Responder("r", "go", leaks)]).run([emit("go", {})])

    failed = ledger.at(1)
    assert failed.data["error"] == {
        "type": "RuntimeError",
        "message": "cannot log in with [ACME_API_KEY]",
    }
    assert "in leaks" in failed.data["observed"]["traceback"]
    assert b"very-secret" not in failed.encoded


def test_a_failure_records_the_line_of_the_kit_and_not_that_of_a_library() -> None:
    def parses(event: KandoEvent, world: World) -> None:
        json.loads("{")

    ledger = MemoryLedgerStore("r1")
    with pytest.raises(json.JSONDecodeError):
        Runtime(ledger, [Responder("r", "go", parses)]).run([emit("go", {})])

    observed = ledger.at(1).data["observed"]
    line = parses.__code__.co_firstlineno + 1
    assert (observed["file"], observed["line"]) == (__file__, line)


def test_an_error_of_kando_alone_has_no_place_in_a_kit() -> None:
    ledger = MemoryLedgerStore("r1")
    with pytest.raises(ConfigurationError):
        Runtime(ledger, [Responder("r", "go", lambda event, world: [None])]).run([emit("go", {})])

    assert set(ledger.at(1).data["observed"]) == {"traceback"}


def test_of_a_kit_that_is_installed_next_to_libraries_the_frames_of_its_package_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"
    for name, source in {
        "some_kit": "import some_library\n\ndef on_go():\n    helper()\n\n"
        "def helper():\n    some_library.call()\n",
        "some_library": "def call():\n    raise OSError('no route')\n",
    }.items():
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text(source)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    scope = {"__name__": "kando.runtime"}
    exec("import some_kit\ndef fire():\n    some_kit.on_go()\n", scope)

    with pytest.raises(OSError, match="no route") as caught:
        scope["fire"]()  # type: ignore[operator]

    error = caught.value.with_traceback(caught.tb.tb_next)
    assert raised_at(error) == (str(site / "some_kit" / "__init__.py"), 7)
    for name in ("some_kit", "some_library"):
        del sys.modules[name]


def test_a_long_or_malformed_error_message_is_recorded() -> None:
    def shouts(event: KandoEvent, world: World) -> None:
        raise RuntimeError("\ud800" + "x" * 3_000_000)

    assert failing(shouts, RuntimeError) == ["go", RESPONDER_FAILED]


def test_a_failed_call_is_recorded_raised_and_repeated_on_resume() -> None:
    outcomes = iter([ConnectionError("down"), ("up", 0.1)])

    def flaky(messages: object, model: str, max_tokens: int) -> tuple[str, float]:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    ledger = MemoryLedgerStore("r1")
    asked = {"messages": [], "model": "m", "max_tokens": 1}
    runtime = Runtime(ledger, [LLMExecutorResponder(flaky)])
    with pytest.raises(ConnectionError):
        runtime.run([make_event("llm.request", "", "cli", [], asked)])
    assert [e.type for e in ledger.read_all()] == ["llm.request", RESPONDER_FAILED]

    runtime.run([])

    assert [e.data.get("text") for e in ledger.read_all() if e.type == "llm.response"] == ["up"]
    assert runtime.replay(strict=True) == runtime.load()


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ({"text": object(), "cost_usd": 0.5}, {"cost_usd": 0.5}),
        ({"text": "half \ud83d", "cost_usd": 0.5, "model": "m"}, {"text": "half ?", "model": "m"}),
        ({"text": "x" * 2_000_000, "usage": {"output_tokens": 9}}, {"usage": {"output_tokens": 9}}),
        ({"text": "a", "cost_usd": float("nan")}, {"text": "a", "cost_usd": None}),
        ({"text": "a", "cost_usd": float("inf")}, {"text": "a", "cost_usd": None}),
        ({"text": "a", "raw": json.loads("[" * 150 + "]" * 150)}, {"text": "a"}),
        (10**5000, {}),
        (None, {}),
        (["a list"], {}),
    ],
    ids=[
        *("an object", "half a character", "too large", "not a number", "infinite", "deep"),
        *("an immense number", "nothing", "a list"),
    ],
)
def test_an_answer_that_cannot_be_recorded_is_recorded_as_an_error_and_not_asked_for_again(
    answer: Any, kept: dict[str, Any]
) -> None:
    calls: list[object] = []

    def complete(request: dict[str, Any]) -> Any:
        calls.append(request)
        return answer

    ledger = MemoryLedgerStore("r1")
    for seeds in ([make_event("llm.request", "", "cli", [], {"messages": []})], [], []):
        Runtime(ledger, [provider_executor(complete)]).run(seeds)

    (recorded,) = (e.data for e in ledger.read_all() if e.type == "llm.response")
    assert recorded["error"]["type"] == "Unrecordable"
    assert {name: recorded[name] for name in kept} == kept
    assert len(calls) == 1


def flaky(failures: int, retry: Retry, on_error: str = "raise") -> Responder:
    """Return a responder that fails the given number of times and then emits one object."""
    left = [failures]

    def fn(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield create("T", {"n": 1}, id="made")
        if left[0]:
            left[0] -= 1
            raise ConnectionError(f"{left[0]} left")

    return Responder("flaky", "go", fn, retry=retry, on_error=on_error)


AT_ONCE = Retry(attempts=3, backoff_seconds=0)


def outcomes(ledger: MemoryLedgerStore) -> list[tuple[int, str]]:
    failed = [e.data for e in ledger.read_all() if e.type == RESPONDER_FAILED]
    return [(data["attempt"], data["outcome"]) for data in failed]


def test_a_firing_is_retried_as_configured_and_every_attempt_is_recorded() -> None:
    ledger = MemoryLedgerStore("r1")
    runtime = Runtime(ledger, [flaky(2, AT_ONCE)])

    world = runtime.run([emit("go", {})])

    assert outcomes(ledger) == [(1, "retried"), (2, "retried")]
    assert list(world.objects) == ["made"]
    assert runtime.replay(strict=True) == world


def test_after_the_last_attempt_the_exception_reaches_the_caller_and_a_resume_starts_over() -> None:
    ledger = MemoryLedgerStore("r1")
    runtime = Runtime(ledger, [flaky(4, AT_ONCE)])

    with pytest.raises(ConnectionError):
        runtime.run([emit("go", {})])
    world = runtime.run([])

    assert outcomes(ledger) == [(1, "retried"), (2, "retried"), (3, "raised"), (1, "retried")]
    assert list(world.objects) == ["made"]


def test_attempts_are_counted_across_a_restart() -> None:
    ledger = MemoryLedgerStore("r1")
    whole = MemoryLedgerStore("r1")
    Runtime(whole, [flaky(2, AT_ONCE)]).run([emit("go", {})])
    ledger.append(list(whole.read_all())[:2])

    Runtime(ledger, [flaky(1, AT_ONCE)]).run([])

    assert outcomes(ledger) == [(1, "retried"), (2, "retried")]


def test_a_parked_firing_is_skipped_and_the_run_continues() -> None:
    ledger = MemoryLedgerStore("r1")
    after = Responder("after", "go", lambda event, world: [create("T", {}, id="after")])
    runtime = Runtime(ledger, [flaky(9, AT_ONCE, "park"), after])

    world = runtime.run([emit("go", {})])

    assert outcomes(ledger) == [(1, "retried"), (2, "retried"), (3, "parked")]
    assert list(world.objects) == ["after"]
    assert not runtime.has_pending_work()
    assert Runtime(ledger, [flaky(0, AT_ONCE, "park"), after]).run([]) == world
    assert runtime.replay(strict=True) == world


def test_a_call_is_retried_and_parked_like_any_firing() -> None:
    def down(messages: object, model: str, max_tokens: int) -> tuple[str, float]:
        raise ConnectionError("down")

    ledger = MemoryLedgerStore("r1")
    parked = attrs.evolve(LLMExecutorResponder(down), retry=AT_ONCE, on_error="park")
    asked = {"messages": [], "model": "m", "max_tokens": 1}
    runtime = Runtime(ledger, [parked])

    runtime.run([make_event("llm.request", "", "cli", [], asked)])

    assert outcomes(ledger) == [(1, "retried"), (2, "retried"), (3, "parked")]
    assert not runtime.has_pending_work()


def test_a_call_that_times_out_counts_as_failed() -> None:
    release = threading.Event()

    def stalls(messages: object, model: str, max_tokens: int) -> tuple[str, float]:
        release.wait()
        return "late", 0.0

    ledger = MemoryLedgerStore("r1")
    executor = LLMExecutorResponder(stalls)
    assert executor.effect is not None
    impatient = attrs.evolve(executor, effect=attrs.evolve(executor.effect, timeout_seconds=0.01))
    asked = {"messages": [], "model": "m", "max_tokens": 1}

    with pytest.raises(TimeoutError, match=r"longer than 0\.01 s"):
        Runtime(ledger, [impatient]).run([make_event("llm.request", "", "cli", [], asked)])
    release.set()

    assert outcomes(ledger) == [(1, "raised")]


def test_a_repaired_firing_without_outputs_records_its_completion() -> None:
    broken = [True]

    def repaired(event: KandoEvent, world: World) -> None:
        if broken[0]:
            raise ValueError

    ledger = MemoryLedgerStore("r1")
    runtime = Runtime(ledger, [Responder("r", "go", repaired)])
    with pytest.raises(ValueError):  # noqa: PT011 - its type is all it has
        runtime.run([emit("go", {})])
    broken[0] = False

    runtime.run([])

    types = [e.type for e in ledger.read_all()]
    assert types == ["go", RESPONDER_FAILED, "responder.fired", "responder.completed"]
    assert runtime.replay(strict=True) == runtime.load()


def test_a_firing_that_raised_is_repeated_though_a_call_in_flight_failed_too() -> None:
    """The failure of a call in flight is recorded after that of an event before its request."""

    class CutOff(Exception):
        spent: ClassVar[dict[str, Any]] = {"cost_usd": 0.5, "usage": {"input_tokens": 10}}

    faults = {"plain", "model"}

    def starts(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield ask([{"role": "user", "content": "what?"}])
        yield emit("step", {})
        yield ask([{"role": "user", "content": "why?"}])

    def steps(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        if "plain" in faults:
            assert has_begun.wait(60)
            raise ValueError("not yet")
        yield emit("done", {})

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        is_second = request["messages"][0]["content"] == "why?"
        if is_second:
            has_begun.set()
        if is_second and "model" in faults:
            raise CutOff("cut off")
        return {"text": "because", "model": "m", "cost_usd": 0.25}

    has_begun = threading.Event()
    ledger = MemoryLedgerStore("r1")
    responders = [
        Responder("starts", "go", starts),
        Responder("steps", "step", steps),
        provider_executor(complete),
    ]
    with pytest.raises(ValueError, match="not yet"):
        Runtime(ledger, responders, save_interval=0).run([emit("go", {})])
    faults.clear()
    Runtime(ledger, responders).run([])

    types = [event.type for event in ledger.read_all()]
    assert types.count(RESPONDER_FAILED) == 2
    assert types.count("done") == 1
    assert types.count("llm.response") == 2
    Runtime(ledger, responders).replay(strict=True)
