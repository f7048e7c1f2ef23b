"""Run a program on Kando, and compare what every view says with the reference after each step."""

# long: one class that knows how to do each step, next to the checks that follow it.

from __future__ import annotations

import copy
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import reference
from kando.app import group_worker
from kando.app.builtin import installed_plugins
from kando.app.group_worker import GroupWorker
from kando.app.inbox import intent_of
from kando.app.run import Run
from kando.app.status import read_status
from kando.app.store import open_store
from kando.errors import KandoError, ReplayDivergence
from kando.ledger.memory import MemoryLedgerStore, MemorySubstrate
from kando.ledger.sqlite import SQLiteLedgerStore
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.plugins import Plugins, ProviderSpec, hookimpl
from kando.responders.budget import Budget
from kando.runtime import Runtime
from kando.schema.events import RecordedEvent
from kando.testing.runs import Crash
from kando.views.approvals import GATE
from program_kits import Broken, Call, Outside, build_kit
from programs import EFFECTS, Program

__all__ = ["KNOWN", "Difference", "run_program"]

#: Checks that Kando is known to fail, and why. Remove a line as soon as it passes.
KNOWN: dict[str, str] = {
    "answers of people": "an answer given by hand is charged as a call",
}

#: Seconds after which a program counts as one that does not end.
_LIMIT = 20.0


class Difference(AssertionError):
    """Kando and the reference differ.

    Attributes:
        check: name of the check.
    """

    def __init__(self, check: str, message: str) -> None:
        super().__init__(f"{check}: {message}")
        self.check = check


class _Offers:
    """A plugin with the provider of the current program."""

    @hookimpl
    def kando_providers(self) -> list[ProviderSpec]:
        return [ProviderSpec("model", "machine:open_model")]


_current: list[Outside] = []


def open_model(argument: str, environ: Mapping[str, str]) -> Callable[..., Any]:
    """Open the provider of the current program."""
    outside = _current[-1]

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        return outside.complete(request)

    complete.worst_case_usd = lambda request: 0.25  # type: ignore[attr-defined]
    return complete


_WRITES = (
    (MemoryLedgerStore, ("append",)),
    (SQLiteLedgerStore, ("append",)),
    (MemorySubstrate, ("deliver", "acknowledge", "cache", "store_snapshot")),
    (SQLiteSubstrate, ("deliver", "acknowledge", "cache", "store_snapshot")),
)


@contextmanager
def _watched(outside: Outside) -> Iterator[None]:
    """Have `outside` know of everything that is made durable, and shorten waits."""

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def write(self: Any, *args: Any, **named: Any) -> Any:
            outside.before_write()
            result = original(self, *args, **named)
            outside.after_write()
            return result

        return write

    with ExitStack() as stack:
        for cls, names in _WRITES:
            for name in names:
                patched = mock.patch.object(cls, name, counted(getattr(cls, name)))
                stack.enter_context(patched)
        names = (f"run{number}" for number in count())
        for module in ("start", "fork"):
            target = f"kando.app.{module}.new_ledger_id"
            stack.enter_context(mock.patch(target, names.__next__))
        for name, seconds in (("_RETRY_SECONDS", 0.001), ("_IDLE_SECONDS", 0.002)):
            stack.enter_context(mock.patch.object(group_worker, name, seconds, create=True))
        stack.enter_context(warnings.catch_warnings())
        # A damaged snapshot is reported, and ignored.
        warnings.simplefilter("ignore")
        _current.append(outside)
        try:
            yield
        finally:
            _current.pop()


@contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Difference("end", f"the program runs for more than {_LIMIT:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, _LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def as_dict(event: RecordedEvent) -> dict[str, Any]:
    """Return an event as the reference reads it."""
    return {
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "actor": event.actor,
        "cause": list(event.cause),
        "data": copy.deepcopy(event.data),
        "position": event.position,
    }


def run_program(program: Program, known: Mapping[str, str] | None = None) -> Machine:
    """Run a program, and check everything after each of its steps.

    Args:
        program: as `programs.generate` returns it.
        known: checks to skip; `KNOWN` if None.

    Raises:
        Difference: Kando and the reference differ.
    """
    outside = Outside()
    with tempfile.TemporaryDirectory() as folder, _watched(outside), _limited():
        machine = Machine(program, outside, Path(folder), KNOWN if known is None else known)
        try:
            for number, step in enumerate(program["steps"]):
                machine.number = number
                machine.do(step)
                machine.check_all()
            machine.check_end()
        finally:
            machine.store.close()
        return machine


class Machine:
    """A program that is being run.

    Args:
        program: that is run.
        outside: its models and tools.
        folder: for its files.
        known: checks to skip.
    """

    def __init__(
        self, program: Program, outside: Outside, folder: Path, known: Mapping[str, str]
    ) -> None:
        self.program, self.outside, self.folder, self.known = program, outside, folder, known
        self.number = 0
        self.environ = {"KANDO_SNAPSHOT_DIR": str(folder / "snapshots")}
        self.plugins: Plugins = installed_plugins({"KANDO_PLUGINS": ""})
        self.plugins.register(_Offers(), name="model")
        name = "memory:" if program["store"] == "memory" else f"sqlite:{folder / 'runs.db'}"
        self.store = open_store(name, plugins=self.plugins, environ=self.environ)
        self.kit: dict[str, Any] = {}
        #: Every version of the kit, by name and version.
        self.kits: dict[tuple[str, str], dict[str, Any]] = {}
        self.install(copy.deepcopy(program["kit"]))
        self.runs: list[Run] = []
        self.parents: dict[str, str] = {}
        #: How many events a fork has recorded, by branch: a person's act, which no limit forbids.
        self.forked: dict[str, int] = {}
        #: Ids of the events that messages become, by run.
        self.sent: dict[str, set[str]] = {}
        self.outside.check_call = self.why_no_call
        self.outside.broken = {each["key"] for each in self.kit["responders"]}
        self.groups = 0
        #: Steps that were taken, for the counts of the soak.
        self.taken: Counter[str] = Counter()
        self.touched: set[str] = set()
        #: Event ids of the control words that were unread when the step began.
        self.unread_before: list[str] = []

    # -- the parts ----------------------------------------------------------------------------

    def install(self, kit: dict[str, Any]) -> None:
        """Make a version of the kit the installed one."""
        self.kit = kit
        self.kits[kit["name"], kit["version"]] = kit
        self.store.context.kits[kit["name"]] = build_kit(kit, self.outside, EFFECTS)

    def new_version(self) -> dict[str, Any]:
        """Return a copy of the installed kit with the next version."""
        kit = copy.deepcopy(self.kit)
        kit["version"] = str(len(self.kits) + 1)
        return kit

    def reopen(self) -> None:
        """Open the store anew, as another process does; a store in memory stays."""
        if self.program["store"] == "memory":
            return
        kits = self.store.context.kits
        self.store.close()
        url = f"sqlite:{self.folder / 'runs.db'}"
        self.store = open_store(url, plugins=self.plugins, environ=self.environ)
        self.store.context.kits.update(kits)
        self.runs = [self.store.run(run.id) for run in self.runs]

    def events(self, run: Run) -> list[dict[str, Any]]:
        """Return the events of a run."""
        return [as_dict(event) for event in run.events()]

    def source(self, run_id: str) -> str:
        """Return the identity of a ledger."""
        return self.store.run(run_id).source

    def inbox(self, run: Run) -> list[Any]:
        """Return the unread messages of a run."""
        return list(self.store.context.substrate(read_only=False).inbox(run.id))

    def unread(self, run: Run, events: Sequence[dict[str, Any]]) -> list[str]:
        """Return the ids of the messages that a run has not recorded yet."""
        read = {event["id"] for event in events}
        waiting = [entry.event_id for entry in self.inbox(run) if intent_of(entry) is None]
        return [id for id in waiting if id not in read]

    # -- steps --------------------------------------------------------------------------------

    def do(self, step: Mapping[str, Any]) -> None:
        """Do one step of the program."""
        run = self.runs[step.get("run", 0) % len(self.runs)] if self.runs else None
        self.touched = {run.id} if run is not None else set()
        getattr(self, f"do_{step['do']}")(step, run)
        self.note_messages()
        self.taken[step["do"]] += 1

    def note_messages(self) -> None:
        """Note the messages that wait: each is recorded or refused, once."""
        for run in self.runs:
            waiting = {entry.event_id for entry in self.inbox(run) if intent_of(entry) is None}
            self.sent[run.id] = self.sent.get(run.id, set()) | waiting

    def do_start(self, step: Mapping[str, Any], _: Run | None) -> None:
        budget = Budget(**step["budget"]) if step["budget"] else None
        run = self.store.start("model", "a goal", work=False, budget=budget)
        self.runs.append(run)
        self.touched = {run.id}
        if not step.get("stops"):
            self._work(run, {"llm": True})

    def do_resume(self, step: Mapping[str, Any], run: Run) -> None:
        self._work(run, step)

    def do_worker(self, step: Mapping[str, Any], run: Run) -> None:
        self._work(run, {**step, "worker": True})

    def do_crash(self, step: Mapping[str, Any], run: Run) -> None:
        self._work(run, step)
        self.reopen()

    def _work(self, run: Run, step: Mapping[str, Any]) -> None:
        """Work on a run, perhaps until the process dies of it."""
        outside = self.outside
        self.unread_before = [
            entry.event_id for entry in self.inbox(run) if entry.event.type in reference.CONTROL
        ]
        state = reference.halted(self.events(run))
        outside.begin_step(run.id)
        if step.get("in") == "write":
            outside.dies_at_write, outside.dies_after_write = step["at"], step["after"]
        elif step.get("in") == "call":
            outside.dies_at_call = step["at"]
        during = step.get("during")
        if during:
            store = self.store
            outside.meanwhile = (
                during["call"],
                lambda: _send(store.run(run.id), during["send"]),
            )
        try:
            if step.get("worker"):
                self._work_in_group(run, step)
            else:
                budget = Budget(**step["budget"]) if step.get("budget") else None
                llm = "model" if step.get("llm") else None
                forgets = bool(step.get("lifts")) and state is None
                run.resume(llm=llm, budget=budget, forgets_limits=forgets)
            unread = self.control_waits(run) and state != "cancelled"
            self.expect("control read", not unread, f"{run.id} has an unread control word")
        except Crash:
            self._excuse(run)
        except Broken:
            pass
        except KandoError as error:
            if not self._is_expected(run, error):
                raise Difference("error", f"{type(error).__name__}: {error}") from error
        finally:
            outside.end_step()

    def _work_in_group(self, run: Run, step: Mapping[str, Any]) -> None:
        events = self.events(run)
        if reference.kit_at_work(events) is None:
            return
        self.groups += 1
        group = f"g{self.groups}"
        run.offer(group)
        budget = Budget(**step["budget"]) if step.get("budget") else None
        llm = "model" if step.get("llm") else None
        worker = GroupWorker(self.store.context, group, llm=llm, budget=budget, lease_seconds=2.0)
        worker.work(until_idle=True)

    def _excuse(self, run: Run) -> None:
        """Excuse the calls whose answers the process that died has not recorded."""
        events = self.events(run)
        for call in self.outside.calls:
            if call.run == run.id and not reference.answers_to(events, call.intent):
                call.excused = True

    def _is_expected(self, run: Run, error: KandoError) -> bool:
        name = type(error).__name__
        events = self.events(run)
        if name == "ConfigurationError" and reference.kit_at_work(events) is None:
            return True
        if name == "RunCancelled":
            return reference.halted(events) == "cancelled"
        # A branch that begins inside a firing needs the kit that began it (DESIGN 4).
        if name in ("ConfigurationError", "ReplayDivergence") and len(self.kits) > 1:
            return "ends inside a firing" in str(error) or "unfinished firing" in str(error)
        return False

    def do_fork(self, step: Mapping[str, Any], run: Run) -> None:
        at = min(int(step["at"] * (run.length() + 1)), run.length())
        changes: dict[str, Any] = {}
        events = self.events(run)[:at]
        if step["change"] == "patch":
            objects = reference.world(events)["objects"]
            changes["patches"] = [(id, {"forked": True}) for id in list(objects)[:1]]
        elif step["change"] == "event":
            changes["events"] = [{"type": "note", "data": {"n": 1}}]
        elif step["change"] == "goal" and events:
            changes["goal"] = "another goal"
        elif step["change"] == "kit" and events:
            changes["kit"] = "model"
        branch = run.fork(at=at, **changes)
        self.runs.append(branch)
        self.parents[branch.id] = run.id
        self.forked[branch.id] = self.forked.get(run.id, 0) + branch.length() - at
        self.touched = {run.id, branch.id}

    def do_pause(self, step: Mapping[str, Any], run: Run) -> None:
        run.pause()

    def do_cancel(self, step: Mapping[str, Any], run: Run) -> None:
        run.cancel()

    def do_decide(self, step: Mapping[str, Any], run: Run) -> None:
        waiting = run.approvals()
        if waiting:
            chosen = waiting[step["which"] % len(waiting)].event_id
            if step["grants"]:
                run.approve(chosen)
            else:
                run.deny(chosen, reason="no")

    def do_send(self, step: Mapping[str, Any], run: Run) -> None:
        if step["what"] == "note":
            run.send("note", {"n": 1}, key=step["key"])
        elif step["what"] == "object":
            run.send("object.created", {"type": step["type"], "data": {"sent": 1}})
        else:
            objects = reference.world(self.events(run))["objects"]
            if objects:
                id = list(objects)[-1]
                type = step["type"]
                data = {"id": id, "type": type, "data": {"again": 1}}
                run.send("object.created", data)

    def do_answer(self, step: Mapping[str, Any], run: Run) -> None:
        events = self.events(run)
        intents = reference.open_intents(events)
        if step.get("again"):
            # Only the first answer counts; a later one is refused.
            intents = [e["id"] for e in events if e["type"] in reference.ANSWER_OF]
        if intents:
            chosen = intents[step["which"] % len(intents)]
            asked = next(e for e in events if e["id"] == chosen)
            about = asked["data"].get("cause_object_id")
            data = {"cause_object_id": about} if about else {}
            is_free = "answers of people" in self.known
            if asked["type"] == "tool.called" and is_free:
                data["error"] = {"type": "Denied", "message": "by hand"}
                run.send("tool.returned", data, cause=[chosen], actor="ann")
            elif asked["type"] == "llm.request":
                if is_free:
                    data["cached"] = True
                sent = data | {"text": "by hand", "cost_usd": 0.0}
                run.send("llm.response", sent, cause=[chosen], actor="ann")
            else:
                run.send("tool.returned", data | {"result": 1}, cause=[chosen], actor="ann")

    def do_mend(self, step: Mapping[str, Any], run: Run) -> None:
        self.outside.broken.clear()

    def do_policy(self, step: Mapping[str, Any], run: Run) -> None:
        kit = self.new_version()
        kit["policies"] = step["policies"]
        self.install(kit)

    def do_edit(self, step: Mapping[str, Any], run: Run) -> None:
        kit = self.new_version()
        responders, at = kit["responders"], step["which"] % len(kit["responders"])
        if step["how"] == "rename":
            old = responders[at]["name"]
            responders[at] |= {"name": f"{old}x", "was": [*responders[at].get("was", []), old]}
        elif step["how"] == "remove" and len(responders) > 1:
            del responders[at]
        elif step["how"] == "reorder":
            responders.insert(0, responders.pop(at))
        elif step["how"] == "add":
            new = copy.deepcopy(step["new"])
            if all(new["key"] != each["key"] for each in responders):
                responders.insert(at, new)
        self.install(kit)

    def do_snapshot(self, step: Mapping[str, Any], run: Run) -> None:
        for file in sorted((self.folder / "snapshots").glob("*.snapshot")):
            if step["how"] == "drop":
                file.unlink()
            elif step["how"] == "damage":
                body = bytearray(file.read_bytes())
                body[int(step["offset"] * len(body)) % len(body)] ^= 0x55
                file.write_bytes(bytes(body))
            else:
                kept = file.with_suffix(".kept")
                if kept.exists():
                    file.write_bytes(kept.read_bytes())
                else:
                    kept.write_bytes(file.read_bytes())

    def do_travel(self, step: Mapping[str, Any], run: Run) -> None:
        """Export a run, and import it into another store, which has the same events."""
        file = self.folder / f"{run.id}.jsonl"
        run.export(file)
        with open_store("memory:", plugins=self.plugins, environ={}) as other:
            other.context.kits.update(self.store.context.kits)
            with file.open("rb") as lines:
                other.import_run(lines, accepts_approvals=True)
            copied = other.run(run.id)
            self.compare("import", run, self.events(copied), self.events(run))

    # -- what must be true ----------------------------------------------------------------------

    def why_no_call(self, call: Call) -> str | None:
        """Return why a call that begins must not be made, or None."""
        run = self.store.run(call.run)
        events = self.events(run)
        why = reference.why_no_call(events, run.source, call.intent, self.kit)
        if why is None and call.what == "llm":
            line = [self.events(self.store.run(id)) for id in self.line_of(call.run)]
            why = reference.why_not_asked(line, str(call.arguments))
        if why is None and self.unread_before and self.control_waits(run):
            why = "a control word waits in the inbox"
        return why

    def line_of(self, run_id: str) -> list[str]:
        """Return the ids of a run and of those that it was forked from."""
        line = [run_id]
        while line[-1] in self.parents:
            line.append(self.parents[line[-1]])
        return line

    def control_waits(self, run: Run) -> bool:
        """Whether a pause or cancellation that came before the step is still unread."""
        return bool(set(self.unread(run, self.events(run))) & set(self.unread_before))

    def expect(self, check: str, holds: bool, message: str) -> None:
        """Raise if a check does not hold, unless it is known not to."""
        if not holds and check not in self.known:
            raise Difference(check, message)

    def compare(self, check: str, run: Run, got: Any, wanted: Any) -> None:
        """Raise if Kando and the reference say different things of a run."""
        if got != wanted:
            self.expect(check, False, f"of {run.id}: Kando {got!r:.600}, reference {wanted!r:.600}")

    def check_all(self) -> None:
        """Check everything about the runs that the last step was about."""
        for fault in self.outside.faults:
            self.expect("call", False, fault)
        self.outside.faults.clear()
        for run in self.runs:
            if run.id in self.touched:
                events = self.events(run)
                self.check_ledger(run, events)
                self.check_calls(run, events)
                self.check_views(run, events)
                self.check_state(run, events)
                self.check_replay(run, events)

    def check_ledger(self, run: Run, events: Sequence[dict[str, Any]]) -> None:
        """Check the ledger alone: answers, firings, hash chain."""
        for event in events:
            if event["type"] in reference.ANSWER_OF:
                answers = reference.answers_to(events, event["id"])
                self.expect("answers", len(answers) <= 1, f"{event['id']} has {answers}")
        fired = [self.as_key(each) for each in reference.firings(events)]
        # A later version may deny what an earlier one has asked a person about.
        fired = [each for each in fired if each[1] != GATE]
        twice = [each for each, count in Counter(fired).items() if count > 1]
        self.expect("fired twice", not twice, f"{twice} of {run.id}")
        unread = {entry.event_id for entry in self.inbox(run)}
        ids = Counter(event["id"] for event in events)
        for id in sorted(self.sent.get(run.id, ())):
            self.expect("message", ids[id] == 1 or id in unread, f"{id} of {run.id} is lost")
        early = reference.fired_early(events, self.kits)
        self.expect("fired early", not early, f"{early} of {run.id}")
        limits = reference.limits(events)
        set_at = [n for n, e in enumerate(events) if e["type"] == "budget.set"]
        # A limit that a run is given later may be below what it has used by then.
        is_first = len(set_at) == 1 and not any(reference.is_answer(e) for e in events[: set_at[0]])
        if limits and is_first:
            above = reference.above(events, limits, self.forked.get(run.id, 0))
            self.expect("budget", not above, f"{run.id} is above {limits}: {above}")
        passed = reference.passed_the_gate(events, self.kits)
        self.expect("gate", not passed, f"{passed} of {run.id} came in without an approval")
        verdict = run.verify()
        self.expect("verify", verdict.is_intact, f"{verdict}")

    def as_key(self, firing: tuple[str, str]) -> tuple[str, str]:
        """Return a firing with the key of the responder instead of its name."""
        for kit in self.kits.values():
            for each in kit["responders"]:
                if each["name"] == firing[1]:
                    return firing[0], each["key"]
        return firing

    def check_calls(self, run: Run, events: Sequence[dict[str, Any]]) -> None:
        """Check that no call was made twice, unless the process died in it or it failed."""
        begun: dict[str, list[Call]] = {}
        for call in self.outside.calls:
            if call.run == run.id:
                begun.setdefault(call.intent, []).append(call)
        for intent, calls in begun.items():
            again = [c for c in calls if not c.excused and not (c.failed and c.what == "llm")]
            self.expect("called twice", len(again) <= 1, f"{intent} of {run.id}: {calls}")

    def check_views(self, run: Run, events: Sequence[dict[str, Any]]) -> None:
        """Check what each view says of the whole ledger."""
        money = reference.spent(events)
        status, metrics = run.status(), run.metrics()
        for name in ("llm_cost_usd", "llm_tokens", "tool_calls", "llm_unpriced"):
            self.compare(f"status {name}", run, getattr(status, name), money[name])
        self.compare("metrics cost", run, metrics.llm.cost_usd, money["llm_cost_usd"])
        cache = run.cache()
        paid = cache.spent_usd + cache.shared_usd
        self.compare("cache cost", run, paid, money["llm_cost_usd"])
        outcome = self.store.compare([run.id])[0]
        self.compare("compare cost", run, outcome.llm.cost_usd, money["llm_cost_usd"])
        self.compare("unanswered", run, status.unanswered, len(reference.open_intents(events)))
        self.compare("timers", run, status.timers, len(reference.open_timers(events)))
        waiting = reference.open_approvals(events)
        self.compare("approvals", run, [each.event_id for each in run.approvals()], waiting)
        self.compare("status approvals", run, status.approvals, len(waiting))
        kit = (status.kit, status.kit_version) if status.kit is not None else None
        self.compare("kit", run, kit, reference.kit_at_work(events))
        self.compare("world", run, _world(run.world()), reference.world(events))
        runs = {each.run_id: each for each in self.store.runs(limit=50).items}
        self.compare("runs", run, runs[run.id], status)
        for end in self._prefixes(events):
            self._check_prefix(run, events[:end])

    def _prefixes(self, events: Sequence[Any]) -> list[int]:
        length = len(events)
        chosen = (self.number * 7919 + 13, self.number * 104729 + 7)
        return sorted({each % (length + 1) for each in chosen} - {0}) if length else []

    def _check_prefix(self, run: Run, events: Sequence[dict[str, Any]]) -> None:
        """Check what readers of the first events of a ledger report."""
        end = len(events)
        self.compare("world at", run, _world(run.world(at=end)), reference.world(events))
        money = reference.spent(events)
        metrics = run.metrics(at=end)
        self.compare("metrics at", run, metrics.llm.cost_usd, money["llm_cost_usd"])
        copied = MemoryLedgerStore(run.id)
        copied.append(list(run.events(at=end)))
        status = read_status(copied)
        intents = reference.open_intents(events)
        self.compare("unanswered at", run, status.unanswered, len(intents))
        self.compare("cost at", run, status.llm_cost_usd, money["llm_cost_usd"])
        kit = self.store.context.kits["model"]
        runtime = Runtime(copied, kit.create(), kits=[kit], edge_logic=())
        self.compare("open intents at", run, [e.id for e in runtime.open_intents()], intents)
        halted = reference.halted(events)
        self.compare("halted at", run, runtime.is_halted, halted is not None)

    def check_state(self, run: Run, events: Sequence[dict[str, Any]]) -> None:
        """Check the state of a run, and that nothing was skipped if no work is left."""
        state = run.status().state
        halted = reference.halted(events)
        if halted is not None or state in ("paused", "cancelled"):
            self.compare("state", run, state, halted)
            return
        if state in ("finished", "waiting"):
            due = set(reference.firings_due(events, self.kits, self.kit))
            done = {self.as_key(each) for each in reference.done(events)}
            self.expect("skipped", due <= done, f"{sorted(due - done)} of {run.id}, {state}")
            waits = bool(
                reference.open_intents(events)
                or reference.open_timers(events)
                or reference.open_approvals(events)
            )
            self.compare("state", run, state, "waiting" if waits else "finished")
        unread = self.unread(run, events)
        if state == "stopped" and not self._may_have_work(run, events):
            self.expect("idle", False, f"{run.id} is stopped, with no work left")
        self.compare("status unread", run, run.status().unread, len(unread))
        if state == "finished":
            self.expect("unread", not unread, f"{run.id} is finished, with {unread} unread")

    def _may_have_work(self, run: Run, events: Sequence[dict[str, Any]]) -> bool:
        """Whether work may be left; silent firings and decisions that are not handled count."""
        fired = reference.firings(events)
        cut = len(fired) > sum(e["type"] == "responder.completed" for e in events)
        fails = any(each["fails"] for each in self.kit["responders"])
        decides = any(e["type"].startswith("approval.") for e in events) or self.kit["policies"]
        pending = reference.open_intents(events) or reference.open_timers(events)
        due = set(reference.firings_due(events, self.kits, self.kit))
        left = due - {self.as_key(each) for each in reference.done(events)}
        return bool(cut or fails or decides or pending or left or self.unread(run, events))

    def check_replay(self, run: Run, events: Sequence[dict[str, Any]]) -> None:
        """Check that strict replay accepts the ledger, if one version of the kit recorded it."""
        versions = {e["data"]["version"] for e in events if e["type"] == "kit.loaded"}
        if versions != {self.kit["version"]}:
            return
        try:
            run.replay(strict=True)
        except Exception as error:
            self.expect("strict replay", False, f"of {run.id}: {type(error).__name__}: {error}")
            return
        changed = self.changed_kit(events)
        if changed is not None and self.number % 3 == 0:
            try:
                run.replay(strict=True, kit=build_kit(changed, self.outside, EFFECTS))
            except ReplayDivergence:
                return
            self.expect("changed replay", False, f"of {run.id} accepts {changed}")

    def changed_kit(self, events: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        """Return the kit with one output changed that the ledger holds, or None."""
        done = {key for _, key in (self.as_key(each) for each in reference.completed(events))}
        kit = copy.deepcopy(self.kit)
        for each in kit["responders"]:
            for emission in each["emits"]:
                if each["key"] in done and "n" in emission:
                    emission["n"] += 10
                    return kit
        return None

    def check_end(self) -> None:
        """Check what takes a whole program: a journey of each run, and the run without a stop."""
        for run in self.runs:
            self.do_travel({}, run)
        if self.program.get("calm"):
            run = self.runs[0]
            self.check_uninterrupted(run)

    def check_uninterrupted(self, run: Run) -> None:
        """Check that a run that was only stopped and resumed has the ledger of one that was not."""
        self._work(run, {"llm": True})
        self.check_all()
        events = [_decided(each) for each in self.events(run)]
        straight = self.store.start("model", "a goal", llm="model")
        wanted = [_decided(each) for each in self.events(straight)]
        for got, want in zip(events, wanted, strict=False):
            self.compare("uninterrupted", run, got, want)
        self.compare("uninterrupted", run, len(events), len(wanted))


def _decided(event: Mapping[str, Any]) -> dict[str, Any]:
    data = {name: value for name, value in event["data"].items() if name != "observed"}
    return {**event, "data": data, "source": None}


def _send(run: Run, what: str) -> None:
    if what == "pause":
        run.pause()
    elif what == "cancel":
        run.cancel()
    else:
        run.send("note", {"n": 2})


def _world(world: Any) -> dict[str, dict[str, Any]]:
    objects = {id: [each.type, each.data] for id, each in world.objects.items()}
    relations = {
        id: [each.type, each.source_id, each.target_id, each.data]
        for id, each in world.relations.items()
    }
    return {"objects": objects, "relations": relations}


sys.modules.setdefault("machine", sys.modules[__name__])
