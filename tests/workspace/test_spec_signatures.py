"""The calls that code written for the first Kando relies on: SPEC 3a, one test for each row.

Only kando and pytest are imported, so that the file also runs against wheels, outside the checkout.
"""

import json
import os
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from kando.branch.diff import WorldDiff, diff
from kando.branch.fork import BranchMeta, fork
from kando.cache.llm import LLMCache, ScopedLLMCache
from kando.errors import ConfigurationError, EventNotFound, PositionOutOfRange
from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemoryLedgerStore
from kando.ledger.sqlite import SQLiteLedgerStore
from kando.responders.base import Responder
from kando.responders.budget import Budget, BudgetEnforcer
from kando.responders.delivery import DeliveryBus, create_delivery_responder
from kando.responders.llm_executor import LLMExecutorResponder
from kando.runtime import Runtime
from kando.schema.events import (
    BUDGET_EXHAUSTED,
    LLM_REQUEST,
    LLM_RESPONSE,
    OBJECT_CREATED,
    OBJECT_PATCHED,
    RELATION_CREATED,
    RELATION_REMOVED,
    KandoEvent,
    make_event,
)
from kando.trace.lineage import build_lineage_index, explain, trace
from kando.world.graph import Relation, World, WorldObject
from kando.world.projection import apply, project, reproject
from kando.world.snapshot import load_snapshot, save_snapshot

SPEC_NAMES = {
    "kando.schema.events": [
        *("KandoEvent", "make_event", "OBJECT_CREATED", "OBJECT_PATCHED", "RELATION_CREATED"),
        *("RELATION_REMOVED", "BRANCH_CREATED", "BUDGET_EXHAUSTED", "LLM_REQUEST", "LLM_RESPONSE"),
        *("TOOL_CALLED", "TOOL_RETURNED", "RESPONDER_FIRED", "RESPONDER_COMPLETED"),
        *("RESPONDER_FAILED", "KIT_LOADED"),
    ],
    "kando.ledger.interface": ["LedgerStore"],
    "kando.ledger.memory": ["MemoryLedgerStore"],
    "kando.ledger.sqlite": ["SQLiteLedgerStore"],
    "kando.world.graph": ["WorldObject", "Relation", "World"],
    "kando.world.projection": ["project", "apply", "reproject"],
    "kando.world.snapshot": ["save_snapshot", "load_snapshot"],
    "kando.responders.base": ["Responder", "ResponderRegistry", "responder"],
    "kando.responders.edge": ["edge_logic", "dispatch"],
    "kando.responders.budget": ["Budget", "BudgetEnforcer"],
    "kando.responders.delivery": ["DeliveryBus", "create_delivery_responder"],
    "kando.responders.llm_executor": ["LLMExecutorResponder"],
    "kando.cache.llm": ["LLMCache", "ScopedLLMCache"],
    "kando.trace.lineage": ["build_lineage_index", "trace", "explain"],
    "kando.branch.fork": ["BranchMeta", "fork"],
    "kando.branch.replay": ["read_branch"],
    "kando.branch.diff": ["WorldDiff", "diff"],
    "kando.runtime": ["Runtime"],
}


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in SPEC_NAMES.items() for name in names]
)
def test_every_name_of_the_specification_is_in_its_module(module: str, name: str) -> None:
    found = import_module(module)

    assert hasattr(found, name)
    assert name in found.__all__


def thing(id: str, **data: Any) -> KandoEvent:
    return make_event(OBJECT_CREATED, "run:r", "cli", [], {"id": id, "type": "T", "data": data})


def link(id: str, source: str, target: str) -> KandoEvent:
    data = {"id": id, "type": "supports", "source_id": source, "target_id": target}
    return make_event(RELATION_CREATED, "run:r", "cli", [], data)


def patch(id: str, **fields: Any) -> KandoEvent:
    return make_event(OBJECT_PATCHED, "run:r", "cli", [], {"id": id, "patch": fields})


def event_with(id: str, *causes: str, type: str = "note") -> KandoEvent:
    made = make_event(type, "run:r", "cli", list(causes), {})
    return KandoEvent(id, type, made.source, made.actor, made.cause, made.timestamp, made.data)


def test_a_snapshot_is_a_json_file_named_after_its_run_in_the_snapshot_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = project([thing("a", n=1), thing("b"), link("l", "a", "b"), patch("a", m=[{"x": None}])])
    folder = tmp_path / "deep" / "snapshots"
    monkeypatch.setenv("KANDO_SNAPSHOT_DIR", str(folder))
    assert load_snapshot("my-run-001") is None

    save_snapshot("my-run-001", world, 4)

    found = load_snapshot("my-run-001")
    assert found is not None
    loaded, position = found
    assert (loaded, position) == (world, 4)
    assert loaded.get_relations("a") == world.get_relations("a")
    assert [each.id for each in loaded.objects_of("T")] == ["a", "b"]
    assert json.loads((folder / "my-run-001").read_text())["position"] == 4
    assert os.listdir(folder) == ["my-run-001"]

    apply(loaded, thing("c"))
    save_snapshot(run_id="my-run-001", world=loaded, position=5)
    assert load_snapshot(run_id="my-run-001") == (loaded, 5)
    assert os.listdir(folder) == ["my-run-001"]
    assert load_snapshot("my-run-002") is None

    monkeypatch.delenv("KANDO_SNAPSHOT_DIR")
    monkeypatch.chdir(tmp_path)
    save_snapshot("by-default", world, 4)
    assert load_snapshot("by-default") == (world, 4)
    assert (tmp_path / ".kando_snapshots" / "by-default").is_file()


def test_a_snapshot_never_leaves_its_folder_and_follows_the_links_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = tmp_path / "snapshots", tmp_path / "elsewhere" / "kept"
    monkeypatch.setenv("KANDO_SNAPSHOT_DIR", str(folder))
    world = project([thing("a")])

    for run_id in ("", ".", "..", "../r", "a/b", "a\\b", "/etc/r", "a\0b"):
        with pytest.raises(ConfigurationError, match="run id"):
            save_snapshot(run_id, world, 1)
        with pytest.raises(ConfigurationError, match="run id"):
            load_snapshot(run_id)
    with pytest.raises(PositionOutOfRange, match="-1"):
        save_snapshot("r", world, -1)
    assert not folder.exists()

    folder.mkdir()
    (folder / "linked").symlink_to(elsewhere)
    save_snapshot("linked", world, 1)
    assert (folder / "linked").is_symlink()
    assert elsewhere.is_file()
    assert load_snapshot("linked") == (world, 1)

    (folder / "damaged").write_text('{"position": 1')
    with pytest.warns(UserWarning, match="damaged"):
        assert load_snapshot("damaged") is None


def test_a_snapshot_bound_to_a_ledger_is_saved_and_loaded_as_before(tmp_path: Path) -> None:
    ledger = MemoryLedgerStore("r")
    ledger.append([thing("a"), thing("b")])

    save_snapshot(reproject(ledger), ledger, tmp_path)

    found = load_snapshot(ledger, tmp_path)
    assert found is not None
    assert (found.world, found.position) == (reproject(ledger), 2)
    world, position = found
    assert (world, position) == (found.world, found.position)


def test_a_delivery_bus_delivers_to_named_subscribers_until_they_unsubscribe() -> None:
    bus = DeliveryBus()
    every: list[str] = []
    some: list[str] = []

    def broken(event: KandoEvent) -> None:
        raise ValueError(event.id)

    bus.subscribe(lambda event: every.append(event.type), name="every", pattern=frozenset())
    bus.subscribe(broken, name="broken", pattern={"note"})
    bus.subscribe(callback=lambda event: some.append(event.type), name="some", pattern=["note"])
    assert len(bus) == 3

    assert bus.deliver(event_with("e-1")) == ["every", "some"]
    assert bus.deliver(event_with("e-2", type="other")) == ["every"]
    assert (every, some) == (["note", "other"], ["note"])
    assert [(each.subscriber, each.event_id) for each in bus.failures] == [("broken", "e-1")]

    assert bus.unsubscribe("every") is True
    assert bus.unsubscribe("every") is False
    assert bus.unsubscribe("unknown") is False
    assert len(bus) == 2
    assert bus.deliver(event_with("e-3", type="other")) == []

    Runtime(MemoryLedgerStore("r"), [create_delivery_responder(bus)]).run([event_with("e-4")])
    assert some == ["note", "note"]


def test_an_llm_cache_keeps_what_was_used_last() -> None:
    def asked(n: int) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": str(n)}], "model": "m", "max_tokens": 5}

    cache = LLMCache(max_entries=2)
    assert len(cache) == 0
    assert isinstance(cache.put(asked(1), {"text": "1"}), str)
    assert cache.put(asked(1), {"text": "1"}) == cache.put({**asked(1)}, {"text": "1"})
    assert cache.put(asked(2), {"text": "2"}) != cache.put(asked(1), {"text": "1"})
    assert len(cache) == 2

    assert cache.get(asked(2)) == {"text": "2"}
    cache.get(asked(1))
    cache.put(asked(3), {"text": "3"})

    assert len(cache) == 2
    assert cache.get(asked(2)) is None
    assert (cache.get(asked(1)), cache.get(asked(3))) == ({"text": "1"}, {"text": "3"})

    whole = LLMCache()
    for n in range(2050):
        whole.put(asked(n), {"text": str(n)})
    assert len(whole) == 2048
    assert [whole.get(asked(n)) is None for n in (0, 1, 2, 2049)] == [True, True, False, False]


def test_a_scoped_cache_reads_its_parent_and_writes_its_own_entries() -> None:
    one, other, third = ({"messages": [], "model": name} for name in ("one", "other", "third"))
    cache = LLMCache()
    cache.put(one, "parent's")
    cache.put(other, "parent's")

    scoped = cache.scope("branch:b1")
    assert isinstance(scoped, ScopedLLMCache)
    assert len(scoped) == 0
    assert scoped.get(one) == "parent's"

    assert isinstance(scoped.put(one, "its own"), str)
    scoped.put(third, "its own")
    assert (scoped.get(one), scoped.get(other), scoped.get(third)) == (
        "its own",
        "parent's",
        "its own",
    )
    assert (cache.get(one), cache.get(third)) == ("parent's", None)
    assert (len(scoped), len(cache)) == (2, 2)
    assert cache.scope("branch:b2").get(third) is None
    assert cache.scope("branch:b1").get(third) == "its own"
    assert scoped.scope("inner").get(third) == "its own"


def test_a_budget_enforcer_keeps_the_account_of_events_given_to_it() -> None:
    enforcer = BudgetEnforcer(Budget(max_events=3, max_recursion_depth=1), run_id="r")
    world = World()
    first, second, third = event_with("e-0"), event_with("e-1", "e-0"), event_with("e-2", "e-1")

    enforcer.record(first, world)
    enforcer.record(second, world)
    assert enforcer.violations(second) == []

    enforcer.record(third, world)
    (violation,) = enforcer.violations(third)
    assert violation.type == BUDGET_EXHAUSTED
    assert violation.source == "run:r"
    assert violation.cause == ["e-2"]
    assert violation.data["reasons"] == ["max_recursion_depth"]
    assert (violation.data["event_count"], violation.data["depth"]) == (3, 2)

    last = event_with("e-3")
    enforcer.record(last, world)
    (violation,) = enforcer.violations(last)
    assert violation.data["reasons"] == ["max_events", "max_recursion_depth"]

    costly = BudgetEnforcer(Budget(max_llm_cost_usd=1.0, max_llm_calls=1), run_id="branch:b")
    for _ in range(2):
        answer = make_event(LLM_RESPONSE, "", "llm", [], {"text": "x", "cost_usd": 0.75})
        costly.record(answer, world)
    (violation,) = costly.violations(answer)
    assert violation.source == "branch:b"
    assert violation.data["reasons"] == ["max_llm_cost_usd", "max_llm_calls"]
    assert violation.data["llm_cost_usd"] == 1.5
    assert BudgetEnforcer(Budget(), run_id="r").violations(first) == []


def test_a_fork_without_a_substrate_is_its_values_alone() -> None:
    meta = fork("my-run-001", fork_position=250, branch_id="b1")

    assert meta == BranchMeta("b1", "my-run-001", 250)
    assert (meta.branch_id, meta.parent_run_id, meta.fork_position) == ("b1", "my-run-001", 250)
    assert fork(parent_run_id="r", fork_position=0, branch_id="b2") == BranchMeta("b2", "r", 0)
    with pytest.raises(PositionOutOfRange, match="-1"):
        fork("r", fork_position=-1, branch_id="b3")


def test_the_fields_of_a_diff_answer_by_id() -> None:
    a = project([thing("same"), thing("gone"), thing("changed", n=1), link("old", "same", "gone")])
    b = project([thing("same"), thing("new", n=3), thing("changed", n=2), link("l", "same", "new")])

    result = diff(a, b)

    assert "new" in result.added_objects
    assert "same" not in result.added_objects
    assert result.added_objects == ["new"]
    assert result.removed_objects == ["gone"]
    assert result.patched_objects == ["changed"]
    assert result.added_relations == ["l"]
    assert result.removed_relations == ["old"]
    assert result.objects["new"].after == b.objects["new"]
    assert result.objects["gone"].before == a.objects["gone"]
    assert result.objects["changed"].fields == {"n": (1, 2)}
    assert result.relations["l"].after == b.relations["l"]
    assert result.relations["old"].before == a.relations["old"]
    assert bool(result)
    assert isinstance(result, WorldDiff)

    none = diff(a, a)
    assert none.added_objects == none.removed_objects == none.patched_objects == []
    assert none.added_relations == none.removed_relations == []
    assert not none
    assert none.summary() == "no changes"


class ListLedger(LedgerStore):
    """As much of a ledger as SPEC asks for, with a name of any form."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.events: list[Any] = []

    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        self.events += events
        return len(self.events)

    def read(self, from_position: int = 0) -> Iterator[Any]:
        return iter(self.events[from_position:])

    def stream_name(self) -> str:
        return self.name


def test_the_prefix_of_a_ledgers_name_is_the_kind_of_its_stream(tmp_path: Path) -> None:
    names = ["abc", "run:abc", "branch:abc"]
    assert [MemoryLedgerStore(name).stream_name() for name in names] == [
        "run:abc",
        "run:abc",
        "branch:abc",
    ]
    with pytest.raises(ConfigurationError):
        MemoryLedgerStore("other:abc")
    path = tmp_path / "ledgers.db"
    for name in ("abc", "run:abc"):
        store = SQLiteLedgerStore(name, path)
        assert store.stream_name() == "run:abc"
        store.append([thing(name)])
        store.close()
    store = SQLiteLedgerStore("abc", path)
    assert store.length() == 2
    store.close()

    def on_a(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        if event.data["id"] == "a":
            yield thing("b")

    makers: list[tuple[Callable[[str], LedgerStore], str, str]] = [
        (MemoryLedgerStore, "branch:abc", "branch:abc"),
        (ListLedger, "run:abc", "run:abc"),
        (ListLedger, "branch:abc", "branch:abc"),
        (ListLedger, "any name", "any name"),
    ]
    for make, name, source in makers:
        ledger = make(name)
        runtime = Runtime(ledger, [Responder("on_a", frozenset({OBJECT_CREATED}), on_a)])
        world = runtime.run([thing("a")])
        assert list(world.objects) == ["a", "b"]
        assert {event.source for event in ledger.read_all()} == {source}
        assert runtime.load() == runtime.replay(strict=True) == world


def test_the_trace_of_an_unknown_event_is_that_event_alone() -> None:
    events = [event_with("root"), event_with("e-1", "root", "lost"), event_with("e-2", "e-1")]
    index = build_lineage_index(events)

    assert trace("unknown", index) == ["unknown"]
    assert trace("unknown", {}) == ["unknown"]
    assert trace("e-2", index)[:2] == ["e-2", "e-1"]
    assert set(trace("e-2", index)[2:]) == {"root", "lost"}
    assert [event.id for event in explain("e-2", events)] == ["e-2", "e-1", "root"]
    assert [event.id for event in explain("e-2", events[1:])] == ["e-2", "e-1"]
    with pytest.raises(EventNotFound, match="unknown"):
        explain("unknown", events)


def test_a_runtime_without_a_cache_has_one_of_its_own() -> None:
    calls: list[str] = []

    def llm_fn(messages: list[dict[str, Any]], model: str, max_tokens: int) -> tuple[str, float]:
        calls.append(model)
        return "yes", 0.5

    def request() -> KandoEvent:
        data = {"messages": [{"role": "user", "content": "?"}], "model": "m", "max_tokens": 5}
        return make_event(LLM_REQUEST, "run:r", "cli", [], data)

    runtime = Runtime(MemoryLedgerStore("r"), [LLMExecutorResponder(llm_fn)])
    assert isinstance(runtime.load().context["cache"], LLMCache)

    runtime.run([request()])
    runtime.run([request()])

    assert calls == ["m"]
    cache = runtime.load().context["cache"]
    assert cache.get(request().data)["text"] == "yes"
    assert runtime.replay().context["cache"] is runtime.replay(strict=True).context["cache"]
    assert Runtime(MemoryLedgerStore("r"), []).load().context["cache"] is not cache
    own = LLMCache()
    assert Runtime(MemoryLedgerStore("r"), [], cache=own).load().context["cache"] is own


def test_a_world_filled_by_hand_takes_events_and_copies_their_data() -> None:
    world = World()
    world.objects["a"] = WorldObject("a", "T", {"n": 1})
    world.objects["b"] = WorldObject(id="b", type="T", data={})
    world.relations["l"] = Relation("l", "supports", "a", "b", {})
    assert [each.id for each in world.objects_of("T")] == ["a", "b"]
    assert world.get_relations("a") == world.get_relations("b", "supports")
    assert [each.id for each in world.get_relations("a")] == ["l"]

    apply(world, patch("a", m=2))
    apply(world, make_event(OBJECT_CREATED, "", "", [], {"id": "b", "type": "U", "data": {}}))
    apply(world, link("m", "b", "a"))
    apply(world, make_event(RELATION_REMOVED, "", "", [], {"id": "l"}))
    assert world.objects["a"].data == {"n": 1, "m": 2}
    assert [[each.id for each in world.objects_of(type)] for type in "TU"] == [["a"], ["b"]]
    assert [each.id for each in world.get_relations("a")] == ["m"]
    del world.objects["a"]
    assert world.objects_of("T") == []

    created, patched = thing("c", list=[1], deep={"x": [1]}), patch("c", more={"y": [1]})
    apply(world, created)
    apply(world, patched)
    created.data["data"]["list"].append(2)
    created.data["data"]["deep"]["x"].append(2)
    patched.data["patch"]["more"]["y"].append(2)
    expected = {"list": [1], "deep": {"x": [1]}, "more": {"y": [1]}}
    assert world.objects["c"].data == expected

    related = link("n", "b", "c")
    related.data["data"] = {"why": ["x"]}
    apply(world, related)
    related.data["data"]["why"].append("y")
    assert world.relations["n"].data == {"why": ["x"]}

    projected = project([created := thing("d", list=[1])])
    created.data["data"]["list"].append(2)
    assert projected.objects["d"].data == {"list": [1]}
