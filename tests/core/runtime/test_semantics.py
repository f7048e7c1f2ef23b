"""SPEC section 3, "Semantics that callers rely on": a test per line."""

import ast
import inspect
from collections.abc import Iterator

import pytest

import kando.runtime
from kando.cache.llm import LLMCache
from kando.emit import create, emit, patch, relate
from kando.errors import UnknownReference
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.base import Responder, responder
from kando.responders.budget import Budget
from kando.responders.delivery import DeliveryBus, create_delivery_responder
from kando.responders.edge import edge_responder
from kando.responders.llm_executor import LLMExecutorResponder
from kando.runtime import Runtime
from kando.schema.events import (
    BUDGET_EXHAUSTED,
    LLM_REQUEST,
    OBJECT_CREATED,
    OBJECT_PATCHED,
    RELATION_CREATED,
    RESPONDER_COMPLETED,
    RESPONDER_FAILED,
    RESPONDER_FIRED,
    KandoEvent,
    make_event,
)
from kando.world.graph import World

RUN = "r1"


def seed(id: str, type: str = "Thing", **data: object) -> KandoEvent:
    return make_event(
        OBJECT_CREATED, f"run:{RUN}", "cli", [], {"id": id, "type": type, "data": data}
    )


def compared(ledger: MemoryLedgerStore) -> list[tuple[object, ...]]:
    return [(e.id, e.type, e.source, e.actor, e.cause, e.data) for e in ledger.read_all()]


@responder("chain", OBJECT_CREATED)
def chain(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    step = event.data["data"].get("step", 0)
    if step < 3:
        yield create("Thing", {"step": step + 1})


def run(*responders: Responder, seeds: list[KandoEvent], budget: Budget | None = None):
    ledger = MemoryLedgerStore(RUN)
    runtime = Runtime(ledger, responders, budget, edge_logic=())
    return runtime.run(seeds), ledger, runtime


def test_the_same_seeds_with_the_same_responders_give_the_same_ledger_and_world() -> None:
    world_a, ledger_a, _ = run(chain, seeds=[seed("a"), seed("b")])
    world_b, ledger_b, _ = run(chain, seeds=[seed("a"), seed("b")])

    assert compared(ledger_a) == compared(ledger_b)
    assert world_a == world_b


def test_nothing_random_and_no_counter_enters_an_event() -> None:
    source = inspect.getsource(inspect.getmodule(kando.runtime.Runtime))
    modules = {
        alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import)
        for alias in node.names
    }

    assert not modules & {"random", "uuid", "secrets"}


def test_edge_logic_is_dispatched_before_the_responders_that_match() -> None:
    order: list[str] = []

    def note(name: str):
        def fn(event: KandoEvent, world: World) -> None:
            order.append(name)

        return fn

    plain = Responder("plain", frozenset({RELATION_CREATED}), note("plain"))
    edge = edge_responder("supports", note("edge"), "edge")
    link = make_event(
        RELATION_CREATED,
        "",
        "cli",
        [],
        {"id": "r", "type": "supports", "source_id": "a", "target_id": "b"},
    )

    run(plain, edge, seeds=[seed("a"), seed("b"), link])

    assert order == ["edge", "plain"]


def test_matching_responders_fire_in_registration_order() -> None:
    order: list[str] = []

    def named(name: str) -> Responder:
        return Responder(name, frozenset(), lambda event, world: order.append(name))

    run(named("z"), named("a"), named("m"), seeds=[seed("x")])

    assert order == ["z", "a", "m"]


def test_output_is_processed_first_in_first_out() -> None:
    seen: list[str] = []

    @responder("fan", OBJECT_CREATED)
    def fan(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        seen.append(event.data["id"])
        if event.data["id"] in ("a", "b"):
            yield create("Thing", {}, id=event.data["id"] + "1")
            yield create("Thing", {}, id=event.data["id"] + "2")

    run(fan, seeds=[seed("a"), seed("b")])

    assert seen == ["a", "b", "a1", "a2", "b1", "b2"]


def test_each_event_is_in_ledger_and_world_before_a_responder_sees_it() -> None:
    ledger = MemoryLedgerStore(RUN)
    seen: list[bool] = []

    @responder("look", OBJECT_CREATED)
    def look(event: KandoEvent, world: World) -> None:
        seen.append(world.get_object(event.data["id"]) is not None)

    Runtime(ledger, [look]).run([seed("a"), seed("b")])

    assert seen == [True, True]


def test_run_resumes_a_ledger_that_has_events() -> None:
    ledger = MemoryLedgerStore(RUN)
    Runtime(ledger, [chain]).run([seed("a", step=3)])

    world = Runtime(ledger, [chain]).run([seed("b", step=3)])

    assert [e.data["id"] for e in ledger.read_all()] == ["a", "b"]
    assert set(world.objects) == {"a", "b"}


def test_new_seeds_follow_the_existing_events_and_pending_work() -> None:
    ledger = MemoryLedgerStore(RUN)
    Runtime(ledger, []).record([seed("a")])

    Runtime(ledger, [chain]).run([seed("b", step=3)])

    assert ledger.at(0).data["id"] == "a"
    assert [e.data["id"] for e in ledger.read_all() if e.is_root] == ["a", "b"]
    assert compared(ledger)[-1][5]["id"] == "b"


def test_a_responder_that_raises_is_recorded_and_the_exception_reaches_the_caller() -> None:
    boom = ZeroDivisionError("no")

    @responder("boom", OBJECT_CREATED)
    def fails(event: KandoEvent, world: World) -> None:
        raise boom

    ledger = MemoryLedgerStore(RUN)
    with pytest.raises(ZeroDivisionError) as caught:
        Runtime(ledger, [fails]).run([seed("a")])

    assert caught.value is boom
    last = list(ledger.read_all())[-1]
    assert last.type == RESPONDER_FAILED
    assert last.data["responder"] == "boom"
    assert last.data["error"] == {"type": "ZeroDivisionError", "message": "no"}


def test_none_of_a_failed_firings_outputs_are_kept() -> None:
    @responder("half", OBJECT_CREATED)
    def half(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield create("Thing", {}, id="never")
        raise ValueError("half way")

    ledger = MemoryLedgerStore(RUN)
    runtime = Runtime(ledger, [half])
    with pytest.raises(ValueError, match="half way"):
        runtime.run([seed("a")])

    assert [e.type for e in ledger.read_all()] == [OBJECT_CREATED, RESPONDER_FAILED]
    assert set(runtime.load().objects) == {"a"}


def test_only_the_failed_firing_is_repeated_after_the_code_is_fixed() -> None:
    fired: list[str] = []
    broken = [True]

    def first(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        fired.append("first")
        yield patch(event.data["id"], {"first": True})

    def second(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        fired.append("second")
        if broken[0]:
            raise RuntimeError
        yield patch(event.data["id"], {"second": True})

    pair = [Responder(fn.__name__, OBJECT_CREATED, fn) for fn in (first, second)]
    ledger = MemoryLedgerStore(RUN)
    with pytest.raises(RuntimeError):
        Runtime(ledger, pair).run([seed("a")])
    broken[0] = False

    world = Runtime(ledger, pair).run([])

    assert fired == ["first", "second", "second"]
    assert world.get_object("a").data == {"first": True, "second": True}


def test_a_patch_of_an_unknown_object_is_refused_before_it_reaches_the_ledger() -> None:
    ledger = MemoryLedgerStore(RUN)
    ghost = make_event(OBJECT_PATCHED, "", "cli", [], {"id": "ghost", "patch": {}})

    with pytest.raises(KeyError) as caught:
        Runtime(ledger, []).run([seed("a"), ghost])

    assert isinstance(caught.value, UnknownReference)
    assert "'ghost'" in str(caught.value)
    assert ledger.length() == 0


def test_a_second_creation_with_the_same_id_replaces_the_object() -> None:
    world, _, _ = run(seeds=[seed("a", old=1), seed("a", "Other", new=2)])

    assert world.get_object("a").type == "Other"
    assert world.get_object("a").data == {"new": 2}
    assert [o.id for o in world.objects_of("Other")] == ["a"]
    assert world.objects_of("Thing") == []


def test_recursion_depth_is_one_more_than_that_of_the_deepest_cause() -> None:
    _, ledger, _ = run(chain, seeds=[seed("a")], budget=Budget(max_recursion_depth=2))

    last = list(ledger.read_all())[-1]
    things = [e for e in ledger.read_all() if e.type == OBJECT_CREATED]
    assert len(things) == 3  # depths 0, 1 and 2
    assert last.type == BUDGET_EXHAUSTED
    assert last.data["reasons"] == ["max_recursion_depth"]
    assert last.data["depth"] == 3


def test_replay_projects_the_same_world() -> None:
    world, _, runtime = run(chain, seeds=[seed("a")])

    assert runtime.replay() == world


def test_strict_replay_fires_again_with_recorded_results_and_makes_no_call() -> None:
    calls: list[str] = []

    def llm(messages: list[dict[str, str]], model: str, max_tokens: int) -> tuple[str, float]:
        calls.append(messages[0]["content"])
        return "yes", 0.5

    @responder("ask", OBJECT_CREATED)
    def asks(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        question = [{"role": "user", "content": "really?"}]
        yield emit(LLM_REQUEST, {"messages": question, "model": "m", "max_tokens": 9})

    world, _, runtime = run(asks, LLMExecutorResponder(llm), seeds=[seed("a")])

    assert runtime.replay(strict=True) == world
    assert calls == ["really?"]


def test_strict_replay_without_any_root_is_a_value_error() -> None:
    ledger = MemoryLedgerStore(RUN)
    data = {"id": "a", "type": "T", "data": {}}
    ledger.append([make_event(OBJECT_CREATED, "", "x", ["nobody-0"], data)])

    for strict in (False, True):
        with pytest.raises(ValueError, match="no root"):
            Runtime(ledger, []).replay(strict=strict)


def test_an_empty_ledger_replays_to_an_empty_world() -> None:
    assert Runtime(MemoryLedgerStore(RUN), []).replay(strict=True) == World()


@pytest.mark.parametrize("change", ["payload", "extra", "missing", "actor"])
def test_strict_replay_stops_at_the_first_difference_and_describes_it(change: str) -> None:
    _, ledger, _ = run(chain, seeds=[seed("a")])

    def changed(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        step = event.data["data"].get("step", 0)
        if step == 2 and change == "missing":
            return
        if step < 3:
            yield create("Thing", {"step": 30 if step == 2 and change == "payload" else step + 1})
            if step == 2 and change == "extra":
                yield create("Thing", {"step": 9})

    name = "renamed" if change == "actor" else "chain"
    with pytest.raises(kando.errors.ReplayDivergence) as caught:
        Runtime(ledger, [Responder(name, OBJECT_CREATED, changed)]).replay(strict=True)

    assert caught.value.position == {"payload": 8, "extra": 9, "missing": 7, "actor": 1}[change]
    assert str(caught.value.position) in str(caught.value)
    if change == "payload":
        assert caught.value.differences == [("data.data.step", 3, 30)]
        assert caught.value.responder == "chain"


def test_a_subscriber_that_raises_stops_neither_the_run_nor_the_others() -> None:
    bus = DeliveryBus()
    delivered: list[str] = []

    def bad(event: KandoEvent) -> None:
        raise RuntimeError("subscriber")

    bus.subscribe(bad)
    bus.subscribe(lambda event: delivered.append(event.id))

    world, _, _ = run(create_delivery_responder(bus), seeds=[seed("a"), seed("b")])

    assert delivered == ["object.created-0", "object.created-1"]
    assert set(world.objects) == {"a", "b"}
    assert [(f.event_id, str(f.error)) for f in bus.failures] == [
        ("object.created-0", "subscriber"),
        ("object.created-1", "subscriber"),
    ]


def test_an_empty_pattern_matches_every_type_including_bookkeeping() -> None:
    delivered: list[str] = []
    everything = Responder("all", frozenset(), lambda event, world: delivered.append(event.type))

    run(chain, everything, seeds=[seed("a", step=2)])

    assert delivered == [OBJECT_CREATED, RESPONDER_FIRED, OBJECT_CREATED, RESPONDER_COMPLETED]


def test_the_context_of_the_world_holds_the_runtimes_cache() -> None:
    cache = LLMCache()
    runtime = Runtime(MemoryLedgerStore(RUN), [], cache=cache)

    assert runtime.run([seed("a")]).context["cache"] is cache
    assert runtime.load().context["cache"] is cache
    assert runtime.replay(strict=True).context["cache"] is cache


def test_a_generator_gets_the_recorded_identity_back_from_yield() -> None:
    @responder("pair", OBJECT_CREATED)
    def pair(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        if event.data["type"] == "Thing":
            made = yield create("Part", {"n": 1})
            assert made.id == "object.created-2"
            yield relate("part_of", made, event)

    world, ledger, _ = run(pair, seeds=[seed("a")])

    (part,) = world.objects_of("Part")
    assert part.id.startswith("part-")
    assert [r.source_id for r in world.get_relations("a", "part_of")] == [part.id]
    assert [e.actor for e in ledger.read_all()][1:] == ["pair"] * 4


def test_a_firing_sees_the_world_before_it_and_its_outputs_take_effect_together() -> None:
    seen: list[int] = []

    @responder("two", OBJECT_CREATED)
    def two(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        if event.data["id"] == "a":
            yield create("Thing", {}, id="b")
            seen.append(len(world.objects))
            yield patch("b", {"after": True})

    world, _, _ = run(two, seeds=[seed("a")])

    assert seen == [1]
    assert world.get_object("b").data == {"after": True}


def test_a_firing_without_outputs_records_nothing() -> None:
    silent = Responder("silent", OBJECT_CREATED, lambda event, world: [])

    _, ledger, _ = run(silent, seeds=[seed("a")])

    assert ledger.length() == 1


def test_a_limit_holds_for_a_responder_that_never_stops_yielding() -> None:
    @responder("endless", OBJECT_CREATED)
    def endless(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        while True:
            yield emit("tick", {})

    _, ledger, _ = run(endless, seeds=[seed("a")], budget=Budget(max_events=50))

    assert [e.type for e in ledger.read_all()] == [OBJECT_CREATED, BUDGET_EXHAUSTED]


def test_an_exhausted_run_is_resumed_with_a_larger_budget_and_ends_like_an_unlimited_one() -> None:
    _, enough, _ = run(chain, seeds=[seed("a")])
    _, ledger, _ = run(chain, seeds=[seed("a")], budget=Budget(max_events=5))
    assert list(ledger.read_all())[-1].data["reasons"] == ["max_events"]

    Runtime(ledger, [chain], Budget(max_events=100)).run([])

    def steps(of: MemoryLedgerStore) -> list[tuple[str, object]]:
        return [
            (e.lineage_key, e.data.get("data")) for e in of.read_all() if e.type == OBJECT_CREATED
        ]

    assert steps(ledger) == steps(enough)


def test_resuming_with_the_same_budget_does_not_record_exhaustion_again() -> None:
    _, ledger, _ = run(chain, seeds=[seed("a")], budget=Budget(max_events=5))
    length = ledger.length()

    Runtime(ledger, [chain], Budget(max_events=5)).run([])

    assert ledger.length() == length


def test_a_run_stops_before_a_call_that_may_cost_more_than_its_budget() -> None:
    asked = {"messages": [], "model": "m", "max_tokens": 1}
    questions = [make_event(LLM_REQUEST, "", "cli", [], {**asked, "n": n}) for n in range(4)]
    dear = LLMExecutorResponder(lambda messages, model, max_tokens: ("text", 0.6))

    _, ledger, _ = run(dear, seeds=questions, budget=Budget(max_llm_cost_usd=1.0))

    answers = [e for e in ledger.read_all() if e.type == "llm.response"]
    last = list(ledger.read_all())[-1]
    assert len(answers) == 1
    assert last.type == BUDGET_EXHAUSTED
    assert last.data["reasons"] == ["max_llm_cost_usd"]
    assert last.data["llm_cost_usd"] == pytest.approx(0.6)


def test_a_run_whose_cost_limit_is_reached_starts_no_call() -> None:
    asked = {"messages": [], "model": "m", "max_tokens": 1}
    question = make_event(LLM_REQUEST, "", "cli", [], asked)
    calls: list[str] = []
    dear = LLMExecutorResponder(lambda messages, model, max_tokens: (calls.append(model), 0.6))
    ledger = MemoryLedgerStore(RUN)

    budget = Budget(max_llm_cost_usd=0)
    Runtime(ledger, [chain, dear], budget, edge_logic=(), save_interval=0).run(
        [seed("a"), question]
    )

    assert calls == []
    assert list(ledger.read_all())[-1].type == BUDGET_EXHAUSTED


def test_a_ledger_truncated_after_an_answer_is_resumed_without_an_executor() -> None:
    asked = {"messages": [], "model": "m", "max_tokens": 1}
    question = make_event(LLM_REQUEST, "", "cli", [], asked)
    provider = LLMExecutorResponder(lambda messages, model, max_tokens: ("text", 0.0))
    _, whole, _ = run(provider, seeds=[question])
    cut = MemoryLedgerStore(RUN)
    cut.append(list(whole.read_all())[:3])

    Runtime(cut, []).run([])

    assert compared(cut) == compared(whole)


def test_an_object_has_the_ids_of_the_events_that_created_and_last_changed_it() -> None:
    change = make_event(OBJECT_PATCHED, "", "cli", [], {"id": "a", "patch": {"x": 1}})

    world, _, _ = run(seeds=[seed("a"), change])

    assert world.get_object("a").event_id == "object.created-0"
    assert world.get_object("a").changed_by == "object.patched-1"
