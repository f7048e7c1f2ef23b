"""Messages reach a run that waits for a call: a pause, a cancellation, and the answer of a person."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from kando.app.group_worker import GroupWorker
from kando.app.providers import Provider
from kando.app.run import Run
from kando.app.store import Store, open_store
from kando.emit import ask, call_tool, create
from kando.errors import ProviderError, RunCancelled
from kando.kit import Kit
from kando.responders.budget import Budget
from kando.responders.cancellation import call_is_cancelled
from kando.responders.llm_executor import provider_executor
from kando.schema.events import KandoEvent

SPENT = {"usage": {"input_tokens": 7, "output_tokens": 1}, "cost_usd": 0.25}


@attrs.define
class Outside:
    """A tool and a model that do not return before the test opens their gate."""

    begun: list[str] = attrs.field(factory=list)
    gate: threading.Event = attrs.field(factory=threading.Event)

    def kit(self) -> Kit:
        kit = Kit("desk", seed=lambda goal, run_id: [create("Go", {"what": goal}, id="go")])

        @kit.tool("charge")
        def charge(name: str) -> str:
            self.begun.append(name)
            assert self.gate.wait(60)
            return name

        @kit.responder("object.created", type="Go")
        def on_go(event: KandoEvent, world: object) -> Any:
            if event.data["data"]["what"] == "ask":
                yield ask([{"role": "user", "content": "x"}])
            else:
                yield call_tool("charge", {"name": "a"})
                yield call_tool("charge", {"name": "b"})

        return kit

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """Repeat a request in vain, as a provider does, until the call is cancelled."""
        self.begun.append("model")
        while not call_is_cancelled():
            if self.gate.wait(0.01):
                return {"text": "late", "model": "m", **SPENT}
        msg = "The server is busy."
        raise ProviderError(msg, spent=SPENT)


@pytest.fixture
def outside() -> Iterator[Outside]:
    outside = Outside()
    yield outside
    outside.gate.set()


@pytest.fixture
def opened(tmp_path: Path, outside: Outside) -> Callable[[], Store]:
    def opened() -> Store:
        url = f"sqlite:{tmp_path / 'runs.sqlite'}"
        return open_store(url, kits=[outside.kit()], environ={"KANDO_PLUGINS": ""})

    return opened


def provider_of(outside: Outside) -> Provider:
    return Provider("busy", "", provider_executor(outside.complete))


def until(condition: Callable[[], bool], working: threading.Thread) -> None:
    """Wait until a condition holds, while a thread works."""
    while not condition():
        assert working.is_alive()


@contextmanager
def working(run: Run, **options: Any) -> Iterator[threading.Thread]:
    """Resume a run in a thread; wait for it at the end."""

    def resume() -> None:
        run.resume(**options)

    thread = threading.Thread(target=resume)
    thread.start()
    yield thread
    thread.join(60)
    assert not thread.is_alive()


def types_of(run: Run) -> list[str]:
    return [event.type for event in run.events()]


def answers(run: Run) -> list[Any]:
    return [event.data["result"] for event in run.events() if event.type == "tool.returned"]


@pytest.mark.parametrize("word", ["pause", "cancel"])
def test_a_run_is_stopped_while_a_call_is_in_flight_and_the_call_is_recorded_when_it_returns(
    opened: Callable[[], Store], outside: Outside, word: str
) -> None:
    with opened() as store, opened() as other:
        run = store.start("desk", "tool", work=False)
        with working(run) as thread:
            until(lambda: len(outside.begun) == 2, thread)
            watched = other.run(run.id)
            getattr(watched, word)()
            state = "paused" if word == "pause" else "cancelled"
            # Both calls are in flight all the time.
            until(lambda: f"run.{state}" in types_of(watched), thread)
            assert answers(watched) == []
            outside.gate.set()
        if word == "pause":
            run.resume()
        assert (sorted(outside.begun), answers(run)) == (["a", "b"], ["a", "b"])
        assert run.status().state == ("finished" if word == "pause" else "cancelled")
        run.replay(strict=True)


def test_an_answer_by_hand_ends_the_wait_for_the_call(
    opened: Callable[[], Store], outside: Outside
) -> None:
    with opened() as store, opened() as other:
        run = store.start("desk", "tool", work=False)
        with working(run) as thread:
            until(lambda: len(outside.begun) == 2, thread)
            watched = other.run(run.id)
            first, second = (e.id for e in watched.events() if e.type == "tool.called")
            watched.answer(first, result="by hand", by="ada")
            until(lambda: answers(watched) == ["by hand"], thread)
            watched.answer(second, result="too", by="ada")
            until(lambda: answers(watched) == ["by hand", "too"], thread)
            outside.gate.set()
        assert run.status().state == "finished"
        assert sorted(outside.begun) == ["a", "b"]
        # Both calls were made, and came too late.
        assert types_of(run).count("responder.failed") == 2
        run.replay(strict=True)


@pytest.mark.parametrize("word", ["pause", "cancel"])
def test_a_provider_stops_its_retries_and_what_it_used_is_charged_once(
    opened: Callable[[], Store], outside: Outside, word: str
) -> None:
    with opened() as store, opened() as other:
        run = store.start("desk", "ask", work=False)
        # The gate stays closed: the provider ends because it is asked to.
        with working(run, llm=provider_of(outside)) as thread:
            until(lambda: outside.begun == ["model"], thread)
            getattr(other.run(run.id), word)()
        state = run.status().state
        assert state == ("paused" if word == "pause" else "cancelled")
        assert run.metrics().llm.cost_usd == 0.25
        run.replay(strict=True)
        outside.gate.set()
        if word == "pause":
            run.resume(llm=provider_of(outside))
            assert run.status().state == "finished"
            assert (outside.begun, run.metrics().llm.cost_usd) == (["model"] * 2, 0.5)
            run.replay(strict=True)
        else:
            with pytest.raises(RunCancelled):
                run.resume(llm=provider_of(outside))


@pytest.mark.parametrize("word", ["pause", "cancel"])
def test_a_worker_stops_the_retries_of_a_call_whose_run_is_stopped(
    opened: Callable[[], Store], outside: Outside, word: str
) -> None:
    with opened() as store, opened() as other:
        run = store.start("desk", "ask", group="g")
        worker = GroupWorker(store.context, "g", llm=provider_of(outside))
        thread = threading.Thread(target=worker.work, kwargs={"until_idle": True})
        thread.start()
        until(lambda: outside.begun == ["model"], thread)
        getattr(other.run(run.id), word)()
        # The gate stays closed: the provider ends because it is asked to.
        thread.join(60)
        assert not thread.is_alive()
        assert run.status().state == ("paused" if word == "pause" else "cancelled")
        outside.gate.set()
        if word == "pause":
            run.resume(llm=provider_of(outside))
            assert (outside.begun, run.metrics().llm.cost_usd) == (["model"] * 2, 0.5)
        else:
            assert (outside.begun, run.metrics().llm.cost_usd) == (["model"], 0.25)
        run.replay(strict=True)


def test_a_call_that_fails_while_a_limit_stops_the_run_is_charged(tmp_path: Path) -> None:
    begun = threading.Barrier(2)
    stopped = threading.Event()

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        if not stopped.is_set():
            begun.wait(60)
            if request["messages"][0]["content"] == "b":
                while not call_is_cancelled():
                    pass
                msg = "The server is busy."
                raise ProviderError(msg, spent=SPENT)
        return {"text": "yes", "model": "m", **SPENT}

    # The first answer costs more than that, which stops the run while the second call is in flight.
    complete.worst_case_usd = lambda request: 0.1  # type: ignore[attr-defined]
    kit = Kit("pair", seed=lambda goal, run_id: [create("Go", {}, id="go")])

    @kit.responder("object.created", type="Go")
    def on_go(event: KandoEvent, world: object) -> Any:
        yield ask([{"role": "user", "content": "a"}])
        yield ask([{"role": "user", "content": "b"}])

    provider = Provider("pair", "", provider_executor(complete))
    url = f"sqlite:{tmp_path / 'pair.sqlite'}"
    with open_store(url, kits=[kit], environ={"KANDO_PLUGINS": ""}) as store:
        run = store.start("pair", "x", llm=provider, budget=Budget(max_llm_cost_usd=0.2))
        assert run.status().state == "exhausted"
        assert run.metrics().llm.cost_usd == 0.5
        run.replay(strict=True)
        stopped.set()
        run.resume(llm=provider, forgets_limits=True)
        assert (run.status().state, run.metrics().llm.cost_usd) == ("finished", 0.75)
        run.replay(strict=True)


@pytest.mark.parametrize("is_cached", [False, True])
def test_a_pause_that_arrives_during_a_call_holds_the_next_one_and_a_cached_answer(
    tmp_path: Path, is_cached: bool
) -> None:
    url = f"sqlite:{tmp_path / 'runs.sqlite'}"
    begun: list[str] = []
    kit = Kit("desk", seed=lambda goal, run_id: [create("Go", {"run": run_id}, id="go")])

    @kit.tool("stop")
    def stop(run: str) -> str:
        with open_store(url, kits=[kit], environ={"KANDO_PLUGINS": ""}) as other:
            other.run(run).pause()
        return run

    @kit.responder("object.created", type="Go")
    def on_go(event: KandoEvent, world: object) -> Any:
        if is_cached:
            yield ask([{"role": "user", "content": "x"}])
        yield call_tool("stop", {"run": event.data["data"]["run"]})

    @kit.responder("tool.returned")
    def on_returned(event: KandoEvent, world: object) -> Any:
        yield ask([{"role": "user", "content": "x"}])

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        begun.append("model")
        return {"text": "done", "model": "m", "cost_usd": 0.0}

    with open_store(url, kits=[kit], environ={"KANDO_PLUGINS": ""}) as store:
        model = Provider("scripted", "", provider_executor(complete))
        run = store.start(kit, "go", llm=model)
        paused = [event.type for event in run.events()]
        before = len(begun)
        run.resume(llm=model)

        assert "run.paused" in paused
        assert paused.count("llm.response") == before == int(is_cached)
        assert types_of(run).count("llm.response") == 1 + is_cached
