"""Approvals: a call or object that needs one waits for a person, and there is no way around it."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import attrs
import pytest

from kando.branch.fork import fork
from kando.emit import ask, call_tool, create, relate
from kando.errors import ConfigurationError, InvalidData
from kando.kit import Kit
from kando.ledger.inbox import InboxEntry
from kando.ledger.memory import MemoryLedgerStore, MemorySubstrate
from kando.responders.llm_executor import provider_executor
from kando.responders.policies import Allow, Ask, Deny
from kando.runtime import Runtime
from kando.runtime.inbox import Inbox
from kando.schema.events import (
    APPROVAL_DENIED,
    APPROVAL_GRANTED,
    APPROVAL_REQUESTED,
    INBOX_REFUSED,
    LLM_RESPONSE,
    OBJECT_CREATED,
    TOOL_CALLED,
    TOOL_RETURNED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.views.approvals import Approval, open_approvals
from kando.world.graph import World


class Shop:
    """A kit that pays; payments over 10 need an approval, and those over 99 are denied."""

    def __init__(self) -> None:
        self.paid: list[int] = []
        self.kit = Kit("shop")
        self.kit.tool("pay")(self._pay)
        self.kit.policy(self._judge)

    def _pay(self, amount: int) -> str:
        self.paid.append(amount)
        return f"paid {amount}"

    def _judge(self, intent: KandoEvent) -> Any:
        amount = intent.data["arguments"]["amount"]
        if amount > 99:
            return Deny("too much")
        return Ask(f"pay {amount}?") if amount > 10 else Allow()

    def runtime(self, ledger: Any, inbox: Any = None) -> Runtime:
        return Runtime(ledger, self.kit.create(), edge_logic=(), inbox=inbox, save_interval=0)


class ListInbox(Inbox):
    """An inbox that is a list."""

    def __init__(self, *events: KandoEvent, key: str = "k") -> None:
        super().__init__()
        keys = [f"{key}{n}" for n in range(len(events))]
        self._entries = {k: InboxEntry(k, e) for k, e in zip(keys, events, strict=True)}

    def entries(self) -> list[InboxEntry]:
        return list(self._entries.values())

    def take(self, key: str) -> None:
        del self._entries[key]


def pay(*amounts: int) -> list[KandoEvent]:
    return [call_tool("pay", {"amount": amount}) for amount in amounts]


def answer(approval: Approval, type: str = APPROVAL_GRANTED, **data: Any) -> KandoEvent:
    return make_event(type, "", "ann", [approval.event_id], {"approval": approval.event_id, **data})


def results(ledger: Any) -> list[Any]:
    answers = [e.data for e in ledger.read_all() if e.type == TOOL_RETURNED]
    return [data.get("result") or data["error"]["message"] for data in answers]


def checked(shop: Shop, ledger: Any) -> None:
    runtime = shop.runtime(ledger)
    assert runtime.replay(strict=True) == runtime.load()
    assert not runtime.has_pending_work()


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def ledger() -> MemoryLedgerStore:
    return MemoryLedgerStore("r1")


def test_a_call_that_needs_approval_waits_while_the_run_continues(
    shop: Shop, ledger: MemoryLedgerStore
) -> None:
    shop.runtime(ledger).run(pay(50, 5))

    (asked,) = open_approvals(ledger.read_all())
    assert (asked.type, asked.reason, asked.intent) == (TOOL_CALLED, "pay 50?", "tool.called-0")
    assert shop.paid == [5]
    # The workers of a group must not make the call either.
    assert shop.runtime(ledger).open_calls() == []
    assert ledger.find(asked.event_id).cause == ["tool.called-0"]
    checked(shop, ledger)


def test_an_approved_call_is_made_once_in_another_process_and_is_caused_by_its_approval(
    shop: Shop, ledger: MemoryLedgerStore
) -> None:
    shop.runtime(ledger).run(pay(50))
    (asked,) = open_approvals(ledger.read_all())

    other = Shop()
    other.runtime(ledger, ListInbox(answer(asked))).run([])
    other.runtime(ledger).run([])

    assert (shop.paid, other.paid) == ([], [50])
    (returned,) = (e for e in ledger.read_all() if e.type == TOOL_RETURNED)
    assert returned.cause == ["tool.called-0", "approval.granted@k0"]
    assert open_approvals(ledger.read_all()) == []
    checked(shop, ledger)


def test_a_denied_call_is_answered_with_the_reason_and_never_made(
    shop: Shop, ledger: MemoryLedgerStore
) -> None:
    shop.runtime(ledger).run(pay(50, 100))
    (asked,) = open_approvals(ledger.read_all())

    shop.runtime(ledger, ListInbox(answer(asked, APPROVAL_DENIED, reason="no money"))).run([])

    assert shop.paid == []
    assert results(ledger) == ["too much", "no money"]
    checked(shop, ledger)


def test_an_approval_releases_exactly_one_call(shop: Shop, ledger: MemoryLedgerStore) -> None:
    shop.runtime(ledger).run(pay(50, 60))
    first, second = open_approvals(ledger.read_all())

    shop.runtime(ledger, ListInbox(answer(second), answer(second))).run([])
    assert shop.paid == [60]

    shop.runtime(ledger, ListInbox(answer(second), answer(first, APPROVAL_DENIED), key="x")).run([])
    assert shop.paid == [60]
    assert results(ledger) == ["paid 60", "denied"]
    checked(shop, ledger)


def test_an_approval_that_was_not_requested_is_refused(
    shop: Shop, ledger: MemoryLedgerStore
) -> None:
    shop.runtime(ledger).run(pay(50))
    wrong = [
        make_event(APPROVAL_GRANTED, "", "eve", [], {"approval": id})
        for id in ("tool.called-0", "approval.requested-99", None, ["approval.requested-2"])
    ]
    intent = make_event(APPROVAL_GRANTED, "", "eve", [], {"intent": "tool.called-0"})
    own = make_event(APPROVAL_REQUESTED, "", "eve", [], {"type": "x", "reason": "", "held": []})

    shop.runtime(ledger, ListInbox(*wrong, intent, own)).run([])

    assert shop.paid == []
    assert sum(e.type == INBOX_REFUSED for e in ledger.read_all()) == 6
    checked(shop, ledger)


@pytest.mark.parametrize("type", [APPROVAL_GRANTED, APPROVAL_REQUESTED, APPROVAL_DENIED])
def test_a_responder_cannot_emit_an_approval(
    shop: Shop, ledger: MemoryLedgerStore, type: str
) -> None:
    @shop.kit.responder(APPROVAL_REQUESTED)
    def greedy(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        yield make_event(type, "", "kando.approvals", [], {"approval": event.id})

    with pytest.raises(InvalidData, match="greedy"):
        shop.runtime(ledger).run(pay(50))

    assert shop.paid == []


def test_a_call_that_is_sent_to_the_run_needs_approval_too(
    shop: Shop, ledger: MemoryLedgerStore
) -> None:
    shop.runtime(ledger).run(pay(5))

    shop.runtime(ledger, ListInbox(*pay(50))).run([])

    assert shop.paid == [5]
    assert len(open_approvals(ledger.read_all())) == 1


def test_a_branch_requests_its_own_approvals(shop: Shop) -> None:
    substrate = MemorySubstrate()
    parent = substrate.create("r1")
    shop.runtime(parent).run(pay(50))
    (asked,) = open_approvals(parent.read_all())
    branch = fork(substrate, "r1", parent.length(), "b1")
    shop.runtime(parent, ListInbox(answer(asked))).run([])
    assert shop.paid == [50]

    shop.runtime(branch).run([])
    assert shop.paid == [50]
    (again,) = open_approvals(branch.read_all())

    shop.runtime(branch, ListInbox(answer(again))).run([])
    assert shop.paid == [50, 50]
    checked(shop, branch)


def test_a_fork_makes_no_call_that_was_approved_only_in_its_parent(shop: Shop) -> None:
    substrate = MemorySubstrate()
    parent = substrate.create("r1")
    shop.runtime(parent).run(pay(50, 60))
    asked = open_approvals(parent.read_all())
    shop.runtime(parent, ListInbox(*map(answer, asked))).run([])
    assert sorted(shop.paid) == [50, 60]
    length = parent.length()

    for cut in range(2, length):
        branch = fork(substrate, "r1", cut, f"b{cut}")
        shop.runtime(branch).run([])
        assert sorted(shop.paid) == [50, 60], cut
        checked(shop, branch)
        for each in open_approvals(branch.read_all()):
            shop.runtime(branch, ListInbox(answer(each), key=each.event_id)).run([])
        assert len(shop.paid) <= 4
        assert len(results(branch)) == 2, cut
        checked(shop, branch)
        del shop.paid[2:]


def test_a_run_truncated_at_any_position_ends_the_same(
    shop: Shop, ledger: MemoryLedgerStore
) -> None:
    shop.runtime(ledger).run(pay(50, 5, 60, 100))
    first, second = open_approvals(ledger.read_all())
    answers = [answer(second), answer(first, APPROVAL_DENIED, reason="no")]
    shop.runtime(ledger, ListInbox(*answers)).run([])
    whole = list(ledger.read_all())

    for cut in range(4, len(whole) + 1):
        part = MemoryLedgerStore("r1")
        part.append(list(islice(whole, cut)))
        known = {event.id for event in part.read_all()}
        inbox = ListInbox(*answers)
        for key, entry in list(inbox._entries.items()):
            if entry.event_id in known:
                inbox.take(key)
        if len(inbox.entries()) == 1:
            # The ledger does not determine when an answer arrives.
            continue
        if inbox.entries():
            shop.runtime(part).run([])
        shop.runtime(part, inbox).run([])
        assert [(e.id, e.cause, e.data) for e in part.read_all()] == [
            (e.id, e.cause, e.data) for e in whole
        ], cut


def test_a_policy_gets_the_world_and_may_judge_requests_to_models(
    ledger: MemoryLedgerStore,
) -> None:
    kit = Kit("dear")
    asked: list[str] = []

    @kit.policy("llm.request")
    def dear(intent: KandoEvent, world: World) -> Ask | None:
        return Ask("dear") if world.count_of("Thing") > 1 else None

    def model(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request["messages"][0]["content"])
        return {"text": "x", "model": "m", "cost_usd": 0.0}

    def question(text: str) -> KandoEvent:
        return ask([{"role": "user", "content": text}])

    kit.responder("never")(lambda event, world: None)
    responders = [*kit.create(), provider_executor(model)]
    seeds = [create("Thing", {}), question("a"), create("Thing", {}), question("b")]
    runtime = Runtime(ledger, responders, edge_logic=())
    runtime.run(seeds)

    assert asked == ["a"]
    (approval,) = open_approvals(ledger.read_all())
    Runtime(ledger, responders, edge_logic=(), inbox=ListInbox(answer(approval))).run([])
    assert asked == ["a", "b"]
    assert sum(e.type == LLM_RESPONSE for e in ledger.read_all()) == 2


def test_calls_that_were_approved_together_run_in_parallel(
    ledger: MemoryLedgerStore,
) -> None:
    import threading

    together = threading.Barrier(3)
    kit = Kit("shop")
    kit.tool("meet")(lambda n: together.wait(30) * 0 + n)
    kit.policy(lambda intent: Ask("really?"))
    calls = [call_tool("meet", {"n": n}) for n in range(3)]
    Runtime(ledger, kit.create(), edge_logic=()).run(calls)
    inbox = ListInbox(*map(answer, open_approvals(ledger.read_all())))

    Runtime(ledger, kit.create(), edge_logic=(), inbox=inbox).run([])

    assert [e.data["result"] for e in ledger.read_all() if e.type == TOOL_RETURNED] == [0, 1, 2]


def reporting(verdict: Any) -> Kit:
    """Return a kit that creates a gated report for each goal, and a relation to it."""
    kit = Kit("press")

    @kit.policy(type="Report")
    def gated(event: KandoEvent) -> Any:
        return verdict

    @kit.responder(OBJECT_CREATED, type="Goal")
    def report(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        yield create("Draft", {"n": 1})
        made = yield create("Report", {"text": "all is well"})
        yield relate("about", made, event, cause=[made])
        yield create("Note", {"of": made.data["id"]})

    return kit


def test_a_gated_object_and_the_outputs_after_it_are_held_until_it_is_approved(
    ledger: MemoryLedgerStore,
) -> None:
    kit = reporting(Ask("publish?"))
    world = Runtime(ledger, kit.create(), edge_logic=()).run([create("Goal", {}, id="goal")])
    assert sorted(o.type for o in world.objects.values()) == ["Draft", "Goal"]
    (asked,) = open_approvals(ledger.read_all())
    assert [held["type"] for held in asked.held] == [
        "object.created",
        "relation.created",
        "object.created",
    ]

    runtime = Runtime(ledger, kit.create(), edge_logic=(), inbox=ListInbox(answer(asked)))
    world = runtime.run([])

    (report,) = world.objects_of("Report")
    assert [r.target_id for r in world.get_relations(report.id, "about")] == ["goal"]
    assert world.objects_of("Note")[0].data == {"of": report.id}
    assert runtime.replay(strict=True) == world
    for cut in range(1, ledger.length()):
        part = MemoryLedgerStore("r1")
        part.append(list(islice(ledger.read_all(), cut)))
        inbox = ListInbox(answer(asked)) if part.find("approval.granted@k0") is None else None
        Runtime(part, kit.create(), edge_logic=()).run([])
        again = Runtime(part, kit.create(), edge_logic=(), inbox=inbox).run([])
        assert again == world, cut


@pytest.mark.parametrize("verdict", [Deny("never"), "never"])
def test_a_denied_object_is_not_created_and_the_denial_is_recorded(
    ledger: MemoryLedgerStore, verdict: Any
) -> None:
    runtime = Runtime(ledger, reporting(verdict).create(), edge_logic=())

    world = runtime.run([create("Goal", {})])

    assert world.objects_of("Report") == world.objects_of("Note") == []
    (denied,) = (e for e in ledger.read_all() if e.type == APPROVAL_DENIED)
    assert denied.data["reason"] == "never"
    assert runtime.replay(strict=True) == world


def test_a_gated_object_that_is_sent_to_the_run_is_held_too(
    ledger: MemoryLedgerStore,
) -> None:
    kit = reporting(Ask("publish?"))
    runtime = Runtime(ledger, kit.create(), edge_logic=())
    runtime.run([create("Other", {}, id="o")])
    sent = [create("Report", {"text": "x"}), create("Report", {}, id="o")]

    world = Runtime(ledger, kit.create(), edge_logic=(), inbox=ListInbox(*sent)).run([])
    assert world.objects_of("Report") == []
    assert world.objects["o"].type == "Other"

    first, _ = open_approvals(ledger.read_all())
    # Its idempotency key is taken, as in a substrate: a second entry with this key is ignored.
    inbox = ListInbox(*sent, answer(first))
    world = Runtime(ledger, kit.create(), edge_logic=(), inbox=inbox).run([])
    assert [report.data for report in world.objects_of("Report")] == [{"text": "x"}]


def test_a_sent_object_that_a_policy_denies_is_refused(
    ledger: MemoryLedgerStore,
) -> None:
    kit = reporting(Deny("never"))
    inbox = ListInbox(create("Report", {}))

    Runtime(ledger, kit.create(), edge_logic=(), inbox=inbox).run([create("Other", {})])

    (refused,) = (e for e in ledger.read_all() if e.type == INBOX_REFUSED)
    assert "never" in refused.data["reason"]


def test_a_policy_that_raises_releases_no_call_and_is_reported(
    shop: Shop, ledger: MemoryLedgerStore
) -> None:
    with pytest.raises(TypeError):
        shop.runtime(ledger).run([call_tool("pay", {"amount": "much"})])

    assert shop.paid == []


def test_an_invalid_policy_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"object\.patched"):
        Kit("x").policy("object.patched")(lambda event: None)

    kit = Kit("x")
    kit.policy(lambda intent: 3)
    kit.tool("t")(lambda: None)
    with pytest.raises(ConfigurationError, match="returned 3"):
        Runtime(MemoryLedgerStore("r"), kit.create()).run([call_tool("t", {})])


def test_the_checks_of_outputs_do_not_depend_on_policies() -> None:
    kit = Kit("k")
    kit.policy(lambda intent: None)

    @kit.responder("go")
    def goes(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        made = yield create("T", {})
        yield from [create("T", {"after": made.id}), create("T", {})]

    @kit.responder("stop")
    def stops(event: KandoEvent, world: World) -> str:
        return "text"

    runtime = Runtime(MemoryLedgerStore("r1"), kit.create(), edge_logic=())

    assert len(runtime.run([make_event("go", "", "cli", [], {})]).objects) == 3
    with pytest.raises(ConfigurationError, match="returned a str, not events"):
        runtime.run([make_event("stop", "", "cli", [], {})])


def test_a_kit_without_policies_has_no_gate() -> None:
    shop = Shop()
    shop.kit.policies.clear()
    ledger = MemoryLedgerStore("r1")

    shop.runtime(ledger).run(pay(1000))

    assert attrs.asdict(ledger.at(0))["type"] == TOOL_CALLED
    assert shop.paid == [1000]
