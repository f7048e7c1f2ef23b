"""Kill processes at every boundary of their runs, let others continue, and compare what is left.

Run as a program. With ``--workers 0`` a run is worked on by one process at a time, now and then by
two that compete for it; otherwise by the workers of a group. Each run has parallel calls of a model
and of tools, a pause, a call that waits for a person, and a branch. It must end with the events of an
uninterrupted run, and each call must be made once, except where a process died in it.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from kando.app.group_worker import GroupWorker
from kando.app.run import Run
from kando.app.store import Store
from kando.errors import EventNotFound, RunBusy
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.ledger.verification import verify
from kando.schema.events import APPROVAL_GRANTED, KIT_LOADED, OBSERVED, RUN_PAUSED, RUN_RESUMED
from kando.views.pending import ANSWERS, INTENTS
from kill_kit import ADDED, BOUNDARIES, GROUP, PROVIDER, Killer, keep_snapshots, opened, work_here

#: Seconds after which a round counts as hanging.
PATIENCE = 500.0

Work = Callable[[Store], None]


# -- what processes do --------------------------------------------------------------------------------


def runs_of(store: Store) -> list[Run]:
    """Return the runs, oldest first, without branches and children, and without one that has no seed yet."""
    items = store.runs(limit=1000).items
    own = [each for each in items if each.parent_id is None and each.started_by is None]
    found = [each for each in own if each.events]
    return [store.run(each.run_id) for each in reversed(found)]


def branch_of(store: Store, run: Run) -> Run | None:
    """Return the branch of a run, if it was forked."""
    for each in store.runs(limit=1000).items:
        if each.parent_id == run.id:
            return store.run(each.run_id)
    return None


def forked(store: Store, run: Run) -> Run:
    """Return the branch of a run at its approval; fork it unless that is done."""
    known = branch_of(store, run)
    if known is not None:
        return known
    at = next(e.position for e in run.events() if e.type == "approval.requested")
    return run.fork(at=at + 1, events=[ADDED])


def child_of(store: Store, run: Run) -> Run:
    """Return the child run of a run that has ended."""
    (child,) = run.status().children
    return store.run(child.run_id)


def ledgers_of(store: Store, run: Run) -> list[tuple[Run, list[str]]]:
    """Return a run, its branch and its child, each with its events as text."""
    branch, child = branch_of(store, run), child_of(store, run)
    assert branch is not None
    names = {run.id: "RUN", branch.id: "BRANCH", child.id: "CHILD"}
    return [(each, facts(each, names)) for each in (run, branch, child)]


def is_done(run: Run) -> bool:
    """Whether no work of a run is left; a branch waits for the approval that its parent got."""
    status = run.status()
    if status.parent_id is None:
        return status.state == "finished"
    more = run.world().objects.get("more")
    is_whole = more is not None and {"answer", "seen"} <= more.data.keys()
    return is_whole and status.state == "waiting"


def decide(run: Run) -> None:
    """Grant what waits for a person."""
    for asked in run.approvals():
        # Another process may have granted it meanwhile.
        with suppress(EventNotFound):
            run.approve(asked.event_id)


def live(run: Run) -> None:
    """Work on a run until no work is left, against other processes that do the same."""
    is_branch = run.status().parent_id is not None
    while not is_done(run):
        with suppress(RunBusy):
            if not is_branch:
                decide(run)
            run.resume(llm=PROVIDER)
            continue
        time.sleep(0.01)


def live_alone(store: Store) -> None:
    """Work on the one run of a store, and on its branch, until no work is left."""
    with one_at_a_time(store):
        runs = runs_of(store)
        run = runs[0] if runs else store.start("kills", "goal", work=False)
    live(run)
    with one_at_a_time(store):
        branch = forked(store, run)
    live(branch)


@contextmanager
def one_at_a_time(store: Store) -> Iterator[None]:
    """Keep the processes that compete from starting two runs, or two branches; the dead hold no lock."""
    with open(store.url.partition(":")[2] + ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def be_worker(store: Store) -> None:
    """Work for the group until the process is killed."""
    GroupWorker(store.context, GROUP, lease_seconds=5).work()


def direct(store: Store, count: int) -> bool:
    """Do what persons do for the runs of the group; True if no work is left."""
    missing = count - len(runs_of(store))
    for _ in range(missing):
        store.start("kills", "goal", group=GROUP)
    group = store.context.substrate(read_only=False).group(GROUP)
    group.replay_parked()
    left = False
    for run in runs_of(store):
        known = branch_of(store, run)
        for each in (run, known) if known else (run,):
            left = not is_done(each) or left
            needs = each.status()
            if needs.state in ("paused", "stopped") or (each is run and needs.approvals):
                if each is run:
                    decide(each)
                with suppress(RunBusy):
                    each.offer(GROUP)
        if known is None:
            left = True
            if run.status().state == "finished":
                forked(store, run).offer(GROUP)
    return not left


def state_of(path: Path) -> str:
    """Return what is left to do in a store."""
    with opened(path) as store:
        group = store.context.substrate(read_only=False).group(GROUP)
        runs = [f"{each.run_id} {each.state} {each.claim}" for each in store.runs(limit=100).items]
        return "\n".join([str(group.info()), str(group.parked()), *runs])


# -- processes ---------------------------------------------------------------------------------------


def begun(path: Path, journal: Path, work: Work, at: int | None, kind: str = "") -> int:
    """Fork a process that does some work on a store, and return its id."""
    child = os.fork()
    if child:
        return child
    try:
        killer = Killer(journal, at, kind)
        work_here(path, killer)
        killer.watch_commits()
        with opened(path) as store:
            work(store)
        os._exit(0)
    except BaseException as error:
        print(f"unexpected in {os.getpid()}: {error!r}", file=sys.stderr, flush=True)
        os._exit(1)


def has_died(status: int) -> bool:
    """Whether a process was killed; it must not fail."""
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a process failed")
    return os.WIFSIGNALED(status)


@attrs.define
class Torture:
    """Kills processes at boundaries, which it chooses at random or one after the other."""

    folder: Path
    chance: random.Random
    kills: int = 0
    rounds: int = 0
    races: int = 0
    calls: int = 0
    repeated: int = 0
    kinds: Counter[str] = attrs.field(factory=Counter)
    restored: int = 0
    next_boundary: int = 0
    has_all: bool = False

    def boundary(self) -> tuple[int, str]:
        """Choose how many boundaries, and of which kind, a process survives."""
        if not self.has_all:
            self.next_boundary += 1
            return self.next_boundary - 1, ""
        if self.chance.random() < 0.5:
            return self.chance.randrange(6), self.chance.choice(BOUNDARIES[2:])
        return self.chance.randrange(60), ""

    def round_alone(self, path: Path, journal: Path, limit: int) -> None:
        """Have processes, one or two at a time, work on a run until one lives to its end."""
        while True:
            at, kind = self.boundary()
            is_race = self.has_all and self.chance.random() < 0.3
            arms = [(at, kind), *([self.boundary()] if is_race else [])]
            if self.kills >= limit:
                arms = [(None, "")]
            self.races += is_race
            children = [begun(path, journal, live_alone, *each) for each in arms]
            died = [has_died(os.waitpid(child, 0)[1]) for child in children]
            self.kills += sum(died)
            # A process that lives to the end has passed fewer boundaries than it was given.
            self.has_all = self.has_all or not died[0]
            if not all(died):
                return

    def round_of_workers(
        self, path: Path, journal: Path, workers: int, runs: int, limit: int
    ) -> None:
        """Have the workers of a group work on runs, and replace those that die."""
        end = time.monotonic() + PATIENCE
        # A process that directs the runs is killed like a worker.
        roles: list[Work] = [be_worker] * workers
        children: dict[int, Work] = {}
        budget = self.kills + 4 * runs + 8

        def begin(work: Work) -> None:
            # A worker that waits for jobs commits, too, so that each of them has a last boundary.
            self.has_all = self.next_boundary >= 60
            at, kind = self.boundary()
            if self.kills >= min(limit, budget):
                at = None
            children[begun(path, journal, work, at, kind)] = work

        def director(store: Store) -> None:
            while not direct(store, runs):
                time.sleep(0.02)

        for role in [director, *roles]:
            begin(role)
        try:
            while director in children.values():
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    if time.monotonic() > end:
                        raise SystemExit(f"{path}: no end after {PATIENCE} s: {state_of(path)}")
                    time.sleep(0.005)
                    continue
                work = children.pop(pid)
                died = has_died(status)
                self.kills += died
                if died:
                    begin(work)
        finally:
            for pid in children:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    def check(self, path: Path, journal: Path, expected: list[list[str]], runs: int) -> None:
        """Compare what a round left with what an uninterrupted run leaves."""
        work_here(path, Killer(journal))
        with opened(path) as store:
            found = runs_of(store)
            if len(found) < runs:
                raise SystemExit(f"{path}: {len(found)} runs")
            for run in found:
                for (ledger, is_so), wanted in zip(ledgers_of(store, run), expected, strict=True):
                    compare(ledger, is_so, wanted)
            requested = sum(e.type in INTENTS for run in found for e in run.events())
        calls, repeated, kinds = judged(journal)
        self.restored += sum('"restored"' in line for line in journal.read_text().splitlines())
        self.calls, self.repeated = self.calls + calls, self.repeated + repeated
        self.kinds += kinds
        assert requested
        self.rounds += 1
        for file in path.parent.glob(f"{path.name}*"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        journal.unlink()


# -- what must be true --------------------------------------------------------------------------------


def facts(run: Run, of_runs: dict[str, str]) -> list[str]:
    """Return the events of a run as text: timestamps, observed data, and where pauses were, aside.

    Args:
        run: whose events.
        of_runs: a name for the id of each run.
    """
    events = [e for e in run.events() if e.type not in (RUN_PAUSED, RUN_RESUMED)]
    # Positions, so ids, depend on where the pause was, and so does the id of a decision.
    names = {event.id: f"event {n}" for n, event in enumerate(events)}
    names |= of_runs
    decided = next((n for n, e in enumerate(events) if e.type == APPROVAL_GRANTED), len(events))
    # The key of a child's first event depends on the random id of its parent.
    unlike = [n >= decided or e.is_head or e.type == KIT_LOADED for n, e in enumerate(events)]
    keys = ["" if left_out else e.lineage_key for e, left_out in zip(events, unlike, strict=True)]

    observed = (OBSERVED, "fork_position")

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(each) for name, each in value.items() if name not in observed}
        if isinstance(value, list):
            return [plain(each) for each in value]
        return names.get(value, value) if isinstance(value, str) else value

    return [
        json.dumps([e.type, e.actor, names[e.id], key, plain(e.cause), plain(e.data)])
        for e, key in zip(events, keys, strict=True)
    ]


def compare(run: Run, found: list[str], expected: list[str]) -> None:
    """Fail at the first difference of a ledger, or of what it must be in itself."""
    for n, (one, other) in enumerate(zip(found, expected, strict=False)):
        if one != other:
            raise SystemExit(f"{run.id} differs at {n}:\n{one}\n{other}")
    if len(found) != len(expected):
        raise SystemExit(f"{run.id} has {len(found)} events, not {len(expected)}")
    answered = Counter(e.cause[0] for e in run.events() if e.type in ANSWERS)
    if set(answered.values()) != {1}:
        raise SystemExit(f"{run.id}: a request was answered twice: {answered}")
    if not verify(run._opened().ledger).is_intact:
        raise SystemExit(f"{run.id} is not intact")
    run.replay(strict=True)


def judged(journal: Path) -> tuple[int, int, Counter[str]]:
    """Return how many calls a journal has, how many were repeated, and the kinds of deaths.

    Fails if a call was made although its answer was durable, or while another process that lives
    made it, or again although the process that made it lives.
    """
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    dead: set[int] = set()
    makers: dict[str, list[int]] = defaultdict(list)
    kinds: Counter[str] = Counter()
    for line in lines:
        if line["what"] == "died":
            dead.add(line["pid"])
            kinds[line["of"]] += 1
        elif line["what"] == "begin":
            key = line["key"]
            if line["answered"]:
                raise SystemExit(f"{key}: called though its answer was durable")
            if alive := [pid for pid in makers[key] if pid not in dead]:
                raise SystemExit(f"{key}: called by {line['pid']}, and by {alive}, which lives")
            makers[key].append(line["pid"])
    return len(makers), sum(len(pids) - 1 for pids in makers.values()), kinds


def main() -> None:
    """Kill as often as requested, print a summary, and fail at the first difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="at least so many")
    parser.add_argument("--workers", type=int, default=0, help="of a group; 0 for no group")
    parser.add_argument("--runs", type=int, default=1, help="of each round with workers")
    parser.add_argument("--snapshots", type=int, default=3, help="events between two; 0 for none")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    if options.snapshots:
        keep_snapshots(options.snapshots)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journal = folder / "journal"
        work_here(folder / "whole", Killer(journal))
        with opened(folder / "whole") as store:
            live_alone(store)
            run = runs_of(store)[0]
            forked(store, run)
            expected = [is_so for _, is_so in ledgers_of(store, run)]
        journal.unlink()
        torture = Torture(folder, random.Random(options.seed))
        while torture.kills < options.kills:
            path = folder / f"store{torture.rounds}"
            # Readers refuse the file of a store that is being created.
            SQLiteSubstrate(path).close()
            if options.workers:
                sizes = (options.workers, options.runs, options.kills)
                torture.round_of_workers(path, journal, *sizes)
            else:
                torture.round_alone(path, journal, options.kills)
            torture.check(path, journal, expected, options.runs if options.workers else 1)
    seconds = time.monotonic() - started
    where = ", ".join(f"{torture.kinds[kind]} {kind}" for kind in BOUNDARIES)
    print(f"{torture.kills} kills: {where}")
    print(
        f"{torture.rounds} rounds in {seconds:.0f} s, {torture.races} races: {torture.calls} calls, "
        f"{torture.repeated} made again after a death in them; {torture.restored} recoveries from a "
        "snapshot; ledgers equal"
    )


if __name__ == "__main__":
    main()
