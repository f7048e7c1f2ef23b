"""The checks of the runs of a program: each must hold, whatever was done to them."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import reference
from kando.app.run import Run
from kando.app.status import read_status
from kando.errors import ReplayDivergence
from kando.ledger.memory import MemoryLedgerStore
from kando.runtime import Runtime
from kando.views.approvals import GATE
from program_kits import Call, build_kit
from programs import EFFECTS

if TYPE_CHECKING:
    from machine import Machine

__all__ = [
    "KNOWN",
    "Difference",
    "check_all",
    "check_end",
    "compare",
    "control_waits",
    "expect",
    "why_no_call",
]

#: The responder that takes the turns of the conversation.
TALK = "model.chat"

#: Checks that Kando is known to fail, and why. Remove a line as soon as it passes.
KNOWN: dict[str, str] = {}


class Difference(AssertionError):
    """Kando and the reference differ.

    Attributes:
        check: name of the check.
    """

    def __init__(self, check: str, message: str) -> None:
        super().__init__(f"{check}: {message}")
        self.check = check


def why_no_call(machine: Machine, call: Call) -> str | None:
    """Return why a call that begins must not be made, or None.

    A call that has passed the last check of the runtime may begin although a control word is recorded
    before its thread runs again.
    """
    run = machine.store.run(call.run)
    passed_at = call.passed_at or datetime.max.replace(tzinfo=UTC)
    late = {e.id for e in run.events() if e.type in reference.CONTROL and e.timestamp > passed_at}
    events = [each for each in machine.events(run) if each["id"] not in late]
    why = reference.why_no_call(events, run.source, call.intent, machine.kit)
    if why is None and call.what == "llm":
        line = [machine.events(machine.store.run(id)) for id in line_of(machine, call.run)]
        why = reference.why_not_asked(line, str(call.arguments))
    if why is None and machine.unread_before and control_waits(machine, run):
        why = "a control word waits in the inbox"
    return why


def line_of(machine: Machine, run_id: str) -> list[str]:
    """Return the ids of a run and of those that it was forked from."""
    line = [run_id]
    while line[-1] in machine.parents:
        line.append(machine.parents[line[-1]])
    return line


def control_waits(machine: Machine, run: Run) -> bool:
    """Whether a pause or cancellation that came before the step is still unread."""
    return bool(set(machine.unread(run, machine.events(run))) & set(machine.unread_before))


def expect(machine: Machine, check: str, holds: bool, message: str) -> None:
    """Raise if a check does not hold, unless it is known not to."""
    if not holds and check not in machine.known:
        raise Difference(check, message)


def compare(machine: Machine, check: str, run: Run, got: Any, wanted: Any) -> None:
    """Raise if Kando and the reference say different things of a run."""
    if got != wanted:
        expect(machine, check, False, f"of {run.id}: Kando {got!r:.600}, reference {wanted!r:.600}")


def check_all(machine: Machine) -> None:
    """Check everything about the runs that the last step was about."""
    for fault in machine.outside.faults:
        expect(machine, "call", False, fault)
    machine.outside.faults.clear()
    for run in machine.runs:
        if run.id in machine.touched and machine.has_changed(run):
            events = machine.events(run)
            check_ledger(machine, run, events)
            check_calls(machine, run, events)
            check_views(machine, run, events)
            check_state(machine, run, events)
            check_replay(machine, run, events)


def check_ledger(machine: Machine, run: Run, events: Sequence[dict[str, Any]]) -> None:
    """Check the ledger alone: answers, firings, hash chain."""
    for event in events:
        if event["type"] in reference.ANSWER_OF:
            answers = reference.answers_to(events, event["id"])
            expect(machine, "answers", len(answers) <= 1, f"{event['id']} has {answers}")
    fired = [as_key(machine, each) for each in reference.firings(events)]
    # A later version may deny what an earlier one has asked a person about.
    fired = [each for each in fired if each[1] != GATE]
    twice = [each for each, count in Counter(fired).items() if count > 1]
    expect(machine, "fired twice", not twice, f"{twice} of {run.id}")
    unread = {entry.event_id for entry in machine.inbox(run)}
    ids = Counter(event["id"] for event in events)
    for id in sorted(machine.sent.get(run.id, ())):
        expect(machine, "message", ids[id] == 1 or id in unread, f"{id} of {run.id} is lost")
    early = reference.fired_early(events, machine.kits)
    expect(machine, "fired early", not early, f"{early} of {run.id}")
    limits = reference.limits(events)
    set_at = [n for n, e in enumerate(events) if e["type"] == "budget.set"]
    # A limit that a run is given later may be below what it has used by then.
    is_first = len(set_at) == 1 and not any(reference.is_answer(e) for e in events[: set_at[0]])
    if limits and is_first:
        # Whatever the limits are, a cancelled run records the answers of calls that were begun.
        ends = [n for n, event in enumerate(events) if event["type"] == "run.cancelled"]
        counted = events[: ends[0]] if ends else events
        above = reference.above(counted, limits, machine.forked.get(run.id, 0))
        expect(machine, "budget", not above, f"{run.id} is above {limits}: {above}")
    passed = reference.passed_the_gate(events, machine.kits)
    expect(machine, "gate", not passed, f"{passed} of {run.id} came in without an approval")
    faults = reference.talk_faults(events, TALK)
    expect(machine, "conversation", not faults, f"{faults} of {run.id}")
    verdict = run.verify()
    expect(machine, "verify", verdict.is_intact, f"{verdict}")


def as_key(machine: Machine, firing: tuple[str, str]) -> tuple[str, str]:
    """Return a firing with the key of the responder instead of its name."""
    for kit in machine.kits.values():
        for each in kit["responders"]:
            if each["name"] == firing[1]:
                return firing[0], each["key"]
    return firing


def check_calls(machine: Machine, run: Run, events: Sequence[dict[str, Any]]) -> None:
    """Check that no call was made twice, unless the process died in it or it failed."""
    begun: dict[str, list[Call]] = {}
    for call in machine.outside.calls:
        if call.run == run.id:
            begun.setdefault(call.intent, []).append(call)
    for intent, calls in begun.items():
        again = [c for c in calls if not c.excused and not (c.failed and c.what == "llm")]
        expect(machine, "called twice", len(again) <= 1, f"{intent} of {run.id}: {calls}")


def check_views(machine: Machine, run: Run, events: Sequence[dict[str, Any]]) -> None:
    """Check what each view says of the whole ledger."""
    money = reference.spent(events)
    status, metrics = run.status(), run.metrics()
    for name in ("llm_cost_usd", "llm_tokens", "tool_calls", "llm_unpriced"):
        compare(machine, f"status {name}", run, getattr(status, name), money[name])
    compare(machine, "metrics cost", run, metrics.llm.cost_usd, money["llm_cost_usd"])
    cache = run.cache()
    paid = cache.spent_usd + cache.shared_usd
    compare(machine, "cache cost", run, paid, money["llm_cost_usd"])
    outcome = machine.store.compare([run.id])[0]
    compare(machine, "compare cost", run, outcome.llm.cost_usd, money["llm_cost_usd"])
    compare(machine, "unanswered", run, status.unanswered, len(reference.open_intents(events)))
    compare(machine, "labels", run, status.labels, reference.labels(events))
    compare(machine, "labels opened", run, run.labels, status.labels)
    compare(machine, "timers", run, status.timers, len(reference.open_timers(events)))
    waiting = reference.open_approvals(events)
    compare(machine, "approvals", run, [each.event_id for each in run.approvals()], waiting)
    compare(machine, "status approvals", run, status.approvals, len(waiting))
    kit = (status.kit, status.kit_version) if status.kit is not None else None
    compare(machine, "kit", run, kit, reference.kit_at_work(events))
    compare(machine, "world", run, _world(run.world()), reference.world(events))
    runs = {each.run_id: each for each in machine.store.runs(limit=50).items}
    compare(machine, "runs", run, runs[run.id], status)
    for end in _prefixes(machine, events):
        _check_prefix(machine, run, events[:end])


def _prefixes(machine: Machine, events: Sequence[Any]) -> list[int]:
    length = len(events)
    chosen = (machine.number * 7919 + 13, machine.number * 104729 + 7)
    return sorted({each % (length + 1) for each in chosen} - {0}) if length else []


def _check_prefix(machine: Machine, run: Run, events: Sequence[dict[str, Any]]) -> None:
    """Check what readers of the first events of a ledger report."""
    end = len(events)
    compare(machine, "world at", run, _world(run.world(at=end)), reference.world(events))
    money = reference.spent(events)
    metrics = run.metrics(at=end)
    compare(machine, "metrics at", run, metrics.llm.cost_usd, money["llm_cost_usd"])
    copied = MemoryLedgerStore(run.id)
    copied.append(list(run.events(at=end)))
    status = read_status(copied)
    intents = reference.open_intents(events)
    compare(machine, "labels at", run, status.labels, reference.labels(events))
    compare(machine, "unanswered at", run, status.unanswered, len(intents))
    compare(machine, "cost at", run, status.llm_cost_usd, money["llm_cost_usd"])
    kit = machine.store.context.kits["model"]
    runtime = Runtime(copied, kit.create(), kits=[kit], edge_logic=())
    compare(machine, "open intents at", run, [e.id for e in runtime.open_intents()], intents)
    halted = reference.halted(events)
    compare(machine, "halted at", run, runtime.is_halted, halted is not None)


def check_state(machine: Machine, run: Run, events: Sequence[dict[str, Any]]) -> None:
    """Check the state of a run, and that nothing was skipped if no work is left."""
    status = run.status()
    state = status.state
    halted = reference.halted(events)
    if halted is not None or state in ("paused", "cancelled"):
        compare(machine, "state", run, state, halted)
        return
    if state in ("finished", "waiting"):
        due = set(reference.firings_due(events, machine.kits, machine.kit))
        due |= reference.talk_due(events, TALK) if machine.kit.get("talk") else set()
        done = {as_key(machine, each) for each in reference.done(events)}
        expect(machine, "skipped", due <= done, f"{sorted(due - done)} of {run.id}, {state}")
        waits = bool(
            reference.open_intents(events)
            or reference.open_timers(events)
            or reference.open_approvals(events)
        )
        compare(machine, "state", run, state, "waiting" if waits else "finished")
    unread = machine.unread(run, events)
    if state == "stopped" and not _may_have_work(machine, run, events):
        expect(machine, "idle", False, f"{run.id} is stopped, with no work left")
    # A worker's report of a failed attempt does not count as a message.
    messages = [id for id in unread if not id.startswith("responder.failed@")]
    compare(machine, "status unread", run, status.unread, len(messages))
    if state == "finished":
        expect(machine, "unread", not unread, f"{run.id} is finished, with {unread} unread")


def _may_have_work(machine: Machine, run: Run, events: Sequence[dict[str, Any]]) -> bool:
    """Whether work may be left; silent firings and decisions that are not handled count."""
    fired = reference.firings(events)
    cut = len(fired) > sum(e["type"] == "responder.completed" for e in events)
    fails = any(each["fails"] for each in machine.kit["responders"])
    decides = any(e["type"].startswith("approval.") for e in events) or machine.kit["policies"]
    pending = reference.open_intents(events) or reference.open_timers(events)
    due = set(reference.firings_due(events, machine.kits, machine.kit))
    due |= reference.talk_due(events, TALK) if machine.kit.get("talk") else set()
    left = due - {as_key(machine, each) for each in reference.done(events)}
    # An answer in a conversation is left to handle until its firing is recorded.
    handled = {trigger for trigger, _ in reference.done(events)}
    left |= {
        (e["id"], TALK)
        for e in events
        if e["type"] in reference.ANSWERS and "conversation" in e["data"]
        if e["id"] not in handled
    }
    return bool(cut or fails or decides or pending or left or machine.unread(run, events))


def check_replay(machine: Machine, run: Run, events: Sequence[dict[str, Any]]) -> None:
    """Check that strict replay accepts the ledger, if one version of the kit recorded it."""
    versions = {e["data"]["version"] for e in events if e["type"] == "kit.loaded"}
    if versions != {machine.kit["version"]}:
        return
    try:
        run.replay(strict=True)
    except Exception as error:
        expect(machine, "strict replay", False, f"of {run.id}: {type(error).__name__}: {error}")
        return
    changed = changed_kit(machine, events)
    if changed is not None and machine.number % 3 == 0:
        try:
            run.replay(strict=True, kit=build_kit(changed, machine.outside, EFFECTS))
        except ReplayDivergence:
            return
        expect(machine, "changed replay", False, f"of {run.id} accepts {changed}")


def changed_kit(machine: Machine, events: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the kit with one output changed that the ledger holds, or None."""
    done = {key for _, key in (as_key(machine, each) for each in reference.completed(events))}
    kit = copy.deepcopy(machine.kit)
    for each in kit["responders"]:
        for emission in each["emits"]:
            if each["key"] in done and "n" in emission:
                emission["n"] += 10
                return kit
    return None


def check_end(machine: Machine) -> None:
    """Check what takes a whole program: a journey of each run, and the run without a stop."""
    for run in machine.runs:
        machine.do_travel({}, run)
    if machine.program.get("calm"):
        run = machine.runs[0]
        check_uninterrupted(machine, run)


def check_uninterrupted(machine: Machine, run: Run) -> None:
    """Check that a run that was only stopped and resumed has the ledger of one that was not."""
    machine.work(run, {"llm": True})
    check_all(machine)
    events = [_decided(each) for each in machine.events(run)]
    straight = machine.store.start("model", "a goal", llm="model")
    wanted = [_decided(each) for each in machine.events(straight)]
    for got, want in zip(events, wanted, strict=False):
        compare(machine, "uninterrupted", run, got, want)
    compare(machine, "uninterrupted", run, len(events), len(wanted))


def _decided(event: Mapping[str, Any]) -> dict[str, Any]:
    data = {name: value for name, value in event["data"].items() if name != "observed"}
    if event["type"] == "run.ended" and (run_id := data.get("run_id")) is not None:
        # Of the child, and in its error; it follows from the id of the run.
        data = json.loads(json.dumps(data).replace(run_id, "child"))
    return {**event, "data": data, "source": None}


def _world(world: Any) -> dict[str, dict[str, Any]]:
    objects = {id: [each.type, each.data] for id, each in world.objects.items()}
    relations = {
        id: [each.type, each.source_id, each.target_id, each.data]
        for id, each in world.relations.items()
    }
    return {"objects": objects, "relations": relations}
