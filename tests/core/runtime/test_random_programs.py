"""Random kits, crashed and resumed: each ledger ends like that of an uninterrupted run."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kando.branch.fork import fork
from kando.cache.llm import LLMCache
from kando.emit import ask, create, patch, relate
from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemoryLedgerStore, MemorySubstrate
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.responders.base import Responder
from kando.responders.edge import edge_responder
from kando.responders.llm_executor import LLMExecutorResponder
from kando.runtime import Runtime
from kando.schema.events import (
    LLM_RESPONSE,
    OBJECT_CREATED,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.testing.ledgers import all_fields
from kando.trace.lineage import build_lineage_index, trace
from kando.views.stored import Views, mismatched_views
from kando.world.graph import World
from kando.world.projection import apply, project, reproject
from kando.world.snapshot import load_snapshot, open_snapshot, save_snapshot

TYPES = ("A", "B", "C", "D")


@attrs.frozen
class Rule:
    """The behaviour of one responder for objects of one type."""

    on: str
    actions: tuple[tuple[str, str], ...]
    join: int


@attrs.frozen
class Program:
    """A kit as a table."""

    rules: tuple[Rule, ...]
    seeds: tuple[str, ...]
    equal_seeds: bool


actions = st.tuples(
    st.sampled_from(["create", "patch", "relate", "ask", "nothing"]), st.sampled_from(TYPES)
)
rules = st.builds(
    Rule,
    st.sampled_from(TYPES),
    st.lists(actions, max_size=3).map(tuple),
    st.integers(0, 4),
)
programs = st.builds(
    Program,
    st.lists(rules, min_size=1, max_size=4).map(tuple),
    st.lists(st.sampled_from(TYPES), min_size=1, max_size=3).map(tuple),
    st.booleans(),
)


def responders_of(program: Program) -> list[Responder]:
    """Build responders, edge logic, a responder for answers and an executor from the table."""

    def of_rule(name: str, rule: Rule) -> Responder:
        def fn(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
            level = event.data["data"]["level"]
            if rule.join and world.count_of(rule.on) != rule.join:
                return
            made = event
            for kind, type in rule.actions:
                if kind == "create" and level < 3:
                    made = yield create(type, {"level": level + 1})
                elif kind == "patch":
                    yield patch(event, {name: world.count_of(type)})
                elif kind == "relate":
                    yield relate("near" if type in "AB" else "far", event, made)
                elif kind == "ask":
                    yield ask([{"role": "user", "content": f"{type} {level}"}], about=event)

        return Responder(name, OBJECT_CREATED, fn, object_type=rule.on)

    def on_near(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield patch(event.data["source_id"], {"near": len(world.relations)})

    def on_answer(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield patch(event.data["cause_object_id"], {"answer": event.data["text"]})

    return [
        edge_responder("near", on_near, "edge"),
        *(of_rule(f"rule{i}", rule) for i, rule in enumerate(program.rules)),
        Responder("answers", LLM_RESPONSE, on_answer),
        LLMExecutorResponder(lambda messages, model, n: (messages[-1]["content"].lower(), 0.01)),
    ]


def seeds_of(program: Program) -> list[KandoEvent]:
    return [
        make_event(
            OBJECT_CREATED,
            "",
            "cli",
            [],
            {"type": type, "data": {"level": 1} | ({} if program.equal_seeds else {"n": i})},
        )
        for i, type in enumerate(program.seeds)
    ]


class Crash(BaseException):
    """The process dies."""


class CrashingLedger(MemoryLedgerStore):
    """A ledger whose process dies before or after its n-th append."""

    def __init__(self, run_id: str, survives: int, *, after: bool) -> None:
        super().__init__(run_id)
        self.survives = survives
        self.after = after

    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        self.survives -= 1
        if self.survives < 0 and not self.after:
            raise Crash
        length = super().append(events, expected_length=expected_length)
        if self.survives < 0:
            raise Crash
        return length


def compared(ledger: MemoryLedgerStore, shift_from: int | None = None) -> list[object]:
    return [
        (e.id, e.type, e.actor, e.cause, e.data, e.lineage_key, e.position)
        for e in ledger.read_all()
    ]


def runtime_on(ledger: LedgerStore, program: Program, **options: object) -> Runtime:
    return Runtime(
        ledger, responders_of(program), cache=LLMCache(), edge_logic=(), save_interval=0, **options
    )


def uninterrupted(program: Program) -> MemoryLedgerStore:
    ledger = MemoryLedgerStore("r")
    runtime_on(ledger, program).run(seeds_of(program))
    return ledger


@settings(max_examples=150, deadline=None)
@given(programs, st.integers(0, 30), st.booleans())
def test_a_run_that_died_at_any_commit_ends_with_the_ledger_of_an_uninterrupted_one(
    program: Program, survives: int, after: bool
) -> None:
    whole = uninterrupted(program)
    ledger = CrashingLedger("r", survives, after=after)
    try:
        runtime_on(ledger, program).run(seeds_of(program))
    except Crash:
        ledger.survives = 10**9
        seeds = [] if ledger.length() else seeds_of(program)
        runtime_on(ledger, program).run(seeds)

    assert compared(ledger) == compared(whole)


@settings(max_examples=100, deadline=None)
@given(programs, st.data())
def test_a_run_truncated_anywhere_even_inside_a_firing_is_completed(
    program: Program, data: st.DataObject
) -> None:
    whole = uninterrupted(program)
    cut = data.draw(st.integers(len(program.seeds), whole.length()))
    ledger = MemoryLedgerStore("r")
    ledger.append(list(islice(whole.read_all(), cut)))

    runtime_on(ledger, program).run([])

    assert compared(ledger) == compared(whole)


@pytest.mark.parametrize("substrate", ["memory", "sqlite"])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(program=programs, data=st.data())
def test_an_unchanged_branch_of_branches_reproduces_the_tail_of_its_parent_including_ids(
    substrate: str, program: Program, data: st.DataObject, tmp_path: Path
) -> None:
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.db"
    with MemorySubstrate() if substrate == "memory" else SQLiteSubstrate(path) as opened:
        parent = opened.create("l0")
        whole = runtime_on(parent, program).run(seeds_of(program))
        for number in range(1, 1 + data.draw(st.integers(1, 3))):
            # Apart from the branches' own events, there is one root per seed.
            least = next(
                n
                for n in range(parent.length() + 1)
                if sum(not e.is_head for e in islice(parent.read_all(), n)) == len(program.seeds)
            )
            cut = data.draw(st.integers(least, parent.length()))
            branch = fork(opened, f"l{number - 1}", cut, f"l{number}")
            runtime = runtime_on(branch, program)
            world = runtime.run([])

            assert [all_fields(e) for e in branch.read_all()][:cut] == [
                all_fields(e) for e in islice(parent.read_all(), cut)
            ]
            tail = list(branch.read(cut))
            assert [what(e) for e in tail if not e.is_head] == [
                what(e) for e in parent.read(cut) if not e.is_head
            ]
            ids = [e.id for e in branch.read_all()]
            assert len(set(ids)) == len(ids)
            assert [branch.find(id).position for id in ids] == list(range(len(ids)))
            assert branch.find(f"thing.happened-{len(ids)}") is None
            assert world == whole == reproject(branch)
            assert runtime.replay(strict=True) == world
            parent = branch


def what(event: RecordedEvent) -> object:
    return (event.id, event.type, event.actor, event.cause, event.data, event.lineage_key)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(program=programs, data=st.data())
def test_a_snapshot_and_the_tail_after_it_give_the_world_of_the_ledger(
    program: Program, data: st.DataObject, tmp_path: Path
) -> None:
    ledger = uninterrupted(program)
    cut = data.draw(st.integers(0, ledger.length()))
    save_snapshot(project(islice(ledger.read_all(), cut)), ledger, tmp_path, cut)

    loaded = load_snapshot(ledger, tmp_path)

    assert loaded is not None
    assert loaded.position == cut
    for event in ledger.read(cut):
        apply(loaded.world, event)
    whole = reproject(ledger)
    assert loaded.world == whole
    assert list(loaded.world.objects) == list(whole.objects)
    assert list(loaded.world.relations) == list(whole.relations)


class Kept:
    """A store for one snapshot."""

    least = 1

    def __init__(self) -> None:
        self.body: bytes | None = None

    def get(self) -> bytes | None:
        return self.body

    def put(self, body: bytes) -> None:
        self.body = body


@settings(max_examples=60, deadline=None)
@given(programs, st.integers(0, 30), st.booleans(), st.data())
def test_stored_views_equal_a_fold_over_the_ledger_despite_crashes_and_forks(
    program: Program, survives: int, after: bool, data: st.DataObject
) -> None:
    options = {"snapshots": Kept(), "snapshot_interval": data.draw(st.integers(1, 9))}
    ledger: LedgerStore = CrashingLedger("r", survives, after=after)
    try:
        runtime_on(ledger, program, **options).run(seeds_of(program))
    except Crash:
        ledger.survives = 10**9
        seeds = [] if ledger.length() else seeds_of(program)
        runtime_on(ledger, program, **options).run(seeds)
    assert_views(ledger, options["snapshots"])

    with MemorySubstrate() as substrate:
        parent = substrate.create("p")
        parent.append(list(islice(ledger.read_all(), data.draw(st.integers(1, ledger.length())))))
        branch = fork(substrate, "p", data.draw(st.integers(0, parent.length())), "b")
        options["snapshots"] = Kept()
        runtime_on(branch, program, **options).run(seeds_of(program))
        assert_views(branch, options["snapshots"])


def assert_views(ledger: LedgerStore, kept: Kept) -> None:
    """Compare the views of the last snapshot of a run with folds over the whole ledger."""
    stored = open_snapshot(ledger, kept)
    assert stored is not None
    assert stored.position == ledger.length()
    events = list(ledger.read_all())
    views = Views({event.id: event.position for event in events}.get)
    views.observe(events)
    for name, state in views.states(project(events)).items():
        assert stored.view(name, bytes) == state
    assert mismatched_views(stored) == []


@settings(max_examples=100, deadline=None)
@given(programs, st.integers(1, 4))
def test_invariants_of_every_ledger(program: Program, parallel: int) -> None:
    ledger = MemoryLedgerStore("r")
    runtime = runtime_on(ledger, program, max_parallel_calls=parallel)
    world = runtime.run(seeds_of(program))

    events = list(ledger.read_all())
    index = build_lineage_index(events)
    assert [e.position for e in events] == list(range(len(events)))
    assert len({e.id for e in events}) == len(events)
    assert len({e.lineage_key for e in events}) == len(events)
    roots = {e.id for e in events if e.is_root}
    assert all(trace(e.id, index)[-1] in roots for e in events)
    assert world == reproject(ledger) == runtime.load() == runtime.replay(strict=True)
    assert compared(ledger) == compared(uninterrupted(program))
    assert not runtime.has_pending_work()
