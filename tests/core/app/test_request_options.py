"""Options of requests: what a provider receives, and what the ledger and the cache keep of them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kando.app.builtin import installed_plugins
from kando.app.run import Run
from kando.app.store import Store, open_store
from kando.emit import ask, create
from kando.kit import Kit
from kando.plugins import Plugins, ProviderSpec, hookimpl
from kando.responders.llm_executor import provider_executor
from kando.schema.events import KandoEvent, RecordedEvent
from kando.world.graph import World

QUESTION = [{"role": "user", "content": "What is known?"}]


def asking(*models: str) -> Kit:
    """Return a kit that asks each of some models the same."""
    kit = Kit("k", version="1")

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [create("Go", {}, id="go")]

    @kit.responder("object.created", type="Go")
    def go(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        for model in models:
            yield ask(QUESTION, about="go", model=model)

    return kit


@pytest.fixture
def asked() -> list[dict[str, Any]]:
    """Return what the provider was asked, in order."""
    return []


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch, asked: list[dict[str, Any]]) -> Plugins:
    def open_keeping(argument: str, environ: Any) -> Any:
        def complete(request: dict[str, Any]) -> dict[str, Any]:
            asked.append(request)
            # As a provider of a third party reads its options.
            return {"text": f"{request.get('max_tokens', 1024) + 0}", "model": request["model"]}

        complete.answers_every_model = True  # type: ignore[attr-defined]
        complete.default_model = "big-1"  # type: ignore[attr-defined]
        return complete

    class Offers:
        @hookimpl
        def kando_providers(self) -> list[ProviderSpec]:
            return [ProviderSpec("keeping", "keeping_module:open_keeping")]

    module = ModuleType("keeping_module")
    vars(module)["open_keeping"] = open_keeping
    monkeypatch.setitem(sys.modules, "keeping_module", module)
    plugins = installed_plugins({"KANDO_PLUGINS": ""})
    plugins.register(Offers(), name="offers")
    return plugins


def opened(tmp_path: Path, plugins: Plugins, **environ: str) -> Store:
    return open_store(f"sqlite:{tmp_path / 'runs.db'}", plugins=plugins, environ=environ)


def first_request(run: Run, **changes: Any) -> Run:
    """Return a branch that ends before the first request."""
    asking = next(each for each in run.events() if each.type == "llm.request")
    return run.fork(before=asking.id, **changes)


def test_an_option_that_is_not_set_does_not_reach_a_provider(
    tmp_path: Path, plugins: Plugins, asked: list[dict[str, Any]]
) -> None:
    with opened(tmp_path, plugins) as store:
        run = store.start(asking("m"), "x", llm="keeping")

        (request,) = [each for each in run.events() if each.type == "llm.request"]
        (answer,) = [each for each in run.events() if each.type == "llm.response"]
        # As ledgers have always recorded it, so that they replay and share answers.
        assert request.data["max_tokens"] is None
        assert "max_tokens" not in asked[0]
        assert answer.data["text"] == "1024"
        run.replay(strict=True)
        assert first_request(run).resume(llm="keeping").status.llm_cached == 1
    assert len(asked) == 1


def test_the_price_of_a_request_is_asked_without_options_that_are_not_set() -> None:
    asked = []

    class Priced:
        def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
            raise NotImplementedError

        def worst_case_usd(self, request: dict[str, Any]) -> float:
            asked.append(request)
            return 0.5 * float(request.get("max_tokens", 2))

    effect = provider_executor(Priced()).effect
    assert effect is not None
    request = {"messages": QUESTION, "model": "m", "max_tokens": None}

    assert effect.worst_case_usd(request) == 1.0
    assert asked == [{"messages": QUESTION, "model": "m"}]


def test_options_of_a_model_are_sent_with_its_requests_only_and_override_the_others(
    tmp_path: Path, plugins: Plugins, asked: list[dict[str, Any]]
) -> None:
    options = {
        "KANDO_LLM_OPTIONS": '{"max_tokens": 10, "top_p": 0.5}',
        "KANDO_LLM_MODEL_OPTIONS": '{"big-*": {"max_tokens": 20}, "keeping:b": {"top_p": 0.7}}',
    }
    with opened(tmp_path, plugins, **options) as store:
        run = store.start(asking("a", "b", "big-2", "default", "keeping:big-3"), "x", llm="keeping")

        sent = {each["model"]: (each["max_tokens"], each["top_p"]) for each in asked}
        assert sent == {
            "a": (10, 0.5),
            "b": (10, 0.7),
            "big-2": (20, 0.5),
            "default": (20, 0.5),
            "keeping:big-3": (20, 0.5),
        }
        noted = [e.data["observed"]["asked"]["options"] for e in run.events() if "text" in e.data]
        assert sorted(each["max_tokens"] for each in noted) == [10, 10, 20, 20, 20]
        run.replay(strict=True)
        assert first_request(run).resume(llm="keeping").status.llm_cached == 5
    assert len(asked) == 5
    with opened(tmp_path, plugins, KANDO_LLM_MODEL_OPTIONS='{"a": {"max_tokens": 30}}') as store:
        store.start(asking("a"), "y", llm="keeping")
    assert asked[-1]["max_tokens"] == 30


def test_a_branch_for_another_model_is_sent_the_options_of_that_model(
    tmp_path: Path, plugins: Plugins, asked: list[dict[str, Any]]
) -> None:
    by_model = '{"a": {"max_tokens": 1}, "b": {"max_tokens": 2}}'
    with opened(tmp_path, plugins, KANDO_LLM_MODEL_OPTIONS=by_model) as store:
        run = store.start(asking("a"), "x", llm="keeping")
        first_request(run, model="b").resume(llm="keeping")

    assert [each["max_tokens"] for each in asked] == [1, 2]
