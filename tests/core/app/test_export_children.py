"""A run is exported with the runs that it has started, and imported with them."""

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import attrs
import pytest

from kando import Kit, Run, Store, ask_person, call_tool, create, open_store, patch, start_run
from kando.app.child_ids import child_id_of
from kando.errors import ConfigurationError, InvalidData, LedgerExists
from kando.ledger.jsonl import lines_of
from kando.ledger.memory import MemoryLedgerStore
from kando.ledger.sqlite import SQLiteLedgerStore
from kando.schema.events import (
    BRANCH_CHANGED,
    OBJECT_CREATED,
    PERSON_REPLIED,
    RUN_ENDED,
    RUN_REQUESTED,
    TOOL_RETURNED,
    KandoEvent,
    RecordedEvent,
    make_recorded_event,
)
from kando.schema.exact_json import encode
from kando.testing.ledgers import all_fields


def make_kits(calls: list[str]) -> list[Kit]:
    """Return a kit whose runs start a child for each word of their goal, and the kit of the children."""
    child = Kit("child", version="1")
    child.seeds(lambda goal, run_id: [create("Job", {"text": goal}, id="job")])

    @child.tool(effect="write")
    def note(word: str) -> int:
        calls.append(word)
        return len(word)

    @child.responder(OBJECT_CREATED, type="Job")
    def on_job(event: KandoEvent, world: Any) -> Any:
        word = event.object["text"]
        yield call_tool("note", {"word": word}, about="job")
        if word.startswith("nest"):
            yield start_run("parent", word.removeprefix("nest"), about="job")
        elif word.startswith("ask"):
            yield ask_person("Which?", about="job")

    @child.responder(TOOL_RETURNED, PERSON_REPLIED, RUN_ENDED, type="Job")
    def on_end(event: KandoEvent, world: Any) -> Any:
        yield patch("job", {"n": event.data.get("result", event.data.get("answer"))})

    child.result(lambda world: world.get_object("job").data["n"])

    parent = Kit("parent", version="1")
    parent.seeds(lambda goal, run_id: [create("Plan", {"text": goal}, id="plan")])

    @parent.responder(OBJECT_CREATED, type="Plan")
    def on_plan(event: KandoEvent, world: Any) -> Any:
        for word in event.object["text"].split():
            yield start_run("child", word, about=event)

    @parent.responder(RUN_ENDED, type="Plan")
    def on_child(event: KandoEvent, world: Any) -> Any:
        known = world.get_object("plan").data.get("got", [])
        yield patch("plan", {"got": [*known, event.data.get("result")]})

    parent.result(lambda world: world.get_object("plan").data.get("got"))
    return [parent, child]


@pytest.fixture
def calls() -> list[str]:
    """Return the words of the calls that were made outside."""
    return []


@pytest.fixture
def make_store(tmp_path: Path, calls: list[str]) -> Iterator[Callable[[str], Store]]:
    """Return ``make_store(name)``: a SQLite store of that name, or one in memory."""
    opened: list[Store] = []

    def make_store(name: str) -> Store:
        url = name if name.endswith(":") else f"sqlite:{tmp_path / name}"
        store = open_store(url, kits=make_kits(calls), environ={"KANDO_PLUGINS": ""})
        opened.append(store)
        return store

    yield make_store
    for store in opened:
        store.close()


def exported(run: Run, **options: Any) -> list[bytes]:
    file = BytesIO()
    run.export(file, **options)
    return file.getvalue().splitlines(keepends=True)


def content(store: Store, run_id: str) -> list[Any]:
    return [all_fields(event) for event in store.run(run_id).events()]


def ids(store: Store) -> set[str]:
    return {each.run_id for each in store.runs().items}


def ended(run: Run) -> list[str]:
    return [event.data["run_id"] for event in run.events() if event.type == RUN_ENDED]


def got(run: Run) -> Any:
    return run.world().objects["plan"].data.get("got")


def the_child(run: Run) -> Run:
    (found,) = run.children()
    return found


def test_a_run_moves_to_memory_and_back_with_its_children_and_theirs(
    make_store: Callable[[str], Store], calls: list[str]
) -> None:
    here, memory, back = make_store("here"), make_store("memory:"), make_store("back")
    run = here.start("parent", "one nesttwo")
    assert len(ids(here)) == 5
    lines = exported(run)

    there = memory.import_run(lines)
    assert (there.run_id, len(there.children)) == (run.id, 4)
    assert exported(memory.run(run.id)) == lines
    back.import_run(exported(memory.run(run.id)))

    made = [*calls]
    assert ids(back) == ids(here)
    for id in ids(here):
        assert content(back, id) == content(here, id)
        assert back.run(id).verify().is_intact
        assert back.run(id).replay(strict=True).is_strict
    shown = [(each.id, each.started_by, each.depth) for each in back.run(run.id).branches()]
    assert sorted(shown) == sorted(
        (each.id, each.started_by, each.depth) for each in run.branches()
    )
    (end, *_) = (event.id for event in run.events() if event.type == RUN_ENDED)
    assert len(back.run(run.id).trace(end).steps) == len(run.trace(end).steps)
    assert calls == made


def test_an_unfinished_run_is_resumed_with_its_child_and_repeats_no_call(
    make_store: Callable[[str], Store], calls: list[str]
) -> None:
    here, there = make_store("here"), make_store("there")
    run = here.start("parent", "asks one")
    assert run.status().state == "waiting"
    there.import_run(exported(run))

    copy = there.run(run.id)
    child = the_child(copy)
    assert child.id == the_child(run).id
    child.reply(child.questions()[0].event_id, "this")
    copy.resume()

    assert copy.status().state == "finished"
    assert sorted(map(str, got(copy))) == ["3", "this"]
    assert sorted(calls) == ["asks", "one"]
    assert copy.replay(strict=True).is_strict
    assert run.status().state == "waiting"


def test_a_fork_of_an_imported_run_shares_its_children(
    make_store: Callable[[str], Store], calls: list[str]
) -> None:
    here, there = make_store("here"), make_store("there")
    run = here.start("parent", "one three")
    there.import_run(exported(run))
    asked = [e.position for e in run.events() if e.type == RUN_REQUESTED]

    branch = there.run(run.id).fork(at=asked[-1] + 1)
    branch.resume()

    assert got(branch) == [3, 5]
    assert ended(branch) == ended(run)
    assert sorted(calls) == ["one", "three"]
    assert len(ids(there)) == len(ids(here)) + 1


def test_a_branch_is_exported_with_its_own_child_and_resumed_without_its_parent(
    make_store: Callable[[str], Store], calls: list[str]
) -> None:
    here, alone, family = make_store("here"), make_store("alone"), make_store("family")
    run = here.start("parent", "asks")
    branch = run.fork(at=next(e.position for e in run.events() if e.type == RUN_REQUESTED) + 1)
    branch.resume()
    child = the_child(branch)
    assert child.id != the_child(run).id
    assert calls == ["asks"]

    found = alone.import_run(exported(branch))
    assert (found.missing_parent_id, found.children) == (run.id, (child.id,))
    copy = alone.run(branch.id)
    assert the_child(copy).id == child.id
    the_child(copy).reply(the_child(copy).questions()[0].event_id, "that")
    copy.resume()
    assert (copy.status().state, got(copy)) == ("finished", ["that"])
    assert calls == ["asks"]
    assert ids(alone) == {branch.id, child.id}

    family.import_run(exported(run))
    assert family.import_run(exported(branch)).parent_id == run.id
    assert family.run(child.id).status().parent_id == the_child(run).id
    assert content(family, child.id) == content(here, child.id)


def test_a_run_is_exported_alone_on_request_and_as_older_versions_did(
    make_store: Callable[[str], Store],
) -> None:
    here, there = make_store("here"), make_store("there")
    run = here.start("parent", "one")
    (child_id,) = ended(run)
    lines = exported(run, with_children=False)
    assert json.loads(lines[0])["format"] == 2
    assert "ledgers" not in json.loads(lines[0])
    assert len(lines) == run.length() + 1

    assert there.import_run(lines).children == ()
    assert ids(there) == {run.id}
    assert there.run(run.id).replay(strict=True).is_strict
    there.import_run(exported(here.run(child_id)))
    assert ids(there) == {run.id, child_id}
    assert [each.started_by for each in there.run(run.id).branches()] == [None, run.id]


def test_the_first_events_are_exported_with_the_children_that_they_started(
    make_store: Callable[[str], Store], calls: list[str]
) -> None:
    here, there = make_store("here"), make_store("there")
    run = here.start("parent", "one three")
    first, second = (e.position for e in run.events() if e.type == RUN_REQUESTED)
    assert len(exported(run, at=first)) == first + 1
    there.import_run(exported(run, at=first + 1))
    assert ids(there) == {run.id, ended(run)[0]}

    copy = there.run(run.id)
    copy.resume()
    assert got(copy) == [3, 5]
    assert sorted(calls) == ["one", "three", "three"]
    assert second > first


def test_an_import_that_was_killed_is_completed_by_the_next_one(
    make_store: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = make_store("here")
    run = here.start("parent", "one nesttwo")
    lines = exported(run)
    total = len(ids(here))
    append = SQLiteLedgerStore.append
    for after in range(total):
        there = make_store(f"killed-{after}")
        left = [after]

        def dying(*given: Any, left: list[int] = left, **named: Any) -> int:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return append(*given, **named)

        monkeypatch.setattr(SQLiteLedgerStore, "append", dying)
        with pytest.raises(KeyboardInterrupt):
            there.import_run(lines)
        monkeypatch.setattr(SQLiteLedgerStore, "append", append)
        assert run.id not in {e.run_id for e in there.runs().items if e.events}

        there.import_run(lines)
        assert {id: content(there, id) for id in ids(there)} == {
            id: content(here, id) for id in ids(here)
        }


def test_a_child_that_exists_already_is_shared_and_one_with_other_events_is_refused(
    make_store: Callable[[str], Store],
) -> None:
    here, there, other = make_store("here"), make_store("there"), make_store("other")
    run = here.start("parent", "asks")
    early = exported(run)
    child = the_child(run)
    child.reply(child.questions()[0].event_id, "this")
    run.resume()
    late = exported(run)

    there.import_run(exported(child))
    found = there.import_run(early)
    assert found.children == (child.id,)
    assert len(content(there, child.id)) == len(content(here, child.id))
    assert the_child(there.run(run.id)).status().state == "finished"

    other.import_run(early[run_end(early) :])
    with pytest.raises(LedgerExists, match="with other events already exists; nothing was"):
        other.import_run(late)
    assert ids(other) == {child.id}


def run_end(lines: list[bytes]) -> int:
    """Return the index of the first line of the second ledger of a file."""
    return [i for i, line in enumerate(lines) if line.startswith(b'{"kando"')][1]


def counting(lines: list[bytes], ledgers: int) -> list[bytes]:
    """Return the lines of a file of one ledger as the first ones of a file of several."""
    head = lines[0].replace(b'"format":2', b'"format":3')
    return [head, b'{"ledgers":%d}\n' % ledgers, *lines[1:]]


def drop_child(lines: list[bytes]) -> list[bytes]:
    return lines[: run_end(lines)]


def drop_last(lines: list[bytes]) -> list[bytes]:
    return lines[:-1]


def twice(lines: list[bytes]) -> list[bytes]:
    return [lines[0], b'{"ledgers":3}\n', *lines[2:], *lines[run_end(lines) :]]


def format_of_child(lines: list[bytes]) -> list[bytes]:
    at = run_end(lines)
    return [*lines[:at], lines[at].replace(b'"format":2', b'"format":3'), *lines[at + 1 :]]


def no_ledgers(lines: list[bytes]) -> list[bytes]:
    return [lines[0], b'{"ledgers":0}\n', *lines[2:]]


def no_number(lines: list[bytes]) -> list[bytes]:
    return [lines[0], *lines[2:]]


def not_counted(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b'"format":3', b'"format":2'), *lines[2:]]


def child_first(lines: list[bytes]) -> list[bytes]:
    at = run_end(lines)
    return [*counting(lines[at:], 2), lines[0].replace(b'"format":3', b'"format":2'), *lines[2:at]]


def changed_event(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1].replace(b'"actor":"', b'"actor":"x')]


@pytest.mark.parametrize(
    ("edit", "refused"),
    [
        (drop_child, r"is the last, after 1 of 2 ledgers"),
        (drop_last, r"is the last, after \d+ of \d+ events"),
        (twice, r"begins the ledger '\w+', which no run before it started"),
        (format_of_child, r"Line \d+ has format 3, as only a first line may"),
        (no_ledgers, r"is the last, after 2 of 0 ledgers"),
        (no_number, r"Line 2 is not the number of ledgers"),
        (not_counted, r"Line \d+ is not an event"),
        (child_first, r"begins the ledger '\w+', which no run before it started"),
        (changed_event, r"Line \d+ is not "),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_a_file_that_was_changed_is_refused_and_writes_nothing(
    make_store: Callable[[str], Store],
    edit: Callable[[list[bytes]], list[bytes]],
    refused: str,
) -> None:
    lines = edit(exported(make_store("here").start("parent", "one")))
    there = make_store("there")

    with pytest.raises(InvalidData, match=refused):
        there.import_run(lines)
    assert ids(there) == set()


def test_a_child_that_a_killed_process_was_creating_is_left_out(
    make_store: Callable[[str], Store],
) -> None:
    store = make_store("here")
    run = store.start("parent", "ask")
    (child,) = run.children()
    branch = run.fork(at=run.length())
    # The process died after it had forked the child, and before the branch named its run.
    (asked,) = [each for each in branch.events() if each.type == RUN_REQUESTED]
    id = child_id_of(branch.source, asked.lineage_key)
    store.context.substrate(read_only=False).fork(child.id, 2, id)

    lines = exported(branch)

    there = make_store("there")
    there.import_run(BytesIO(b"".join(lines)))
    assert ids(there) == {branch.id}
    branch.resume()
    assert content(store, id)


def test_a_ledger_of_another_run_is_refused(make_store: Callable[[str], Store]) -> None:
    here, there = make_store("here"), make_store("there")
    run = exported(here.start("parent", "one"), with_children=False)
    other = exported(here.start("parent", "two"), with_children=False)

    with pytest.raises(InvalidData, match="which no run before it started"):
        there.import_run([*counting(run, 2), *other])
    assert ids(there) == set()


def recorded_anew(run: Run, change: Callable[[RecordedEvent], dict[str, Any]]) -> list[bytes]:
    """Return the file of a run alone whose events have other data, and hashes that match."""
    forged = MemoryLedgerStore(run.id)
    for event in run.events():
        data = change(event)
        fields = attrs.asdict(event, recurse=False, filter=lambda field, _: field.name != "data")
        known = {name: fields[name] for name in _FIELDS}
        forged.append([make_recorded_event(**known, data=data, encoded=encode(data))])
    return list(lines_of(forged, forged.length()))


_FIELDS = (
    *("id", "type", "source", "actor", "cause", "timestamp"),
    *("position", "lineage_key", "version"),
)


def test_an_event_that_names_another_run_does_not_export_it(
    make_store: Callable[[str], Store],
) -> None:
    here, there = make_store("here"), make_store("there")
    secret = there.start("child", "secret")

    def naming(event: RecordedEvent) -> dict[str, Any]:
        return {**event.data, "run_id": secret.id} if event.type == RUN_ENDED else event.data

    run = here.start("parent", "one")
    there.import_run(recorded_anew(run, naming))
    assert len(exported(there.run(run.id))) == run.length() + 1


def test_a_child_in_a_file_chooses_no_model_and_no_provider(
    make_store: Callable[[str], Store], calls: list[str]
) -> None:
    here, there = make_store("here"), make_store("there")
    run = here.start("parent", "asks")
    child = the_child(run)
    child.reply(child.questions()[0].event_id, "this")

    def choosing(event: RecordedEvent) -> dict[str, Any]:
        started = event.data.get("started_by")
        chosen = {"llm": "scripted:/etc/passwd", "model": "dear"}
        return {**event.data, "started_by": started | chosen} if started else event.data

    lines = counting(exported(run, with_children=False), 2)
    there.import_run([*lines, *recorded_anew(child, choosing)])

    copy = there.run(run.id)
    the_child(copy).reply(the_child(copy).questions()[0].event_id, "this")
    with pytest.raises(ConfigurationError, match="chooses the provider 'scripted:/etc/passwd'"):
        copy.resume()
    assert calls == ["asks"]
    assert [e.type for e in there.run(child.id).events()][-1] == BRANCH_CHANGED
