"""Workers of a group: a run that is spread over them has the ledger that one process gives."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

from kando.app import group_worker, kept_runs
from kando.app.builtin import installed_plugins
from kando.app.group_worker import GroupWorker
from kando.app.inbox import answer_key
from kando.app.jobs import Held, Jobs
from kando.app.status import CANCELLED, EXHAUSTED, FINISHED, PAUSED, WAITING
from kando.app.store import Store, open_store
from kando.emit import ask, call_tool, create, patch, set_timer
from kando.errors import InvalidData, RunCancelled, StoreError
from kando.kit import Kit
from kando.ledger.claims import Worker
from kando.ledger.groups import MAX_ATTEMPTS, HandOver, Job, Lease
from kando.ledger.inbox import InboxEntry
from kando.ledger.interface import LedgerStore
from kando.plugins import KitSpec, ProviderSpec, hookimpl
from kando.responders.base import Responder
from kando.responders.budget import Budget
from kando.runtime import Runtime
from kando.schema.events import RESPONDER_FAILED, KandoEvent, make_event
from kando.world.graph import World

PARTS = 5


def make_kit() -> Kit:
    """Return a kit that asks five questions at once, two of them twice, and then sums up."""
    kit = Kit("spread", version="1")

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [create("Goal", {"text": goal}, id="goal")]

    @kit.responder("object.created", type="Goal")
    def on_goal(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        for n in range(PARTS):
            part = yield create("Part", {"n": n})
            question = f"{event.data['data']['text']} {n % 3}"
            yield ask([{"role": "user", "content": question}], about=part)

    @kit.responder("llm.response")
    def on_answer(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield patch(event.data["cause_object_id"], {"answer": event.data["text"]})

    @kit.responder("object.patched", type="Part")
    def join(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        answers = [part.data.get("answer") for part in world.objects_of("Part")]
        if None not in answers and not world.count_of("Sum"):
            yield create("Sum", {"of": answers})
            yield ask([{"role": "user", "content": "conclude"}], about="goal")

    return kit


class Offers:
    """A plugin with the kit and with a provider that counts what it is asked."""

    @hookimpl
    def kando_kits(self) -> list[KitSpec]:
        return [KitSpec("spread", "spread_plugin:kit", "asks several things")]

    @hookimpl
    def kando_providers(self) -> list[ProviderSpec]:
        return [ProviderSpec("counting", "spread_plugin:open_counting")]


class Counting:
    """A provider that repeats the request, and can be made to fail."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.failures = 0
        self.meanwhile: Callable[[], object] = lambda: None

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        text = request["messages"][-1]["content"]
        self.calls[text] += 1
        self.meanwhile()
        if self.failures > 0:
            self.failures -= 1
            raise ConnectionError("the provider is away")
        return {"text": text.upper(), "model": "counting", "cost_usd": 0.25}


@pytest.fixture
def provider() -> Counting:
    return Counting()


@pytest.fixture
def kit() -> Kit:
    return make_kit()


@pytest.fixture
def make_store(
    monkeypatch: pytest.MonkeyPatch, provider: Counting, kit: Kit
) -> Iterator[Callable[[str], Store]]:
    module = ModuleType("spread_plugin")
    vars(module)["kit"] = kit
    vars(module)["open_counting"] = lambda argument, environ: provider.complete
    monkeypatch.setitem(sys.modules, "spread_plugin", module)
    made: list[Store] = []

    def make(url: str) -> Store:
        plugins = installed_plugins({"KANDO_PLUGINS": ""})
        plugins.register(Offers(), name="offers")
        made.append(open_store(url, plugins=plugins, environ={}))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture(params=["memory:", "sqlite:{}"], ids=["memory", "sqlite"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, make_store: Callable[[str], Store]
) -> Store:
    return make_store(request.param.format(tmp_path / "store.sqlite"))


def begun(store: Store, goal: str = "why") -> str:
    """Start a run for the group ``g``, and return its id."""
    ids: list[str] = []
    store.start("spread", goal, group="g", on_started=ids.append)
    return ids[0]


def worked(store: Store, workers: int = 1, **how: Any) -> list[str]:
    """Run workers, each in a thread, until the group is idle; return the lines they report."""
    lines: list[str] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            GroupWorker(store.context, "g", llm="counting", report=lines.append, **how).work(
                until_idle=True
            )
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return lines


def observed_aside(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != "observed"}


def facts(store: Store, run: str) -> list[tuple[Any, ...]]:
    """Return what must be equal of a run's events."""
    return [
        (e.id, e.type, e.actor, e.cause, e.lineage_key, observed_aside(e.data))
        for e in store.context.ledger(run).read_all()
    ]


ELSEWHERE = Worker("elsewhere", 1)


@pytest.mark.parametrize("worker", [ELSEWHERE, attrs.evolve(ELSEWHERE, group="other")])
def test_a_run_that_a_process_outside_the_group_works_on_is_left_alone_until_it_stops(
    store: Store, provider: Counting, worker: Worker
) -> None:
    run = begun(store)
    substrate = store.context.substrate(read_only=False)
    claims = [substrate.claim(run, worker, 0.5)]

    def claim_again() -> None:
        """Claim the run while its calls are jobs of the group."""
        standing = substrate.claim_of(run)
        assert standing is None or standing.worker.group == "g" or not standing.is_live()
        if len(claims) == 1:
            claims.append(substrate.claim(run, worker, 0.5))

    provider.meanwhile = claim_again
    told = worked(store, max_parallel_calls=1)

    assert None not in claims
    assert told == []
    assert store.run(run).status().state == FINISHED
    assert set(provider.calls.values()) == {1}


@pytest.mark.parametrize("workers", [1, 4])
def test_a_run_spread_over_workers_has_the_ledger_of_one_process(
    store: Store, workers: int, provider: Counting
) -> None:
    alone = store.start("spread", "why", llm="counting").result.status.run_id
    calls = Counter(provider.calls)
    provider.calls.clear()
    spread = [begun(store) for _ in range(3)]

    worked(store, workers)

    assert len(facts(store, alone)) > 40
    for run in spread:
        assert facts(store, run) == facts(store, alone)
        assert store.run(run).status().state == FINISHED
        assert store.context.substrate().inbox(run) == []
    # Equal questions of a run are asked once, regardless of the worker.
    assert provider.calls == Counter({text: 3 * n for text, n in calls.items()})


def test_a_message_wakes_the_workers_of_the_group_that_worked_on_the_run_last(
    store: Store,
) -> None:
    run = begun(store)
    worked(store)

    for _ in range(2):
        store.run(run).send("note", {"text": "one more thing"}, key="k1")
    assert store.context.substrate(read_only=False).group("g").info().waiting == 1
    worked(store)

    assert [e.data["text"] for e in store.run(run).events() if e.type == "note"] == [
        "one more thing"
    ]
    assert store.run(run).status().state == FINISHED


def test_a_message_to_a_run_that_a_process_works_on_itself_wakes_no_group(store: Store) -> None:
    run = begun(store)
    worked(store)
    store.run(run).resume()

    store.run(run).send("note", {"text": "one more thing"})

    assert store.context.substrate(read_only=False).group("g").info().waiting == 0
    assert store.run(run).status().unread == 1


def test_a_failing_call_is_retried_then_parked_and_can_be_replayed(
    store: Store, provider: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kando.app.jobs._RETRY_SECONDS", 0.001)
    run = begun(store)
    provider.failures = 3 * MAX_ATTEMPTS

    lines = worked(store)

    group = store.context.substrate(read_only=False).group("g")
    parked = group.parked()
    assert [each.job.ledger_id for each in parked] == [run] * 3
    assert all("ConnectionError: the provider is away" in each.reason for each in parked)
    assert sum("parked" in line for line in lines) == 3
    assert store.run(run).status().state == WAITING

    assert group.replay_parked() == 3
    worked(store)
    assert store.run(run).status().state == FINISHED


def test_a_job_waits_until_the_process_has_file_handles_again(
    make_store: Callable[[str], Store],
    provider: Counting,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kando.app.jobs._RETRY_SECONDS", 0.001)
    store = make_store(f"sqlite:{tmp_path / 'store.sqlite'}")
    shortages = [*range(3 * MAX_ATTEMPTS)]

    def open_one() -> None:
        """Connect, as a provider does; there is no handle for the first attempts."""
        if shortages.pop() if shortages else 0:
            try:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            except OSError as error:
                raise ConnectionError("Connection error.") from error

    provider.meanwhile = open_one
    run = begun(store)

    lines = worked(store)

    assert store.run(run).status().state == FINISHED
    assert store.context.substrate().group("g").info().parked == 0
    assert "is tried again: ConnectionError" in lines[0]
    assert not [e for e in store.run(run).events() if e.type == RESPONDER_FAILED]


def test_a_worker_opens_its_provider_once_and_closes_it(
    make_store: Callable[[str], Store], provider: Counting, tmp_path: Path
) -> None:
    store = make_store(f"sqlite:{tmp_path / 'store.sqlite'}")
    opened, closed = [], []

    class Client:
        def __init__(self) -> None:
            opened.append(self)

        def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
            assert not closed
            return provider.complete(request)

        def close(self) -> None:
            closed.append(self)

    vars(sys.modules["spread_plugin"])["open_counting"] = lambda argument, environ: Client()
    for n in range(3):
        begun(store, f"why {n}")
    context = attrs.evolve(store.context, environ={"KANDO_LLM": "counting"})

    GroupWorker(context, "g").work(until_idle=True)

    assert len(opened) == 1
    assert closed == opened
    context.close()


def test_a_lease_is_extended_again_after_an_extension_failed(
    store: Store, provider: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    extend = type(store.context.substrate(read_only=False).group("g")).extend
    tries: list[float] = []
    is_extended = threading.Event()

    def away_at_first(group: Any, lease: Lease, seconds: float) -> bool:
        tries.append(seconds)
        if len(tries) == 1:
            raise StoreError("It is away.")
        is_extended.set()
        return bool(extend(group, lease, seconds))

    monkeypatch.setattr(
        type(store.context.substrate(read_only=False).group("g")), "extend", away_at_first
    )
    provider.meanwhile = lambda: is_extended.wait(60)
    run = begun(store)

    # Long enough that a busy machine extends it in time after the failure.
    worked(store, lease_seconds=4.5)

    assert is_extended.is_set()
    assert store.run(run).status().state == FINISHED
    assert set(provider.calls.values()) == {1}


def test_a_responder_that_raises_parks_its_run_and_no_other(store: Store, kit: Kit) -> None:
    def burst(event: KandoEvent, world: World) -> None:
        if event.data["data"]["text"] == "bad":
            raise ValueError("cannot")

    kit.responders.append(Responder("burst", "object.created", burst, object_type="Goal"))
    bad, good = begun(store, "bad"), begun(store, "good")

    worked(store, 2)

    (parked,) = store.context.substrate(read_only=False).group("g").parked()
    line = burst.__code__.co_firstlineno + 2
    assert (parked.job, parked.reason) == (Job(bad), f"ValueError: cannot ({__file__}:{line})")
    assert store.run(good).status().state == FINISHED


def test_a_paused_run_is_not_worked_on_until_it_is_resumed(store: Store) -> None:
    run = begun(store)
    store.run(run).pause()
    worked(store)
    assert store.run(run).status().state == PAUSED
    before = store.context.ledger(run).length()

    store.context.substrate(read_only=False).group("g").offer(Job(run))
    worked(store)

    assert store.context.ledger(run).length() == before
    assert store.run(run).resume(llm="counting").status.state == FINISHED


def test_calls_not_yet_started_are_not_made_after_the_run_is_cancelled(
    store: Store, provider: Counting
) -> None:
    run = begun(store)
    provider.meanwhile = lambda: store.run(run).cancel()

    worked(store, max_parallel_calls=1)

    assert sum(provider.calls.values()) == 1
    assert store.run(run).status().state == CANCELLED
    with pytest.raises(RunCancelled, match="Fork it"):
        store.run(run).offer("g")


def test_a_run_paused_between_its_calls_continues_when_it_is_offered_again(
    store: Store, provider: Counting
) -> None:
    run = begun(store)
    provider.meanwhile = lambda: store.run(run).pause()
    worked(store, max_parallel_calls=1)
    assert sum(provider.calls.values()) == 1
    assert store.run(run).status().state == PAUSED

    provider.meanwhile = lambda: None
    store.run(run).offer("g")
    worked(store, 2)

    assert store.run(run).status().state == FINISHED
    assert set(provider.calls.values()) == {1}
    types = [event.type for event in store.context.ledger(run).read_all()]
    assert (types.count("run.paused"), types.count("run.resumed")) == (1, 1)


def test_an_answer_that_is_delivered_twice_is_recorded_once(
    store: Store, provider: Counting
) -> None:
    run = begun(store)
    worked(store, workers=1)
    whole = facts(store, run)
    intent = next(e for e in store.context.ledger(run).read_all() if e.type == "llm.request")
    again = make_event("llm.response", "", "llm", [intent.id], {"text": "again"})
    substrate = store.context.substrate(read_only=False)
    provider.calls.clear()

    assert not substrate.deliver(run, InboxEntry(answer_key(intent.id), again))
    substrate.group("g").offer(Job(run, intent.id))
    worked(store)

    assert facts(store, run) == whole
    assert not provider.calls


def test_a_resumed_run_does_not_take_the_answer_of_a_worker_for_a_message(store: Store) -> None:
    run = begun(store)
    intent_id = "llm.request-9"
    answer = make_event("llm.response", "", "llm", [intent_id], {"text": "?"})
    store.context.substrate(read_only=False).deliver(run, InboxEntry(answer_key(intent_id), answer))

    store.run(run).resume(llm="counting")

    assert store.run(run).status().state == FINISHED
    assert "?" not in [e.data.get("text") for e in store.context.ledger(run).read_all()]
    with pytest.raises(InvalidData, match="is reserved"):
        store.run(run).send("note", {}, key=answer_key(intent_id))


def test_a_timer_of_a_spread_run_fires_when_it_is_due(store: Store, kit: Kit) -> None:
    def wait(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield set_timer(seconds=0.2)

    kit.responders.append(Responder("wait", "object.created", wait, object_type="Sum"))
    run = begun(store)

    worked(store)

    assert [e.type for e in store.context.ledger(run).read_all()].count("timer.fired") == 1


@pytest.mark.parametrize(
    ("budget", "calls"),
    [
        (Budget(max_llm_calls=0), 0),
        (Budget(max_llm_calls=2), 2),
        (Budget(max_llm_cost_usd=0.5, fallback_usd_per_call=0.25), 2),
        (Budget(max_llm_cost_usd=0.2, fallback_usd_per_call=0.25), 0),
    ],
)
@pytest.mark.parametrize("workers", [1, 4])
def test_workers_make_no_call_that_exceeds_the_budget_of_its_run(
    store: Store, provider: Counting, budget: Budget, calls: int, workers: int
) -> None:
    run = begun(store)

    worked(store, workers, budget=budget)

    assert sum(provider.calls.values()) == calls
    assert store.run(run).status().state == EXHAUSTED
    store.run(run).offer("g")
    worked(store, workers)
    assert store.run(run).status().state == FINISHED
    assert set(provider.calls.values()) == {1}


def test_a_worker_makes_the_calls_of_a_run_side_by_side(store: Store, provider: Counting) -> None:
    together = threading.Barrier(3)
    first = [*range(3)]

    def wait_for_the_others() -> None:
        if first:
            first.pop()
            together.wait(30)

    provider.meanwhile = wait_for_the_others
    run = begun(store)

    assert worked(store) == []

    assert store.run(run).status().state == FINISHED
    assert set(provider.calls.values()) == {1}


def test_a_worker_makes_calls_of_several_runs_side_by_side(
    store: Store, provider: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PARTS", 1)
    together = threading.Barrier(2)
    provider.meanwhile = lambda: together.wait(30)
    runs = [begun(store), begun(store)]

    assert worked(store) == []

    assert [store.run(run).status().state for run in runs] == [FINISHED] * 2


def test_a_worker_calls_one_tool_at_a_time(store: Store, kit: Kit) -> None:
    in_flight, most = [], []

    @kit.tool("look", effect="read")
    def look(n: int) -> int:
        in_flight.append(n)
        most.append(len(in_flight))
        in_flight.remove(n)
        return n

    def calls(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        for n in range(5):
            yield call_tool("look", {"n": n})

    kit.responders.append(Responder("calls", "object.created", calls, object_type="Goal"))
    run = begun(store)

    assert worked(store) == []

    assert store.run(run).status().state == FINISHED
    assert most == [1] * 5


def opened_runtimes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which each runtime that a worker opens adds its run."""
    opened: list[str] = []
    open_runtime = kept_runs.runtime_of

    def noted(context: Any, ledger: LedgerStore, *rest: Any, **more: Any) -> Runtime:
        opened.append(ledger.stream_name())
        return open_runtime(context, ledger, *rest, **more)

    monkeypatch.setattr(kept_runs, "runtime_of", noted)
    return opened


def test_a_worker_keeps_the_runtime_of_a_run_until_its_answers_arrive(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = opened_runtimes(monkeypatch)
    run = begun(store)

    worked(store)

    assert store.run(run).status().state == FINISHED
    assert opened == [f"run:{run}"]


def test_a_run_whose_ledger_has_moved_is_read_again(
    store: Store, provider: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = opened_runtimes(monkeypatch)
    run = begun(store)

    def write() -> None:
        """Record an event, as a process that has taken the run over does."""
        provider.meanwhile = lambda: None
        ledger = store.context.ledger(run, read_only=False)
        Runtime(ledger, [], edge_logic=()).record([make_event("note", "", "cli", [], {})])

    provider.meanwhile = write

    assert worked(store, max_parallel_calls=1) == []

    assert store.run(run).status().state == FINISHED
    assert [e.type for e in store.run(run).events()].count("note") == 1
    assert len(opened) > 1


def handed_over(
    monkeypatch: pytest.MonkeyPatch, then: Callable[[], object] = lambda: None
) -> list[bool]:
    """Return a list that grows with each delivery of answers: whether the worker waits for the disk."""
    lasting: list[bool] = []
    hand_over = Jobs.hand_over

    def watched(jobs: Jobs, handed: HandOver, since: dict[str, float]) -> list[Held]:
        taken = hand_over(jobs, handed, since)
        if handed.entries:
            lasting.append(handed.lasts)
            then()
        return taken

    monkeypatch.setattr(Jobs, "hand_over", watched)
    monkeypatch.setattr(group_worker, "_TURN_SECONDS", 3600.0)
    return lasting


def test_a_worker_waits_for_the_disk_with_what_follows_from_the_answers_of_a_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PARTS", 1)
    lasting = handed_over(monkeypatch)
    run = begun(store)

    assert worked(store) == []

    assert store.run(run).status().state == FINISHED
    assert lasting == [False, False]


def test_answers_of_a_run_that_the_worker_does_not_resume_at_once_are_on_disk(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PARTS", 1)
    lasting = handed_over(monkeypatch)
    monkeypatch.setattr(group_worker, "_TURN_SECONDS", 0.0)
    run = begun(store)

    assert worked(store) == []

    assert store.run(run).status().state == FINISHED
    assert lasting == [True, True]


def test_an_answer_that_others_precede_is_on_disk_before_they_arrive(
    store: Store, provider: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PARTS", 2)
    arrived = threading.Event()
    lasting = handed_over(monkeypatch, arrived.set)
    complete = provider.complete

    def in_reverse(request: dict[str, Any]) -> dict[str, Any]:
        if request["messages"][-1]["content"].endswith("0"):
            arrived.wait(30)
        return complete(request)

    monkeypatch.setattr(provider, "complete", in_reverse)
    run = begun(store)

    assert worked(store) == []

    assert store.run(run).status().state == FINISHED
    # The second answer alone, then the first and the conclusion, each with what follows from it.
    assert lasting == [True, False, False]


def test_a_worker_keeps_a_bounded_number_of_runtimes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_runs, "_MAX_KEPT_EVENTS", 0)
    monkeypatch.setattr(group_worker, "_TURN_SECONDS", 0.0)
    opened = opened_runtimes(monkeypatch)
    runs = [begun(store) for _ in range(2)]

    worked(store)

    assert [store.run(run).status().state for run in runs] == [FINISHED] * 2
    # The runs took turns, and only the one worked on last was kept.
    assert len(opened) > len(runs)


def test_a_worker_leaves_a_deleted_run_alone_and_goes_through_the_others(
    store: Store, provider: Counting
):
    lines: list[str] = []
    runs = [store.start("spread", "goal", group="g", work=False) for _ in range(2)]
    group = store.context.substrate(read_only=False).group("g")
    for run in runs:
        group.offer(Job(run.id))
    runs[0].delete()
    # As a process that was suspended would offer it.
    group.offer(Job(runs[0].id))

    worker = GroupWorker(store.context, "g", llm="counting", report=lines.append)
    worker.work(until_idle=True)

    assert lines == []
    assert group.info().waiting == group.info().parked == 0
    assert runs[1].status().state == "finished"
