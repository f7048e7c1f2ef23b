"""A kit is edited between a crash and the resume: no responder handles an event twice or never.

A kit of random responders works on a run whose ledger stops accepting events. The kit is edited at
random (responders are renamed with ``was=``, removed, added, moved, given other patterns) and the run
is resumed, several times. Each responder emits events that name the event and the responder, and some
call a tool.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import attrs
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kando.app.kits.find import kit_data
from kando.emit import call_tool, emit
from kando.kit import Kit
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.base import Responder
from kando.responders.executor import ToolExecutorResponder
from kando.runtime import Runtime
from kando.schema.events import KIT_LOADED, KandoEvent, make_event
from kando.world.graph import World

#: An event of one of these types makes the responders that react to it emit events of the next.
TYPES = ("t0", "t1", "t2", "t3")

patterns = st.sets(st.sampled_from(TYPES[:-1]), min_size=1, max_size=2)
#: A firing emits an event, a call of a tool, both, or nothing at all.
outputs = st.sampled_from((("note",), ("note",), ("call",), ("note", "call"), ()))


@attrs.frozen
class Part:
    """A responder of a version of the kit; its key stays when it is renamed or given a pattern."""

    key: int
    name: str
    was: tuple[str, ...]
    pattern: frozenset[str]
    emits: tuple[str, ...]


@attrs.frozen
class Step:
    """A crash, and the edits that follow it."""

    appends: int
    is_after: bool
    edits: list[tuple[str, int, frozenset[str], tuple[str, ...]]]
    is_new_version: bool


edits = st.tuples(
    st.sampled_from(("rename", "rename", "remove", "add", "move", "pattern")),
    st.integers(0, 9),
    patterns.map(frozenset),
    outputs,
)
steps = st.builds(
    Step,
    st.integers(0, 25),
    st.booleans(),
    st.lists(edits, min_size=1, max_size=4),
    st.sampled_from((True, True, True, False)),
)


class Crash(BaseException):
    """The process ends."""


class Ledger(MemoryLedgerStore):
    """A ledger in memory; after some appends every one fails, as if the process had been killed."""

    def __init__(self) -> None:
        super().__init__("edited")
        self.left = 10**9
        self.is_after = False
        self.version = 0
        #: The version of the kit that recorded each event.
        self.versions: list[int] = []

    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        self.left -= 1
        if self.left < 0 and not (self.left == -1 and self.is_after):
            raise Crash
        length = super().append(events, expected_length=expected_length)
        self.versions += [self.version] * len(events)
        if self.left < 0:
            raise Crash
        return length


def edited(parts: list[Part], step: Step, fresh: Iterator[int]) -> list[Part]:
    """Return the responders after the edits of a step."""
    found = list(parts)
    for how, index, pattern, emits in step.edits:
        if how == "add":
            key = next(fresh)
            found.insert(index % (len(found) + 1), Part(key, f"r{key}", (), pattern, emits))
            continue
        if not found:
            continue
        at = index % len(found)
        part = found.pop(at)
        if how == "rename":
            name = f"r{part.key}_{next(fresh)}"
            found.insert(at, attrs.evolve(part, name=name, was=(*part.was, part.name)))
        elif how == "move":
            found.insert((at + 1 + index // 2) % (len(found) + 1), part)
        elif how == "pattern":
            found.insert(at, attrs.evolve(part, pattern=pattern))
    return found


def kit_of(parts: list[Part], version: int) -> Kit:
    kit = Kit("edited", version=str(version))
    for part in parts:
        kit.responder(*part.pattern, name=part.name, was=part.was)(responder_of(part))
    return kit


def responder_of(part: Part) -> Any:
    def fn(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        mark = {"of": event.id, "by": part.key}
        for each in part.emits:
            if each == "note":
                yield emit(TYPES[TYPES.index(event.type) + 1], mark)
            else:
                yield call_tool("act", mark)

    return fn


#: An event is handled under two orders: the second responder first, after the first was moved.
MOVED = [
    Step(
        0,
        True,
        [("rename", 0, frozenset({"t0"}), ("note",)), ("move", 0, frozenset({"t0"}), ("note",))],
        True,
    ),
    Step(3, False, [("rename", 0, frozenset({"t0"}), ("note",))], True),
]


@settings(max_examples=200)
@example(first=[(frozenset({"t0"}), ("note",))] * 2, steps=MOVED, save_interval=0.0)
@given(
    first=st.lists(st.tuples(patterns.map(frozenset), outputs), min_size=1, max_size=5),
    steps=st.lists(steps, min_size=1, max_size=3),
    save_interval=st.sampled_from((0.0, 3600.0)),
)
def test_no_responder_handles_an_event_twice_or_never_however_its_kit_was_edited(
    first: list[tuple[frozenset[str], tuple[str, ...]]], steps: list[Step], save_interval: float
) -> None:
    ledger, acts = Ledger(), Counter[str]()
    parts = [Part(n, f"r{n}", (), pattern, emits) for n, (pattern, emits) in enumerate(first)]
    fresh = iter(range(len(parts), 10**6))

    def act(of: str, by: int, idempotency_key: str) -> str:
        acts[idempotency_key] += 1
        return of

    def runtime(version: int) -> Runtime:
        kit = kit_of(parts, version)
        responders: list[Responder] = [*kit.create(), ToolExecutorResponder({"act": act})]
        data = kit_data(kit)
        return Runtime(
            ledger,
            responders,
            kits=[kit],
            edge_logic=(),
            kit_loaded=data,
            save_interval=save_interval,
        )

    kit = kit_data(kit_of(parts, 0))
    seeds = [emit(TYPES[0], {"seed": n}) for n in range(2)]
    ledger.append([make_event(KIT_LOADED, "", "cli", [], kit)])
    runtime(0).record(seeds)
    history, version = [parts], 0
    for step in [*steps, None]:
        ledger.left, ledger.is_after = (step.appends, step.is_after) if step else (10**9, False)
        try:
            runtime(version).run([])
        except Crash:
            assert step is not None
        if step is not None:
            parts = edited(parts, step, fresh)
            history.append(parts)
            ledger.version += 1
            version += step.is_new_version

    check(ledger, history, acts, crashes=len(steps))


def check(ledger: Ledger, history: list[list[Part]], acts: Counter[str], *, crashes: int) -> None:
    """Compare the firings that a ledger shows with those that each responder owed it."""
    ledger.left = 10**9
    events = list(ledger.read_all())
    fired: Counter[tuple[str, int, str]] = Counter()
    for event in events:
        mark = event.data.get("arguments", event.data) if isinstance(event.data, dict) else {}
        if "by" in mark:
            fired[mark["of"], mark["by"], "call" if "tool" in event.data else "note"] += 1
    assert not [each for each, count in fired.items() if count > 1]

    by_version = [{part.key: part for part in parts} for parts in history]
    for event, recorded_by in zip(events, ledger.versions, strict=True):
        if event.type not in TYPES[:-1]:
            continue
        later = by_version[recorded_by:]
        for key in set().union(*by_version):
            for output in ("note", "call"):
                # Present, and reacting to the event, since it was recorded.
                is_owed = all(
                    key in parts and event.type in parts[key].pattern and output in parts[key].emits
                    for parts in later
                )
                is_new = key not in by_version[recorded_by] and any(key in each for each in later)
                if is_owed:
                    assert fired[event.id, key, output] == 1, (event.id, key)
                if is_new:
                    assert fired[event.id, key, output] == 0, (event.id, key)

    intents = [event.id for event in events if event.type == "tool.called"]
    answered = Counter(e.cause[0] for e in events if e.type == "tool.returned")
    assert answered == Counter(intents)
    # A call is made again only if the process ended before its answer was recorded.
    assert acts.keys() == {f"run:edited/{intent}" for intent in intents}
    assert max(acts.values(), default=0) <= 1 + crashes
