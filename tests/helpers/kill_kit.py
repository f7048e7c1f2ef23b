"""A kit whose calls note in a journal when they begin and end, and a killer that counts boundaries.

Processes that work on runs of the kit are forked. In each of them a `Killer` may end the process by
SIGKILL at its n-th boundary: before or after a commit, before a call, inside it, and after it has
returned. A call that begins reads the ledger and the inbox of its run: if they hold its answer, the
journal says so.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

from kando.app.builtin import installed_plugins
from kando.app.inbox import answer_key
from kando.app.store import Store, open_store
from kando.emit import ask, call_tool, create, patch, start_run
from kando.kit import Kit
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.plugins import KitSpec, Plugins, ProviderSpec, hookimpl
from kando.responders.idempotency import idempotency_key
from kando.responders.policies import Allow, Ask, Deny
from kando.runtime import Runtime
from kando.runtime.loop import Loop
from kando.runtime.snapshots import Snapshots
from kando.schema.events import HUMAN_MESSAGE, RUN_ENDED, KandoEvent, make_event
from kando.views.pending import ANSWERS
from kando.world.graph import World

GROUP = "kills"
TALK = "kills-talk"
PROVIDER = "counted"
PARTS = 4

#: Type and data of what a branch adds: one more part, so two more calls.
ADDED = {"type": "object.created", "data": {"id": "more", "type": "Part", "data": {"n": PARTS}}}

BOUNDARIES = ("before a commit", "after a commit", "before a call", "inside a call", "after a call")


@attrs.define
class Killer:
    """Ends this process by SIGKILL at a boundary.

    Args:
        journal: what happens is noted here, one line each.
        at: how many boundaries the process survives; None for all.
        kind: only boundaries of this kind count; all if empty.
    """

    journal: Path
    at: int | None = None
    kind: str = ""
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def pass_(self, kind: str) -> None:
        """Survive a boundary, or not."""
        if self.at is None or self.kind not in ("", kind):
            return
        with self._lock:
            self.at -= 1
            if self.at < 0:
                self.note(what="died", of=kind)
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)

    def note(self, **line: Any) -> None:
        """Append a line to the journal, as one step."""
        text = json.dumps({"pid": os.getpid(), **line}) + "\n"
        file = os.open(self.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, text.encode())
        os.close(file)

    def watch_commits(self) -> None:
        """Count the commits of this process, of whatever table of a store."""
        writing = SQLiteSubstrate._writing

        @contextmanager
        def watched(substrate: SQLiteSubstrate, **how: Any) -> Iterator[Any]:
            with writing(substrate, **how) as connection:
                yield connection
                self.pass_(BOUNDARIES[0])
            self.pass_(BOUNDARIES[1])

        SQLiteSubstrate._writing = watched


class _Here:
    """Where this process works: set before it is forked, and in it."""

    path: Path
    killer: Killer
    keeps_snapshots = False


def keep_snapshots(interval: int) -> None:
    """Store the snapshots of runs in files, of the shortest ledger, too, and note each recovery from one.

    Args:
        interval: minimum number of events between two snapshots during a run.
    """
    _Here.keeps_snapshots = True
    recover = Snapshots.recover

    def noted(self: Snapshots, new_loop: Callable[[], Loop]) -> Loop:
        loop = recover(self, new_loop)
        if loop.recorder.restored_length:
            _Here.killer.note(what="restored")
        return loop

    Snapshots.recover = noted
    Runtime.__init__.__kwdefaults__["snapshot_interval"] = interval


def call(key: str, seconds: float = 0.002) -> None:
    """Be a call to the outside: note its begin and end by its idempotency key."""
    killer = _Here.killer
    killer.pass_(BOUNDARIES[2])
    killer.note(what="begin", key=key, answered=_is_answered(key))
    time.sleep(seconds)
    killer.pass_(BOUNDARIES[3])
    killer.note(what="end", key=key)
    killer.pass_(BOUNDARIES[4])


def run_of(key: str) -> str:
    """Return the id of the run of a call, from its idempotency key."""
    return key.partition("/")[0].partition(":")[2]


def _is_answered(key: str) -> bool:
    """Whether the answer to a call is durable already, in the ledger or in the inbox."""
    run, intent = run_of(key), key.partition("/")[2]
    with SQLiteSubstrate(_Here.path, read_only=True) as substrate:
        inbox = {entry.key for entry in substrate.inbox(run)}
        answers = (e for e in substrate.open(run).read_all() if e.type in ANSWERS)
        return answer_key(intent) in inbox or any(intent in e.cause for e in answers)


def make_kit() -> Kit:
    """Return the kit: parallel requests and tools, a child run, a pause, an approval, a last request."""
    kit = Kit("kills", version="1")

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [create("Goal", {"text": goal}, id="goal")]

    @kit.tool("look", effect="read", max_parallel=3)
    def look(n: int, idempotency_key: str) -> int:
        call(idempotency_key)
        return n * 10

    @kit.tool("halt", effect="idempotent")
    def halt(idempotency_key: str) -> str:
        call(idempotency_key)
        with open_store(f"sqlite:{_Here.path}", plugins=_PLUGINS, environ={}) as store:
            store.run(run_of(idempotency_key)).pause()
        return "paused"

    @kit.tool("pay", effect="write")
    def pay(amount: int, idempotency_key: str) -> str:
        call(idempotency_key)
        return f"paid {amount}"

    @kit.policy
    def careful(intent: KandoEvent, world: World) -> Allow | Ask | Deny:
        is_payment = intent.type == "tool.called" and intent.data["tool"] == "pay"
        return Ask("May it pay?") if is_payment else Allow()

    @kit.responder("object.created", type="Goal")
    def on_goal(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        for n in range(PARTS):
            yield create("Part", {"n": n})

    @kit.responder("object.created", type="Part")
    def on_part(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        n = event.data["data"]["n"]
        yield ask([{"role": "user", "content": f"part {n}"}], about=event)
        yield call_tool("look", {"n": n}, about=event)

    @kit.responder("llm.response")
    def on_answer(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield patch(event.data["cause_object_id"], {"answer": event.data["text"]})

    @kit.responder("tool.returned")
    def on_returned(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        assert "error" not in event.data, event.data["error"]
        result = event.data["result"]
        if isinstance(result, int):
            yield patch(event.data["cause_object_id"], {"seen": result})
        elif result == "paused":
            yield call_tool("pay", {"amount": 7}, about="goal")
        else:
            yield ask([{"role": "user", "content": "conclude"}], about="goal")

    @kit.responder("object.patched", type="Part")
    def join(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        parts = [part.data for part in world.objects_of("Part")]
        if all({"answer", "seen"} <= part.keys() for part in parts) and not world.count_of("Sum"):
            yield create("Sum", {"of": [[part["answer"], part["seen"]] for part in parts]})
            yield start_run(TALK, "hello", about="goal")

    @kit.responder(RUN_ENDED)
    def on_end(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield patch("goal", {"said": event.data["result"]})
        yield call_tool("halt", {}, about="goal")

    return kit


def make_talk() -> Kit:
    """Return the kit of the child run: a conversation with a tool, and a message that enters between."""
    kit = Kit(TALK, version="1")

    @kit.tool("look", effect="read")
    def look(n: int, idempotency_key: str) -> int:
        call(idempotency_key)
        return n * 10

    kit.conversation(system="Talk.", tools=["look"])

    @kit.responder("tool.returned")
    def interrupt(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        data = {"text": "and then?", "cause_object_id": event.data["cause_object_id"]}
        yield make_event(HUMAN_MESSAGE, "", "interrupt", [event.id], data)

    return kit


def _open_counted(argument: str, environ: Any) -> Any:
    def complete(request: dict[str, Any]) -> dict[str, Any]:
        call(idempotency_key())
        said = request["messages"][-1]["content"]
        answer = {"text": said.upper(), "model": PROVIDER, "cost_usd": 0.25}
        if said == "hello":
            return {**answer, "tool_calls": [{"id": "1", "name": "look", "arguments": {"n": 7}}]}
        return answer

    return complete


class _Offers:
    """A plugin with the kit and its provider."""

    @hookimpl
    def kando_kits(self) -> list[KitSpec]:
        return [
            KitSpec("kills", "kill_kit_plugin:kit", "calls that are counted"),
            KitSpec(TALK, "kill_kit_plugin:talk", "a conversation whose calls are counted"),
        ]

    @hookimpl
    def kando_providers(self) -> list[ProviderSpec]:
        return [ProviderSpec(PROVIDER, "kill_kit_plugin:open_counted")]


def _installed() -> Plugins:
    module = ModuleType("kill_kit_plugin")
    vars(module)["kit"], vars(module)["talk"] = make_kit(), make_talk()
    vars(module)["open_counted"] = _open_counted
    sys.modules[module.__name__] = module
    plugins = installed_plugins({"KANDO_PLUGINS": ""})
    plugins.register(_Offers(), name="offers")
    return plugins


_PLUGINS = _installed()


def work_here(path: Path, killer: Killer) -> None:
    """Have the calls of this process use a store and a killer."""
    _Here.path, _Here.killer = path, killer


def opened(path: Path) -> Store:
    """Open the store in a file, with the kit and its provider."""
    environ = {"KANDO_LLM": PROVIDER}
    if _Here.keeps_snapshots:
        environ["KANDO_SNAPSHOT_DIR"] = f"{path}.snapshots"
    return open_store(f"sqlite:{path}", plugins=_PLUGINS, environ=environ)
