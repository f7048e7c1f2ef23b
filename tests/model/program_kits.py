"""Kits of programs as Kando runs them, and the outside that their calls reach."""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

import attrs

from kando.emit import (
    ask,
    ask_person,
    call_tool,
    create,
    emit,
    patch,
    relate,
    set_timer,
    start_run,
)
from kando.kit import Kit
from kando.responders.base import Responder, Retry
from kando.responders.edge import edge_responder
from kando.responders.idempotency import idempotency_key
from kando.responders.policies import Allow, Ask, Deny
from kando.runtime.call_pool import Call as PooledCall
from kando.schema.attachments import file, image
from kando.schema.events import KandoEvent
from kando.testing.runs import Crash
from kando.world.graph import World

__all__ = ["Broken", "Call", "Outside", "build_child_kit", "build_kit", "media"]

_PRICE = 0.25
_LONG = "a long text " * 120
_USAGE = {"input_tokens": 3, "output_tokens": 5}


class Broken(Exception):
    """An error of a responder, a tool or a provider; it may say what the attempt used."""

    spent: dict[str, Any] | None = None


@attrs.define
class Call:
    """A call that was begun.

    Attributes:
        run: the run that was worked on.
        intent: id of its intent.
        what: the tool, or ``llm``.
        arguments: what it was called with.
        failed: whether it raised.
        excused: whether the process died before its answer was recorded, so that it is repeated.
        passed_at: when it passed the last check of the runtime; None if no pool of calls makes it.
    """

    run: str
    intent: str
    what: str
    arguments: Any
    failed: bool = False
    excused: bool = False
    passed_at: datetime | None = None


def passed_at() -> datetime | None:
    """Return when the call that this thread makes passed the last check of the runtime, or None."""
    for frame, _ in traceback.walk_stack(None):
        if frame.f_code is PooledCall.make.__code__:
            seconds = time.monotonic() - frame.f_locals["self"].started_at
            return datetime.now(UTC) - timedelta(seconds=seconds)
    return None


@attrs.define
class Outside:
    """The models and tools of a program, and the deaths of its process.

    Attributes:
        run: id of the run that is worked on.
        calls: every call that was begun, in order.
        faults: what calls found wrong when they began.
        broken: keys of the responders that raise until they are mended.
        check_call: returns why a call must not be made now, or None.
        meanwhile: does something while the given call of a step is in flight.
    """

    run: str = ""
    calls: list[Call] = attrs.field(factory=list)
    faults: list[str] = attrs.field(factory=list)
    broken: set[str] = attrs.field(factory=set)
    check_call: Callable[[Call], str | None] = lambda call: None
    meanwhile: tuple[int, Callable[[], object]] | None = None
    dies_at_call: int | None = None
    dies_at_write: int | None = None
    dies_after_write: bool = False
    is_armed: bool = False
    is_dead: bool = False
    step_calls: int = 0
    step_writes: int = 0
    attempts: Counter[tuple[str, ...]] = attrs.field(factory=Counter)
    _dead_threads: set[threading.Thread] = attrs.field(factory=set)
    _lock: threading.RLock = attrs.field(factory=threading.RLock)

    # -- the process --------------------------------------------------------------------------

    def begin_step(self, run: str) -> None:
        """Begin a step of work on a run, in a process that lives."""
        self.run, self.is_armed, self.is_dead = run, True, False
        self.step_calls = self.step_writes = 0
        self.dies_at_call = self.dies_at_write = self.meanwhile = None

    def end_step(self) -> None:
        """End the step; threads of calls that are left belong to a process that is gone."""
        if self.is_dead:
            living = threading.enumerate()
            self._dead_threads |= {each for each in living if each.name == "kando-call"}
        self.is_armed = self.is_dead = False

    def before_write(self) -> None:
        """Notice that something is about to be made durable; the process may die of it."""
        with self._lock:
            if threading.current_thread() in self._dead_threads:
                raise Crash("this process is gone")
            if not self.is_armed:
                return
            self.step_writes += 1
            is_last = self.step_writes == self.dies_at_write
            if self.is_dead or (is_last and not self.dies_after_write):
                self.is_dead = True
                raise Crash("before a write")

    def after_write(self) -> None:
        """Notice that something was made durable."""
        with self._lock:
            if self.is_armed and self.step_writes == self.dies_at_write and self.dies_after_write:
                self.is_dead = True
                raise Crash("after a write")

    # -- calls --------------------------------------------------------------------------------

    def begin(self, key: str, what: str, arguments: Any) -> Call:
        """Begin a call: note it, check that it may be made, and perhaps die in it."""
        with self._lock:
            if threading.current_thread() in self._dead_threads or self.is_dead:
                raise Crash("this process is gone")
            intent = key.rpartition("/")[2]
            call = Call(self.run, intent, what, arguments, passed_at=passed_at())
            fault = self.check_call(call)
            if fault is not None:
                self.faults.append(f"{what} is called for {call.intent} of {self.run}: {fault}")
            self.calls.append(call)
            self.step_calls += 1
            if self.meanwhile is not None and self.step_calls == self.meanwhile[0]:
                self.meanwhile[1]()
            if self.step_calls == self.dies_at_call:
                self.is_dead = True
                raise Crash("in a call")
        return call

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request as a model does."""
        text = asked_text(request)
        call = self.begin(idempotency_key(), "llm", text)
        what, _, _ = _words(request["messages"][-1]["content"])[0].partition(" after ")
        is_talk = "conversation" in request
        if is_talk and what.startswith("use") and "compacts" not in request["conversation"]:
            calls = [{"id": f"c{n}", "name": "read", "arguments": {"n": n}} for n in (0, 1)]
            return {"text": "", "tool_calls": calls, "model": "model", "cost_usd": 0} | _used()
        if what.partition(" ")[0] == "refuse":
            return {"error": {"type": "Refused", "message": "no"}, "cost_usd": _PRICE} | _used()
        with self._lock:
            self.attempts[text, call.run] += 1
            if text.startswith("flaky") and self.attempts[text, call.run] % 2:
                call.failed = True
                error = Broken("the model is away")
                if what == "flaky b":
                    error.spent = {"cost_usd": _PRICE} | _used()
                raise error
        said = "a story" if is_talk else f"re {text}"
        return {"text": said, "model": "model", "cost_usd": _PRICE} | (
            _used() if not is_talk else {}
        )

    def call_tool(self, what: str, n: int, key: str) -> Any:
        """Do what a tool does."""
        call = self.begin(key, what, n)
        if what == "fail":
            call.failed = True
            raise Broken("the tool fails")
        return {"n": n}


def asked_text(request: Mapping[str, Any]) -> str:
    """Return what tells a request from others: the whole of it, for one in a conversation."""
    if "conversation" in request:
        return json.dumps([request["messages"], request["conversation"].get("compacts")])
    return " ".join(_words(request["messages"][-1]["content"]))


def _words(content: Any) -> list[str]:
    """Return the text of a message, and the images and files in it, each with its size."""
    if isinstance(content, str):
        return [content]
    return [each.get("text") or f"{each['type']} {len(each['data'])}" for each in content]


def media(kind: str, size: int) -> Any:
    """Return an image or a PDF as a part of a message."""
    start = b"\x89PNG\r\n\x1a\n" if kind == "image" else b"%PDF-1.4\n"
    content = start + bytes(n % 251 for n in range(size))
    return image(content) if kind == "image" else file(content, name="it.pdf")


def _used() -> dict[str, Any]:
    return {"usage": dict(_USAGE)}


def build_kit(data: Mapping[str, Any], outside: Outside, effects: Mapping[str, str]) -> Kit:
    """Return the kit that a program describes."""
    kit = Kit(data["name"], version=data["version"])

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [create("T0", {"text": goal})]

    for each in data["responders"]:
        made = _responder(each, kit, outside)
        (kit.edge_responders if each.get("relation") else kit.responders).append(made)
    for tool, effect in effects.items():
        _declare_tool(kit, tool, effect, outside)
    if data.get("talk"):
        tools = [tool for tool in ("read",) if tool in effects]
        kit.conversation(tools=tools, max_turns=3, window=data["talk"]["window"])
    for policy in data["policies"]:
        _declare_policy(kit, policy)
    return kit


def _declare_tool(kit: Kit, name: str, effect: str, outside: Outside) -> None:
    def reach(n: int, idempotency_key: str) -> Any:
        return outside.call_tool(name, n, idempotency_key)

    def look(n: int, world: World) -> Any:
        return {"n": n, "objects": world.count_of("T1")}

    kit.tool(name, effect=effect)(look if name == "look" else reach)


def _declare_policy(kit: Kit, policy: Mapping[str, Any]) -> None:
    verdicts = {"ask": Ask("may it?"), "deny": Deny("it may not")}
    on, of = policy["on"], policy.get("of")

    def judge(event: KandoEvent) -> Any:
        is_meant = of is None or event.data.get("tool") == of or on != "tool.called"
        return verdicts[policy["verdict"]] if is_meant else Allow()

    def judge_in_world(event: KandoEvent, world: World) -> Any:
        return judge(event)

    # A policy that takes the world judges an intent once, in the world of its time.
    takes_world = crc32(repr(sorted(policy.items())).encode()) % 2 == 1
    kit.policy(on, type=of if on == "object.created" else None)(
        judge_in_world if takes_world else judge
    )


def _responder(data: Mapping[str, Any], kit: Kit, outside: Outside) -> Responder:
    def fn(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        return _emitted(data, event, world, outside)

    how = (data["fails"] or {}).get("how")
    options: dict[str, Any] = {"was": data.get("was", ())}
    options["retry"] = Retry(attempts=3, backoff_seconds=0) if how == "retry" else Retry()
    options["on_error"] = "park" if how == "park" else "raise"
    if data.get("relation"):
        edge = edge_responder(data["relation"], fn, data["name"], kit=kit)
        return attrs.evolve(edge, **options)
    types = frozenset(data["on"])
    return Responder(data["name"], types, fn, object_type=data["type"], kit=kit, **options)


def _emitted(
    data: Mapping[str, Any], event: Any, world: World, outside: Outside
) -> Iterator[KandoEvent]:
    about = _about(event)
    for emission in data["emits"]:
        do = emission["do"]
        if do == "create":
            fields = {"n": emission["n"]}
            if "count" in emission:
                fields["seen"] = world.count_of(emission["count"])
            if "long" in emission:
                fields["text"] = _LONG
            yield create(emission["type"], fields)
        elif do == "relate" and about:
            yield relate("near", about, about)
        elif do == "patch" and about:
            more = {"said": _said(world, about)} if "long" in emission else {}
            yield patch(about, {"p": emission["n"], **more})
        elif do == "ask":
            before = _said(world, about) if "long" in emission else []
            text = emission["text"] + (f" after {len(before)}" if before else "")
            content: Any = [text, media(*emission["media"])] if "media" in emission else text
            yield ask([*before, {"role": "user", "content": content}], about=about)
        elif do == "tool":
            yield call_tool(emission["tool"], {"n": emission["n"]}, about=about)
        elif do == "question":
            yield ask_person("which?", about=about)
        elif do == "run":
            yield start_run(CHILD_KIT, emission["goal"], about=about)
        elif do == "timer":
            yield set_timer(seconds=emission["seconds"], about=about)
        elif do == "answer":
            mine = {"text": "mine", "cost_usd": 8.0, "cause_object_id": about, **_used()}
            yield emit(_ANSWER_OF[event.type], mine, cause=[event])
    _fail(data, event, outside)


def _said(world: World, about: str | None) -> list[dict[str, Any]]:
    """Return the messages of an object, and one more."""
    known = world.get_object(about) if about else None
    said = known.data.get("said", []) if known is not None else []
    return [
        *said,
        {"role": "user", "content": f"{len(said)} {_LONG}"[: 1500 - 700 * (len(said) % 2)]},
    ]


#: Name of the kit of child runs.
CHILD_KIT = "modelchild"


def build_child_kit() -> Kit:
    """Return the kit of child runs, which reach nothing outside."""
    kit = Kit(CHILD_KIT, version="1")
    kit.seeds(lambda goal, run_id: [create("Job", {"text": goal}, id="job")])

    @kit.responder("object.created", type="Job")
    def on_job(event: Any, world: World) -> Iterator[KandoEvent]:
        yield patch("job", {"begun": True})
        if event.object["text"] == "waits":
            yield ask_person("which?", about="job")

    @kit.responder("object.patched", type="Job")
    def on_begun(event: Any, world: World) -> Iterator[KandoEvent]:
        if world.objects["job"].data["text"] == "fails":
            raise Broken("the child is broken")
        yield from ()

    @kit.responder("person.replied", type="Job")
    def on_reply(event: Any, world: World) -> Iterator[KandoEvent]:
        yield patch("job", {"heard": True})

    kit.result(lambda world: world.objects["job"].data)
    return kit


_ANSWER_OF = {
    "llm.request": "llm.response",
    "tool.called": "tool.returned",
    "person.asked": "person.replied",
    "run.requested": "run.ended",
}


def _about(event: Any) -> str | None:
    if event.type in ("object.created", "object.patched"):
        return str(event.data["id"])
    if event.type == "relation.created":
        return str(event.data["source_id"])
    return event.data.get("cause_object_id")


def _fail(data: Mapping[str, Any], event: Any, outside: Outside) -> None:
    fails = data["fails"]
    if fails is None:
        return
    error = Broken(f"{data['key']} is broken")
    if fails["spent"]:
        error.spent = {"cost_usd": 4.0} | _used()
    if fails["how"] == "park":
        raise error
    if fails["how"] == "raise" and data["key"] in outside.broken:
        raise error
    if fails["how"] == "retry":
        key = (data["key"], event.id)
        # Readers that fire a responder to find out whether work is left count as no attempt.
        outside.attempts[key] += outside.is_armed
        if outside.attempts[key] < fails["times"] + outside.is_armed:
            raise error
