"""A debug mode that detects impure plain responders.

The outputs of a plain responder may depend only on the event and the world. A responder that uses a
clock, a random generator or a socket emits something else when its firing is repeated, and one that
changes the world makes it differ from its ledger.
"""

from __future__ import annotations

import gc
import random
import socket
import sys
from collections.abc import Callable
from datetime import date, datetime
from types import FrameType, ModuleType
from typing import Any, TypeVar

from kando.errors import ImpureResponder
from kando.responders.randomness import EventRandom
from kando.schema.exact_json import encode
from kando.world.graph import World

__all__ = ["run_checked"]

_Result = TypeVar("_Result")

_CLOCKS = frozenset(
    {
        "time.time",
        "time.time_ns",
        "time.monotonic",
        "time.monotonic_ns",
        "time.perf_counter",
        "time.perf_counter_ns",
        "time.process_time",
        "time.localtime",
        "time.gmtime",
        "time.sleep",
        "datetime.now",
        "datetime.utcnow",
        "datetime.today",
        "date.today",
    }
)
_RANDOM = frozenset({"posix.urandom", "nt.urandom", "_uuid.generate_time_safe"})
_RANDOM_OWNERS = (random.Random,)

# The runtime reads a clock when it records, and replaces the timestamp of unrecorded events.
_EXEMPT = ("kando.runtime.", "kando.schema.events")


def run_checked(responder: str, world: World, work: Callable[[], _Result]) -> _Result:
    """Run a plain responder, and refuse its outputs if it is impure.

    Args:
        responder: its name, for the error.
        world: that it reads.
        work: calls the responder and collects its outputs; must itself be pure.

    Raises:
        ImpureResponder: it used a clock, a random generator or a socket, or changed the world.
    """
    before = _fingerprint(world)
    found: list[str] = []

    def profile(frame: FrameType, what: str, called: Any) -> None:
        if what == "c_call":
            name = _forbidden(called)
            if name and not str(frame.f_globals.get("__name__")).startswith(_EXEMPT):
                found.append(name)

    outer, collects = sys.getprofile(), gc.isenabled()
    # Finalizers that the garbage collector runs are not calls of the responder.
    gc.disable()
    sys.setprofile(profile)
    try:
        result = work()
    finally:
        sys.setprofile(outer)
        if collects:
            gc.enable()
    if found:
        msg = f"Responder {responder!r} called {found[0]}: a plain responder must be pure."
        raise ImpureResponder(
            msg,
            hint="Emit an intent (llm.request, tool.called, timer.set) and react to its answer.",
        )
    if _fingerprint(world) != before or world.changed_instances():
        msg = f"Responder {responder!r} changed the world."
        raise ImpureResponder(msg, hint="Emit object.patched instead; the world is derived.")
    return result


def _forbidden(called: Any) -> str | None:
    owner = getattr(called, "__self__", None)
    name = getattr(called, "__name__", "")
    if isinstance(owner, EventRandom):
        return None
    if isinstance(owner, _RANDOM_OWNERS):
        return f"random.{name}"
    if isinstance(owner, socket.socket):
        return f"socket.{name}"
    if isinstance(owner, type) and issubclass(owner, date):
        kind = "datetime" if issubclass(owner, datetime) else "date"
        return f"{kind}.{name}" if f"{kind}.{name}" in _CLOCKS else None
    if isinstance(owner, ModuleType):
        full = f"{owner.__name__}.{name}"
        if full in _CLOCKS or full in _RANDOM:
            return full
        if owner.__name__ == "_socket":
            return f"socket.{name}"
    return None


def _fingerprint(world: World) -> bytes:
    return encode(
        [
            [[o.id, o.type, o.data] for o in world.objects.values()],
            [[r.id, r.type, r.source_id, r.target_id, r.data] for r in world.relations.values()],
        ]
    )
