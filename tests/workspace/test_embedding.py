"""Embedding, as the specification shows it; also run from built wheels, outside the repository."""

import ast
import asyncio
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import import_module, resources
from pathlib import Path

import pytest

import kando
from kando import Budget, KandoEvent, Kit, Run, Store, World, call_tool, create, open_store, patch
from kando.errors import ConcurrencyError, EventNotFound, PositionOutOfRange, RunCancelled
from kando.plugins import UnknownPlugin
from kando.responders.policies import Ask

GOAL = "Evaluate Acme Corp"
#: The names of SPEC 3b that exist today.
NAMES = [
    "open_store",
    "Store",
    "Run",
    "Kit",
    "Demo",
    "Runtime",
    "Budget",
    "World",
    "WorldObject",
    "Relation",
    "KandoEvent",
    "RecordedEvent",
    "make_event",
    "create",
    "patch",
    "relate",
    "unrelate",
    "ask",
    "ask_person",
    "call_tool",
    "start_run",
    "image",
    "file",
    "Compaction",
    "ToolContext",
    "rng",
    "set_timer",
    "emit",
    "text_of",
    "failure_of",
    "responder",
    "edge_logic",
    "LLMCache",
    "MemoryLedgerStore",
    "SQLiteLedgerStore",
    "KandoError",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, where this process now is, with no setting of its user."""
    for name in ("KANDO_LEDGER", "EVENTSTORE_URL", "KANDO_LLM", "KANDO_SNAPSHOT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=["sqlite:runs.sqlite", "memory:"])
def store(request: pytest.FixtureRequest, folder: Path) -> Iterator[Store]:
    with open_store(request.param) as opened:
        yield opened


def copy_answers(folder: Path) -> None:
    answers = resources.files("kits.diligence") / "demo" / "answers.json"
    shutil.copy(str(answers), folder / "answers.json")


def recorded(run: Run) -> list[tuple[object, ...]]:
    """Return what a run decided: everything but times, measurements and its own name."""
    return [
        (
            event.id,
            event.type,
            event.actor,
            event.cause,
            {name: value for name, value in event.data.items() if name != "observed"},
        )
        for event in run.events()
    ]


def python(code: str) -> str:
    """Run code in a new process and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# -- the example of the specification ------------------------------------------------------------


def test_the_store_of_the_command_line_is_opened_unless_another_is_named(folder: Path) -> None:
    with open_store() as store:
        run = store.start("diligence", GOAL, demo=True)

        assert run.status().state == "finished"
        assert store.url.startswith(f"sqlite:{folder}")


def test_a_run_is_started_and_read(store: Store) -> None:
    run = store.start("diligence", GOAL, demo=True)

    assert run.id == store.run("@last").id == store.run(run.id[:6]).id
    assert run.status().state == "finished"
    assert run.world(at=100).objects.keys() < run.world().objects.keys()
    assert [event.position for event in run.events(from_position=5)][:2] == [5, 6]
    assert len(list(run.events(from_position=5))) == run.length() - 5
    with pytest.raises(PositionOutOfRange):
        run.world(at=100_000)


def test_a_run_is_recorded_now_and_worked_on_later(store: Store, folder: Path) -> None:
    copy_answers(folder)
    run = store.start("diligence", GOAL, demo=True, work=False)
    assert run.status().state == "stopped"

    first = run.resume(llm="scripted:answers.json", budget=Budget(max_llm_calls=10), wait=False)
    then = run.resume(llm="scripted:answers.json", budget=Budget(max_llm_calls=100))

    assert (first.status.state, first.provider) == ("exhausted", "scripted")
    assert then.status.state == "finished"


def test_a_branch_is_forked_and_compared(store: Store) -> None:
    run = store.start("diligence", GOAL, demo=True)

    branch = run.fork(at=100)

    assert branch.length() == 101
    assert bool(run.diff(branch))
    assert "-32 objects" in run.diff(branch).summary()
    branch.resume()
    assert not run.diff(branch)
    assert run.diff(branch).summary() == "no changes"


def test_a_branch_begins_with_changes(store: Store, folder: Path) -> None:
    copy_answers(folder)
    run = store.start("diligence", GOAL, demo=True)
    claim = run.world(at=100).objects_of("Claim")[0]

    branch = run.fork(
        at=100,
        events=[{"type": "note", "data": {"text": "Check the figures."}}],
        patches=[(claim.id, {"statement": "Acme is profitable."})],
        goal="Evaluate Umbrella",
        model="another",
        llm="scripted:answers.json",
        kit="diligence",
    )

    types = [event.type for event in branch.events(from_position=100)]
    assert types[0] == "branch.created"
    assert "note" in types
    patched = branch.world().get_object(claim.id)
    assert patched is not None
    assert patched.data["statement"] == "Acme is profitable."
    assert branch.resume().provider == "scripted"
    assert {each.data["name"] for each in branch.world().objects_of("Company")} == {
        GOAL,
        "Evaluate Umbrella",
    }


def test_a_message_is_recorded_once_per_key(store: Store) -> None:
    run = store.start("diligence", GOAL, demo=True)

    first = run.send("note", {"text": "Check the figures."}, key="k1")
    second = run.send("note", {"text": "Check the figures."}, key="k1")
    run.resume()

    assert (first.is_new, second.is_new) == (True, False)
    notes = [event.data["text"] for event in run.events() if event.type == "note"]
    assert notes == ["Check the figures."]


def test_a_person_decides(store: Store) -> None:
    run = store.start(shop(), "50 20")
    first, second = run.approvals()

    run.approve(first.event_id, by="ann")
    run.deny(second.event_id, reason="not this month", by="bob")
    run.resume()

    assert run.approvals() == []
    outcomes = {
        each.data["price"]: each.data["outcome"] for each in run.world().objects_of("Order")
    }
    assert outcomes == {50: "paid 50", 20: "not this month"}
    decisions = [(e.type, e.actor) for e in run.events() if e.type.startswith("approval.")][2:]
    assert decisions == [("approval.granted", "ann"), ("approval.denied", "bob")]
    with pytest.raises(EventNotFound):
        run.approve(first.event_id)


def test_a_run_is_paused_and_cancelled(store: Store) -> None:
    run = store.start("diligence", GOAL, demo=True, work=False)

    run.pause()
    run.resume()
    assert run.status().state == "paused"
    run.resume()
    assert run.status().state == "finished"

    cancelled = store.start("diligence", GOAL, demo=True, work=False)
    cancelled.cancel()
    cancelled.resume()
    assert cancelled.status().state == "cancelled"
    with pytest.raises(RunCancelled):
        cancelled.resume()


def test_a_run_is_explained_replayed_and_verified(store: Store) -> None:
    run = store.start("diligence", GOAL, demo=True)
    report = run.world().objects_of("Report")[0]

    *_, root = run.trace(report.id).events()
    assert (root.actor, root.cause) == ("cli", [])
    assert run.replay(strict=True).world == run.world()
    assert run.verify().is_intact


def test_runs_are_listed_page_by_page(store: Store) -> None:
    kit = shop()
    waiting = [store.start(kit, "50").id for _ in range(3)]
    store.start("diligence", GOAL, demo=True)

    page = store.runs(state="waiting", kit="shop", limit=2, cursor=None)
    rest = store.runs(state="waiting", kit="shop", limit=2, cursor=page.next_cursor)

    assert [each.run_id for each in (*page, *rest)] == waiting[::-1]


# -- kits that are not installed -----------------------------------------------------------------


def shop() -> Kit:
    """Return a kit that asks a person before it pays more than 10."""
    kit = Kit("shop", version="1")

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [
            create("Order", {"price": int(price)}, id=f"order-{price}") for price in goal.split()
        ]

    @kit.tool("pay")
    def pay(amount: int) -> str:
        """Pay an amount."""
        return f"paid {amount}"

    @kit.policy
    def careful(intent: KandoEvent) -> Ask | None:
        return Ask("more than 10") if intent.data["arguments"]["amount"] > 10 else None

    @kit.responder("object.created", type="Order")
    def on_order(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield call_tool("pay", {"amount": event.data["data"]["price"]}, about=event)

    @kit.responder("tool.returned", type="Order")
    def on_paid(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        outcome = event.data.get("result") or event.data["error"]["message"]
        yield patch(event.data["cause_object_id"], {"outcome": outcome})

    return kit


def test_a_store_finds_the_kit_object_that_a_run_was_started_with(store: Store) -> None:
    kit = shop()
    id = store.start(kit, "5", work=False).id

    result = store.run(id).resume()

    assert result.status.state == "finished"
    assert result.status.kit == "shop"
    assert store.run(id).replay(strict=True).world == store.run(id).world()


def test_a_store_takes_the_newest_kit_of_a_name(store: Store) -> None:
    store.start(shop(), "5", work=False)
    newer = shop()
    newer.version = "2"

    run = store.start(newer, "6", work=False)

    assert run.resume().status.kit_version == "2"


def test_another_process_names_the_kit_when_it_opens_the_store(folder: Path) -> None:
    with open_store("sqlite:runs.sqlite") as store:
        id = store.start(shop(), "5", work=False).id
    with open_store("sqlite:runs.sqlite") as store, pytest.raises(UnknownPlugin, match="shop"):
        store.run(id).resume()

    with open_store("sqlite:runs.sqlite", kits=[shop()]) as store:
        assert store.run(id).resume().status.state == "finished"


# -- threads and event loops ---------------------------------------------------------------------


def test_runs_of_one_store_work_side_by_side(store: Store) -> None:
    expected = recorded(store.start("diligence", GOAL, demo=True))

    async def four() -> list[Run]:
        return await asyncio.gather(*(store.astart("diligence", GOAL, demo=True) for _ in range(4)))

    runs = asyncio.run(four())

    assert len({run.id for run in runs}) == 4
    for run in runs:
        assert recorded(run) == expected
        assert run.verify().is_intact


def test_runs_are_resumed_side_by_side_while_others_are_read_and_sent_to(store: Store) -> None:
    expected = recorded(store.start("diligence", GOAL, demo=True))

    async def work(run: Run) -> str:
        return (await run.aresume()).status.state

    async def bystand(run: Run) -> None:
        for number in range(5):
            await asyncio.to_thread(run.send, "note", {"number": number}, key=f"k{number}")
            await asyncio.to_thread(lambda: (run.status(), list(run.events()), store.runs()))

    async def all_at_once() -> list[str | None]:
        runs = [store.start("diligence", GOAL, demo=True, work=False) for _ in range(3)]
        other = store.start("diligence", GOAL, demo=True, work=False)
        states = await asyncio.gather(*map(work, runs), bystand(other))
        assert [recorded(run) for run in runs] == [expected] * 3
        return states

    assert asyncio.run(all_at_once()) == ["finished"] * 3 + [None]


def test_an_event_loop_is_not_blocked_and_sees_what_a_call_raises(store: Store) -> None:
    async def ticks_until_done() -> int:
        ticks = 0
        task = asyncio.create_task(store.astart("diligence", GOAL, demo=True))
        while not task.done():
            await asyncio.sleep(0.001)
            ticks += 1
        return ticks

    assert asyncio.run(ticks_until_done()) > 3
    with pytest.raises(UnknownPlugin):
        asyncio.run(store.astart("nothing-of-this-name", GOAL))


def test_one_thread_at_a_time_works_on_a_run(store: Store) -> None:
    kit = Kit("slow", version="1")
    has_begun, may_end = threading.Event(), threading.Event()

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [create("Order", {})]

    @kit.tool("wait")
    def wait() -> str:
        has_begun.set()
        assert may_end.wait(30)
        return "done"

    @kit.responder("object.created")
    def on_order(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield call_tool("wait", {})

    run = store.start(kit, "go", work=False)

    async def resume_twice() -> None:
        first = asyncio.create_task(run.aresume())
        assert await asyncio.to_thread(has_begun.wait, 30)
        assert run.status().state == "running"
        with pytest.raises(ConcurrencyError, match=run.id):
            await run.aresume()
        may_end.set()
        assert (await first).status.state == "finished"

    asyncio.run(resume_twice())
    assert run.status().state == "finished"
    assert run.resume().status.state == "finished"


# -- names of the package ------------------------------------------------------------------------


def test_the_package_offers_the_names_of_the_specification() -> None:
    assert sorted(kando.__all__) == sorted(NAMES)
    assert set(NAMES) <= set(dir(kando))
    for name in NAMES:
        assert getattr(kando, name).__name__ == name


def test_type_checkers_see_the_names_that_are_imported_lazily() -> None:
    tree = ast.parse(Path(str(kando.__file__)).read_text())
    (choice,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: getattr(import_module(str(node.module)), alias.name)
        for node in choice.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert seen == {name: getattr(kando, name) for name in NAMES}


def test_an_unknown_name_is_an_attribute_error_that_offers_a_known_one() -> None:
    with pytest.raises(AttributeError, match="module 'kando' has no attribute 'open_stor'"):
        kando.open_stor  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'open_stor' from 'kando'"):
        from kando import open_stor  # noqa: F401


def test_importing_the_package_alone_loads_nothing_else() -> None:
    loaded = python(
        "import sys; before = {*sys.modules}; import kando;print(*sorted({*sys.modules} - before))"
    )

    assert loaded == "kando kando._lazy"


def test_every_name_can_be_imported_with_a_star() -> None:
    names = python("from kando import *; print(*sorted(n for n in dir() if n[0] != '_'))")

    assert names.split() == sorted(NAMES)


@pytest.mark.parametrize(
    "first",
    [
        "pass",
        "import kando.emit",
        "import kando.emit as module",
        "from kando.emit import create",
        "import kando.kit, kits.diligence.kit",
        "from kando import emit",
        "import kando; kando.emit",
    ],
)
def test_emit_is_a_function_and_a_module_whatever_was_imported_before(first: str) -> None:
    python(
        f"""
{first}
from kando import emit
assert emit("note", {{}}).type == "note"
from kando.emit import create, emit as of_the_module
assert emit is of_the_module
import kando.emit
assert kando.emit is emit and kando.emit.create is create
import kando.emit as module
assert module.create is create
import importlib, types
assert isinstance(importlib.import_module("kando.emit"), types.ModuleType)
"""
    )


@pytest.mark.parametrize("first", ["from kando import Kit, Runtime, responder", "pass"])
def test_submodules_stay_modules(first: str) -> None:
    python(
        f"""
{first}
import kando.kit, kando.runtime, kando.responders, kando.world.graph
from types import ModuleType
for each in (kando.kit, kando.runtime, kando.responders, kando.world):
    assert isinstance(each, ModuleType), each
from kando import Kit
assert kando.kit.Kit is Kit
"""
    )
