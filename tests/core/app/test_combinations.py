"""Promises that must hold together: pauses during calls of tools, changed policies, cancelled runs, branches."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from kando.app.group_worker import GroupWorker
from kando.app.inbox import SubstrateInbox
from kando.app.providers import Provider
from kando.app.run import Run
from kando.app.store import Store, open_store
from kando.emit import ask, call_tool, create, emit, patch
from kando.errors import InvalidData, ReplayDivergence, RunCancelled
from kando.kit import Kit
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.responders.budget import Budget
from kando.responders.llm_executor import provider_executor
from kando.responders.policies import Ask, Deny
from kando.schema.events import KandoEvent, make_event
from kando.world.graph import World


@attrs.define
class Desk:
    """A kit with one object and the tools and requests of a test; it counts what was begun."""

    version: str = "1"
    policy: Callable[..., Any] | None = None
    asks: bool = False
    calls: int = 1
    begun: list[int] = attrs.field(factory=list)
    gate: threading.Event = attrs.field(factory=threading.Event)

    def kit(self, effect: str | None = None) -> Kit:
        kit = Kit("desk", version=self.version)
        kit.seeds(lambda goal, run_id: [create("Go", {}, id="go")])

        @kit.tool("charge", effect=effect)
        def charge(n: int) -> int:
            self.begun.append(n)
            assert self.gate.wait(60)
            return n

        @kit.responder("object.created", type="Go")
        def on_go(event: KandoEvent, world: object) -> Any:
            for n in range(self.calls):
                if self.asks:
                    yield ask([{"role": "user", "content": str(n)}], about="go")
                else:
                    yield call_tool("charge", {"n": n}, about="go")

        if self.policy is not None:
            kit.policy(self.policy)
        return kit


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'runs.sqlite'}"


def opened(path: str, kit: Kit) -> Store:
    return open_store(path, kits=[kit], environ={"KANDO_PLUGINS": ""})


def answers(run: Run) -> list[Any]:
    returned = (e.data for e in run.events() if e.type in ("tool.returned", "llm.response"))
    return [data.get("result", data.get("error", {}).get("type")) for data in returned]


def counting(calls: list[Any], error: Exception | None = None) -> Provider:
    def complete(request: dict[str, Any]) -> dict[str, Any]:
        calls.append(request)
        if error is not None:
            raise error
        return {"text": "a", "model": "m", "cost_usd": 0.5}

    complete.worst_case_usd = lambda request: 0.5  # type: ignore[attr-defined]
    return Provider("counting", "", provider_executor(complete))


@pytest.mark.parametrize("ending", ["pause", "cancel"])
def test_tools_that_run_while_a_run_is_stopped_are_begun_once_and_their_answers_recorded(
    path: str, ending: str
) -> None:
    desk = Desk(calls=4)
    with opened(path, desk.kit()) as store:
        run = store.start("desk", "x", work=False)
        worker = threading.Thread(target=run.resume)
        worker.start()
        while len(desk.begun) < 4:
            assert worker.is_alive()
        with opened(path, desk.kit()) as other:
            getattr(other.run(run.id), ending)()
        desk.gate.set()
        worker.join(60)
        if ending == "pause":
            run.resume()
        assert (sorted(desk.begun), sorted(answers(run))) == ([0, 1, 2, 3], [0, 1, 2, 3])
        assert run.status().state == ("finished" if ending == "pause" else "cancelled")


@pytest.mark.parametrize("later", ["no policy", "one that allows"])
def test_a_call_that_was_denied_stays_denied_whatever_the_policies_say_later(
    path: str, later: str
) -> None:
    first = Desk(policy=lambda intent, world: Ask("charge?"))
    with opened(path, first.kit()) as store:
        run = store.start("desk", "x")
        (asked,) = run.approvals()
        run.deny(asked.event_id, reason="too much")
    allows = None if later == "no policy" else (lambda intent, world: None)
    second = Desk(version="2", policy=allows)
    second.gate.set()
    with opened(path, second.kit()) as store:
        run = store.run(run.id)
        run.resume()
        assert (second.begun, answers(run)) == ([], ["Denied"])


def test_an_approved_call_is_made_though_no_policy_asks_any_more(path: str) -> None:
    with opened(path, Desk(policy=lambda intent, world: Ask("charge?")).kit()) as store:
        run = store.start("desk", "x")
        run.approve(run.approvals()[0].event_id)
    desk = Desk(version="2")
    desk.gate.set()
    with opened(path, desk.kit()) as store:
        run = store.run(run.id)
        run.resume()
        assert (desk.begun, answers(run)) == ([0], [0])


def test_a_later_version_asks_about_or_denies_a_call_that_is_still_open(path: str) -> None:
    desk = Desk(asks=True)
    with opened(path, desk.kit()) as store:
        runs = [store.start("desk", "x") for _ in range(2)]
    calls: list[Any] = []
    asks = Kit("desk", version="2")
    asks.policy("llm.request")(lambda intent, world: Ask("may I?"))
    denies = Kit("desk", version="3")
    denies.policy("llm.request")(lambda intent, world: Deny("never"))
    for kit, run, expected in ((asks, runs[0], []), (denies, runs[1], ["Denied"])):
        with opened(path, kit) as store:
            run = store.run(run.id)
            run.resume(llm=counting(calls))
            assert answers(run) == expected
            assert len(run.approvals()) == (not expected)
    assert calls == []


def test_a_run_that_was_cancelled_before_it_is_resumed_makes_no_call(path: str) -> None:
    calls: list[Any] = []
    with opened(path, Desk(asks=True, calls=3).kit()) as store:
        run = store.start("desk", "x")
        run.cancel()
        run.resume(llm=counting(calls))
        assert (calls, run.status().state) == ([], "cancelled")
        with pytest.raises(RunCancelled):
            run.resume(llm=counting(calls))


def test_a_cancel_that_follows_a_pause_is_recorded(path: str) -> None:
    with opened(path, Desk(asks=True).kit()) as store:
        run = store.start("desk", "x")
        run.pause()
        run.cancel()
        run.resume()
        assert (run.status().state, run.status().unread) == ("cancelled", 0)


def test_a_note_on_a_request_is_not_served_as_its_answer(path: str) -> None:
    calls: list[Any] = []
    kit = Desk(asks=True).kit()

    @kit.responder("llm.request")
    def note(event: KandoEvent, world: object) -> Any:
        yield emit("llm.response", {"text": "a note"}, cause=[event.id])

    with opened(path, kit) as store:
        run = store.start("desk", "x")
        run.resume(llm=counting(calls))
        run.resume(llm=counting(calls))
        assert (len(calls), run.status().unanswered) == (1, 0)


def test_an_answer_that_was_sent_is_not_asked_for_and_a_second_one_is_refused(path: str) -> None:
    calls: list[Any] = []
    with opened(path, Desk(asks=True).kit()) as store:
        run = store.start("desk", "x")
        (request,) = (e.id for e in run.events() if e.type == "llm.request")
        for text in ("by hand", "again"):
            run.send("llm.response", {"text": text}, cause=[request])
        run.resume(llm=counting(calls))
        texts = [e.data["text"] for e in run.events() if e.type == "llm.response"]
        refused = [e.data["reason"] for e in run.events() if e.type == "inbox.refused"]
        assert (calls, texts) == ([], ["by hand"])
        assert "is answered already" in refused[0]
        run.replay(strict=True)


@pytest.mark.parametrize("verdict", [Ask("write it?"), Deny("never")])
def test_an_event_that_a_fork_begins_with_passes_the_policies(
    path: str, verdict: Ask | Deny
) -> None:
    kit = Desk(calls=0).kit()
    kit.policy(type="Memo")(lambda event, world: verdict)
    memo = {"type": "object.created", "data": {"id": "memo", "type": "Memo", "data": {}}}
    with opened(path, kit) as store:
        run = store.start("desk", "x")
        if isinstance(verdict, Deny):
            with pytest.raises(InvalidData, match="denies"):
                run.fork(at=2, events=[memo])
            return
        branch = run.fork(at=2, events=[memo])
        branch.resume()
        assert "memo" not in branch.world().objects
        branch.approve(branch.approvals()[0].event_id)
        branch.resume()
        assert "memo" in branch.world().objects
        branch.replay(strict=True)


def test_workers_charge_failed_attempts_and_stop_at_the_limit_of_the_run(path: str) -> None:
    class CutOff(Exception):
        spent: ClassVar[Any] = {
            "usage": {"input_tokens": 1000, "output_tokens": 0},
            "cost_usd": 0.5,
        }

    calls: list[Any] = []
    with opened(path, Desk(asks=True).kit()) as store:
        run = store.start("desk", "x", group="g", budget=Budget(max_llm_cost_usd=1.0))
        worker = GroupWorker(store.context, "g", llm=counting(calls, CutOff("cut off")))
        worker.work(until_idle=True)
        status = run.status()
        assert (len(calls), status.llm_cost_usd) == (2, 1.0)
        assert run.metrics().llm.cost_usd == run.cache().spent_usd == 1.0


@pytest.mark.parametrize("effect", ["write", "idempotent", "read"])
def test_a_branch_repeats_no_write_of_its_parent(path: str, effect: str) -> None:
    desk = Desk(calls=2)
    desk.gate.set()
    with opened(path, desk.kit(effect)) as store:
        run = store.start("desk", "x")
        branch = run.fork(at=2)
        branch.resume()
        assert (sorted(desk.begun), answers(branch)) == ([0, 1], [0, 1])
        branch.replay(strict=True)
        nested = branch.fork(at=2)
        nested.resume()
        assert (sorted(desk.begun), answers(nested)) == ([0, 1], [0, 1])


@pytest.mark.parametrize("allowed", [False, True])
def test_a_write_that_no_parent_made_waits_for_a_person_on_a_branch(
    path: str, allowed: bool
) -> None:
    desk = Desk(calls=1)
    desk.gate.set()
    kit = desk.kit("write")

    @kit.responder("object.patched", type="Go")
    def on_patch(event: KandoEvent, world: object) -> Any:
        yield call_tool("charge", {"n": 7}, about="go")

    with opened(path, kit) as store:
        run = store.start("desk", "x")
        branch = run.fork(at=2, patches=[("go", {"odd": True})], allow_writes=allowed)
        branch.resume()
        assert desk.begun == ([0, 7] if allowed else [0])
        if not allowed:
            (asked,) = branch.approvals()
            branch.replay(strict=True)
            branch.approve(asked.event_id)
            branch.resume()
        assert (desk.begun, answers(branch)) == ([0, 7], [0, 7])
        branch.replay(strict=True)


def test_a_result_that_a_fork_begins_with_takes_the_place_of_the_call(path: str) -> None:
    desk = Desk()
    desk.gate.set()
    with opened(path, desk.kit()) as store:
        run = store.start("desk", "x")
        (called,) = (e for e in run.events() if e.type == "tool.called")
        given = {"type": "tool.returned", "cause": [called.id], "data": {"result": "dry run"}}
        branch = run.fork(at=called.position + 1, events=[given])
        branch.resume()
        assert (desk.begun, answers(branch)) == ([0], ["dry run"])
        with pytest.raises(InvalidData, match="is answered already"):
            run.fork(at=run.length(), events=[given])


def test_a_branch_of_a_cancelled_run_is_not_cancelled(path: str) -> None:
    with opened(path, Desk(calls=0).kit()) as store:
        run = store.start("desk", "x")
        run.cancel()
        run.resume()
        branch = run.fork(at=run.length())
        branch.resume()
        assert (run.status().state, branch.status().state) == ("cancelled", "finished")


@pytest.mark.parametrize("name", ["desk.first", "first"])
def test_a_renamed_responder_handles_no_event_again(path: str, name: str) -> None:
    def kit(version: str, name: str, fails: bool, was: str = "") -> Kit:
        made = Kit("desk", version=version)
        made.seeds(lambda goal, run_id: [create("Go", {"n": 0}, id="go")])

        def first(event: KandoEvent, world: object) -> Any:
            yield patch("go", {"n": world.get_object("go").data["n"] + 1})  # type: ignore[attr-defined]

        def second(event: KandoEvent, world: object) -> Any:
            if fails:
                raise ValueError("a bug")
            yield create("Mail", {})

        made.responder("object.created", type="Go", name=name, was=was or ())(first)
        made.responder("object.created", type="Go", name="desk.second")(second)
        return made

    with opened(path, kit("1", name, True)) as store:
        run = store.start("desk", "x", work=False)
        with pytest.raises(ValueError, match="a bug"):
            run.resume()
    with opened(path, kit("2", "desk.counts", False, "first")) as store:
        run = store.run(run.id)
        run.resume()
        world = run.world()
        assert (world.objects["go"].data["n"], len(world.objects_of("Mail"))) == (1, 1)


def test_a_request_that_a_person_has_answered_is_not_asked_while_other_work_is_done(
    path: str,
) -> None:
    asked: list[Any] = []
    kit = Kit("desk", version="1")
    kit.seeds(lambda goal, run_id: [create("Go", {}, id="go")])
    kit.tool("look", effect="read")(lambda n: n)

    @kit.responder("object.created", type="Go")
    def on_go(event: KandoEvent, world: object) -> Any:
        yield ask([{"role": "user", "content": "0"}], about="go")
        yield call_tool("look", {"n": 1}, about="go")

    with opened(path, kit) as store:
        with pytest.raises(ConnectionError):
            store.start("desk", "x", llm=counting(asked, ConnectionError("away")))
        (item,) = store.runs().items
        run = store.run(item.run_id)
        request = next(e.id for e in run.events() if e.type == "llm.request")
        run.send("llm.response", {"text": "by hand"}, cause=[request], actor="ann")
        asked.clear()
        run.resume(llm=counting(asked))

        assert asked == []
        assert sum(e.type == "llm.response" for e in run.events()) == 1


def asking_twice() -> Kit:
    kit = Kit("desk", version="1")
    kit.seeds(lambda goal, run_id: [create("Go", {}, id="go")])

    @kit.responder("object.created", type="Go")
    def on_go(event: KandoEvent, world: object) -> Any:
        yield ask([{"role": "user", "content": "0"}], about="go")
        yield ask([{"role": "user", "content": "0"}], about="go")

    return kit


def test_a_branch_counts_the_cost_of_an_answer_that_its_parent_used_twice_once(path: str) -> None:
    with opened(path, asking_twice()) as store:
        run = store.start("desk", "x", llm=counting([]))
        branch = run.fork(at=run.length())

        assert (run.cache().spent_usd, run.cache().saved_usd) == (0.5, 0.5)
        assert (branch.cache().shared_answers, branch.cache().shared_usd) == (2, 0.5)
        assert branch.status().llm_cost_usd == 0.5


def test_an_answer_that_waits_in_the_inbox_is_the_answer_to_equal_requests(path: str) -> None:
    asked: list[Any] = []
    with opened(path, asking_twice()) as store:
        run = store.start("desk", "x", work=False)
        run.resume()
        request = next(e.id for e in run.events() if e.type == "llm.request")
        kept = make_event("llm.response", "", "llm", [request], {"text": "kept", "cost_usd": 0.5})
        inbox = SubstrateInbox(store.context.substrate(read_only=False), run.id)
        inbox.keep(request, kept)
        run.resume(llm=counting(asked))

        texts = [e.data["text"] for e in run.events() if e.type == "llm.response"]
        assert (texts, asked) == (["kept", "kept"], [])


def test_a_finished_run_stays_finished_when_a_new_version_adds_a_responder(path: str) -> None:
    def version(number: str, *, has_more: bool) -> Kit:
        kit = Kit("desk", version=number)
        kit.seeds(lambda goal, run_id: [create("Go", {}, id="go")])

        @kit.responder("object.created", type="Go", name="desk.on_go")
        def on_go(event: KandoEvent, world: object) -> Any:
            yield patch("go", {"n": 1})

        if has_more:

            @kit.responder("object.patched", type="Go", name="desk.on_patch")
            def on_patch(event: KandoEvent, world: object) -> Any:
                yield create("Late", {})

        return kit

    with opened(path, version("1", has_more=False)) as store:
        run_id = store.start("desk", "x").id
    with opened(path, version("2", has_more=True)) as store:
        run = store.run(run_id)

        assert run.status().state == "finished"
        run.resume()
        assert [each.data["type"] for each in run.events() if each.type == "object.created"] == [
            "Go"
        ]
        assert run.status().state == "finished"


@pytest.mark.parametrize("again", ["Go", "Stop"])
def test_a_responder_handles_an_event_about_an_object_that_got_another_type_later(
    path: str, again: str
) -> None:
    kit = Kit("desk", version="1")
    kit.seeds(lambda goal, run_id: [create("Go", {}, id="go")])

    @kit.responder("object.created", type="Go", name="desk.on_go")
    def on_go(event: KandoEvent, world: Any) -> Any:
        if world.count_of("Part") == 0:
            yield create("Part", {})
            yield patch("go", {"n": 1})

    @kit.responder("object.created", type="Part", name="desk.on_part")
    def on_part(event: KandoEvent, world: object) -> Any:
        yield create(again, {}, id="go")

    @kit.responder("object.patched", type="Go", name="desk.on_patch")
    def on_patch(event: KandoEvent, world: object) -> Any:
        yield emit("handled", {})

    with opened(path, kit) as store:
        run = store.start("desk", "x")

        assert [e.type for e in run.events()].count("handled") == 1
        run.replay(strict=True)
        patched = next(e for e in run.events() if e.type == "object.patched")
        for at in range(patched.position, run.length()):
            branch = run.fork(at=at)
            branch.resume()
            assert [e.type for e in branch.events()].count("handled") == 1


def test_a_strict_replay_asks_about_a_write_of_a_branch_where_the_branch_asked(path: str) -> None:
    kit = Kit("desk", version="1")
    kit.seeds(lambda goal, run_id: [create("Go", {}, id="go")])
    kit.tool("charge", effect="write")(lambda n: n)

    @kit.responder("object.created", type="Go", name="desk.on_go")
    def on_go(event: KandoEvent, world: object) -> Any:
        yield call_tool("charge", {"n": 1}, about="go")

    @kit.responder("tool.called", name="desk.on_call")
    def on_call(event: KandoEvent, world: object) -> Any:
        yield emit("seen", {})

    with opened(path, kit) as store:
        run = store.start("desk", "x", budget=Budget(max_tool_calls=0))
        branch = run.fork(at=run.length())
        branch.resume(budget=Budget(), forgets_limits=True)

        assert len(branch.approvals()) == 1
        branch.replay(strict=True)


def test_a_branch_is_served_an_answer_that_its_parent_recorded_but_had_no_time_to_cache(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    with opened(path, asking_twice()) as store:
        with monkeypatch.context() as patched:
            # As after a crash between the append and the cache entry.
            patched.setattr(SQLiteSubstrate, "cache", lambda *args: None)
            run = store.start("desk", "x", llm=counting([]))
        first = next(e.position for e in run.events() if e.type == "llm.request")
        branch = run.fork(at=first)
        nested = branch.fork(at=first)
        for each in (nested, branch):
            each.resume(llm=counting(asked))
            assert asked == []
            assert each.status().llm_cost_usd == 0
        fresh = run.fork(at=first, fresh=True)
        fresh.resume(llm=counting(asked))
        assert asked


def test_a_tool_that_reads_the_world_counts_on_a_branch_whatever_its_parent_got(path: str) -> None:
    kit = Kit("reader", version="1")

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [emit("look", {})]

    @kit.tool("count")
    def count(world: World) -> int:
        return len(world.objects)

    @kit.responder("look")
    def looks(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield call_tool("count", {})

    with opened(path, kit) as store:
        run = store.start("reader", "x", budget=Budget(max_tool_calls=1))
        # The branch repeats the call of its parent, and then makes another one.
        branch = run.fork(at=3, events=[{"type": "look"}])
        branch.resume()
        assert branch.status().state == "exhausted"
        assert branch.status().tool_calls == 1


def test_a_call_is_answered_by_hand_on_a_branch_that_was_cut_in_the_question_about_it(
    path: str,
) -> None:
    desk = Desk(policy=lambda intent, world: Ask("charge?"))
    with opened(path, desk.kit()) as store:
        run = store.start("desk", "x")
        (asked,) = run.approvals()
        position = next(e.position for e in run.events() if e.id == asked.event_id)
        branch = run.fork(at=position + 1)
        call = next(e.id for e in branch.events() if e.type == "tool.called")

        branch.answer(call, result=7)
        branch.resume()

        assert (desk.begun, answers(branch)) == ([], [7])
        assert branch.status().state == "finished"
        assert branch.replay(strict=True)


@pytest.mark.parametrize("fails", [False, True])
def test_strict_replay_repeats_what_follows_a_call_that_was_cut_and_answered_by_hand(
    path: str, fails: bool
) -> None:
    notes = ["as recorded"]
    kit = Kit("notes")
    kit.seeds(lambda goal, run_id: [create("Go", {}, id="go")])
    kit.tool("look", effect="read")(lambda: 1)

    @kit.responder("object.created", type="Go")
    def on_go(event: KandoEvent, world: object) -> Iterator[KandoEvent]:
        yield call_tool("look", {}, about="go")
        yield create("Other", {})

    @kit.responder("object.created", type="Other", on_error="park")
    def on_other(event: KandoEvent, world: object) -> Iterator[KandoEvent]:
        if fails:
            raise ValueError("broken")
        yield create("Note", {"text": notes[-1]})

    with opened(path, kit) as store:
        run = store.start("notes", "x")
        firings = [e for e in run.events() if e.type == "responder.fired" and e.data.get("call")]
        branch = run.fork(at=firings[0].position + 1)
        call = next(e.id for e in branch.events() if e.type == "tool.called")
        branch.answer(call, result=7)
        branch.resume()

        assert answers(branch) == [7]
        assert branch.replay(strict=True)
        notes.append("changed")
        if not fails:
            with pytest.raises(ReplayDivergence, match=r"notes\.on_other"):
                branch.replay(strict=True)


def test_a_branch_that_was_cut_after_an_answer_of_a_bystander_has_its_other_outputs(
    path: str,
) -> None:
    kit = Kit("notes")
    kit.seeds(lambda goal, run_id: [create("Go", {}, id="go")])

    @kit.responder("object.created", type="Go")
    def on_go(event: KandoEvent, world: object) -> Iterator[KandoEvent]:
        call = yield call_tool("elsewhere", {}, about="go")
        yield emit("tool.returned", {"result": 1}, cause=[call])
        yield create("Note", {"text": "after the answer"})

    with opened(path, kit) as store:
        run = store.start("notes", "x")
        position = next(e.position for e in run.events() if e.type == "tool.returned")
        branch = run.fork(at=position + 1)

        branch.resume()

        assert [each.type for each in branch.world().objects.values()] == ["Go", "Note"]
        assert branch.replay(strict=True)


def test_a_failed_attempt_that_used_nothing_is_not_recorded_beyond_the_limit_of_events(
    path: str,
) -> None:
    kit = Kit("fails")
    kit.seeds(lambda goal, run_id: [create("Go", {}, id="go")])

    @kit.responder("object.created", type="Go", on_error="park")
    def on_go(event: KandoEvent, world: object) -> Iterator[KandoEvent]:
        raise ValueError("broken")
        yield

    with opened(path, kit) as store:
        run = store.start("fails", "x", budget=Budget(max_events=3))

        assert [e.type for e in run.events()][-1] == "budget.exhausted"
        assert run.status().state == "exhausted"
        assert run.replay(strict=True)
        run.resume(budget=Budget(max_events=10))
        assert [e.data["outcome"] for e in run.events() if e.type == "responder.failed"] == [
            "parked"
        ]
        assert run.replay(strict=True)
