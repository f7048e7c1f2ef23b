"""A kit cleans up after a cancelled run: once, within a time limit, also after a crash."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kando.app.builtin import installed_plugins
from kando.app.group_worker import GroupWorker
from kando.app.run import Run
from kando.app.store import Store, open_store
from kando.emit import call_tool, create, patch
from kando.errors import ReplayDivergence, RunCancelled
from kando.kit import Kit
from kando.responders.budget import Budget
from kando.schema.events import KandoEvent, RecordedEvent
from kando.world.graph import World


def kit(released: list[str], *, mode: str = "", seconds: float = 30.0) -> Kit:
    kit = Kit("k", version="1")

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [create("Machine", {"state": "wanted"}, id=f"m{n}") for n in range(3)]

    @kit.responder("object.created", type="Machine")
    def rent(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        yield patch(event.data["id"], {"state": "rented"})

    @kit.responder("object.patched", type="Machine")
    def use(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        yield create("Used", {"machine": event.data["id"]})

    @kit.tool("release", effect="idempotent")
    def release(machine: str) -> str:
        if mode == "die":
            os._exit(9)
        released.append(machine)
        return f"{machine} is free"

    @kit.on_cancelled(seconds=seconds)
    def clean(event: RecordedEvent, world: World) -> Iterator[KandoEvent]:
        if mode == "raise":
            raise ValueError("no key")
        if mode == "hang":
            threading.Event().wait(600)
        if mode == "silent":
            return
        yield create("Cleaned", {"mode": mode})
        for each in [o for o in world.objects.values() if o.type == "Machine"]:
            if each.data["state"] == "rented":
                yield call_tool("release", {"machine": each.id})

    return kit


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'runs.db'}"


def opened(url: str, kit: Kit) -> Store:
    plugins = installed_plugins({"KANDO_PLUGINS": ""})
    return open_store(url, kits=[kit], plugins=plugins, environ={})


def cancelled(store: Store, events: int = 8) -> Run:
    """Return a run that was cancelled while it was at work."""
    run = store.start("k", "x", budget=Budget(max_events=events))
    assert run.status().state == "exhausted"
    run.cancel()
    run.resume()
    assert run.status().state == "cancelled"
    return run


def types(run: Run) -> list[str]:
    return [e.type for e in run.events()]


def test_a_cancelled_run_is_cleaned_up_once_and_replays(url: str) -> None:
    released: list[str] = []
    with opened(url, kit(released)) as store:
        run = cancelled(store)
        assert released == ["m0"]
        events = types(run)
        assert events.count("tool.returned") == 1
        assert events.index("run.cancelled") < events.index("tool.called")
        length = run.length()

        with pytest.raises(RunCancelled):
            run.resume()

        assert (run.length(), released) == (length, ["m0"])
        run.replay(strict=True)


def test_a_branch_at_the_end_of_a_cancelled_run_resumes_the_pending_work(url: str) -> None:
    released: list[str] = []
    with opened(url, kit(released)) as store:
        run = cancelled(store)

        branch = run.fork(at=run.length())
        status = branch.resume(forgets_limits=True).status

        assert (status.state, status.objects["Used"]) == ("finished", 3)
        assert (status.objects["Cleaned"], released) == (1, ["m0"])
        branch.replay(strict=True)
        middle = run.fork(at=run.length() - 3)
        middle.resume(forgets_limits=True)
        middle.replay(strict=True)


def test_a_clean_up_that_ends_in_a_crash_is_completed_on_resume(url: str) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_on_cancelled import *\n"
        f"with opened({url!r}, kit([], mode='die')) as store:\n"
        "    cancelled(store)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    released: list[str] = []
    with opened(url, kit(released)) as store:
        run = store.run("@last")
        with pytest.raises(RunCancelled):
            run.resume(take_over=True)
        assert released == ["m0"]
        assert types(run).count("tool.returned") == 1
        assert run.status().objects["Cleaned"] == 1


@pytest.mark.parametrize(
    ("mode", "seconds", "reason"),
    [
        ("raise", 30.0, "k.clean: ValueError: no key"),
        ("hang", 0.2, "k.clean: TimeoutError: k.clean did not clean up within 0.2 s."),
    ],
)
def test_a_clean_up_that_fails_is_recorded_and_the_run_stays_cancelled(
    url: str, mode: str, seconds: float, reason: str
) -> None:
    with opened(url, kit([], mode=mode, seconds=seconds)) as store:
        run = cancelled(store)
        status = run.status()
        assert status.parked == 1
        assert reason in status.parked_reasons[0]
        with pytest.raises(RunCancelled):
            run.resume()
        assert run.length() == status.events
        run.replay(strict=True)


def test_a_silent_clean_up_is_recorded_once(url: str) -> None:
    with opened(url, kit([], mode="silent")) as store:
        run = cancelled(store)
        assert run.status().events == len(types(run))
        assert types(run)[-2:] == ["responder.fired", "responder.completed"]
        run.replay(strict=True)


def test_a_strict_replay_finds_a_clean_up_that_has_changed(url: str) -> None:
    with opened(url, kit([])) as store:
        run = cancelled(store)
        with pytest.raises(ReplayDivergence, match=r"k\.clean"):
            run.replay(strict=True, kit=kit([], mode="other"))


def test_workers_clean_up_too(url: str) -> None:
    released: list[str] = []
    with opened(url, kit(released)) as store:
        run = store.start("k", "x", work=False)
        GroupWorker(store.context, "g", budget=Budget(max_events=7)).work(until_idle=True)
        run.offer("g")
        GroupWorker(store.context, "g", budget=Budget(max_events=7)).work(until_idle=True)
        run.cancel()
        run.offer("g")
        GroupWorker(store.context, "g").work(until_idle=True)
        assert run.status().state == "cancelled"
        assert released == ["m0"]
        assert types(run).count("tool.returned") == 1
        run.replay(strict=True)
