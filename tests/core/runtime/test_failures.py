"""What a failure leaves behind: a record, and nothing else."""

from collections.abc import Callable, Iterator

import pytest

from kando.emit import create, emit
from kando.errors import ConfigurationError, DuplicateEvent, InvalidData, UnknownReference
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.base import Responder
from kando.responders.llm_executor import LLMExecutorResponder
from kando.runtime import Runtime
from kando.schema.events import RESPONDER_FAILED, KandoEvent, make_event
from kando.world.graph import World


def failing(fn: Callable[[KandoEvent, World], object], expected: type[Exception]) -> list[str]:
    """Run a responder that must fail, and return the types of what is in the ledger."""
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


@pytest.mark.parametrize("returned", ["text", 3, {"a": 1}])
def test_what_is_no_stream_of_events_fails_the_firing(returned: object) -> None:
    assert failing(lambda event, world: returned, ConfigurationError) == ["go", RESPONDER_FAILED]


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


def test_an_error_message_that_is_long_or_not_unicode_is_recorded_all_the_same() -> None:
    def shouts(event: KandoEvent, world: World) -> None:
        raise RuntimeError("\ud800" + "x" * 3_000_000)

    assert failing(shouts, RuntimeError) == ["go", RESPONDER_FAILED]


def test_a_call_that_fails_is_recorded_raised_and_made_again_on_resume() -> None:
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


def test_a_provider_that_answers_with_no_json_fails_like_a_responder() -> None:
    ledger = MemoryLedgerStore("r1")
    wrong = LLMExecutorResponder(lambda messages, model, max_tokens: (object(), 0.0))
    asked = {"messages": [], "model": "m", "max_tokens": 1}

    with pytest.raises(InvalidData, match="text"):
        Runtime(ledger, [wrong]).run([make_event("llm.request", "", "cli", [], asked)])

    assert [e.type for e in ledger.read_all()] == ["llm.request", RESPONDER_FAILED]
