"""Deletion of runs: everything that belongs to a run goes, and nothing else."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kando import Kit, Store, ask_person, call_tool, create, open_store, start_run
from kando.app.daily_spending import DailySpending
from kando.errors import (
    AmbiguousName,
    ConfigurationError,
    KandoError,
    LedgerDeleted,
    LedgerInUse,
    LedgerNotFound,
    RunBusy,
)
from kando.ledger.claims import this_process
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.responders.policies import Ask
from kando.schema.events import OBJECT_CREATED, RUN_ENDED, KandoEvent, make_event
from kando.world.graph import World

#: Seconds that a test waits for something at most.
PATIENCE = 60

#: Set while a run makes the call that `RELEASED` ends.
HELD, RELEASED = threading.Event(), threading.Event()

SECRET = "the secret of the deleted run"


def make_kits() -> list[Kit]:
    """Return a kit whose runs start a child for each word of their goal, the kit of the children, and
    one whose runs ask for two approvals.
    """
    child = Kit("child", version="1")
    interrupted: list[str] = []

    @child.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        if goal == "interrupted" and not interrupted:
            interrupted.append(goal)
            raise KeyboardInterrupt
        return [create("Job", {"text": goal}, id="job")]

    @child.tool(effect="read")
    def note(word: str) -> str:
        if word == "hold":
            HELD.set()
            RELEASED.wait(PATIENCE)
        return f"{word}: {SECRET} " * 100

    @child.responder(OBJECT_CREATED, type="Job")
    def on_job(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        word = event.data["data"]["text"]
        if word.startswith("nest-"):
            yield start_run("parent", word.removeprefix("nest-"), about="job")
        elif word == "interrupted":
            yield ask_person("Again?", about="job")
        else:
            yield call_tool("note", {"word": word})

    parent = Kit("parent", version="1")
    parent.child_kits = (child, parent)
    parent.seeds(
        lambda goal, run_id: [create("Job", {"text": word}, id=word) for word in goal.split()]
    )

    @parent.responder(OBJECT_CREATED, type="Job")
    def begin(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield start_run("child", event.data["data"]["text"], about=event.data["id"])

    gated = Kit("gated", version="1")
    gated.seeds(lambda goal, run_id: [create("Job", {"text": goal}, id="job")])

    @gated.tool
    def pay(amount: int) -> int:
        return amount

    @gated.policy
    def careful(intent: KandoEvent) -> Ask:
        return Ask("May it pay?")

    @gated.responder(OBJECT_CREATED, type="Job")
    def on_payment(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield call_tool("pay", {"amount": 1})
        yield call_tool("pay", {"amount": 2})

    return [parent, child, gated]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:{tmp_path / 'runs.db'}", kits=make_kits(), environ={}) as opened:
        yield opened


def ids_of(store: Store) -> set[str]:
    return {info.id for info in store.context.substrate().ledgers()}


def children_of(store: Store, run_id: str) -> list[str]:
    events = store.run(run_id).events()
    return [event.data["run_id"] for event in events if event.type == RUN_ENDED]


def test_a_run_goes_with_the_child_runs_that_it_started(store: Store, tmp_path: Path):
    other = store.start("parent", "a")
    kept = {other.id, *children_of(store, other.id)}
    run = store.start("parent", "a nest-b")
    nested = [each for each in children_of(store, run.id) if children_of(store, each)]
    assert len(ids_of(store)) == len(kept) + 5

    deleted = store.delete(run.id)

    assert deleted[-1] == run.id
    assert deleted.index(nested[0]) > deleted.index(children_of_deleted(deleted, nested[0]))
    assert ids_of(store) == kept
    assert all(verdict.is_intact for _, verdict in store.verify_all())
    assert other.delete()[-1] == other.id
    # Not in the file, nor in its log.
    for file in tmp_path.glob("runs.db*"):
        assert SECRET.encode() not in file.read_bytes()


def children_of_deleted(deleted: list[str], nested: str) -> str:
    """Return a run that was deleted before a nested one."""
    return deleted[deleted.index(nested) - 1]


def test_a_run_with_a_branch_is_refused_before_anything_is_deleted(store: Store):
    run = store.start("parent", "a b")
    child = children_of(store, run.id)[0]
    before = ids_of(store)

    branch = store.run(child).fork(at=1)
    with pytest.raises(LedgerInUse, match=branch.id) as refused:
        run.delete()
    assert refused.value.hint is not None
    assert "kando branches" in refused.value.hint
    assert ids_of(store) == before | {branch.id}

    branch.delete()
    run.delete()
    assert ids_of(store) == set()


def test_a_branch_goes_without_what_it_shares(store: Store):
    run = store.start("parent", "a b")
    before = ids_of(store)
    job = {"id": "c", "type": "Job", "data": {"text": "c"}}
    branch = run.fork(at=3, events=[{"type": OBJECT_CREATED, "data": job}])
    branch.resume()
    own = ids_of(store) - before
    assert len(own) > 1

    assert set(branch.delete()) == own

    assert ids_of(store) == before
    assert run.verify().is_intact


def test_a_child_run_is_deleted_with_its_parent_only(store: Store):
    run = store.start("parent", "a")
    child = children_of(store, run.id)[0]

    with pytest.raises(LedgerInUse, match=f"child run of {run.id}") as refused:
        store.delete(child)

    assert refused.value.hint == f"`kando delete {run.id}` deletes both."
    assert child in ids_of(store)


def test_the_demo_run_cannot_be_deleted(store: Store):
    with pytest.raises(LedgerNotFound, match="demo run is read-only"):
        store.delete("demo")


def test_a_run_that_another_works_on_is_refused(store: Store):
    HELD.clear()
    RELEASED.clear()
    started: list[str] = []
    work = threading.Thread(
        target=store.start, args=("parent", "hold"), kwargs={"on_started": started.append}
    )
    work.start()
    assert HELD.wait(PATIENCE)

    with pytest.raises(RunBusy, match="is running") as refused:
        store.delete(started[0])
    assert "kando cancel" in (refused.value.hint or "")
    assert started[0] in ids_of(store)

    RELEASED.set()
    work.join()
    store.delete(started[0])
    assert ids_of(store) == set()


def test_a_child_that_starts_while_its_run_is_deleted_goes_with_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    """The request for it is in the ledger before the deletion begins; the child waits for a person."""
    started: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        store.start("parent", "interrupted", on_started=started.append)
    run, claim = store.run(started[0]), SQLiteSubstrate.claim
    assert ids_of(store) == {run.id}

    def claim_after_another_process(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(SQLiteSubstrate, "claim", claim)
        assert run.resume().status.state == "waiting"
        return claim(*arguments, **options)

    monkeypatch.setattr(SQLiteSubstrate, "claim", claim_after_another_process)
    deleted = run.delete()

    assert len(deleted) == 2
    assert ids_of(store) == set()


@pytest.mark.parametrize("write", ["append", "claim"])
def test_a_process_that_was_suspended_gets_a_clean_error(store: Store, write: str, tmp_path: Path):
    HELD.clear()
    RELEASED.clear()
    failed: list[BaseException] = []
    started: list[str] = []

    def work() -> None:
        try:
            store.start("child", "hold", on_started=started.append)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert HELD.wait(PATIENCE)
    with SQLiteSubstrate(tmp_path / "runs.db") as other:
        if write == "claim":
            # Taken over, as by a process that believes the first to be dead.
            assert other.claim(started[0], this_process(), 60, take_over=True) is not None
        other.delete(started[0])
        RELEASED.set()
        thread.join()

        assert len(failed) == 1
        assert isinstance(failed[0], LedgerNotFound | RunBusy), failed
        assert [*other.ledgers()] == []
        assert _rows(tmp_path / "runs.db") == 0


def _rows(path: Path) -> int:
    """Return how many rows of ledgers a file has."""
    import sqlite3

    with sqlite3.connect(path) as connection:
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        tables = {"events", "cache", "inbox", "claims", "slots", "snapshots", "jobs", "uses"}
        counts = [
            connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in sorted(tables & names)
        ]
    connection.close()
    return sum(counts)


def test_nothing_is_left_of_a_deleted_run_in_any_table(store: Store, tmp_path: Path):
    run = store.start("parent", "a nest-b")
    run.send("note", {"text": "hello"})
    run.delete()
    assert _rows(tmp_path / "runs.db") == 0


def test_what_reads_a_deleted_run_says_so(store: Store):
    run = store.start("child", "a")
    events = run.events()
    first = next(events)
    returned = next(each for each in run.follow() if each.type == "tool.returned")

    run.delete()

    assert first.position == 0
    for read in (
        run.status,
        run.progress,
        run.length,
        run.world,
        lambda: [*run.events()],
        lambda: [*run.follow()],
        lambda: run.send("note"),
        run.resume,
        run.delete,
        lambda: run.fork(at=0),
        lambda: store.run(run.id),
    ):
        with pytest.raises(LedgerDeleted, match=f"{run.id} was deleted on"):
            read()
    # The part of an event that was not read before is gone.
    with pytest.raises(LedgerDeleted, match="its run was deleted"):
        SQLiteFresh(store).read(returned)


class SQLiteFresh:
    """Reads the data of an event that is not in memory any more."""

    def __init__(self, store: Store) -> None:
        substrate = store.context.substrate()
        assert isinstance(substrate, SQLiteSubstrate)
        self._parts = substrate._blobs.parts

    def read(self, event: KandoEvent) -> object:
        self._parts.forget()
        return self._parts.resolve(event.encoded)  # type: ignore[attr-defined]


def test_the_id_of_a_deleted_run_stands_for_no_other_run(tmp_path: Path):
    with open_store(f"sqlite:{tmp_path / 'runs.db'}", environ={}) as store:
        substrate = store.context.substrate(read_only=False)
        for id in ("run", "run-2"):
            substrate.create(id).append([make_event("seed", "", "test", [], {})])
        run = store.run("run")
        run.delete()

        with pytest.raises(LedgerDeleted, match="run was deleted"):
            run.delete()
        assert store.delete("run-") == ["run-2"]


def test_a_list_leaves_out_a_run_that_was_deleted_since_it_was_begun(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    run, kept = store.start("child", "a"), store.start("child", "b")
    substrate = store.context.substrate()
    listed = [*substrate.ledgers()]
    run.delete()
    monkeypatch.setattr(substrate, "ledgers", lambda: iter(listed))

    assert [item.run_id for item in store.runs().items] == [kept.id]
    assert [id for id, _ in store.verify_all()] == [kept.id]
    assert store.approvals().items == []
    assert DailySpending().today(store.context) == 0.0


def test_the_next_page_of_a_list_follows_a_run_that_was_deleted(store: Store):
    goals = ["a", "b", "c", "d"]
    for goal in goals:
        store.start("child", goal)
    first = store.runs(limit=2)
    store.delete(first.items[-1].run_id)

    rest = store.runs(limit=2, cursor=first.next_cursor)

    assert [each.goal for each in [*first, *rest]] == goals[::-1]
    for malformed in (first.items[-1].run_id, "x.", ".5", "x.-5", "x.5.y"):
        with pytest.raises(ConfigurationError, match="is not a cursor of this list"):
            store.runs(cursor=malformed)


def test_the_next_page_of_approvals_follows_a_run_that_was_deleted(store: Store):
    runs = [store.start("gated", "x") for _ in range(3)]
    first = store.approvals(limit=3)
    assert [each.run_id for each in first] == [runs[2].id] * 2 + [runs[1].id]
    runs[1].delete()

    rest = store.approvals(limit=3, cursor=first.next_cursor)

    assert [each.run_id for each in rest] == [runs[0].id] * 2
    # A run that still exists continues after the approval that was shown last.
    runs[2].delete()
    one = store.approvals(limit=1)
    assert [each.run_id for each in store.approvals(cursor=one.next_cursor)] == [runs[0].id]


def test_a_name_that_fits_several_runs_deletes_none(store: Store):
    substrate = store.context.substrate(read_only=False)
    for id in ("abc1", "abc2"):
        substrate.create(id).append([make_event("seed", "", "test", [], {})])

    with pytest.raises(AmbiguousName):
        store.delete("abc")
    assert len(ids_of(store)) == 2


def test_an_exported_run_is_restored_after_its_deletion(store: Store, tmp_path: Path):
    run = store.start("parent", "a nest-b")
    head, file = run.head(), tmp_path / "run.jsonl"
    run.export(file)
    deleted = run.delete()

    with file.open("rb") as lines:
        store.import_run(lines)

    assert ids_of(store) == set(deleted)
    assert store.run(run.id).head() == head
    assert all(verdict.is_intact for _, verdict in store.verify_all())
    assert store.delete(run.id) == deleted


def test_a_snapshot_in_a_folder_goes_with_its_run(tmp_path: Path):
    environ = {"KANDO_SNAPSHOT_DIR": str(tmp_path / "snapshots")}
    url = f"sqlite:{tmp_path / 'runs.db'}"
    with open_store(url, kits=make_kits(), environ=environ) as store:
        run = store.start("child", "a")
        assert [*(tmp_path / "snapshots").iterdir()]

        run.delete()

        assert [*(tmp_path / "snapshots").iterdir()] == []


def test_a_run_that_spent_money_today_stays_if_asked(store: Store):
    answer = {"text": "yes", "model": "m", "cost_usd": 0.5, "answers": True}
    substrate = store.context.substrate(read_only=False)
    ledger = substrate.create("paid")
    asked = make_event("llm.request", "", "test", [], {"messages": [], "model": "m"})
    ledger.append([asked])
    ledger.append([make_event("llm.response", "", "llm", ["llm.request-0"], answer)])

    with pytest.raises(LedgerInUse, match="spent money today"):
        store.delete("paid", unless_spent_today=True)
    assert ids_of(store) == {"paid"}
    free = substrate.create("free")
    free.append([make_event("seed", "", "test", [], {})])
    assert store.delete("free", unless_spent_today=True) == ["free"]
    assert store.delete("paid") == ["paid"]


_DELETES = """
import os, signal, sys
from kando.app.store import open_store
from kando.ledger.sqlite_substrate import SQLiteSubstrate
left, inner = int(sys.argv[3]), SQLiteSubstrate._delete
def delete(self, *arguments):
    global left
    left -= 1
    inner(self, *arguments)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
SQLiteSubstrate._delete = delete
with open_store(sys.argv[1], environ={}) as store:
    store.delete(sys.argv[2])
"""


def test_a_deletion_that_was_killed_is_repeated(store: Store):
    run = store.start("parent", "a nest-b")
    other = store.start("parent", "a")
    kept = {other.id, *children_of(store, other.id)}
    for at in (1, 2, 3):
        before = ids_of(store)
        command = [sys.executable, "-c", _DELETES, store.url, run.id, str(at)]
        killed = subprocess.run(command, check=False, timeout=PATIENCE)
        assert killed.returncode == -signal.SIGKILL
        # Killed in a transaction, which takes nothing with it; those before it stay.
        assert len(before) - len(ids_of(store)) == at - 1
        assert run.id in ids_of(store)
        assert all(verdict.is_intact for _, verdict in store.verify_all())
        if len(ids_of(store)) - len(kept) < 3:
            break

    run.delete()

    assert ids_of(store) == kept
    assert all(verdict.is_intact for _, verdict in store.verify_all())


def test_writers_and_a_deletion_leave_no_event_without_its_content(tmp_path: Path):
    """Blobs that two runs share stay as long as one of them names them, whichever run stored them."""
    path = tmp_path / "runs.db"
    body = {"text": "shared " * 400}
    with SQLiteSubstrate(path) as mine, SQLiteSubstrate(path) as other:
        for number in range(6):
            first, second = mine.create(f"a{number}"), other.create(f"b{number}")
            first.append([make_event("note", "", "test", [], body)])
            # The other process knows the content as stored.
            second.append([make_event("note", "", "test", [], body)])
            begin = threading.Barrier(2)
            failed: list[KandoError] = []

            def delete(number: int = number, begin: threading.Barrier = begin) -> None:
                begin.wait()
                mine.delete(f"a{number}")
                mine.delete(f"b{number}")

            thread = threading.Thread(target=delete)
            thread.start()
            third = other.create(f"c{number}")
            begin.wait()
            third.append([make_event("note", "", "test", [], body)])
            thread.join()
            assert failed == []
            assert third.at(0) is not None
            with SQLiteSubstrate(path, read_only=True) as fresh:
                found = fresh.open(f"c{number}").at(0)
                assert found is not None
                assert found.data == body
            other.delete(f"c{number}")
    assert os.path.exists(path)
