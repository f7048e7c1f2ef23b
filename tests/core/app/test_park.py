"""A person parks a firing: the run steps over it, and over no other."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kando.app.builtin import installed_plugins
from kando.app.inbox import deliver
from kando.app.opened import open_run
from kando.app.run import Run
from kando.app.store import Store, open_store
from kando.emit import ask, call_tool, create
from kando.errors import EventNotFound, InvalidData, NotFoundError, RunCancelled
from kando.kit import Kit
from kando.responders.policies import Ask
from kando.schema.events import KandoEvent, RecordedEvent
from kando.world.graph import World

GOAL = "object.created-1"


def kit(name: str = "k", poison: str = "poison", was: tuple[str, ...] = ()) -> Kit:
    kit = Kit(name, version="1")

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [create("Goal", {"text": goal}, id="goal")]

    @kit.responder("object.created", type="Goal")
    def before(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        yield create("Before", {})

    @kit.responder("object.created", type="Goal", name=f"k.{poison}", was=was)
    def poisoned(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        text = event.data["data"]["text"]
        if text == "die":
            os._exit(9)
        if text == "raise":
            raise ValueError("never")
        if text == "ask":
            yield ask([{"role": "user", "content": "?"}], about="goal")
        if text == "pay":
            yield call_tool("pay", {})

    @kit.responder("object.created", type="Goal")
    def after(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        yield create("After", {})

    @kit.responder("object.created", type="After")
    def silent(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        yield from ()

    @kit.tool("pay")
    def pay() -> str:
        return "paid"

    @kit.policy
    def careful(intent: KandoEvent) -> Ask | None:
        return Ask("pay?") if intent.type == "tool.called" else None

    return kit


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    plugins = installed_plugins({"KANDO_PLUGINS": ""})
    with open_store(f"sqlite:{tmp_path / 'runs.db'}", plugins=plugins, environ={}) as store:
        store.context.kits["k"] = kit()
        yield store


def failed(store: Store, goal: str = "raise") -> Run:
    """Return a run that failed at the firing of the poisoned responder."""
    ids: list[str] = []
    with pytest.raises(ValueError, match="never"):
        store.start("k", goal, on_started=ids.append)
    return store.run(ids[0])


def types(run: Run) -> set[str]:
    return {each.type for each in run.world().objects.values()}


def test_a_run_steps_over_a_parked_firing_and_all_others_handle_the_event(store: Store) -> None:
    run = failed(store)

    run.park(GOAL, "k.poison", reason="the document is broken", by="ann")
    run.resume()

    status = run.status()
    assert (status.state, status.parked, types(run)) == ("finished", 1, {"Goal", "Before", "After"})
    reason = "object.created-1: k.poison: parked by ann: the document is broken"
    assert status.parked_reasons == [reason]
    assert status.problem == f"1 firing is parked: {reason}"
    parked = [e.data for e in run.events() if e.type == "responder.failed"][-1]
    assert (parked["outcome"], parked["by"]) == ("parked", "ann")
    run.replay(strict=True)
    assert run.resume().status.events == status.events


def test_a_firing_that_kills_its_process_is_parked_before_it_is_repeated(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'runs.db'}"
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_park import *\n"
        "plugins = installed_plugins({'KANDO_PLUGINS': ''})\n"
        f"with open_store({url!r}, plugins=plugins, environ={{}}) as store:\n"
        "    store.start(kit(), 'die')\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    plugins = installed_plugins({"KANDO_PLUGINS": ""})
    with open_store(url, kits=[kit()], plugins=plugins, environ={}) as store:
        run = store.run("@last")
        run.park(GOAL, "k.poison")
        run.resume(take_over=True)
        assert types(run) == {"Goal", "Before", "After"}
        assert run.status().parked_reasons == ["object.created-1: k.poison: parked by cli"]
        run.replay(strict=True)


def test_a_branch_from_before_the_parking_has_the_firing_pending_again(store: Store) -> None:
    run = failed(store)
    length = run.length()
    run.park(GOAL, "k.poison")
    run.resume()

    earlier, later = run.fork(at=length), run.fork(at=run.length())

    with pytest.raises(ValueError, match="never"):
        earlier.resume()
    assert later.resume().status.state == "finished"
    assert later.status().parked == 1
    for branch in (earlier, later):
        branch.replay(strict=True)


def test_a_firing_may_be_parked_before_its_turn(store: Store) -> None:
    run = store.start("k", "raise", work=False)
    run.park(GOAL, "k.poison")
    assert run.status().unread == 1

    assert run.resume().status.state == "finished"

    assert types(run) == {"Goal", "Before", "After"}
    run.replay(strict=True)
    cut = run.fork(at=3)
    cut.resume()
    cut.replay(strict=True)


def test_a_renamed_responder_stays_parked(store: Store) -> None:
    run = failed(store)
    run.park(GOAL, "k.poison")
    store.context.kits["k"] = kit(poison="better", was=("poison",))

    assert run.resume().status.state == "finished"

    assert types(run) == {"Goal", "Before", "After"}


def test_an_exported_run_with_a_parked_firing_is_imported_as_it_was(
    store: Store, tmp_path: Path
) -> None:
    run = failed(store)
    run.park(GOAL, "k.poison", by="ann")
    run.resume()
    run.export(tmp_path / "run.jsonl")
    plugins = installed_plugins({"KANDO_PLUGINS": ""})
    with open_store("memory:", kits=[kit()], plugins=plugins, environ={}) as other:
        with (tmp_path / "run.jsonl").open("rb") as lines:
            other.import_run(lines)
        assert other.run(run.id).status().parked_reasons == run.status().parked_reasons
        other.run(run.id).replay(strict=True)


@pytest.mark.parametrize(
    ("event", "responder", "error", "said"),
    [
        ("object.created-9", "k.poison", EventNotFound, "no event 'object.created-9'"),
        (GOAL, "k.other", NotFoundError, "no responder 'k.other'"),
        (GOAL, "k.silent", NotFoundError, "k.silent does not handle object.created-1"),
        (GOAL, "k.before", InvalidData, "k.before for object.created-1 is done already"),
        (GOAL, "llm", NotFoundError, "llm does not handle object.created-1"),
    ],
)
def test_what_cannot_be_parked_is_refused_and_nothing_is_written(
    store: Store, event: str, responder: str, error: type[Exception], said: str
) -> None:
    run = failed(store)
    length = run.length()

    with pytest.raises(error, match=said):
        run.park(event, responder)

    assert (run.length(), run.status().unread) == (length, 0)


@pytest.mark.parametrize("responder", ["k.before", "k.poison"])
def test_a_firing_of_a_finished_run_is_done_even_if_it_was_silent(
    store: Store, responder: str
) -> None:
    run = store.start("k", "plain")

    with pytest.raises(InvalidData, match="is done already"):
        run.park(GOAL, responder)

    assert run.status().state == "finished"


def test_a_parked_firing_is_parked_once(store: Store) -> None:
    run = failed(store)
    assert run.park(GOAL, "k.poison").is_new
    assert not run.park(GOAL, "k.poison").is_new
    run.resume()
    with pytest.raises(InvalidData, match="parked already"):
        run.park(GOAL, "k.poison")


def test_a_cancelled_run_has_no_firing_to_park(store: Store) -> None:
    run = failed(store)
    run.cancel()
    run.resume()
    with pytest.raises(RunCancelled):
        run.park(GOAL, "k.poison")


def provider(name: str = "bad") -> Any:
    from kando.app.providers import Provider
    from kando.responders.llm_executor import provider_executor

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        raise OSError("the server hangs up")

    return Provider(name, "", provider_executor(complete))


def test_a_parked_call_is_closed_and_its_run_ends(store: Store) -> None:
    ids: list[str] = []
    with pytest.raises(OSError, match="hangs up"):
        store.start("k", "ask", llm=provider(), on_started=ids.append)
    run = store.run(ids[0])
    request = next(e.id for e in run.events() if e.type == "llm.request")

    run.park(request, "llm", reason="too long")
    status = run.resume(llm=provider()).status

    assert (status.state, status.unanswered, status.parked) == ("finished", 0, 1)
    assert status.parked_reasons == [f"{request}: llm: parked by cli: too long"]
    run.replay(strict=True)
    with pytest.raises(InvalidData, match="parked already"):
        run.park(request, "llm")


def test_a_call_that_waits_for_a_person_is_denied_not_parked(store: Store) -> None:
    run = store.start("k", "pay")
    call = next(e.id for e in run.events() if e.type == "tool.called")
    with pytest.raises(InvalidData, match=r"waits for a person.*kando deny"):
        run.park(call, "k.tools")


def test_a_call_without_a_provider_is_parked_too(store: Store) -> None:
    run = store.start("k", "ask")
    request = next(e.id for e in run.events() if e.type == "llm.request")
    assert run.status().state == "waiting"

    run.park(request, "llm")

    assert run.resume().status.state == "finished"
    branch = run.fork(at=[e.id for e in run.events()].index(request) + 1)
    assert branch.status().unanswered == 1


def test_a_message_that_comes_too_late_is_refused_in_the_ledger(store: Store) -> None:
    run = store.start("k", "plain", work=False)
    run.park(GOAL, "k.after")
    late = [entry.event for entry in store.context.substrate().inbox(run.id)]
    branch = run.fork(at=run.length())
    branch.resume()

    deliver(open_run(store.context, branch.id, read_only=False), late[0], "late")
    branch.resume()

    refused = [e.data["reason"] for e in branch.events() if e.type == "inbox.refused"]
    assert refused == ["The firing of k.after for object.created-1 is done already."]
    assert branch.status().parked == 0
    branch.replay(strict=True)
