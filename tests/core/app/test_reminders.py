"""Reminders of questions to people: a run that waits repeats a question until it is answered."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kando import Kit, Run, Store, ask_person, create, emit, open_store, patch
from kando.app.group_worker import GroupWorker
from kando.app.opened import open_run
from kando.errors import ConfigurationError, InvalidData, RefusedEvent
from kando.ledger.memory import MemoryLedgerStore
from kando.runtime import Runtime
from kando.schema.events import (
    OBJECT_CREATED,
    PERSON_ASKED,
    PERSON_REMINDED,
    PERSON_REPLIED,
    KandoEvent,
    RecordedEvent,
)

#: Seconds that a test waits for something at most.
PATIENCE = 60

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = 3600


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def asking(remind: Any = HOUR, expires: Any = None) -> Kit:
    kit = Kit("asking", version="1")
    kit.seeds(lambda goal, run_id: [create("Trip", {"mails": []}, id="trip")])

    @kit.responder(OBJECT_CREATED, type="Trip")
    def on_trip(event: KandoEvent, world: object) -> Any:
        yield ask_person("Where to?", about="trip", remind=remind, expires=expires)

    @kit.responder(PERSON_REMINDED, type="Trip")
    def on_reminder(event: KandoEvent, world: Any) -> Any:
        mails = world.get_object("trip").data["mails"]
        yield patch("trip", {"mails": [*mails, event.data["count"]]})
        yield emit("mail.sent", {"text": event.data["question"]})

    @kit.responder(PERSON_REPLIED, type="Trip")
    def on_reply(event: KandoEvent, world: object) -> Any:
        yield patch("trip", {"to": event.data.get("answer", event.data.get("error"))})

    return kit


def opened(url: str, kit: Kit | None = None) -> Store:
    return open_store(url, kits=[kit or asking()], environ={"KANDO_PLUGINS": ""})


def set_clock(clock: Callable[[], datetime]) -> None:
    """Have the runs of this process use a clock."""
    assert Runtime.__init__.__kwdefaults__ is not None
    Runtime.__init__.__kwdefaults__["clock"] = clock


@pytest.fixture
def clock() -> Iterator[Clock]:
    usual = (Runtime.__init__.__kwdefaults__ or {})["clock"]
    clock = Clock(datetime.now(UTC) - timedelta(days=9))
    set_clock(clock)
    yield clock
    set_clock(usual)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = "memory:" if request.param == "memory" else f"sqlite:{tmp_path / 'runs.sqlite'}"
    with opened(url) as store:
        yield store


def reminders(run: Run) -> list[RecordedEvent]:
    return [each for each in run.events() if each.type == PERSON_REMINDED]


def mails(run: Run) -> Any:
    return run.world().objects["trip"].data["mails"]


def test_a_reminder_is_recorded_when_it_is_due_and_not_before() -> None:
    clock, ledger, kit = Clock(), MemoryLedgerStore("r1"), asking()

    def work() -> list[RecordedEvent]:
        Runtime(ledger, kit.create(), kits=[kit], edge_logic=(), clock=clock).run(
            [] if ledger.length() else [create("Trip", {"mails": []}, id="trip")]
        )
        return [each for each in ledger.read_all() if each.type == PERSON_REMINDED]

    def due() -> float | None:
        return Runtime(ledger, [], edge_logic=(), clock=clock).seconds_until_due()

    assert (work(), due()) == ([], HOUR)
    (asked,) = (each for each in ledger.read_all() if each.type == PERSON_ASKED)
    assert asked.data["remind"] == HOUR
    clock.pass_seconds(HOUR - 1)
    assert (work(), due()) == ([], 1)
    clock.pass_seconds(1)
    assert due() == 0
    (first,) = work()
    assert (first.actor, first.cause, first.timestamp) == ("clock", [asked.id], clock.now)
    assert first.data == {
        "request": asked.id,
        "question": "Where to?",
        "count": 1,
        "cause_object_id": "trip",
    }
    assert (len(work()), due()) == (1, HOUR)
    # However long no process worked on the run, one reminder is enough.
    clock.pass_seconds(10 * HOUR)
    assert [each.data["count"] for each in work()] == [1, 2]
    assert due() == HOUR
    runtime = Runtime(ledger, kit.create(), kits=[kit], edge_logic=(), clock=clock)
    assert runtime.replay(strict=True) == runtime.load()


def test_the_run_its_status_and_its_question_show_the_reminders(store: Store, clock: Clock) -> None:
    run = store.start("asking", "go")
    (asked,) = run.questions()
    assert (asked.remind, asked.reminded) == (HOUR, 0)
    assert asked.remind_at == asked.asked_at + timedelta(hours=1)
    clock.pass_seconds(HOUR)
    run.resume()

    (question,), status = run.questions(), run.status()
    assert (question.reminded, question.remind_at) == (1, clock.now + timedelta(hours=1))
    (shown,) = status.reminders
    assert (shown.event_id, shown.reminded, shown.remind_at) == (
        question.event_id,
        1,
        question.remind_at,
    )
    assert (status.state, status.timers, status.questions, mails(run)) == ("waiting", 0, 1, [1])


def test_an_answered_question_has_no_reminder(store: Store, clock: Clock) -> None:
    run = store.start("asking", "go")
    run.reply(run.questions()[0].event_id, "Rome")
    clock.pass_seconds(5 * HOUR)
    # The reply was sent before: it is read first.
    run.resume()

    assert reminders(run) == []
    assert (run.status().state, run.status().reminders) == ("finished", [])
    assert run.replay(strict=True)


def test_a_question_whose_deadline_has_passed_has_no_reminder(clock: Clock) -> None:
    with opened("memory:", asking(HOUR, expires=2 * HOUR)) as store:
        run = store.start("asking", "go")
        clock.pass_seconds(HOUR)
        run.resume()
        (asked,) = run.questions()
        # The next one would come when the run has given up.
        assert (asked.reminded, asked.remind_at, run.status().reminders) == (1, None, [])
        clock.pass_seconds(HOUR)
        run.resume()
        assert (len(reminders(run)), run.status().state) == (1, "finished")
        assert run.replay(strict=True)


def test_a_paused_or_cancelled_run_records_no_reminder(store: Store, clock: Clock) -> None:
    paused, cancelled = store.start("asking", "go"), store.start("asking", "go")
    paused.pause()
    cancelled.cancel()
    clock.pass_seconds(HOUR)
    # It reads the pause, which was sent before the reminder was due.
    paused.resume()
    cancelled.resume()
    assert (reminders(paused), reminders(cancelled)) == ([], [])
    assert (paused.status().state, cancelled.status().state) == ("paused", "cancelled")
    paused.resume()
    assert len(reminders(paused)) == 1


def test_a_branch_has_the_reminders_before_its_cut_and_its_own(store: Store, clock: Clock) -> None:
    run = store.start("asking", "go")
    clock.pass_seconds(HOUR)
    run.resume()
    (reminder,) = reminders(run)
    at_it, before_it = run.fork(at=reminder.position + 1), run.fork(before=reminder.id)
    at_it.resume()
    # Its question was asked an hour ago, as that of the run.
    before_it.resume()
    assert [each.data["count"] for each in reminders(at_it)] == [1]
    assert [each.data["count"] for each in reminders(before_it)] == [1]
    assert mails(at_it) == mails(before_it) == mails(run) == [1]
    clock.pass_seconds(HOUR)
    at_it.resume()
    assert (mails(at_it), mails(run)) == ([1, 2], [1])
    for branch in (at_it, before_it):
        branch.reply(branch.questions()[0].event_id, "Oslo")
        branch.resume()
        assert branch.status().state == "finished"
        assert branch.replay(strict=True)


def test_an_imported_run_has_the_reminders_of_its_file(
    store: Store, clock: Clock, tmp_path: Path
) -> None:
    run = store.start("asking", "go")
    clock.pass_seconds(HOUR)
    run.resume()
    run.export(tmp_path / "run.jsonl")
    lines = (tmp_path / "run.jsonl").read_bytes().splitlines(keepends=True)
    with opened("memory:") as elsewhere:
        elsewhere.import_run(lines)
        copy = elsewhere.run(run.id)
        assert copy.questions() == run.questions()
        copy.resume()
        assert len(reminders(copy)) == 1
        clock.pass_seconds(HOUR)
        copy.resume()
        assert mails(copy) == [1, 2]
        assert copy.replay(strict=True)
    malformed = [line.replace(b'"remind":3600', b'"remind":1') for line in lines]
    assert malformed != lines
    with opened("memory:") as elsewhere, pytest.raises(InvalidData):
        elsewhere.import_run(malformed)


def test_a_snapshot_restores_the_reminders(tmp_path: Path, clock: Clock) -> None:
    kit = asking()

    @kit.responder("note")
    def on_note(event: KandoEvent, world: object) -> Any:
        for n in range(400):
            yield create("Line", {"n": n})

    url = f"sqlite:{tmp_path / 'runs.sqlite'}"
    with opened(url, kit) as store:
        run = store.start("asking", "go")
        clock.pass_seconds(HOUR)
        run.resume()
        run.send("note", {})
        run.resume()
        assert open_run(store.context, run.id).snapshot is not None
        asked = run.questions()
    with opened(url, kit) as store:
        run = store.run(run.id)
        assert run.questions() == asked
        assert run.status().reminders[0].remind_at == asked[0].remind_at
        run.resume()
        assert mails(run) == [1]
        clock.pass_seconds(HOUR)
        run.resume()
        assert mails(run) == [1, 2]
        assert run.verify().problem is None
        assert run.replay(strict=True)


def test_a_run_that_waits_wakes_for_each_reminder_and_ends_with_the_reply(
    store: Store, clock: Clock
) -> None:
    run = store.start("asking", "go")
    clock.pass_seconds(HOUR)
    waiting = threading.Thread(target=lambda: run.resume(wait=True))
    waiting.start()
    wait_until(lambda: mails(run) == [1])
    clock.pass_seconds(HOUR)
    wait_until(lambda: mails(run) == [1, 2])
    run.reply(run.questions()[0].event_id, "Rome")
    waiting.join(PATIENCE)

    assert not waiting.is_alive()
    assert (run.status().state, mails(run)) == ("finished", [1, 2])


def test_a_worker_wakes_for_a_reminder_and_does_not_wait_for_the_next(
    store: Store, clock: Clock
) -> None:
    # Workers wait by the clock of the store, so the first reminder is due soon after the start.
    clock.now = datetime.now(UTC) - timedelta(seconds=HOUR - 0.5)
    run = store.start("asking", "go")
    clock.now = datetime.now(UTC)
    set_clock(lambda: datetime.now(UTC))
    run.offer("crew")
    lines: list[str] = []
    GroupWorker(store.context, "crew", report=lines.append).work(until_idle=True)

    assert mails(run) == [1]
    info = store.context.substrate().group("crew").info()
    assert (info.waiting, info.delayed, info.parked) == (1, 1, 0)
    assert info.next_due is not None
    assert any("delayed" in line for line in lines)
    run.reply(run.questions()[0].event_id, "Rome")
    GroupWorker(store.context, "crew").work(until_idle=True)
    assert (run.status().state, mails(run)) == ("finished", [1])
    assert run.replay(strict=True)


def test_a_process_that_was_killed_while_it_waited_reminds_no_one_twice(
    tmp_path: Path, clock: Clock
) -> None:
    url = f"sqlite:{tmp_path / 'runs.sqlite'}"
    clock.now = datetime.now(UTC) - timedelta(seconds=HOUR)
    with opened(url) as store:
        run = store.start("asking", "go")
        set_clock(lambda: datetime.now(UTC))
        program = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            "from test_reminders import opened\n"
            f"opened({url!r}).run({run.id!r}).resume(wait=True)"
        )
        for _ in range(2):
            process = subprocess.Popen([sys.executable, "-c", program])
            try:
                # It waits: it has recorded what is due, and released the run.
                wait_until(lambda: mails(run) == [1], process)
            finally:
                os.kill(process.pid, signal.SIGKILL)
                process.wait(PATIENCE)
        assert len(reminders(run)) == 1
        run.reply(run.questions()[0].event_id, "Rome")
        run.resume(take_over=True)
        assert (run.status().state, mails(run)) == ("finished", [1])
        assert run.replay(strict=True)


def wait_until(holds: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait for a condition, while a process lives."""
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until
        assert process is None or process.poll() is None
        time.sleep(0.02)


@pytest.mark.parametrize("remind", [0, 59, -1, True, "60", float("inf"), timedelta(seconds=1)])
def test_a_malformed_interval_is_refused(remind: Any) -> None:
    with pytest.raises(ConfigurationError, match="at least 60"):
        ask_person("?", remind=remind)


def test_equal_intervals_are_recorded_alike() -> None:
    assert ask_person("?", remind=timedelta(minutes=1)).data["remind"] == 60


def test_a_malformed_interval_of_an_emitted_event_is_refused(store: Store) -> None:
    kit = asking()

    @kit.responder("note")
    def on_note(event: KandoEvent, world: object) -> Any:
        yield emit(PERSON_ASKED, {"question": "?", "remind": 1})

    with opened("memory:", kit) as store:
        run = store.start("asking", "go")
        run.send("note", {})
        with pytest.raises(InvalidData, match=r"data\.remind"):
            run.resume()


def test_a_responder_cannot_emit_a_reminder() -> None:
    kit = Kit("eager", version="1")
    kit.seeds(lambda goal, run_id: [create("Trip", {})])

    @kit.responder(OBJECT_CREATED, type="Trip")
    def on_trip(event: KandoEvent, world: object) -> Any:
        yield emit(PERSON_REMINDED, {"request": "person.asked-1", "count": 1})

    with (
        opened("memory:", kit) as store,
        pytest.raises(RefusedEvent, match="only the runtime records"),
    ):
        store.start("eager", "go")
