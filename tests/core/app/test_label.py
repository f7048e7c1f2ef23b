"""Labels of runs: each change is recorded once, in any state of the run, without its kit."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kando.app.builtin import installed_plugins
from kando.app.group_worker import GroupWorker
from kando.app.run import Run
from kando.app.store import Store, open_store
from kando.emit import ask, create, start_run
from kando.errors import ConfigurationError, InvalidData, RunCancelled
from kando.kit import Kit
from kando.ledger.inbox import InboxEntry
from kando.responders.budget import Budget
from kando.schema.events import KandoEvent, RecordedEvent
from kando.views.labels import MAX_LABELS, labels_event
from kando.world.graph import World

PLUGINS = installed_plugins({"KANDO_PLUGINS": ""})


def kit(name: str = "k", *, asks: bool = False, child: str | None = None) -> Kit:
    kit = Kit(name, version="1")

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [create("Goal", {"text": goal}, id="goal")]

    @kit.responder("object.created", type="Goal")
    def begin(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        yield create("Step", {"n": 1})
        if asks:
            yield ask("the question")
        if child is not None:
            yield start_run(child, "a part")

    @kit.responder
    def watch(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        if event.type == "run.labelled":
            yield create("Seen", {})

    return kit


def opened(url: Any = "memory:", *kits: Kit) -> Store:
    return open_store(str(url), kits=kits, environ={}, plugins=PLUGINS)


@pytest.fixture
def store() -> Iterator[Store]:
    with opened("memory:", kit()) as store:
        yield store


def test_of_changes_at_once_those_beyond_the_limit_have_no_effect(store: Store) -> None:
    run = store.start("k", "a")
    run.label({f"l{n}": "" for n in range(MAX_LABELS)})
    # Another process that began before saw room for it.
    substrate = store.context.substrate(read_only=False)
    late = InboxEntry("late", labels_event({"late": "x", "l0": "new"}, "cli"))
    substrate.deliver(run.id, late)
    run.label({"l1": "new"})

    labels = run.status().labels
    assert labels == run.labels
    assert (len(labels), "late" in labels) == (MAX_LABELS, False)
    assert (labels["l0"], labels["l1"]) == ("new", "new")
    assert [each.run_id for each in store.runs(labels={"late": "x"}).items] == []


def types(run: Run) -> list[str]:
    return [event.type for event in run.events()]


def found(store: Store, **labels: str) -> list[str]:
    return [each.run_id for each in store.runs(labels=labels)]


def test_labels_of_a_start_are_recorded_with_the_seeds_and_found(store: Store) -> None:
    run = store.start("k", "one", labels={"tenant": "a", "team/x": "red"})
    other = store.start("k", "two", labels={"tenant": "a"}, work=False)

    assert types(run)[:3] == ["kit.loaded", "run.labelled", "object.created"]
    assert run.labels == run.status().labels == {"tenant": "a", "team/x": "red"}
    assert found(store, tenant="a") == [other.id, run.id]
    assert found(store, tenant="a", **{"team/x": "red"}) == [run.id]
    assert found(store, tenant="b") == []
    assert store.runs(labels={"tenant": "a"}, state="finished").items == [run.status()]


def test_a_run_without_labels_records_none(store: Store) -> None:
    assert "run.labelled" not in types(store.start("k", "one", labels={}))


def test_a_label_of_a_finished_run_is_recorded_at_once_without_its_kit(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/runs.db"
    with opened(url, kit()) as store:
        id = store.start("k", "one").id
        assert store.run(id).status().state == "finished"
    with opened(url) as store:
        run, before = store.run(id), store.run(id).length()
        run.label({"tenant": "a", "old": "1"})
        run.label({"old": None, "kept": "2"})
        status = run.status()
    with opened(url, kit()) as store:
        again = store.run(id)

        assert (status.state, status.unread, status.problem) == ("finished", 0, None)
        assert status.labels == {"tenant": "a", "kept": "2"}
        assert types(again)[before:] == ["run.labelled"] * 2
        # Not even the responder of every type handles a label.
        assert again.status() == status
        again.resume()
        assert again.length() == before + 2
        again.replay(strict=True)


def test_an_idle_run_is_known_to_be_idle_after_a_label(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/runs.db"
    with opened(url, kit()) as store:
        run = store.start("k", "one")
        rest = run._opened().snapshot.rest()  # type: ignore[union-attr]
        run.label({"tenant": "a"})
        moved = run._opened().snapshot.rest()  # type: ignore[union-attr]

    assert rest is not None
    assert moved is not None
    assert (moved.kit, moved.installed) == (rest.kit, rest.installed)
    assert moved.position == rest.position + 1


@pytest.mark.parametrize("how", ["paused", "cancelled", "exhausted", "waiting"])
def test_a_label_leaves_the_state_of_a_run(how: str) -> None:
    with opened("memory:", kit(asks=True)) as store:
        budget = Budget(max_events=5) if how == "exhausted" else None
        run = store.start("k", "one", budget=budget)
        if how in ("paused", "cancelled"):
            run.pause() if how == "paused" else run.cancel()
            # The word is read before the work; a label is recorded all the same.
            with suppress(RunCancelled):
                run.resume()
            run.label({"early": "1"})
        before = run.status()
        run.label({"tenant": "a"})
        after = run.status()

        assert before.state == how
        assert (after.state, after.problem, after.unread) == (how, before.problem, before.unread)
        assert after.labels["tenant"] == "a"
        run.replay(strict=True)


def test_labels_are_recorded_before_a_message_that_waits_for_its_reader(store: Store) -> None:
    run = store.start("k", "one")
    run.send("note", {"n": 1})
    run.label({"tenant": "a"})

    assert run.labels == {"tenant": "a"}
    assert (run.status().state, run.status().unread) == ("stopped", 1)
    run.resume()
    assert types(run)[-1] == "note"


def test_a_branch_has_the_labels_of_its_prefix_and_its_own(store: Store) -> None:
    run = store.start("k", "one", labels={"tenant": "a"})
    before = run.length()
    run.label({"tenant": "b"})

    assert run.fork(at=before).labels == {"tenant": "a"}
    assert run.fork(at=1).labels == {}
    branch = run.fork(at=before, labels={"tenant": None, "trial": "1"})
    assert branch.labels == {"trial": "1"}
    assert run.labels == {"tenant": "b"}
    branch.resume()
    branch.replay(strict=True)


def test_child_runs_begin_with_the_labels_of_their_parent() -> None:
    with opened("memory:", kit(child="part"), kit("part")) as store:
        run = store.start("k", "one", labels={"tenant": "a"})
        children = [each.run_id for each in run.status().children]

        assert len(children) == 1
        assert sorted(found(store, tenant="a")) == sorted([run.id, *children])


def test_the_child_of_a_branch_has_the_labels_of_the_branch() -> None:
    with opened("memory:", kit(child="part"), kit("part", asks=True)) as store:
        run = store.start("k", "one", labels={"tenant": "a", "old": "1"})
        branch = run.fork(at=3, labels={"tenant": "b", "old": None})
        branch.resume()
        (child,) = branch.status().children
        started = store.run(child.run_id)

        # It is a branch of the child that the parent has started.
        assert started.status().parent_id == run.status().children[0].run_id
        assert started.labels == {"tenant": "b"}


def test_the_process_that_works_on_the_run_records_a_label() -> None:
    seen: list[dict[str, str]] = []
    slow = kit(asks=True)
    with opened("memory:", slow) as store:

        @slow.tool("meanwhile")
        def meanwhile(word: str) -> str:
            run = store.run("@last")
            run.label({"tenant": word})
            seen.append(run.labels)
            return word

        @slow.responder("object.created", type="Step")
        def call(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
            from kando.emit import call_tool

            yield call_tool("meanwhile", {"word": "a"})
            yield call_tool("meanwhile", {"word": "b"})

        run = store.start(slow, "one")

        assert len(seen) == 2
        assert all(seen)
        assert types(run).count("run.labelled") == 2
        assert types(run).count("tool.returned") == 2
        run.replay(strict=True)


def test_a_labelled_run_of_a_group_still_wakes_its_workers(store: Store) -> None:
    run = store.start("k", "one", group="g")
    GroupWorker(store.context, "g").work(until_idle=True)
    run.label({"tenant": "a"})
    run.send("note", {"n": 1})
    GroupWorker(store.context, "g").work(until_idle=True)

    assert types(run)[-2:] == ["run.labelled", "note"]
    assert run.status().state == "finished"


def test_labels_travel_with_an_export(store: Store, tmp_path: Path) -> None:
    run = store.start("k", "one", labels={"tenant": "a"})
    run.export(tmp_path / "run.jsonl")
    with opened() as other, (tmp_path / "run.jsonl").open("rb") as lines:
        other.import_run(lines)

        assert found(other, tenant="a") == [run.id]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({}, "missing"),
        ({"Tenant": "a"}, "'Tenant' is not the name of a label"),
        ({"1st": "a"}, "is not the name"),
        ({"a" * 64: "a"}, "is not the name"),
        ({"a\n": "a"}, "is not the name"),
        ({"tenant": 1}, "is not text: 1"),
        ({"tenant": "x" * 201}, "has 201 characters"),
        ({"tenant": "a\x1b[31m"}, "control character"),
        ({f"n{n}": "a" for n in range(33)}, "33 labels"),
    ],
)
def test_malformed_labels_are_refused_and_nothing_is_recorded(
    store: Store, labels: dict[str, Any], message: str
) -> None:
    run = store.start("k", "one")
    before = run.length()
    with pytest.raises(InvalidData, match=message):
        run.label(labels)
    if labels:
        with pytest.raises(InvalidData, match=message):
            store.start("k", "two", labels=labels)
        with pytest.raises(InvalidData, match=message):
            store.runs(labels=labels)

    assert (run.length(), run.status().unread, len(store.runs())) == (before, 0, 1)


def test_a_run_keeps_at_most_32_labels(store: Store) -> None:
    run = store.start("k", "one", labels={f"n{n}": "a" for n in range(32)})
    with pytest.raises(InvalidData, match="33 labels"):
        run.label({"more": "a"})
    run.label({"more": "a", "n0": None, "n1": "b"})

    assert len(run.labels) == 32


def test_no_responder_handles_labels() -> None:
    with pytest.raises(ConfigurationError, match="no responder handles"):
        kit().responder("run.labelled")(lambda event, world: None)
