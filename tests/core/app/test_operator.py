"""The workers of a group keep the limits of an operator, and runs keep the provider they were given."""

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kando.app.builtin import installed_plugins
from kando.app.daily_spending import DailySpending
from kando.app.group_worker import GroupWorker
from kando.app.operator import OperatorLimits
from kando.app.status import EXHAUSTED, FINISHED, WAITING
from kando.app.store import Store, open_store
from kando.emit import ask
from kando.errors import ConfigurationError
from kando.kit import Kit
from kando.plugins import KitSpec, ProviderSpec, hookimpl
from kando.responders.budget import Budget
from kando.schema.events import KandoEvent, make_event
from kando.world.graph import World


def make_kit() -> Kit:
    """Return a kit that asks one question."""
    kit = Kit("asks", version="1")

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        data = {"id": "goal", "type": "Goal", "data": {"text": goal}}
        return [make_event("object.created", f"run:{run_id}", "cli", [], data)]

    @kit.responder("object.created", type="Goal")
    def question(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        text = event.data["data"]["text"]
        yield ask([{"role": "user", "content": text}], about="goal", max_tokens=10)

    return kit


class Providers:
    """A live provider with a price, and an offline one."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def live(self, request: dict[str, Any]) -> dict[str, Any]:
        self.calls["live"] += 1
        return {"text": "live", "model": "live", "cost_usd": 0.25}

    def offline(self, request: dict[str, Any]) -> dict[str, Any]:
        self.calls["offline"] += 1
        return {"text": "offline", "model": "offline", "cost_usd": 0.0}


class Offers:
    """A plugin with the kit and the providers."""

    @hookimpl
    def kando_kits(self) -> list[KitSpec]:
        return [KitSpec("asks", "asks_plugin:kit", "asks a question")]

    @hookimpl
    def kando_providers(self) -> list[ProviderSpec]:
        return [
            ProviderSpec("dear", "asks_plugin:live", models=("dear-*",)),
            ProviderSpec("local", "asks_plugin:offline", is_offline=True),
        ]


@pytest.fixture
def providers() -> Providers:
    return Providers()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, providers: Providers) -> Iterator[Store]:
    def live(request: dict[str, Any]) -> dict[str, Any]:
        return providers.live(request)

    live.worst_case_usd = lambda request: 0.3  # type: ignore[attr-defined]
    module = ModuleType("asks_plugin")
    vars(module)["kit"] = make_kit()
    vars(module)["live"] = lambda argument, environ: live
    vars(module)["offline"] = lambda argument, environ: providers.offline
    monkeypatch.setitem(sys.modules, "asks_plugin", module)
    plugins = installed_plugins({"KANDO_PLUGINS": ""})
    plugins.register(Offers(), name="offers")
    with open_store(f"sqlite:{tmp_path / 'store.sqlite'}", plugins=plugins, environ={}) as made:
        yield made


def limits(**given: Any) -> OperatorLimits:
    return OperatorLimits("kando serve", **given)


def offered(store: Store, llm: str | None = None, budget: Budget | None = None) -> str:
    run = store.start("asks", "why", llm=llm, budget=budget, work=False)
    run.offer("g")
    return run.id


def worked(store: Store, given: OperatorLimits, workers: int = 1) -> list[str]:
    lines: list[str] = []

    def work() -> None:
        GroupWorker(store.context, "g", operator=given, report=lines.append).work(until_idle=True)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return lines


def test_a_run_keeps_the_provider_that_it_was_started_with(
    store: Store, providers: Providers
) -> None:
    run = offered(store, llm="local")

    assert worked(store, limits()) == []

    assert store.run(run).status().state == FINISHED
    assert providers.calls == {"offline": 1}
    assert store.run(run).replay(strict=True).events == store.run(run).length()


def test_a_provider_that_a_ledger_must_not_keep_starts_no_run(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="user name or password"):
        store.start("asks", "why", llm="local:http://a:b@host", work=False)
    assert store.runs().items == []


def test_without_permission_no_live_model_is_asked_and_the_request_stays_open(
    store: Store, providers: Providers
) -> None:
    run = offered(store, llm="dear")

    assert worked(store, limits()) == []

    status = store.run(run).status()
    assert (status.state, status.unanswered) == (WAITING, 1)
    assert providers.calls == {}

    store.run(run).offer("g", llm="local")
    assert worked(store, limits()) == []
    assert store.run(run).status().state == FINISHED
    assert providers.calls == {"offline": 1}


def test_a_limit_per_run_overrides_that_of_the_run(store: Store, providers: Providers) -> None:
    run = offered(store, llm="dear", budget=Budget(max_llm_cost_usd=100))

    worked(store, limits(allows_live_llm=True, max_usd_per_run=0.2))

    assert store.run(run).status().state == EXHAUSTED
    assert providers.calls == {}


def test_workers_of_a_group_never_pass_the_limit_per_day(
    store: Store, providers: Providers
) -> None:
    runs = [offered(store, llm="dear") for _ in range(6)]

    lines = worked(store, limits(allows_live_llm=True, max_usd_per_day=0.9), workers=2)

    states = Counter(store.run(run).status().state for run in runs)
    assert lines == []
    assert states == {FINISHED: 3, EXHAUSTED: 3}
    assert DailySpending().today(store.context) == 0.75

    stopped = next(run for run in runs if store.run(run).status().state == EXHAUSTED)
    store.run(stopped).offer("g")
    worked(store, limits(allows_live_llm=True, max_usd_per_day=1.1))
    assert store.run(stopped).status().state == FINISHED


def test_an_offer_with_another_limit_records_it(store: Store, providers: Providers) -> None:
    run = offered(store, llm="dear", budget=Budget(max_llm_cost_usd=0.1))
    allowed = limits(allows_live_llm=True)
    worked(store, allowed)
    assert store.run(run).status().state == EXHAUSTED

    store.run(run).offer("g", budget=Budget(max_llm_cost_usd=1))
    worked(store, allowed)

    assert store.run(run).status().state == FINISHED
