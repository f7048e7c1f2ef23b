"""The activities of a store, and the progress of its runs."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from kando import Kit, ToolContext, ask, call_tool, emit, open_store
from kando.app.group_worker import GroupWorker
from kando.ledger.memory import MemoryLedgerStore
from kando.runtime import Runtime
from kando.views.progress import Follower, Progress, progress_of
from kando.views.status import StatusFold


class Watched:
    """A store, and what it said that it was doing when it was asked."""

    def __init__(self, url: str) -> None:
        self.seen: list[str] = []
        self.progress: list[Progress | None] = []
        self.kit = Kit("watched", seed=lambda goal, run_id: [emit("go", {})])
        self.kit.responder("go")(self.look)
        self.store = open_store(url, kits=[self.kit], environ={})

    def look(self, event: Any = None, world: Any = None) -> None:
        activities = self.store.activities()
        # A status fires responders, too, to find out whether work is left: without an activity.
        self.seen += ["; ".join(map(str, activities))] if activities else []
        self.progress += [each.progress for each in activities]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(f"sqlite:{tmp_path / 'runs.sqlite'}")
    with watched.store:
        yield watched


def test_work_on_a_run_is_an_activity_until_it_ends(watched: Watched) -> None:
    run = watched.store.start("watched", "x")

    assert watched.seen == [f"run {run.id}: 2 events"]
    assert watched.store.activities() == []


def test_the_numbers_of_a_run_are_those_of_its_status(watched: Watched) -> None:
    kit = Kit("asks", seed=lambda goal, run_id: [emit("go", {})])

    @kit.responder("go")
    def on_go(event: Any, world: Any) -> Iterator[Any]:
        for number in range(3):
            yield ask([{"role": "user", "content": f"{number}"}])

    @kit.responder("llm.response")
    def on_answer(event: Any, world: Any) -> None:
        watched.look()

    run = watched.store.start(kit, "x")
    assert run.progress().unanswered == 3
    ledger = watched.store.context.substrate(read_only=False).open(run.id)
    first = next(each for each in ledger.read_all() if each.type == "llm.request")
    run.answer(first.id, text="yes")
    run.resume()

    status = run.status()
    (seen,) = watched.progress
    assert seen is not None
    assert (seen.answered, seen.requests, seen.in_flight) == (1, 3, 0)
    end = run.progress()
    assert (end.answered, end.requests) == (status.llm_answered, status.llm_requests)
    assert (end.events, end.unanswered) == (status.events, status.unanswered) == (status.events, 2)
    assert end.in_flight is None


def test_the_progress_of_a_tool_is_shown_and_not_recorded(watched: Watched) -> None:
    kit = Kit("index", seed=lambda goal, run_id: [call_tool("index", {})])

    @kit.tool("index")
    def index(ctx: ToolContext) -> str:
        ctx.progress("indexing\x1b[2J", done=3, total=10)
        watched.look()
        return "done"

    run = watched.store.start(kit, "x")

    (seen,) = watched.progress
    assert seen is not None
    assert seen.report == "indexing\\u001b[2J: 3 of 10"
    assert watched.seen == [f"run {run.id}: {seen}"]
    assert "indexing" not in repr(list(run.events()))


def test_a_follower_reads_each_event_once(watched: Watched) -> None:
    run = watched.store.start("watched", "x")
    ledger, follower = MemoryLedgerStore("followed"), Follower()
    events = list(run.events())
    reads: list[int] = []
    read = ledger.read
    ledger.read = lambda start=0: (reads.append(start), read(start))[1]  # type: ignore[method-assign]

    for number, event in enumerate(events, 1):
        ledger.append([event])
        assert follower.observe(ledger).events == number
    follower.observe(ledger)

    assert reads == list(range(len(events)))


def test_a_runtime_without_snapshots_has_no_progress() -> None:
    runtime = Runtime(MemoryLedgerStore("r"), [], edge_logic=())
    runtime.run([emit("go", {})])

    assert runtime.progress() is None


def test_the_import_of_documents_is_an_activity(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")

    class Seen(type(tmp_path)):  # type: ignore[misc]
        def __fspath__(self) -> str:
            watched.look()
            return str(self)

    watched.store.start("watched", "x", inputs=[tmp_path / "a.txt", Seen(tmp_path / "a.txt")])

    assert watched.seen[0] == "read documents: 1 parts"


class _Lines(io.BytesIO):
    """A stream that looks at a store whenever it is written to."""

    def __init__(self, watched: Watched) -> None:
        super().__init__()
        self._watched = watched

    def writelines(self, lines: Iterable[Any]) -> None:
        for line in lines:
            self.write(line)
            self._watched.look()


def test_an_export_and_an_import_count_lines(watched: Watched) -> None:
    run = watched.store.start("watched", "x")
    watched.seen.clear()
    file = _Lines(watched)

    run.export(file)

    lines = file.getvalue().splitlines(keepends=True)
    assert watched.seen == [f"export {run.id}: {n} lines" for n in range(len(lines))]
    watched.seen.clear()

    def looking() -> Iterator[bytes]:
        for line in lines:
            watched.look()
            yield line

    with open_store("memory:") as other:
        watched.store, before = other, watched.store
        other.import_run(looking())
    watched.store = before
    assert watched.seen == [f"import: {n} lines" for n in range(len(lines))]


def test_a_verification_counts_runs_and_a_replay_names_its_run(watched: Watched) -> None:
    runs = [watched.store.start("watched", str(n)) for n in range(2)]
    watched.seen.clear()

    for _ in watched.store.verify_all():
        watched.look()

    assert watched.seen == ["verify: 0 of 2 runs", "verify: 1 of 2 runs"]
    watched.seen.clear()
    runs[0].replay(strict=True)
    assert set(watched.seen) == {f"re-fire {runs[0].id}"}


def test_a_reader_that_fails_ends_its_activity(watched: Watched) -> None:
    def fail() -> None:
        with watched.store.context.activities.step("fails"):
            watched.look()
            raise EOFError

    with pytest.raises(EOFError):
        fail()

    assert watched.seen == ["fails"]
    assert watched.store.activities() == []


def test_a_worker_names_its_job(watched: Watched) -> None:
    run = watched.store.start("watched", "x", group="g")

    GroupWorker(watched.store.context, "g").work(until_idle=True)

    assert watched.seen == [f"group g: 0 jobs done; run {run.id}: 2 events"]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ({"events": 1}, "1 event"),
        ({"events": 1200, "in_flight": 0}, "1,200 events"),
        (
            {"events": 9, "requests": 3, "answered": 2, "in_flight": 1, "cost_usd": 0.25},
            "1 call in flight, 2 of 3 answered, $0.2500, 9 events",
        ),
        (
            {"events": 9, "requests": 1, "answered": 1, "tool_calls": 2, "unpriced": 1},
            "1 of 1 answered, 2 tool calls, at least $0.0000, 9 events",
        ),
        ({"events": 9, "unanswered": 2}, "2 unanswered, 9 events"),
    ],
)
def test_progress_is_one_short_line(numbers: dict[str, Any], text: str) -> None:
    zero = progress_of(StatusFold())

    assert str(attrs.evolve(zero, **numbers)) == text
