"""Torture on a server: kill writers, kill the server, race writers, and compare the ledgers.

Run it as a program, with the numbers of kills, restarts and rounds. It starts a fake server in a
separate process; writers are forked, so that a kill costs milliseconds.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eventstore_process import FakeEventStoreProcess
from kando.cache.llm import LLMCache
from kando.emit import ask, create
from kando.errors import ConcurrencyError
from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemoryLedgerStore
from kando.ledger.verification import verify
from kando.responders.base import Responder
from kando.responders.llm_executor import LLMExecutorResponder
from kando.runtime import Runtime
from kando.schema.events import LLM_RESPONSE, KandoEvent
from kando.testing.ledgers import event
from kando.world.graph import World
from kando.world.projection import reproject
from kando_eventstore._client import client_library
from kando_eventstore.ledger import EventStoreLedger
from kando_eventstore.substrate import open_eventstore
from torture import PARTS, Dying, compared, responders

WRITERS = 8


class DyingLedger(Dying, EventStoreLedger):
    """A ledger on a server."""


def finish(ledger: LedgerStore, calls: Path) -> None:
    """Work on a run to its end, and save each firing separately."""
    kit = responders(ledger, calls)
    runtime = Runtime(ledger, kit, cache=LLMCache(), edge_logic=(), save_interval=0)
    runtime.run([] if ledger.length() else [create("Goal", {}, id="goal")])


def facts(ledger: LedgerStore) -> list[Any]:
    """Return the facts that must be equal in every run."""
    return [each | {"source": ""} for each in compared(ledger.read_all())]  # type: ignore[operator]


def work(url: str, run: str, calls: Path, dies_at: int = 10**9, after: bool = False) -> None:
    """Work on a run, to its end or to the kill."""
    with open_eventstore(url) as substrate:
        known = any(info.id == run for info in substrate.ledgers())
        ledger = substrate.open(run) if known else substrate.create(run)
        ledger.__class__ = DyingLedger
        assert isinstance(ledger, DyingLedger)
        ledger.dies_at, ledger.after = dies_at, after
        finish(ledger, calls)


def check(url: str, run: str, calls: Path, expected: list[Any]) -> None:
    """Resume a run and compare its ledger with that of an uninterrupted one."""
    work(url, run, calls)
    with open_eventstore(url) as substrate:
        ledger = substrate.open(run)
        found = facts(ledger)
        if found != expected:
            at = next(i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b)
            raise SystemExit(f"{run} differs at {at}:\n{found[at]}\n{expected[at]}")
        answers = Counter(e.cause[0] for e in ledger.read_all() if e.type == LLM_RESPONSE)
        if set(answers.values()) != {1} or len(answers) != PARTS:
            raise SystemExit(f"{run}: an intent was answered {answers} times")
        if not verify(ledger).is_intact or reproject(ledger) != Runtime(ledger, []).load():
            raise SystemExit(f"{run} is not intact")


def forked(job: Any, *arguments: Any) -> bool:
    """Do a job in a child process; return whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            job(*arguments)
            os._exit(0)
        except BaseException as error:
            print(f"unexpected: {error!r}", file=sys.stderr)
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        raise SystemExit(f"a child failed in {job.__name__}")
    return os.WIFSIGNALED(status)


def kill_writers(url: str, folder: Path, kills: int, chance: random.Random) -> str:
    """Kill writers during appends, resume their runs, and compare the ledgers."""
    whole = MemoryLedgerStore("whole")
    finish(whole, folder / "whole.calls")
    expected, done, number = facts(whole), 0, 0
    points: set[tuple[int, bool]] = set()
    while done < kills:
        run, calls = f"t{number}", folder / f"t{number}.calls"
        number += 1
        point = (chance.randrange(30), chance.random() < 0.5)
        died = forked(work, url, run, calls, *point)
        if died:
            points.add(point)
        done += died
        while died and chance.random() < 0.3:
            died = forked(work, url, run, calls, chance.randrange(30), True)
            done += died
        forked(check, url, run, calls, expected)
    return f"{done} kills at {len(points)} places, {len(expected)} events: equal"


def chain(steps: int, calls: list[int]) -> list[Responder]:
    """Return a kit that takes one step after another, each with a call."""

    def on_step(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        number = world.count_of("Step")
        if number <= steps:
            yield ask([{"role": "user", "content": f"step {number}"}])

    def on_answer(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        yield create("Step", {"text": event.data["text"]})

    def answer(messages: list[dict[str, str]], model: str, max_tokens: int) -> tuple[str, float]:
        calls.append(len(calls))
        return messages[-1]["content"], 0.0

    return [
        Responder("step", "object.created", on_step, object_type="Step"),
        Responder("answer", LLM_RESPONSE, on_answer),
        LLMExecutorResponder(answer),
    ]


def restart_server(process: FakeEventStoreProcess, restarts: int) -> str:
    """Kill and restart the server during a run, and compare the ledgers."""
    steps = restarts * 15
    memory = MemoryLedgerStore("whole")
    Runtime(memory, chain(steps, []), edge_logic=()).run([create("Step", {}, id="first")])
    expected, calls, failures = facts(memory), list[int](), list[BaseException]()
    with open_eventstore(process.url) as substrate:
        ledger = substrate.create("restarted")

        def run() -> None:
            try:
                runtime = Runtime(ledger, chain(steps, calls), edge_logic=(), save_interval=0)
                runtime.run([create("Step", {}, id="first")])
            except BaseException as error:
                failures.append(error)

        running = threading.Thread(target=run)
        running.start()
        for number in range(1, restarts + 1):
            while len(calls) < number * 12 and running.is_alive():
                time.sleep(0.002)
            process.restart()
        running.join()
        if failures:
            raise failures[0]
        if facts(substrate.open("restarted")) != expected:
            raise SystemExit("the ledger differs from that of an uninterrupted run")
        if len(calls) != steps or not verify(ledger).is_intact:
            raise SystemExit(f"{len(calls)} calls for {steps} steps")
    return f"{restarts} restarts of the server, {len(expected)} events: equal"


def race(url: str, rounds: int) -> str:
    """Let writers with separate connections append at the same length; one may win each round."""
    opened = [open_eventstore(url) for _ in range(WRITERS)]
    opened[0].create("race")
    ledgers = [substrate.open("race") for substrate in opened]
    barrier = threading.Barrier(WRITERS)
    winners = [0] * rounds

    def write(writer: int) -> None:
        for number in range(rounds):
            barrier.wait()
            try:
                ledgers[writer].append([event(writer), event(writer)], expected_length=2 * number)
            except ConcurrencyError:
                continue
            winners[number] += 1

    threads = [threading.Thread(target=write, args=(n,)) for n in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = [e.data["n"] for e in opened[0].open("race").read_all()]
    for substrate in opened:
        substrate.close()
    if winners != [1] * rounds or written[::2] != written[1::2] or len(written) != 2 * rounds:
        raise SystemExit(f"winners per round: {Counter(winners)}, {len(written)} events")
    return f"{rounds} rounds of {WRITERS} writers: one winner each"


def main() -> None:
    """Do the requested torture, print a summary, and fail at the first difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--restarts", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    # Imported before anything is forked; nothing is connected.
    client_library()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with FakeEventStoreProcess(folder / "store") as process:
            # First, while this process has no gRPC threads: it is about to be forked.
            if options.kills:
                chance = random.Random(options.seed)
                print(kill_writers(process.url, folder, options.kills, chance), flush=True)
            if options.rounds:
                print(race(process.url, options.rounds), flush=True)
            if options.restarts:
                print(restart_server(process, options.restarts), flush=True)


if __name__ == "__main__":
    main()
