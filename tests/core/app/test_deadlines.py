"""Deadlines of questions to people: the run denies a question itself when its time has passed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kando.app.group_worker import GroupWorker
from kando.app.run import Run
from kando.app.store import Store, open_store
from kando.emit import ask, call_tool, create
from kando.errors import ConfigurationError, EventNotFound, InvalidData
from kando.kit import Kit
from kando.ledger.inbox import InboxEntry
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.base import AnswerPending, Effect, Responder
from kando.responders.policies import Ask
from kando.runtime import Runtime
from kando.runtime.inbox import Inbox
from kando.schema.events import (
    APPROVAL_DENIED,
    APPROVAL_GRANTED,
    APPROVAL_REQUESTED,
    INBOX_REFUSED,
    OBJECT_CREATED,
    RUN_PAUSED,
    KandoEvent,
    make_event,
)

START = datetime(2026, 1, 1, tzinfo=UTC)

#: Seconds of a deadline that has passed as soon as a process works on the run again.
AT_ONCE = 0.000_001


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


class ListInbox(Inbox):
    """An inbox that is a list."""

    def __init__(self, *events: KandoEvent) -> None:
        super().__init__()
        self._entries = {f"k{n}": InboxEntry(f"k{n}", e) for n, e in enumerate(events)}

    def entries(self) -> list[InboxEntry]:
        return list(self._entries.values())

    def take(self, key: str) -> None:
        del self._entries[key]


def paying(expires: Any, paid: list[int], version: str = "1") -> Kit:
    kit = Kit("paying", version=version)
    kit.seeds(lambda goal, run_id: [create("Go", {}, id="go")])

    @kit.tool("pay")
    def pay(amount: int) -> str:
        paid.append(amount)
        return "paid"

    @kit.policy
    def careful(intent: KandoEvent) -> Ask:
        return Ask("pay?", expires=expires)

    @kit.responder(OBJECT_CREATED, type="Go")
    def on_go(event: KandoEvent, world: object) -> Any:
        yield call_tool("pay", {"amount": 7}, about="go")

    return kit


@pytest.fixture
def open_paying(tmp_path: Path) -> Callable[..., Store]:
    def opened(expires: Any, paid: list[int], version: str = "1", name: str = "runs") -> Store:
        kit = paying(expires, paid, version)
        url = f"sqlite:{tmp_path / f'{name}.sqlite'}"
        return open_store(url, kits=[kit], environ={"KANDO_PLUGINS": ""})

    return opened


def outcomes(run: Run) -> list[Any]:
    returned = (e.data for e in run.events() if e.type == "tool.returned")
    return [data.get("result") or data["error"]["message"] for data in returned]


def test_a_run_denies_a_question_when_its_deadline_has_passed_and_not_before() -> None:
    clock, paid, ledger = Clock(), list[int](), MemoryLedgerStore("r1")
    kit = paying(timedelta(minutes=1), paid)

    def runtime() -> Runtime:
        return Runtime(ledger, kit.create(), kits=[kit], edge_logic=(), clock=clock)

    runtime().run([create("Go", {}, id="go")])
    (asked,) = (e for e in ledger.read_all() if e.type == APPROVAL_REQUESTED)
    assert asked.data["expires"] == 60
    assert runtime().seconds_until_due() == 60

    clock.now = START + timedelta(seconds=59)
    runtime().run([])
    assert APPROVAL_DENIED not in [e.type for e in ledger.read_all()]

    clock.now = START + timedelta(seconds=60)
    assert runtime().seconds_until_due() == 0
    runtime().run([])
    (denied,) = (e for e in ledger.read_all() if e.type == APPROVAL_DENIED)
    assert (denied.actor, denied.cause) == ("clock", [asked.id])
    assert denied.data == {"approval": asked.id, "reason": "expired"}
    assert (paid, runtime().seconds_until_due()) == ([], None)
    assert runtime().replay(strict=True) == runtime().load()


def test_the_state_of_a_run_shows_the_deadlines_of_what_waits_the_next_one_first(
    tmp_path: Path,
) -> None:
    kit = Kit("paying", version="1")
    kit.seeds(lambda goal, run_id: [create("Go", {}, id="go")])

    @kit.tool("pay")
    def pay(hours: int) -> str:
        raise NotImplementedError

    @kit.policy
    def careful(intent: KandoEvent) -> Ask:
        hours = intent.data["arguments"]["hours"]
        return Ask("pay?", expires=timedelta(hours=hours) if hours else None)

    @kit.responder(OBJECT_CREATED, type="Go")
    def on_go(event: KandoEvent, world: object) -> Any:
        for hours in (9, 0, 3):
            yield call_tool("pay", {"hours": hours})

    url = f"sqlite:{tmp_path / 'runs.sqlite'}"
    with open_store(url, kits=[kit], environ={"KANDO_PLUGINS": ""}) as store:
        run = store.start("paying", "x")
        late, _, soon = run.approvals()
        status = run.status()

        assert (status.state, status.approvals) == ("waiting", 3)
        assert [(each.event_id, each.expires_at) for each in status.deadlines] == [
            (soon.event_id, soon.expires_at),
            (late.event_id, late.expires_at),
        ]
        run.deny(soon.event_id)
        assert [each.event_id for each in run.resume().status.deadlines] == [late.event_id]


def test_a_decision_that_was_made_in_time_counts_and_a_later_one_is_refused_with_the_reason() -> (
    None
):
    for is_late in (False, True):
        clock, paid, ledger = Clock(), list[int](), MemoryLedgerStore("r1")
        kit = paying(60, paid)

        def runtime(
            *delivered: KandoEvent, ledger: Any = ledger, kit: Kit = kit, clock: Any = clock
        ) -> Runtime:
            inbox = ListInbox(*delivered)
            return Runtime(
                ledger, kit.create(), kits=[kit], edge_logic=(), clock=clock, inbox=inbox
            )

        runtime().run([create("Go", {}, id="go")])
        (asked,) = (e for e in ledger.read_all() if e.type == APPROVAL_REQUESTED)
        granted = make_event(APPROVAL_GRANTED, "", "ann", [asked.id], {"approval": asked.id})
        clock.now = START + timedelta(hours=1)
        if is_late:
            runtime().run([])
        # Otherwise the decision was delivered before, and no process worked on the run since.
        runtime(granted).run([])

        assert paid == ([] if is_late else [7])
        refused = [e.data["reason"] for e in ledger.read_all() if e.type == INBOX_REFUSED]
        reason = f"There is no open approval {asked.id!r}: denied by clock (expired)."
        assert refused == ([reason] if is_late else [])
        assert runtime().replay(strict=True) == runtime().load()


def test_a_deadline_does_not_wait_for_a_call_that_another_process_makes() -> None:
    clock, ledger = Clock(), MemoryLedgerStore("r1")
    kit = paying(60, [])

    def elsewhere(intent: KandoEvent) -> dict[str, Any]:
        raise AnswerPending(intent.id)

    asker = Responder("asker", {"llm.request"}, print, effect=Effect("llm.response", elsewhere))

    def runtime() -> Runtime:
        responders = [*kit.create(), asker]
        return Runtime(ledger, responders, kits=[kit], edge_logic=(), clock=clock)

    runtime().run([create("Go", {}, id="go")])
    runtime().run([ask([{"role": "user", "content": "?"}])])
    clock.now = START + timedelta(hours=1)
    runtime().run([])

    assert APPROVAL_DENIED in [e.type for e in ledger.read_all()]
    assert {each.type for each in runtime().open_intents()} == {"llm.request", "tool.called"}
    assert runtime().seconds_until_due() is None


def test_a_waiting_run_wakes_at_the_deadline(open_paying: Callable[..., Store]) -> None:
    paid: list[int] = []
    with open_paying(0.3, paid) as store:
        run = store.start("paying", "x", work=False)
        run.resume(wait=True)

        assert (paid, outcomes(run), run.status().state) == ([], ["expired"], "finished")
        run.replay(strict=True)


def test_a_worker_denies_a_question_at_its_deadline(open_paying: Callable[..., Store]) -> None:
    paid: list[int] = []
    with open_paying(0.3, paid) as store:
        run = store.start("paying", "x", group="crew")
        GroupWorker(store.context, "crew").work(until_idle=True)

        assert (paid, outcomes(run), run.status().state) == ([], ["expired"], "finished")


def test_a_paused_run_denies_the_question_when_it_is_resumed() -> None:
    clock, ledger = Clock(), MemoryLedgerStore("r1")
    kit = paying(60, [])

    def work(*delivered: KandoEvent) -> list[str]:
        inbox = ListInbox(*delivered)
        runtime = Runtime(ledger, kit.create(), kits=[kit], edge_logic=(), clock=clock, inbox=inbox)
        runtime.run([] if ledger.length() else [create("Go", {}, id="go")])
        return [e.type for e in ledger.read_all()]

    work()
    clock.now = START + timedelta(hours=1)
    assert APPROVAL_DENIED not in work(make_event(RUN_PAUSED, "", "ann", [], {}))
    assert APPROVAL_DENIED in work()


def test_a_later_version_of_the_kit_without_deadlines_keeps_the_recorded_one(
    open_paying: Callable[..., Store],
) -> None:
    paid: list[int] = []
    with open_paying(3600, paid) as store:
        run = store.start("paying", "x")
        (asked,) = run.approvals()
        assert asked.expires_at == asked.requested_at + timedelta(hours=1)
    with open_paying(None, paid, "2") as store:
        run = store.run(run.id)
        run.resume()
        assert run.approvals() == [asked]


def test_a_branch_and_an_imported_run_have_the_deadline_of_the_question(
    open_paying: Callable[..., Store], tmp_path: Path
) -> None:
    paid: list[int] = []
    file = tmp_path / "run.jsonl"
    with open_paying(3600, paid) as store:
        run = store.start("paying", "x")
        branch = run.fork(at=run.length())
        branch.resume()
        assert branch.approvals() == run.approvals()
        run.export(file)
    with open_paying(3600, paid, name="elsewhere") as store:
        store.import_run(file.read_bytes().splitlines(keepends=True))
        assert store.run(run.id).approvals() == branch.approvals()


def test_an_approval_after_the_deadline_is_refused_where_it_is_given(
    open_paying: Callable[..., Store],
) -> None:
    paid: list[int] = []
    with open_paying(3600, paid) as store:
        run = store.start("paying", "x")
        (asked,) = run.approvals()
    with open_paying(AT_ONCE, paid) as store:
        run = store.start("paying", "x", work=False)
        # One pass of work asks; the deadline has passed before the next.
        run.resume()
        for decide in (run.approve, run.deny):
            with pytest.raises((InvalidData, EventNotFound), match=r"deadline|denied by clock"):
                decide(asked.event_id)
        run.resume()
        with pytest.raises(EventNotFound, match=r"it was denied by clock \(expired\)"):
            run.approve(asked.event_id)
        assert (paid, outcomes(run)) == ([], ["expired"])


def test_an_object_that_waits_beyond_its_deadline_is_not_created(tmp_path: Path) -> None:
    kit = Kit("reports", version="1")
    kit.seeds(lambda goal, run_id: [create("Go", {}, id="go")])
    kit.policy(type="A")(lambda event: Ask("first?", expires=AT_ONCE))
    kit.policy(type="B")(lambda event: Ask("second?", expires=3600))

    @kit.responder(OBJECT_CREATED, type="Go")
    def on_go(event: KandoEvent, world: object) -> Any:
        yield create("B", {})
        yield create("A", {})

    with open_store(
        f"sqlite:{tmp_path / 'r.sqlite'}", kits=[kit], environ={"KANDO_PLUGINS": ""}
    ) as store:
        run = store.start("reports", "x")
        # One question about both: it has the earliest of their deadlines.
        run.resume()
        (asked,) = run.approvals(decided=True)
        assert asked.reason == "second?; first?"
        assert asked.decision is not None
        assert asked.decision.text() == "denied by clock (expired)"
        assert [each.type for each in run.world().objects.values()] == ["Go"]
        run.replay(strict=True)


@pytest.mark.parametrize("expires", [0, -1, True, float("nan"), float("inf"), "1", timedelta(0)])
def test_a_malformed_deadline_is_refused(expires: Any) -> None:
    with pytest.raises(ConfigurationError, match="has no deadline"):
        Ask("pay?", expires=expires)


def test_a_malformed_deadline_in_a_file_is_not_imported(
    open_paying: Callable[..., Store], tmp_path: Path
) -> None:
    file = tmp_path / "run.cloudevents"
    with open_paying(3600, []) as store:
        run = store.start("paying", "x")
        run.export(file)
        lines = file.read_bytes().replace(b'"expires":3600', b'"expires":"soon"')
        assert b'"soon"' in lines
        with pytest.raises(InvalidData):
            store.import_run(lines.splitlines(keepends=True))
