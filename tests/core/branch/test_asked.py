"""An answer belongs to the model and the provider that were asked, wherever it is kept."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kando.app.builtin import installed_plugins
from kando.app.export import import_run
from kando.app.group_worker import GroupWorker
from kando.app.opened import open_run
from kando.app.run import Run
from kando.app.store import Store, open_store
from kando.cache.asked import Asked
from kando.cache.llm import LLMCache
from kando.emit import ask, create, emit
from kando.errors import ConfigurationError
from kando.kit import Kit
from kando.ledger.memory import MemoryLedgerStore
from kando.plugins import Plugins, ProviderSpec, hookimpl
from kando.responders.idempotency import idempotency_key
from kando.responders.llm_executor import asking, keep, provider_executor, recall
from kando.runtime import Runtime
from kando.schema.events import KandoEvent, RecordedEvent, make_event
from kando.world.graph import World

QUESTION = [{"role": "user", "content": "q"}]


def asking_kit() -> Kit:
    kit = Kit("k", version="1")

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [create("Go", {}, id="go")]

    @kit.responder("object.created", type="Go")
    def go(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        yield ask(QUESTION, about="go", model="m1")

    @kit.responder("again")
    def again(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        yield ask(QUESTION, about="go", model="m1")

    return kit


class Providers:
    """Providers ``a`` and ``b``, which keep what they were asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.keys: list[str] = []

    def opener(self, name: str) -> Any:
        def open_provider(argument: str, environ: Any) -> Any:
            def complete(request: dict[str, Any]) -> dict[str, Any]:
                model = request["model"]
                self.asked.append((name + argument, model))
                self.keys.append(idempotency_key())
                text = f"{name}{argument} {model}"
                return {"text": text, "model": model, "cost_usd": 0.25}

            complete.answers_every_model = True  # type: ignore[attr-defined]
            return complete

        return open_provider

    @hookimpl
    def kando_providers(self) -> list[ProviderSpec]:
        return [ProviderSpec(name, f"answering:{name}") for name in "ab"]


@pytest.fixture
def providers() -> Providers:
    return Providers()


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch, providers: Providers) -> Plugins:
    module = ModuleType("answering")
    vars(module).update({name: providers.opener(name) for name in "ab"})
    monkeypatch.setitem(sys.modules, "answering", module)
    plugins = installed_plugins({"KANDO_PLUGINS": ""})
    plugins.register(providers, name="providers")
    return plugins


def opened(url: str, plugins: Plugins, **environ: str) -> Store:
    store = open_store(url, plugins=plugins, environ=environ)
    store.context.kits["k"] = asking_kit()
    return store


@pytest.fixture
def store(plugins: Plugins, tmp_path: Path) -> Iterator[Store]:
    with opened(f"sqlite:{tmp_path / 'runs.db'}", plugins) as store:
        yield store


def answers(run: Run) -> list[str]:
    return [each.data["text"] for each in run.events() if each.type == "llm.response"]


def again(run: Run, **choices: Any) -> Run:
    """Fork a run at its end, with the question once more."""
    return run.fork(at=run.length(), events=[{"type": "again"}], **choices)


def resumed(run: Run, llm: str | None = None) -> Run:
    run.resume(llm=llm)
    return run


def test_a_branch_of_a_branch_is_not_served_the_answer_of_another_model(
    store: Store, providers: Providers
) -> None:
    run = store.start("k", "x")
    m2 = resumed(run.fork(at=2, model="m2"), "a")
    m1 = resumed(again(m2, model="m1"), "a")
    back = resumed(again(m1, model="m2"), "a")
    rest = resumed(again(m1), "a")

    assert answers(back) == ["a m2", "a m1", "a m2"]
    assert answers(rest) == ["a m2", "a m1", "a m1"]
    assert providers.asked == [("a", "m2"), ("a", "m1")]
    assert [run.cache().saved_usd for run in (m2, m1, back, rest)] == [0, 0, 0.25, 0.25]


def test_a_branch_that_names_another_provider_asks_it_and_the_same_one_is_not_asked_again(
    store: Store, providers: Providers
) -> None:
    run = store.start("k", "x", llm="a")
    position = next(e.position for e in run.events() if e.type == "llm.request")

    same = resumed(run.fork(at=position, llm="a"))
    assert (answers(same), providers.asked) == (["a m1"], [("a", "m1")])
    other = resumed(run.fork(at=position, llm="b"))
    assert (answers(other), providers.asked[1:]) == (["b m1"], [("b", "m1")])
    # Its branches inherit the provider, and are served its answers.
    nested = resumed(again(other))
    assert (answers(nested), providers.asked[2:]) == (["b m1", "b m1"], [])
    argued = resumed(again(nested, llm="b:x"))
    assert (answers(argued), providers.asked[2:]) == (["b m1", "b m1", "bx m1"], [("bx", "m1")])
    first = resumed(again(argued, llm="a"))
    assert (answers(first)[-1], providers.asked[3:]) == ("a m1", [])


def test_a_branch_that_names_no_provider_is_served_the_answers_of_any(
    store: Store, providers: Providers
) -> None:
    run = store.start("k", "x", llm="a")

    assert answers(resumed(again(run), "b")) == ["a m1", "a m1"]
    assert providers.asked == [("a", "m1")]


def test_the_answer_of_a_person_does_not_stand_for_that_of_a_model(
    store: Store, providers: Providers
) -> None:
    run = store.start("k", "x")
    (request,) = [each.id for each in run.events() if each.type == "llm.request"]
    run.send("llm.response", {"text": "human", "model": "m1", "cost_usd": 0}, cause=[request])
    resumed(run)

    assert answers(resumed(again(run), "a")) == ["human", "a m1"]
    assert answers(resumed(again(run, llm="a"))) == ["human", "a m1"]


def test_a_fresh_branch_stays_fresh_whichever_model_and_provider_its_branches_name(
    store: Store, providers: Providers
) -> None:
    run = store.start("k", "x", llm="a")
    fresh = resumed(again(run, fresh=True), "a")
    served = resumed(again(fresh, llm="a"))

    assert providers.asked == [("a", "m1")] * 2
    assert answers(served) == ["a m1"] * 3


def exported(folder: Path, *runs: Run) -> list[Path]:
    """Return a file for each run, to which it is exported."""
    files = [folder / f"{each.id}.jsonl" for each in runs]
    for each, file in zip(runs, files, strict=True):
        each.export(file)
    return files


def import_files(store: Store, *files: Path, accepts_choices: bool = False) -> None:
    for file in files:
        lines = file.read_bytes().splitlines(keepends=True)
        import_run(store.context, lines, accepts_choices=accepts_choices)


@pytest.mark.parametrize("with_parent", [True, False])
@pytest.mark.parametrize(
    ("chosen", "asked"),
    [
        ({"model": "m2"}, [("b", "m2")]),
        ({"llm": "a:x"}, [("ax", "m1")]),
        ({"fresh": True}, [("b", "m1")]),
        ({"model": "m2", "llm": "a:x", "fresh": True}, [("ax", "m2")]),
        ({}, []),
    ],
)
def test_a_branch_keeps_its_model_provider_and_freshness_when_it_is_imported(
    store: Store,
    providers: Providers,
    plugins: Plugins,
    tmp_path: Path,
    chosen: dict[str, Any],
    asked: list[tuple[str, str]],
    with_parent: bool,
) -> None:
    run = store.start("k", "x", llm="a")
    branch = again(run, **chosen)
    files = exported(tmp_path, run, branch)
    providers.asked.clear()

    with opened("memory:", plugins, KANDO_LLM="b") as there:
        import_files(there, *files[not with_parent :], accepts_choices=True)
        imported = there.run(branch.id)
        before, after = (
            open_run(each, branch.id).choices for each in (store.context, there.context)
        )
        assert before == after
        resumed(imported)
        assert providers.asked == asked
        # The ledger says to which provider it was sent: a branch is served, from a new cache too.
        moved = exported(tmp_path, imported)
        resumed(again(imported))
    with opened("memory:", plugins, KANDO_LLM="b") as elsewhere:
        import_files(elsewhere, *moved, accepts_choices=True)
        resumed(again(elsewhere.run(branch.id)))
    assert providers.asked == asked


CHOICES: list[dict[str, Any]] = [{"model": "m2"}, {"llm": "a:x"}, {"model": "m2", "llm": "a:x"}]


@pytest.mark.parametrize("with_parent", [True, False])
@pytest.mark.parametrize("chosen", CHOICES)
def test_an_imported_branch_asks_no_provider_that_only_its_file_chooses(
    store: Store,
    providers: Providers,
    plugins: Plugins,
    tmp_path: Path,
    chosen: dict[str, Any],
    with_parent: bool,
) -> None:
    run = store.start("k", "x", llm="a")
    branch = again(run, **chosen)
    files = exported(tmp_path, run, branch)
    providers.asked.clear()

    with opened("memory:", plugins, KANDO_LLM="b") as there:
        import_files(there, *files[not with_parent :])
        imported = there.run(branch.id)
        with pytest.raises(ConfigurationError, match="was imported from a file that chooses"):
            imported.resume()
        imported.offer("g")
        GroupWorker(there.context, "g").work(until_idle=True)
        assert providers.asked == []

        resumed(imported, "b")
        assert providers.asked == [("b", chosen.get("model", "m1"))]
        imported.replay(strict=True)


@pytest.mark.parametrize("with_parent", [True, False])
def test_an_imported_branch_asks_before_its_tools_write(
    store: Store, plugins: Plugins, tmp_path: Path, with_parent: bool
) -> None:
    run = store.start("k", "x", llm="a")
    branch = run.fork(at=run.length(), allow_writes=True)
    files = exported(tmp_path, run, branch)

    with opened("memory:", plugins) as there:
        import_files(there, *files[not with_parent :])
        assert not open_run(there.context, branch.id).choices.allows_writes
        there.run(branch.id).verify()


def test_a_run_that_chooses_nothing_is_imported_as_it_was(
    store: Store, plugins: Plugins, tmp_path: Path
) -> None:
    run = store.start("k", "x", llm="a")
    with opened("memory:", plugins) as there:
        import_files(there, *exported(tmp_path, run))
        assert list(there.run(run.id).events()) == list(run.events())


def test_workers_note_what_they_asked(store: Store, providers: Providers) -> None:
    run = store.start("k", "x", llm="a")
    branch = again(run, model="m2", llm="b")
    branch.offer("g")
    GroupWorker(store.context, "g").work(until_idle=True)
    resumed(nested := again(branch))

    assert answers(nested) == ["a m1", "b m2", "b m2"]
    assert providers.asked == [("a", "m1"), ("b", "m2")]


def test_a_request_that_is_sent_to_another_model_has_another_idempotency_key(
    store: Store, providers: Providers
) -> None:
    run = store.start("k", "x")
    for model in (None, "m2", "m3"):
        resumed(run.fork(at=run.length(), model=model), "a")

    assert len(set(providers.keys)) == 3


def test_a_fresh_branch_sends_a_pending_request_of_its_parent_under_a_key_of_its_own(
    store: Store, providers: Providers
) -> None:
    run = store.start("k", "x")
    fresh = run.fork(at=run.length(), fresh=True)
    for each in (run, fresh):
        each.resume(llm="a")

    key = f"run:{run.id}/llm.request-3"
    assert providers.keys == [key, f"{key}/{fresh.id}"]


def test_the_ledger_keeps_no_argument_of_a_provider(store: Store) -> None:
    run = store.start("k", "x", llm="a:/srv/answers/secret")

    (answer,) = [each for each in run.events() if each.type == "llm.response"]
    assert "secret" not in str(answer.data["observed"])
    assert answer.data["observed"]["asked"]["llm"].startswith("a:")


def intent() -> KandoEvent:
    data = {"messages": QUESTION, "model": "m1"}
    return make_event("llm.request", "run:r", "x", [], data)


def test_an_answer_that_is_kept_with_a_failure_belongs_to_what_was_asked() -> None:
    world = World()
    world.context["cache"] = LLMCache()
    kept = Asked("m2", "a").noted({"text": "!", "cost_usd": 0.25})

    keep(intent(), kept, world, Asked("m2"))

    assert recall(intent(), world, Asked("m2")) == kept
    assert recall(intent(), world, Asked("m2", "a")) == kept
    for other in (Asked(), Asked("m1"), Asked("m3"), Asked("m2", "b"), Asked(None, "a")):
        assert recall(intent(), world, other) is None


def test_what_a_bystander_emits_as_an_answer_is_not_cached() -> None:
    kit = asking_kit()

    @kit.responder("llm.request")
    def bystander(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        yield emit("llm.response", {"text": "not an answer"}, cause=[event.id])

    ledger, asked = MemoryLedgerStore("r"), []

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request["model"])
        return {"text": "answer", "model": request["model"], "cost_usd": 0.0}

    def runtime() -> Runtime:
        executor = asking(provider_executor(complete), Asked(None, "p"), Asked())
        return Runtime(ledger, [*kit.create(), executor], edge_logic=(), cache=LLMCache())

    Runtime(ledger, kit.create(), edge_logic=()).run([create("Go", {}, id="go")])
    runtime().run([])
    runtime().run([make_event("again", "", "x", [], {})])

    assert asked == ["m1"]
    texts = [e.data["text"] for e in ledger.read_all() if e.type == "llm.response"]
    assert texts.count("answer") == 2
