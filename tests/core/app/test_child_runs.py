"""Child runs: a run starts runs, waits for their ends, and loses none of them."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kando import (
    Budget,
    Kit,
    Run,
    Store,
    ask,
    ask_person,
    call_tool,
    create,
    open_store,
    patch,
    start_run,
)
from kando.app.builtin import installed_plugins
from kando.app.group_worker import GroupWorker
from kando.errors import AmbiguousName, InvalidData
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.plugins import ProviderSpec, hookimpl
from kando.responders.policies import Ask, Deny
from kando.schema.events import (
    LLM_RESPONSE,
    OBJECT_CREATED,
    PERSON_REPLIED,
    RESPONDER_FIRED,
    RUN_ENDED,
    RUN_REQUESTED,
    TOOL_RETURNED,
    KandoEvent,
)
from kando.world.graph import WorldObject

#: Seconds that a test waits for something at most.
PATIENCE = 60

#: Set while a child makes the call that `RELEASED` ends.
HELD, RELEASED = threading.Event(), threading.Event()


def make_kits(journal: Path) -> list[Kit]:
    """Return a kit whose runs start a child for each word of their goal, and the kit of the children.

    Args:
        journal: each call of a tool writes a line to it.
    """
    child = Kit("child", version="1")
    child.seeds(lambda goal, run_id: [create("Job", {"text": goal}, id="job")])

    @child.tool(effect="write")
    def note(word: str) -> int:
        with journal.open("a") as file:
            file.write(f"{word}\n")
        if os.environ.get("TEST_DIES_AT") == word:
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "hold":
            HELD.set()
            RELEASED.wait(PATIENCE)
        return len(word)

    @child.responder(OBJECT_CREATED, type="Job")
    def on_job(event: KandoEvent, world: Any) -> Any:
        word = event.object["text"]
        if word == "raise":
            raise ZeroDivisionError(word)
        if word == "nothing":
            report = {"name": "a.md", "media_type": "text/markdown", "text": "# None"}
            yield create("Report", {**report, "problem": "no source was read"})
        elif word == "think":
            yield ask([{"role": "user", "content": "How?"}], about="job", model="small")
        elif word == "ask":
            yield ask_person("Which?", about="job")
        elif word.startswith("nest"):
            yield start_run("parent", word.removeprefix("nest"), about="job")
        else:
            yield call_tool("note", {"word": word}, about="job")

    @child.responder(TOOL_RETURNED, type="Job")
    def on_note(event: KandoEvent, world: Any) -> Any:
        yield patch("job", {"n": event.data.get("result")})

    @child.responder(LLM_RESPONSE, type="Job")
    def on_answer(event: KandoEvent, world: Any) -> Any:
        yield patch("job", {"n": event.data.get("cached", False)})

    @child.responder(PERSON_REPLIED, type="Job")
    def on_reply(event: KandoEvent, world: Any) -> Any:
        yield patch("job", {"n": event.data["answer"]})

    @child.responder(RUN_ENDED, type="Job")
    def on_end(event: KandoEvent, world: Any) -> Any:
        yield patch("job", {"n": event.data.get("result")})

    child.result(lambda world: world.get_object("job").data["n"])

    parent = Kit("parent", version="1")

    @parent.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        text = {"path": "a.txt", "text": f"About {goal}"}
        return [create("Plan", {"text": goal}, id="plan"), create("Document", text, id="paper")]

    @parent.responder(OBJECT_CREATED, type="Plan")
    def on_plan(event: KandoEvent, world: Any) -> Any:
        handed = world.objects_of("Document")
        for word in event.object["text"].split():
            yield start_run("child", word, about=event, documents=handed)
        # The children begin with what was requested.
        for each in handed:
            yield patch(each, {"text": "changed"})

    @parent.responder(RUN_ENDED, type="Plan")
    def on_child(event: KandoEvent, world: Any) -> Any:
        got = event.data.get("result", event.data.get("error", {}).get("type"))
        yield patch("plan", {"got": [*world.get_object("plan").data.get("got", []), got]})

    parent.result(lambda world: world.get_object("plan").data.get("got"))
    return [parent, child]


def opened(folder: Path) -> Store:
    url, kits = f"sqlite:{folder / 'runs.sqlite'}", make_kits(folder / "journal")
    return open_store(url, kits=kits, environ={"KANDO_PLUGINS": ""})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path) as store:
        yield store


def papers(run: Run) -> list[Any]:
    return [each.data["text"] for each in run.world().objects_of("Document")]


def got(run: Run) -> Any:
    return run.world().objects["plan"].data.get("got")


def ends(run: Run) -> list[dict[str, Any]]:
    return [event.data for event in run.events() if event.type == RUN_ENDED]


def journal(folder: Path) -> list[str]:
    file = folder / "journal"
    return file.read_text().split() if file.exists() else []


def the_child(store: Store) -> Run:
    (found,) = [each for each in store.runs().items if each.kit == "child"]
    return store.run(found.run_id)


def test_a_run_starts_children_and_reacts_to_their_ends_in_order(store: Store) -> None:
    run = store.start("parent", "one three")

    assert (run.status().state, got(run)) == ("finished", [3, 5])
    first, second = ends(run)
    assert (first["state"], first["result"], first["usage"]["tool_calls"]) == ("finished", 3, 1)
    assert first["run_id"] != second["run_id"]
    assert run.status().tool_calls == 2
    child = store.run(first["run_id"])
    (intent, _) = [event for event in run.events() if event.type == RUN_REQUESTED]
    head = next(iter(child.events()))
    assert head.data["started_by"] == {"run_id": run.id, "event_id": intent.id, "depth": 2}
    assert child.replay(strict=True)


def test_a_strict_replay_starts_no_child(store: Store, tmp_path: Path) -> None:
    run = store.start("parent", "one")
    assert run.replay(strict=True)

    assert journal(tmp_path) == ["one"]
    assert len(store.runs().items) == 2


def as_text(store: Store, run: Run) -> list[str]:
    """Return the events of a run and of its children, without times and ids of ledgers."""
    ids = [run.id]
    for id in ids:
        ids += [end["run_id"] for end in ends(store.run(id))]
    # The lineage key of the first event of a child follows from the id of the run that started it.
    found = [
        repr((e.id, e.type, e.source, e.actor, e.cause, e.data, e.position and e.lineage_key))
        for id in ids
        for e in store.run(id).events()
    ]
    for number, id in enumerate(ids):
        found = [text.replace(id, f"run-{number}") for text in found]
    return found


def start_and_die(folder: Path, **environ: str) -> None:
    """Start a run in a process that is killed while it works."""
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path; from test_child_runs import dies_soon, opened\n"
        f"dies_soon(); opened(Path({str(folder)!r})).start('parent', 'one nestthree')"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environ},
        timeout=PATIENCE,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL


def dies_soon() -> None:
    """Have this process killed after as many commits as its environment says."""
    if (commits := os.environ.get("TEST_COMMITS")) is None:
        return
    writing, made = SQLiteSubstrate._writing, count()

    @contextmanager
    def watched(substrate: SQLiteSubstrate, **how: Any) -> Iterator[Any]:
        with writing(substrate, **how) as connection:
            yield connection
        if next(made) == int(commits):
            os.kill(os.getpid(), signal.SIGKILL)

    SQLiteSubstrate._writing = watched


@pytest.mark.parametrize(
    "environ",
    [{"TEST_DIES_AT": "one"}, {"TEST_DIES_AT": "three"}]
    + [{"TEST_COMMITS": commits} for commits in ("4", "8", "12", "16", "20")],
    ids=lambda environ: "-".join(*environ.items()),
)
def test_a_child_that_is_killed_is_resumed_and_the_ledgers_are_as_without_it(
    environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "whole").mkdir()
    start_and_die(tmp_path, **environ)

    with opened(tmp_path) as store:
        # The last ledger may be that of a child without an event.
        found = [each for each in store.runs().items if each.events and each.started_by is None]
        run = store.run(found[0].run_id)
        assert run.status().state == "stopped"
        run.resume()
        resumed = as_text(store, run)
        assert got(run) == [3, [5]]
    with opened(tmp_path / "whole") as store:
        assert as_text(store, store.start("parent", "one nestthree")) == resumed


def test_a_child_that_fails_answers_with_an_error(store: Store) -> None:
    run = store.start("parent", "raise one")

    assert got(run) == ["RunFailed", 3]
    assert "ZeroDivisionError" in ends(run)[0]["error"]["message"]


def test_a_child_whose_artifact_states_a_problem_answers_with_an_error(store: Store) -> None:
    run = store.start("parent", "nothing one")

    assert got(run) == ["NoResult", 3]
    (ended, _) = ends(run)
    assert ended["state"] == "finished"
    assert ended["error"]["message"] == f"Run {ended['run_id']}: no source was read"


def test_a_child_that_waits_for_a_person_lets_the_run_wait_and_not_stand_still(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as store:
        run = store.start("parent", "ask one")
        assert (run.status().state, got(run)) == ("waiting", [3])
        child = store.run(next(c.run_id for c in run.status().children if c.state == "waiting"))
        child.reply(child.questions()[0].event_id, "that")
        assert run.status().state == "stopped"
        child_id = child.id
    with opened(tmp_path) as store:
        # Another process ends the child; its end waits in the inbox of the run.
        store.run(child_id).resume()
        run = store.run(run.id)
        assert run.status().state == "stopped"
        run.resume()

        assert (run.status().state, got(run)) == ("finished", [3, "that"])
        assert run.replay(strict=True)


def test_a_resume_of_the_run_resumes_its_children(store: Store) -> None:
    run = store.start("parent", "ask")
    child = the_child(store)
    child.reply(child.questions()[0].event_id, "that")
    run.resume()

    assert (run.status().state, got(run)) == ("finished", ["that"])


def test_a_run_that_is_kept_open_continues_when_its_child_does(store: Store) -> None:
    run = store.start("parent", "ask")
    waiting = threading.Thread(target=lambda: run.resume(wait=True))
    waiting.start()
    child = the_child(store)
    child.reply(child.questions()[0].event_id, "that")
    waiting.join(PATIENCE)

    assert not waiting.is_alive()
    assert got(run) == ["that"]


def test_a_paused_run_pauses_its_children_and_resumes_them(store: Store) -> None:
    HELD.clear()
    RELEASED.clear()
    run = store.start("parent", "hold", work=False)
    working = threading.Thread(target=run.resume)
    working.start()
    assert HELD.wait(PATIENCE)
    run.pause()
    RELEASED.set()
    working.join(PATIENCE)
    assert not working.is_alive()

    assert run.status().state == "paused"
    assert the_child(store).status().state in ("paused", "finished")
    run.resume()
    assert (run.status().state, got(run)) == ("finished", [4])
    assert the_child(store).replay(strict=True)


def test_a_run_that_is_cancelled_during_the_work_of_a_child_has_its_answer(store: Store) -> None:
    HELD.clear()
    RELEASED.clear()
    run = store.start("parent", "hold", work=False)
    working = threading.Thread(target=run.resume)
    working.start()
    assert HELD.wait(PATIENCE)
    run.cancel()
    RELEASED.set()
    working.join(PATIENCE)
    assert not working.is_alive()

    assert run.status().state == "cancelled"
    (end,) = ends(run)
    assert end["state"] == the_child(store).status().state == "cancelled"
    assert run.replay(strict=True)


def test_a_cancelled_run_cancels_its_children(store: Store) -> None:
    run = store.start("parent", "ask")
    run.cancel()
    run.resume()

    assert (run.status().state, the_child(store).status().state) == ("cancelled", "cancelled")
    assert [end["error"]["type"] for end in ends(run)] == ["RunCancelled"]


def test_a_cancelled_child_answers_with_an_error(store: Store) -> None:
    run = store.start("parent", "ask")
    the_child(store).cancel()
    run.resume()

    assert (run.status().state, got(run)) == ("finished", ["RunCancelled"])


def test_children_use_the_budget_of_the_run(store: Store) -> None:
    run = store.start("parent", "one two three", budget=Budget(max_tool_calls=2))

    assert run.status().state == "exhausted"
    assert (len(ends(run)), run.status().tool_calls) == (2, 2)
    run.resume(budget=Budget(max_tool_calls=3))
    assert (run.status().state, got(run)) == ("finished", [3, 3, 5])


def test_a_child_starts_when_one_that_waits_has_left_it_some_budget(store: Store) -> None:
    run = store.start("parent", "ask one", budget=Budget(max_tool_calls=2))
    assert (run.status().state, got(run)) == ("waiting", None)
    assert [child.state for child in run.status().children] == ["waiting", None]
    (child,) = run.children()
    child.reply(child.questions()[0].event_id, "that")
    run.resume()

    assert (run.status().state, got(run)) == ("finished", ["that", 3])
    assert run.replay(strict=True)


@pytest.mark.parametrize(("verdict", "outcome"), [(Ask("May it?"), 3), (Deny("no"), "Denied")])
def test_a_policy_judges_child_runs(verdict: Any, outcome: Any, tmp_path: Path) -> None:
    kits = make_kits(tmp_path / "journal")
    kits[0].policy(RUN_REQUESTED)(lambda event: verdict)
    with open_store("memory:", kits=kits, environ={"KANDO_PLUGINS": ""}) as store:
        run = store.start("parent", "one")
        for each in run.approvals():
            assert run.status().children == []
            run.approve(each.event_id)
            run.resume()

        assert got(run) == [outcome]
        assert run.replay(strict=True)


def test_child_runs_are_nested_to_a_limit(store: Store) -> None:
    run = store.start("parent", "nestnestone")

    # parent, child, parent, child, parent: the sixth is refused.
    assert got(run) == [[["TooDeep"]]]
    assert store.start("parent", "nestone").world().objects["plan"].data["got"] == [[3]]


def test_a_request_for_an_unknown_kit_stays_open(tmp_path: Path) -> None:
    parent, _ = make_kits(tmp_path / "journal")
    path = f"sqlite:{tmp_path / 'runs.sqlite'}"
    with open_store(path, kits=[parent], environ={"KANDO_PLUGINS": ""}) as store:
        run = store.start("parent", "one")
        assert (run.status().state, run.status().unanswered) == ("waiting", 1)
        assert "child" in (run.status().problem or "")
    with opened(tmp_path) as store:
        run = store.run(run.id)
        run.resume()
        assert got(run) == [3]


def test_a_branch_cut_after_the_end_of_a_child_shares_it(store: Store, tmp_path: Path) -> None:
    run = store.start("parent", "one")
    branch = run.fork(at=run.status().events)
    branch.resume()

    assert got(branch) == [3]
    assert journal(tmp_path) == ["one"]


def test_a_branch_cut_before_the_end_of_a_child_is_served_it(store: Store, tmp_path: Path) -> None:
    run = store.start("parent", "one")
    branch = run.fork(before=next(e.id for e in run.events() if e.type == RUN_ENDED))
    branch.resume()

    assert (branch.status().state, got(branch)) == ("finished", [3])
    assert ends(branch)[0]["cached"] is True
    assert branch.status().own["tool_calls"] == 0
    assert journal(tmp_path) == ["one"]
    assert branch.replay(strict=True)


def test_a_branch_of_a_run_whose_child_has_not_ended_gets_a_branch_of_that_child(
    store: Store,
) -> None:
    run = store.start("parent", "ask")
    branch = run.fork(at=run.status().events)
    branch.resume()
    (own,) = list(branch.status().children)
    (first,) = list(run.status().children)
    assert store.run(own.run_id).branch_meta().parent_run_id == first.run_id
    for each, word in ((first, "this"), (own, "that")):
        child = store.run(each.run_id)
        child.reply(child.questions()[0].event_id, word)
    run.resume()
    branch.resume()

    assert (got(run), got(branch)) == (["this"], ["that"])
    assert store.run(own.run_id).replay(strict=True)


def test_what_a_new_child_of_a_branch_writes_waits_for_a_person(
    store: Store, tmp_path: Path
) -> None:
    run = store.start("parent", "one")
    added = {"type": OBJECT_CREATED, "data": {"id": "plan", "type": "Plan", "data": {"text": "x"}}}
    branch = run.fork(at=1, events=[added])
    branch.resume()

    assert branch.status().state == "waiting"
    assert journal(tmp_path) == ["one"]
    (child,) = branch.status().children
    (asked,) = store.run(child.run_id).approvals()
    store.run(child.run_id).approve(asked.event_id)
    branch.resume()
    assert (got(branch), journal(tmp_path)) == ([1], ["one", "x"])


def test_a_branch_that_may_write_lets_its_children_write(store: Store, tmp_path: Path) -> None:
    run = store.start("parent", "one")
    added = {"type": OBJECT_CREATED, "data": {"id": "plan", "type": "Plan", "data": {"text": "x"}}}
    branch = run.fork(at=1, events=[added], allow_writes=True)
    branch.resume()

    assert (branch.status().state, got(branch)) == ("finished", [1])


class Offers:
    """A plugin with a provider that answers with its argument."""

    @hookimpl
    def kando_providers(self) -> list[ProviderSpec]:
        return [ProviderSpec("says", "says:open_says")]


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    """Return a store whose runs may ask the provider ``says``."""
    module = ModuleType("says")
    vars(module)["open_says"] = lambda argument, environ: lambda request: {"text": argument}
    monkeypatch.setitem(sys.modules, "says", module)
    plugins = installed_plugins({"KANDO_PLUGINS": ""})
    plugins.register(Offers(), name="says")
    kits = make_kits(tmp_path / "journal")
    with open_store("memory:", kits=kits, plugins=plugins, environ={}) as opened:
        yield opened


def before_the_child(run: Run) -> str:
    return next(event.id for event in run.events() if event.type == RUN_REQUESTED)


@pytest.mark.parametrize("choice", [{"model": "large"}, {"fresh": True}, {"llm": "says:yes"}])
def test_a_model_or_freshness_that_a_branch_chooses_holds_for_its_children(
    choice: dict[str, Any], asking: Store
) -> None:
    run = asking.start("parent", "think", llm="says")
    branch = run.fork(before=before_the_child(run), **choice)
    branch.resume(llm=choice.get("llm", "says"))

    assert (got(run), got(branch)) == ([False], [False])
    assert branch.replay(strict=True)


def test_a_fresh_branch_forked_again_shares_the_answers_of_its_own_children(asking: Store) -> None:
    run = asking.start("parent", "think", llm="says")
    fresh = run.fork(before=before_the_child(run), fresh=True)
    fresh.resume(llm="says")
    again = fresh.fork(before=before_the_child(fresh))
    again.resume(llm="says")

    assert (got(fresh), got(again)) == ([False], [True])


def test_a_run_is_moved_without_its_children(store: Store, tmp_path: Path) -> None:
    run = store.start("parent", "one ask")
    file = tmp_path / "run.jsonl"
    run.export(file)
    (tmp_path / "other").mkdir()
    with opened(tmp_path / "other") as other, file.open("rb") as lines:
        moved = other.run(other.import_run(lines).run_id)
        assert ends(moved) == ends(run)
        assert [child.is_open for child in moved.status().children] == [False, True]
        assert list(moved.trace(next(e.id for e in moved.events() if e.type == RUN_ENDED)).events())
        assert moved.replay(strict=True)


def test_workers_of_a_group_work_on_children(store: Store) -> None:
    run = store.start("parent", "one ask three", group="crew")
    GroupWorker(store.context, "crew").work(until_idle=True)
    assert sorted(got(run)) == [3, 5]
    child = store.run(next(c.run_id for c in run.status().children if c.state == "waiting"))
    child.reply(child.questions()[0].event_id, "that")
    child.offer("crew")
    GroupWorker(store.context, "crew").work(until_idle=True)

    assert run.status().state == "finished"
    assert sorted(map(str, got(run))) == ["3", "5", "that"]
    assert run.replay(strict=True)


def test_a_trace_crosses_into_the_ledger_of_a_child_and_back(store: Store) -> None:
    run = store.start("parent", "one")
    child = the_child(store)
    trace = run.trace("plan")
    assert [event.type for event in trace.events()] == [OBJECT_CREATED]
    assert not list(trace.continued())

    patches = [e for e in run.events() if e.type == "object.patched" and e.data["id"] == "plan"]
    patched = patches[0].id
    trace = run.trace(patched)
    assert RUN_ENDED in [event.type for event in trace.events()]
    (part,) = trace.continued()
    assert [event.type for event in part.events()][:2] == ["object.patched", TOOL_RETURNED]
    assert part.ledger.stream_name() == child.source
    assert not list(part.continued())

    trace = child.trace("job")
    assert [event.object.get("text") for event in trace.events()] == ["one"]
    (above,) = trace.continued()
    assert [event.type for event in above.events()] == [RUN_REQUESTED, OBJECT_CREATED]


def test_what_a_child_waits_for_is_answered_by_the_id_of_its_run(store: Store) -> None:
    run = store.start("parent", "ask")
    (child,) = run.children()
    (question,) = child.questions()
    assert run.questions() == []
    run.reply(question.event_id, "that")
    run.resume()

    assert got(run) == ["that"]


def test_an_id_that_several_children_have_needs_the_id_of_the_child(store: Store) -> None:
    run = store.start("parent", "ask ask")
    first, second = run.children()
    with pytest.raises(AmbiguousName, match="2 child runs") as refused:
        run.reply(first.questions()[0].event_id, "that")

    assert second.id in str(refused.value.hint)


def test_the_tree_of_a_run_has_its_children_and_the_newest_run_is_not_one(store: Store) -> None:
    run = store.start("parent", "ask")
    branch = run.fork(at=run.status().events)
    branch.resume()
    (child,), (own,) = run.children(), branch.children()

    tree = [(each.id, each.parent_id, each.started_by, each.depth) for each in own.branches()]
    assert tree == [
        (run.id, None, None, 0),
        (child.id, None, run.id, 1),
        (own.id, child.id, branch.id, 2),
        (branch.id, run.id, None, 1),
    ]
    assert store.run("@last").status().run_id == branch.id
    assert (child.status().started_by or {})["run_id"] == run.id


def test_a_child_begins_with_the_documents_of_its_run_as_they_were_when_it_was_requested(
    store: Store, tmp_path: Path
) -> None:
    run = store.start("parent", "nestone two")

    assert papers(run) == ["changed"]
    children = {each.goal: store.run(each.run_id) for each in store.runs().items}
    assert papers(children["nestone"]) == papers(children["two"]) == ["About nestone two"]
    asked = next(each for each in run.events() if each.type == RUN_REQUESTED)
    assert [[*each] for each in asked.data["documents"]] == [["id", "sha256"]]
    assert all(children[goal].replay(strict=True) for goal in ("nestone", "two"))


def test_a_branch_with_another_document_starts_a_child_of_its_own(store: Store) -> None:
    run = store.start("parent", "one")
    fired = next(e.position for e in run.events() if e.type == RESPONDER_FIRED)

    same = run.fork(at=fired)
    other = run.fork(at=fired, patches=[("paper", {"text": "another"})], allow_writes=True)
    for branch in (same, other):
        branch.resume()

    assert [len(each.status().children) for each in (same, other)] == [1, 1]
    (shared,), (own,) = (ends(each) for each in (same, other))
    assert shared["run_id"] == ends(run)[0]["run_id"] != own["run_id"]
    assert papers(store.run(own["run_id"])) == ["another"]


def test_a_document_that_the_run_does_not_have_is_an_error_of_the_child(tmp_path: Path) -> None:
    unknown = WorldObject("paper", "Document", {"text": "x"}, "", "")
    kits = make_kits(tmp_path / "journal")
    asker = Kit("asker", version="1")
    asker.seeds(lambda goal, run_id: [create("Plan", {"text": goal}, id="plan")])

    @asker.responder(OBJECT_CREATED, type="Plan")
    def on_plan(event: KandoEvent, world: Any) -> Any:
        yield start_run("child", "one", documents=[unknown])

    with open_store("memory:", kits=[asker, *kits], environ={"KANDO_PLUGINS": ""}) as store:
        (end,) = ends(store.start("asker", "x"))

    assert end["error"]["type"] == "ObjectNotFound"
    assert "'paper'" in end["error"]["message"]


@pytest.mark.parametrize("given", [("", "goal"), ("kit", " ")])
def test_a_child_needs_a_kit_and_a_goal(given: tuple[str, str]) -> None:
    with pytest.raises(InvalidData, match="child run"):
        start_run(*given)
