"""Run a synthetic kit, kill it at every commit, resume it, and compare with an uninterrupted run.

Run as a program: it forks a child for each kill, so that a kill costs milliseconds. Each child
dies by SIGKILL at its n-th append, before or after the append; some die again while resuming.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs

from kando.cache.llm import LLMCache
from kando.emit import ask, create, patch, relate
from kando.errors import ConcurrencyError
from kando.ledger.interface import LedgerStore
from kando.ledger.sqlite import SQLiteLedgerStore
from kando.ledger.verification import verify
from kando.responders.base import Responder, Retry
from kando.responders.edge import edge_responder
from kando.responders.llm_executor import LLMExecutorResponder
from kando.runtime import Runtime
from kando.schema.events import (
    LLM_RESPONSE,
    OBJECT_CREATED,
    OBSERVED,
    RESPONDER_FAILED,
    KandoEvent,
    RecordedEvent,
)
from kando.world.graph import World
from kando.world.projection import reproject

RUN = "torture"
PARTS = 6


def responders(ledger: LedgerStore, calls: Path) -> list[Responder]:
    """Return the kit: fan-out, slow parallel calls, edge logic, retries, parking, a join."""
    failures: list[int] = []

    def has_failed_before() -> int:
        """Count the failures of ``flaky``: first those in the ledger, then its own."""
        # Read when it fires: the ledger holds at least what the runtime has read by then.
        if not failures:
            failed = (e for e in ledger.read_all() if e.type == RESPONDER_FAILED)
            failures.append(sum(e.data["responder"] == "flaky" for e in failed))
        return failures[0]

    def on_goal(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        for n in range(PARTS):
            part = yield create("Part", {"n": n})
            yield relate("part_of", part, event)

    def on_part(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        question = f"what of {event.data['data']['n'] % 4}?"
        yield ask([{"role": "user", "content": question}], about=event)

    def on_answer(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        part = world.objects[event.data["cause_object_id"]]
        yield patch(part, {"answer": event.data["text"]})
        others = [o for o in world.objects_of("Part") if "answer" in o.data]
        if others:
            yield relate("rivals", others[-1], part)

    def on_rivals(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield create("Note", {"about": event.data["id"]})

    def on_note(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield patch(event.data["id"], {"seen": True})
        if has_failed_before() < 2:
            failures[0] += 1
            raise ConnectionError("not yet")

    def on_first_note(event: KandoEvent, world: World) -> None:
        if world.count_of("Note") == 1:
            raise ValueError("never")

    def join(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        parts = world.objects_of("Part")
        if all("answer" in part.data for part in parts) and not world.count_of("Sum"):
            yield create("Sum", {"of": [part.data["answer"] for part in parts]})

    def answer(messages: list[dict[str, str]], model: str, max_tokens: int) -> tuple[str, float]:
        text = messages[-1]["content"]
        with calls.open("a") as log:
            log.write(text + "\n")
        time.sleep(0.002)
        return text.upper(), 0.01

    at_once = Retry(attempts=3, backoff_seconds=0)
    return [
        edge_responder("rivals", on_rivals, "edge"),
        Responder("goal", OBJECT_CREATED, on_goal, object_type="Goal"),
        Responder("part", OBJECT_CREATED, on_part, object_type="Part"),
        Responder("answers", LLM_RESPONSE, on_answer),
        Responder("flaky", OBJECT_CREATED, on_note, object_type="Note", retry=at_once),
        Responder("doomed", OBJECT_CREATED, on_first_note, object_type="Note", on_error="park"),
        Responder("join", "object.patched", join, object_type="Part"),
        LLMExecutorResponder(answer),
    ]


class Dying(LedgerStore):
    """Wraps a ledger; the process is killed at its n-th append, before or after it."""

    dies_at = -1
    after = False

    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        self.dies_at -= 1
        if self.dies_at == -1 and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        length = super().append(events, expected_length=expected_length)
        if self.dies_at == -1 and self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        return length


class DyingLedger(Dying, SQLiteLedgerStore):
    """A ledger in a file."""


def work(path: Path, dies_at: int | None = None, after: bool = False) -> None:
    """Work on the run at `path` to its end, or to the kill."""
    ledger = DyingLedger(RUN, path)
    ledger.dies_at, ledger.after = (10**9 if dies_at is None else dies_at), after
    kit = responders(ledger, path.with_suffix(".calls"))
    runtime = Runtime(ledger, kit, cache=LLMCache(), edge_logic=(), save_interval=0)
    runtime.run([] if ledger.length() else [create("Goal", {}, id="goal")])
    ledger.close()


def killed(path: Path, dies_at: int, after: bool, seconds: float | None = None) -> bool:
    """Work in a child that dies at its n-th append or after some seconds; True if it died."""
    child = os.fork()
    if child == 0:
        try:
            if seconds is not None:
                signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
                signal.setitimer(signal.ITIMER_REAL, seconds)
            work(path, dies_at, after)
            os._exit(0)
        except BaseException as error:
            print(f"unexpected: {error!r}", file=sys.stderr)
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    if os.WEXITSTATUS(status):
        raise SystemExit(f"a child failed on {path}")
    return False


def race(path: Path) -> tuple[int, int]:
    """Resume a run in two processes at once; return their exit codes: 0 for success, 3 if it lost."""
    gate, opener = os.pipe()
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            os.close(opener)
            os.read(gate, 1)
            try:
                work(path)
                os._exit(0)
            except ConcurrencyError as error:
                os._exit(3 if f"run:{RUN}" in str(error) else 1)
            except BaseException as error:
                print(f"unexpected: {error!r}", file=sys.stderr)
                os._exit(1)
        children.append(child)
    os.close(gate)
    os.close(opener)
    first, second = (os.WEXITSTATUS(os.waitpid(child, 0)[1]) for child in children)
    return first, second


def compared(events: Iterator[RecordedEvent]) -> list[object]:
    """Return the fields that must be equal: all except timestamps and observed data."""
    return [
        attrs.asdict(e, filter=lambda field, _: field.name not in ("timestamp", "encoded", "data"))
        | {"data": {name: value for name, value in e.data.items() if name != OBSERVED}}
        for e in events
    ]


def check(path: Path, expected: list[object]) -> None:
    """Resume in this process and compare the ledger with that of an uninterrupted run."""
    work(path)
    ledger = SQLiteLedgerStore(RUN, path)
    found = compared(ledger.read_all())
    if found != expected:
        at = next(i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b)
        raise SystemExit(f"{path} differs at {at}:\n{found[at]}\n{expected[at]}")
    intents = Counter(e.cause[0] for e in ledger.read_all() if e.type == LLM_RESPONSE)
    if set(intents.values()) != {1} or len(intents) != PARTS:
        raise SystemExit(f"{path}: an intent was answered {intents} times")
    if not verify(ledger).is_intact or reproject(ledger) != Runtime(ledger, []).load():
        raise SystemExit(f"{path} is not intact")
    ledger.close()
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def main() -> None:
    """Kill as often as requested, print a summary, and fail at the first difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--races", type=int, default=0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    chance = random.Random(options.seed)
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole")
        work(whole)
        ledger = SQLiteLedgerStore(RUN, whole)
        expected = compared(ledger.read_all())
        ledger.close()
        kills = appends = 0
        at_every_append = True
        while kills < options.kills or at_every_append:
            path = Path(folder, f"run{kills}-{appends}")
            if at_every_append:
                died = killed(path, appends // 2, after=bool(appends % 2))
                appends += 1
                at_every_append = died
            else:
                died = killed(path, 10**9, False, chance.uniform(0.001, 0.12))
            kills += died
            while died and chance.random() < 0.3:
                died = killed(path, chance.randrange(40), chance.random() < 0.5)
                kills += died
            check(path, expected)
        endings = Counter[tuple[int, int]]()
        for number in range(options.races):
            path = Path(folder, f"race{number}")
            killed(path, chance.randrange(25), chance.random() < 0.5)
            ending = race(path)
            if 0 not in ending or 1 in ending:
                raise SystemExit(f"{path}: both processes ended {ending}")
            endings[ending] += 1
            check(path, expected)
    print(f"{options.races} races: {sum(n for e, n in endings.items() if 3 in e)} losers stopped")
    print(f"{kills} kills, {(appends - 1) // 2} commit points, {len(expected)} events: equal")


if __name__ == "__main__":
    main()
