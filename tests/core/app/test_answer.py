"""A person or a program answers an open request by hand, instead of the model or the tool."""

import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from kando.app.group_worker import GroupWorker
from kando.app.providers import Provider
from kando.app.run import Run
from kando.app.store import Store, open_store
from kando.emit import ask, call_tool, create
from kando.errors import (
    ConfigurationError,
    EventNotFound,
    InvalidData,
    KandoError,
    PayloadTooLarge,
    RunCancelled,
)
from kando.kit import Kit
from kando.ledger.interface import LedgerStore
from kando.responders.budget import Budget
from kando.responders.llm_executor import provider_executor
from kando.responders.policies import Ask
from kando.schema.events import KandoEvent, RecordedEvent
from kando.testing.runs import Crash

SCHEMA = {
    "type": "object",
    "properties": {"amount": {"type": "integer"}},
    "required": ["amount"],
    "additionalProperties": False,
}


@attrs.define
class Desk:
    """A kit that asks a model and calls a tool; it counts what was begun."""

    requests: tuple[str, ...] = ("llm", "tool")
    policy: Callable[..., Any] | None = None
    begun: list[int] = attrs.field(factory=list)
    asked: list[dict[str, Any]] = attrs.field(factory=list)
    gate: threading.Event = attrs.field(factory=threading.Event)
    llm_gate: threading.Event = attrs.field(factory=threading.Event)
    error: Exception | None = None
    max_parallel: int | None = None
    cost_usd: float = 0.5

    def __attrs_post_init__(self) -> None:
        self.gate.set()
        self.llm_gate.set()

    def kit(self) -> Kit:
        kit = Kit("desk", version="1")
        kit.seeds(lambda goal, run_id: [create("Go", {}, id="go")])

        @kit.tool("charge", max_parallel=self.max_parallel)
        def charge(n: int) -> int:
            self.begun.append(n)
            assert (self.llm_gate if n else self.gate).wait(60)
            return n

        @kit.responder("object.created", type="Go")
        def on_go(event: KandoEvent, world: object) -> Any:
            for n, kind in enumerate(self.requests):
                if kind == "tool":
                    yield call_tool("charge", {"n": n}, about="go")
                    continue
                extra = {"output_schema": SCHEMA} if kind == "data" else {}
                # Requests of kind "same" are equal.
                content = "same" if kind == "same" else str(n)
                yield ask([{"role": "user", "content": content}], about="go", **extra)

        @kit.responder("llm.response", "tool.returned")
        def on_answer(event: KandoEvent, world: object) -> Any:
            yield create(
                "Seen", {"by": event.data.get("by"), "about": event.data["cause_object_id"]}
            )

        if self.policy is not None:
            kit.policy(self.policy)
        return kit

    def provider(self) -> Provider:
        def complete(request: dict[str, Any]) -> dict[str, Any]:
            self.asked.append(request)
            assert self.llm_gate.wait(60)
            if self.error is not None:
                raise self.error
            return {"text": '{"amount": 1}', "model": "m", "cost_usd": self.cost_usd}

        complete.worst_case_usd = lambda request: 0.5  # type: ignore[attr-defined]
        return Provider("counting", "", provider_executor(complete))


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'runs.sqlite'}"


def opened(path: str, desk: Desk) -> Store:
    return open_store(path, kits=[desk.kit()], environ={"KANDO_PLUGINS": ""})


def requests_of(run: Run) -> list[str]:
    return [e.id for e in run.events() if e.type in ("llm.request", "tool.called")]


def answer_to(run: Run, request: str) -> RecordedEvent:
    (found,) = (
        e
        for e in run.events()
        if e.type in ("llm.response", "tool.returned")
        and request in e.cause
        and e.data.get("answers") is not False
    )
    return found


def pending(store: Store) -> Run:
    """Start a run and record its requests, without an answer."""
    run = store.start("desk", "x", budget=Budget(max_tool_calls=0, max_llm_calls=0))
    run.resume(forgets_limits=True, budget=Budget(max_tool_calls=0))
    return run


def costs(run: Run) -> list[float]:
    """Return the cost of a run as every view of it reports it."""
    return [
        run.status().llm_cost_usd,
        run.metrics().llm.cost_usd,
        run.cache().spent_usd + run.cache().shared_usd,
    ]


def test_an_answer_by_hand_settles_the_request_and_neither_model_nor_tool_is_called(
    path: str,
) -> None:
    desk = Desk(("llm", "data", "tool", "tool"))
    with opened(path, desk) as store:
        run = pending(store)
        text, data, result, error = requests_of(run)
        run.answer(text, text="from ann", by="ann")
        run.answer(data, data={"amount": 7}, by="ann")
        run.answer(result, result=None, by="bob")
        run.answer(error, error="out of stock", by="bob")
        run.resume(llm=desk.provider(), forgets_limits=True)

        assert (desk.asked, desk.begun) == ([], [])
        given = [answer_to(run, each) for each in (text, data, result, error)]
        assert [(e.actor, e.data["by"]) for e in given] == [("ann", "ann")] * 2 + [
            ("bob", "bob")
        ] * 2
        assert [e.data["cause_object_id"] for e in given] == ["go"] * 4
        assert given[0].data["text"] == "from ann"
        assert (given[1].data["data"], given[1].data["text"]) == ({"amount": 7}, '{"amount": 7}')
        assert given[2].data["result"] is None
        assert given[3].data["error"] == {"type": "ByHand", "message": "out of stock"}
        seen = [each.data["by"] for each in run.world().objects_of("Seen")]
        assert seen == ["ann", "ann", "bob", "bob"]
        assert (run.status().state, run.status().unanswered) == ("finished", 0)
        run.replay(strict=True)


def test_an_answer_by_hand_is_not_charged_in_any_view_and_needs_no_budget(path: str) -> None:
    desk = Desk(("llm", "tool"))
    with opened(path, desk) as store:
        run = pending(store)
        request, call = requests_of(run)
        run.answer(request, text="x" * 4000)
        run.answer(call, result=1)
        nothing = Budget(max_llm_calls=0, max_tool_calls=0, max_llm_tokens=0, max_llm_cost_usd=0.0)
        run.resume(llm=desk.provider(), budget=nothing)

        status, use = run.status(), run.cache()
        assert costs(run) == [0.0] * 3
        assert (status.state, status.tool_calls, status.llm_tokens) == ("finished", 0, 0)
        assert (use.requests, use.hits, use.misses) == (1, 0, 0)
        assert [each.llm.cost_usd for each in store.compare([run.id])] == [0.0]
        branch = run.fork(at=run.length())
        assert costs(branch) == [0.0] * 3


def test_an_answer_that_is_sent_as_an_event_is_not_charged_either(path: str) -> None:
    desk = Desk(("llm", "tool"))
    with opened(path, desk) as store:
        run = pending(store)
        request, call = requests_of(run)
        paid = {"text": "t", "cost_usd": 3.0, "by": "the model", "cause_object_id": "go"}
        run.send("llm.response", paid, cause=[request], actor="ann")
        run.send("tool.returned", {"result": 1, "cause_object_id": "go"}, cause=[call], actor="ann")
        run.resume(llm=desk.provider(), forgets_limits=True)

        assert costs(run) == [0.0] * 3
        assert run.status().tool_calls == 0
        assert answer_to(run, request).data["by"] == "ann"


def test_an_executor_cannot_pass_its_answer_off_as_one_by_hand(path: str) -> None:
    desk = Desk(("llm",))
    provider = Provider(
        "free", "", provider_executor(lambda r: {"text": "t", "cost_usd": 2.0, "by": "ann"})
    )
    with opened(path, desk) as store:
        run = store.start("desk", "x", llm=provider)

        assert costs(run) == [2.0] * 3
        assert "by" not in answer_to(run, requests_of(run)[0]).data


def test_an_answer_by_hand_serves_no_equal_request_and_no_sibling_branch(path: str) -> None:
    desk = Desk(("same", "same", "tool"))
    with opened(path, desk) as store:
        run = pending(store)
        first, second, call = requests_of(run)
        sibling = run.fork(at=run.length(), allow_writes=True)
        run.answer(first, text="by hand")
        run.answer(call, result="by hand")
        run.resume(llm=desk.provider(), forgets_limits=True)
        sibling.resume(llm=desk.provider(), forgets_limits=True)
        after = run.fork(at=run.length())

        assert answer_to(run, first).data["text"] == "by hand"
        assert answer_to(run, second).data.get("cached") is None
        texts = [answer_to(sibling, each).data["text"] for each in (first, second)]
        assert texts == ['{"amount": 1}'] * 2
        assert answer_to(sibling, call).data["result"] == 2
        # The prefix of a branch that was forked later holds it.
        assert answer_to(after, first).data["text"] == "by hand"
        assert (len(desk.asked), desk.begun) == (1, [2])
        for each in (run, sibling, after):
            each.replay(strict=True)


def test_a_write_that_was_answered_by_hand_is_asked_about_on_a_sibling_branch(path: str) -> None:
    desk = Desk(("tool",))
    with opened(path, desk) as store:
        run = pending(store)
        (call,) = requests_of(run)
        sibling = run.fork(before=f"{run.id}@{run.length() - 1}")
        run.answer(call, result="by hand")
        run.resume(forgets_limits=True)
        sibling.resume(forgets_limits=True)

        assert (desk.begun, len(sibling.approvals())) == ([], 1)


def test_an_answer_by_hand_takes_the_place_of_an_approval(path: str) -> None:
    desk = Desk(("tool", "tool"), policy=lambda intent, world: Ask("charge?"))
    with opened(path, desk) as store:
        run = store.start("desk", "x")
        first, second = requests_of(run)
        asked = {each.intent: each.event_id for each in run.approvals()}
        # A grant that waits to be recorded comes too late.
        run.approve(asked[second])
        for call in (first, second):
            run.answer(call, result="by hand", by="ann")
        run.resume()

        assert (desk.begun, run.approvals(), run.status().state) == ([], [], "finished")
        with pytest.raises(EventNotFound):
            run.approve(asked[first])
        run.replay(strict=True)


def test_a_call_that_was_denied_cannot_be_answered(path: str) -> None:
    desk = Desk(("tool",), policy=lambda intent, world: Ask("charge?"))
    with opened(path, desk) as store:
        run = store.start("desk", "x")
        (call,) = requests_of(run)
        run.deny(run.approvals()[0].event_id, by="ann")
        with pytest.raises(InvalidData, match="is denied by ann"):
            run.answer(call, result=1)
        run.resume()
        assert answer_to(run, call).data["error"]["type"] == "Denied"


@pytest.mark.parametrize("when", ["paused", "failed"])
def test_an_answer_by_hand_to_a_run_that_stopped_is_recorded_before_any_call(
    path: str, when: str
) -> None:
    desk = Desk(("llm", "llm"), error=ValueError("no answer"))
    with opened(path, desk) as store:
        run = pending(store)
        first, second = requests_of(run)
        if when == "paused":
            run.pause()
            run.resume()
        else:
            with pytest.raises(ValueError, match="no answer"):
                run.resume(llm=desk.provider(), forgets_limits=True)
            desk.asked.clear()
            desk.error = None
        run.answer(first, text="by hand")
        run.answer(second, text="by hand")
        run.resume(llm=desk.provider(), forgets_limits=True)
        assert (desk.asked, run.status().state) == ([], "finished")
        run.replay(strict=True)


def test_a_run_in_another_process_records_an_answer_between_its_firings(path: str) -> None:
    # The first call is in flight, then the second; the third waits for them.
    desk = Desk(("tool",) * 3, max_parallel=1)
    desk.gate.clear()
    desk.llm_gate.clear()
    with opened(path, desk) as store:
        run = store.start("desk", "x", work=False)
        owner = threading.Thread(target=run.resume)
        owner.start()
        while not desk.begun:
            assert owner.is_alive()
        last = requests_of(run)[-1]
        with opened(path, desk) as other:
            other.run(run.id).answer(last, result="by hand", by="ann")
            with pytest.raises(InvalidData, match="an answer of ann that waits"):
                other.run(run.id).answer(last, result="again")
        desk.gate.set()
        while not any(e.data.get("by") for e in run.events() if e.type == "tool.returned"):
            assert owner.is_alive()
        desk.llm_gate.set()
        owner.join(60)

        assert (answer_to(run, last).data["result"], desk.begun) == ("by hand", [0, 1])
        assert (run.status().state, run.status().unread) == ("finished", 0)
        run.replay(strict=True)


class CutOff(Exception):
    """A failed attempt that reports what it used."""

    spent: ClassVar[Any] = {"usage": {"input_tokens": 1, "output_tokens": 2}, "cost_usd": 0.5}


@pytest.mark.parametrize("error", [None, CutOff("cut off")])
def test_a_worker_whose_call_returns_after_an_answer_by_hand_is_charged(
    path: str, error: Exception | None
) -> None:
    desk = Desk(("llm",), error=error)
    desk.llm_gate.clear()
    with opened(path, desk) as store:
        run = store.start("desk", "x", group="g")
        worker = GroupWorker(store.context, "g", llm=desk.provider())
        thread = threading.Thread(target=lambda: worker.work(until_idle=True))
        thread.start()
        while not desk.asked:
            assert thread.is_alive()
        with opened(path, desk) as other:
            other.run(run.id).answer(requests_of(run)[0], text="by hand")
        desk.llm_gate.set()
        thread.join(60)

        (request,) = requests_of(run)
        assert answer_to(run, request).data["by"] == "cli"
        assert (run.status().state, len(desk.asked)) == ("finished", 1)
        assert costs(run) == [0.5] * 3
        run.replay(strict=True)


@pytest.mark.parametrize("error", [None, CutOff("cut off")])
def test_a_call_that_returns_after_an_answer_by_hand_is_charged_and_its_answer_cached(
    path: str, error: Exception | None
) -> None:
    desk = Desk(("tool", "llm"), error=error)
    desk.gate.clear()
    desk.llm_gate.clear()
    with opened(path, desk) as store:
        run = store.start("desk", "x", work=False)
        owner = threading.Thread(target=lambda: run.resume(llm=desk.provider()))
        owner.start()
        while not (desk.asked and desk.begun):
            assert owner.is_alive()
        _, request = requests_of(run)
        with opened(path, desk) as other:
            other.run(run.id).answer(request, text="by hand")
        desk.gate.set()
        while not any(e.data.get("by") for e in run.events() if e.type == "llm.response"):
            assert owner.is_alive()
        desk.llm_gate.set()
        owner.join(60)

        assert (answer_to(run, request).data["by"], run.status().state) == ("cli", "finished")
        assert costs(run) == [0.5] * 3
        (failed,) = (e for e in run.events() if e.type == "responder.failed")
        assert failed.cause == [request]
        run.replay(strict=True)
        desk.error = None
        branch = run.fork(before=request)
        branch.resume(llm=desk.provider())
        assert len(desk.asked) == (2 if error else 1)
        assert answer_to(branch, request).data["text"] == '{"amount": 1}'


def test_the_answer_of_a_call_that_was_delivered_first_counts(path: str) -> None:
    desk = Desk(("llm",))
    with opened(path, desk) as store:
        run = store.start("desk", "x", group="g")
        desk.llm_gate.clear()
        worker = GroupWorker(store.context, "g", llm=desk.provider())
        working = threading.Thread(target=worker.work)
        working.start()
        while not desk.asked:
            assert working.is_alive()
        # It completes its call, and resumes no run; the answer waits in the inbox.
        worker.stop()
        desk.llm_gate.set()
        working.join(60)
        (request,) = requests_of(run)
        with pytest.raises(InvalidData, match="an answer of llm that waits"):
            run.answer(request, text="by hand")
        run.send("llm.response", {"text": "late", "cause_object_id": "go"}, cause=[request])
        GroupWorker(store.context, "g", llm=desk.provider()).work(until_idle=True)

        assert answer_to(run, request).data["text"] == '{"amount": 1}'
        (refused,) = (e for e in run.events() if e.type == "inbox.refused")
        assert "is answered already" in refused.data["reason"]
        assert costs(run) == [0.5] * 3


@pytest.mark.parametrize("is_written", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_answer_by_hand_is_recorded_once_whenever_the_process_dies(
    path: str, number: int, is_written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(("llm", "tool"))
    with opened(path, desk) as store:
        run = pending(store)
        request, call = requests_of(run)
        run.answer(request, text="by hand")
        run.answer(call, result="by hand")
        kind = type(store.context.ledger(run.id, read_only=False))
        append, writes = kind.append, count(1)

        def dies(ledger: LedgerStore, events: list[KandoEvent], **options: Any) -> int:
            is_last = next(writes) == number
            if is_last and not is_written:
                raise Crash
            length = append(ledger, events, **options)
            if is_last:
                raise Crash
            return length

        with monkeypatch.context() as patched:
            patched.setattr(kind, "append", dies)
            with pytest.raises(Crash):
                run.resume(llm=desk.provider(), forgets_limits=True)
    with opened(path, desk) as store:
        run = store.run(run.id)
        run.resume(llm=desk.provider(), forgets_limits=True)
        assert (desk.asked, desk.begun) == ([], [])
        assert answer_to(run, request).data["by"] == answer_to(run, call).data["by"] == "cli"
        assert (run.status().state, run.status().unread) == ("finished", 0)
        run.replay(strict=True)


def test_an_answer_by_hand_is_exported_and_imported(path: str, tmp_path: Path) -> None:
    desk = Desk(("llm", "tool"))
    with opened(path, desk) as store:
        run = pending(store)
        request, call = requests_of(run)
        run.answer(request, text="by hand", by="ann")
        run.answer(call, result=3, by="ann")
        run.resume(forgets_limits=True)
        run.export(tmp_path / "run.jsonl")
        with (
            opened(f"sqlite:{tmp_path / 'other.sqlite'}", desk) as other,
            (tmp_path / "run.jsonl").open("rb") as lines,
        ):
            other.import_run(lines)
            copy = other.run(run.id)
            assert list(copy.events()) == list(run.events())
            assert costs(copy) == [0.0] * 3
            copy.replay(strict=True)
            again = copy.fork(before=request)
            again.resume(llm=desk.provider(), forgets_limits=True)
            assert len(desk.asked) == 1


@pytest.mark.parametrize("cut", ["after the request", "before the answer"])
@pytest.mark.parametrize("kind", ["llm", "tool"])
def test_a_branch_before_an_answer_can_be_answered_by_hand(path: str, kind: str, cut: str) -> None:
    desk = Desk((kind, "llm"))
    given = {"text": "by hand"} if kind == "llm" else {"result": "by hand"}
    with opened(path, desk) as store:
        run = store.start("desk", "x", llm=desk.provider())
        request, _ = requests_of(run)
        answer = answer_to(run, request)
        at = next(e.position for e in run.events() if e.id == request) + 1
        branch = run.fork(before=answer.id) if cut == "before the answer" else run.fork(at=at)
        begun = (len(desk.asked), len(desk.begun))
        branch.answer(request, **given)
        branch.resume(llm=desk.provider())

        assert branch.status().state == "finished"
        assert answer_to(branch, request).data["by"] == "cli"
        assert (len(desk.asked), len(desk.begun)) == begun
        branch.replay(strict=True)
        branch.resume(llm=desk.provider())
        assert branch.verify().problem is None
        # Without a provider it waits for the other request only.
        nested = run.fork(before=answer.id)
        nested.answer(request, **given)
        nested.resume()
        assert answer_to(nested, request).data["by"] == "cli"
        nested.replay(strict=True)


def test_a_branch_before_an_event_shares_what_precedes_it(path: str) -> None:
    desk = Desk(("llm", "tool"))
    with opened(path, desk) as store:
        run = store.start("desk", "x", llm=desk.provider())
        for event in list(run.events(2)):
            branch = run.fork(before=event.id)
            assert list(branch.events())[: event.position] == list(run.events())[: event.position]
            assert branch.branch_meta().fork_position == event.position  # type: ignore[union-attr]
            branch.resume(llm=desk.provider())
            assert branch.world() == run.world()
            branch.replay(strict=True)
        assert run.fork(before=f"{run.id}@4").length() == run.fork(at=4).length()
        for wrong in ("nothing", f"{run.id}@999", "other@1", "@x"):
            with pytest.raises(EventNotFound, match="has no event"):
                run.fork(before=wrong)
        with pytest.raises(ConfigurationError, match="twice"):
            run.fork(at=1, before=request_id(run))


def request_id(run: Run) -> str:
    return requests_of(run)[0]


@pytest.mark.parametrize(
    ("request_kind", "given", "error", "message"),
    [
        ("llm", {"result": 1}, InvalidData, "result does not answer it"),
        ("tool", {"text": "t"}, InvalidData, "text does not answer it"),
        ("tool", {"data": 1}, InvalidData, "data does not answer it"),
        ("llm", {"data": {"amount": 1}}, InvalidData, "has no output_schema"),
        ("llm", {"text": 7}, InvalidData, "must be a string"),
        ("data", {"data": {"amount": "x"}}, InvalidData, "data.amount must be integer"),
        ("data", {"data": {"amount": 1, "b": 2}}, InvalidData, "data.b is not a property"),
        ("data", {"text": "{}"}, InvalidData, "data.amount is missing"),
        ("data", {"text": "no"}, InvalidData, "the text is not JSON"),
        ("tool", {"result": float("nan")}, InvalidData, "result holds nan"),
        ("tool", {"result": "x" * 2_000_000}, PayloadTooLarge, "takes 2,"),
        ("tool", {}, ConfigurationError, "one answer, not no answer"),
        ("tool", {"result": 1, "error": "e"}, ConfigurationError, "result and error"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_and_writes_nothing(
    path: str, request_kind: str, given: dict[str, Any], error: type[KandoError], message: str
) -> None:
    desk = Desk((request_kind,))
    with opened(path, desk) as store:
        run = pending(store)
        (request,) = requests_of(run)
        before = run.length()
        with pytest.raises(error, match=message) as raised:
            run.answer(request, **given)
        assert raised.value.hint
        assert (run.length(), run.status().unread) == (before, 0)


def test_what_is_not_an_open_request_is_refused_with_the_reason(path: str) -> None:
    desk = Desk(("llm", "tool"))
    with opened(path, desk) as store:
        run = pending(store)
        request, call = requests_of(run)
        with pytest.raises(EventNotFound, match=r"has no event 'llm\.request-99'") as unknown:
            run.answer("llm.request-99", text="t")
        assert unknown.value.hint == f"Open requests: {request}, {call}."
        with pytest.raises(InvalidData, match=r"is an object\.created event"):
            run.answer("object.created-1", text="t")
        run.answer(request, text="t", by="ann")
        with pytest.raises(InvalidData, match="an answer of ann that waits") as waiting:
            run.answer(request, text="again")
        assert waiting.value.hint == f"`kando resume {run.id}` records it."
        run.resume(forgets_limits=True)
        for each, actor in ((request, "ann"), (call, "tools")):
            with pytest.raises(
                InvalidData, match=f"is answered already, by .* of .*{actor}"
            ) as done:
                run.answer(each, error="e")
            assert f"--before {answer_to(run, each).id}`" in str(done.value.hint)
        assert (run.status().state, run.status().unread) == ("finished", 0)


def test_a_cancelled_run_takes_no_answer_and_its_branch_does(path: str) -> None:
    desk = Desk(("llm",))
    with opened(path, desk) as store:
        run = pending(store)
        (request,) = requests_of(run)
        run.cancel()
        for _ in range(2):
            with pytest.raises(RunCancelled, match="is cancelled") as raised:
                run.answer(request, text="t")
            if run.status().state != "cancelled":
                run.resume()
        at = int(str(raised.value.hint).split("--at ")[1].split("`")[0])
        branch = run.fork(at=at)
        branch.answer(request, text="t")
        branch.resume()
        assert branch.status().state == "finished"
