"""A store in a long-lived process: threads, kits, providers, and files that appear later."""

import asyncio
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any

import pytest

from kando.app.builtin import installed_plugins
from kando.app.claims import RunClaim
from kando.app.providers import Provider
from kando.app.store import Store, open_store
from kando.emit import ask, create
from kando.errors import RunBusy
from kando.kit import Kit
from kando.plugins import ProviderSpec, hookimpl
from kando.responders.llm_executor import LLMExecutorResponder
from kando.schema.events import KandoEvent
from kando.world.graph import World

ENVIRON = {"KANDO_PLUGINS": "", "ANTHROPIC_API_KEY": "sk-secret"}


def asker(version: str = "1") -> Kit:
    """Return a kit that asks a model once."""
    kit = Kit("asker", version=version)

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [create("Goal", {"text": goal})]

    @kit.responder("object.created")
    def on_goal(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield ask([{"role": "user", "content": "why?"}])

    return kit


class Offers:
    """A plugin with a provider."""

    @hookimpl
    def kando_providers(self) -> list[ProviderSpec]:
        return [ProviderSpec("counted", "counted_provider:opened", is_offline=True)]


class Counted:
    """The provider, which counts how often it is opened and closed."""

    def __init__(self) -> None:
        self.openings = self.closings = 0

    def opened(self, argument: str, environ: Mapping[str, str]) -> "Counted":
        self.openings += 1
        return self

    def __call__(self, request: dict[str, object]) -> dict[str, object]:
        return {"text": "because", "model": "counted", "cost_usd": 0.0}

    def close(self) -> None:
        self.closings += 1


def opened(path: Path, **options: Any) -> Store:
    return open_store(f"sqlite:{path}", environ=ENVIRON, **options)


def test_a_provider_that_a_call_opens_is_closed_when_the_call_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, module, plugins = Counted(), ModuleType("counted_provider"), installed_plugins(ENVIRON)
    vars(module)["opened"] = counted.opened
    monkeypatch.setitem(sys.modules, "counted_provider", module)
    plugins.register(Offers(), name="counted")
    with opened(tmp_path / "runs.sqlite", plugins=plugins) as store:
        run = store.start(asker(), "go", llm="counted")
        assert (counted.openings, counted.closings) == (1, 1)

        run.resume(llm="counted")
        assert (counted.openings, counted.closings) == (2, 2)


def test_a_provider_that_the_caller_opened_stays_open(tmp_path: Path) -> None:
    closed = []
    executor = LLMExecutorResponder(lambda messages, model, max_tokens: ("because", 0.0))
    mine = Provider("mine", "", executor, lambda: closed.append(True))
    with opened(tmp_path / "runs.sqlite") as store:
        run = store.start(asker(), "go", llm=mine)
        run.resume(llm=mine)

        assert run.status().llm_answered == 1
    assert closed == []


def test_a_run_that_another_process_starts_in_a_file_that_did_not_exist_is_found(
    tmp_path: Path,
) -> None:
    path = tmp_path / "runs.sqlite"
    with opened(path) as reader:
        assert len(reader.runs()) == 0
        assert not path.exists()

        with opened(path) as writer:
            id = writer.start(asker(), "go").id

        assert [each.run_id for each in reader.runs()] == [id]


def test_a_kit_is_remembered_by_the_call_that_names_it_but_a_replay_only_tries_it(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "runs.sqlite") as store:
        run = store.start(asker("1"), "go")
        run.replay(strict=True, kit=asker("3"))
        assert run.resume().status.kit_version == "1"

        run.resume(kit=asker("2"))
        assert store.run(run.id).resume().status.kit_version == "2"

        branch = run.fork(at=run.length(), kit=asker("4"))
        assert branch.resume().status.kit_version == "4"


def test_a_worker_elsewhere_in_the_process_keeps_a_run_for_itself(tmp_path: Path) -> None:
    with opened(tmp_path / "runs.sqlite") as store:
        run = store.start(asker(), "go", work=False)
        with (
            RunClaim(store.context, run.id),
            pytest.raises(RunBusy, match=f"{run.id} is running"),
        ):
            run.resume()

        assert run.resume().status.state == "waiting"


def test_a_run_that_waits_is_waiting_and_not_running(tmp_path: Path) -> None:
    has_started = Event()

    async def wait_and_cancel(store: Store) -> str:
        run = store.start(asker(), "go", work=False)
        task = asyncio.create_task(run.aresume(wait=True, on_started=lambda id: has_started.set()))
        await asyncio.to_thread(has_started.wait, 10)
        while (state := run.status().state) in ("stopped", "running"):
            await asyncio.sleep(0.01)
        run.cancel()
        await task
        return state

    with opened(tmp_path / "runs.sqlite") as store:
        assert asyncio.run(wait_and_cancel(store)) == "waiting"


def test_the_repr_of_a_store_holds_no_key(tmp_path: Path) -> None:
    with opened(tmp_path / "runs.sqlite", kits=[asker()]) as store:
        assert "sk-secret" not in repr(store)
        assert "asker" in repr(store)


def test_a_coroutine_method_is_described_like_the_method_that_it_runs() -> None:
    assert inspect.signature(Store.astart) == inspect.signature(Store.start)
    assert Store.astart.__qualname__ == "Store.astart"
    assert "`start`" in (Store.astart.__doc__ or "")
    assert inspect.iscoroutinefunction(Store.astart)
