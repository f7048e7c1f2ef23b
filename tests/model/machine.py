"""Run a program on Kando: each of its steps, and the checks after it."""

from __future__ import annotations

import copy
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import reference
from checks import (
    KNOWN,
    Difference,
    check_all,
    check_end,
    compare,
    control_waits,
    expect,
    why_no_call,
)
from kando.app.builtin import installed_plugins
from kando.app.group_worker import GroupWorker
from kando.app.inbox import intent_of
from kando.app.run import Run
from kando.app.store import Store, open_store
from kando.errors import KandoError, LedgerDeleted, LedgerInUse, RunBusy
from kando.plugins import Plugins
from kando.responders.budget import Budget
from kando.testing.runs import Crash
from process import Offers, as_dict, limited, spoil, watched
from program_kits import CHILD_KIT, Broken, Outside, build_child_kit, build_kit, media
from programs import EFFECTS, Program, edit
from recovered import compared

__all__ = ["KNOWN", "Difference", "run_program"]


@cache
def _plugins() -> Plugins:
    """Return the installed plugins and the provider of programs; reading them takes long."""
    plugins = installed_plugins({"KANDO_PLUGINS": ""})
    plugins.register(Offers(), name="model")
    return plugins


def run_program(program: Program, known: Mapping[str, str] | None = None) -> Machine:
    """Run a program, and check everything after each of its steps.

    Args:
        program: as `programs.generate` returns it.
        known: checks to skip; `KNOWN` if None.

    Raises:
        Difference: Kando and the reference differ.
        TimeoutError: the program does not end.
    """
    outside = Outside()
    restored: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        watched(outside),
        limited(),
        compared(program.get("interval", 1), lambda: restored.update(["restored"])),
    ):
        machine = Machine(program, outside, Path(folder), KNOWN if known is None else known)
        try:
            for number, step in enumerate(program["steps"]):
                machine.number = number
                machine.do(step)
                check_all(machine)
            check_end(machine)
        finally:
            machine.store.close()
        machine.taken += restored
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
        self.plugins = _plugins()
        self.store = self.opened()
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
        self.outside.check_call = lambda call: why_no_call(self, call)
        self.outside.broken = {each["key"] for each in self.kit["responders"]}
        self.groups = 0
        #: Steps that were taken, for the counts of the soak.
        self.taken: Counter[str] = Counter()
        self.touched: set[str] = set()
        #: The state that the checks of a run depend on, as it was when they were made last.
        self.checked: dict[str, tuple[Any, ...]] = {}
        #: Event ids of the control words that were unread when the step began.
        self.unread_before: list[str] = []

    # -- the parts ----------------------------------------------------------------------------

    def install(self, kit: dict[str, Any]) -> None:
        """Make a version of the kit the installed one."""
        self.kit = kit
        self.kits[kit["name"], kit["version"]] = kit
        self.store.context.kits[kit["name"]] = build_kit(kit, self.outside, EFFECTS)
        self.store.context.kits.setdefault(CHILD_KIT, build_child_kit())

    def new_version(self) -> dict[str, Any]:
        """Return a copy of the installed kit with the next version."""
        kit = copy.deepcopy(self.kit)
        kit["version"] = str(len(self.kits) + 1)
        return kit

    def opened(self) -> Store:
        """Open the store, as one process does."""
        name = self.program["store"]
        url = "memory:" if name == "memory" else f"sqlite:{self.folder / 'runs.db'}"
        return open_store(url, plugins=self.plugins, environ=self.environ)

    def reopen(self) -> None:
        """Open the store anew, as another process does; a store in memory stays."""
        if self.program["store"] == "memory":
            return
        kits = self.store.context.kits
        self.store.close()
        self.store = self.opened()
        self.store.context.kits.update(kits)
        self.runs = [self.store.run(run.id) for run in self.runs]

    def events(self, run: Run) -> list[dict[str, Any]]:
        """Return the events of a run."""
        return [as_dict(event) for event in run.events()]

    def has_changed(self, run: Run) -> bool:
        """Whether a run, its inbox or its kit has changed since this was asked last."""
        waiting = tuple(entry.event_id for entry in self.inbox(run))
        now = run.length(), waiting, self.kit["version"], len(self.outside.broken)
        before, self.checked[run.id] = self.checked.get(run.id), now
        return before != now

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
        labels = step.get("labels")
        run = self.store.start("model", "a goal", work=False, budget=budget, labels=labels)
        self.runs.append(run)
        self.touched = {run.id}
        if not step.get("stops"):
            self.work(run, {"llm": True})

    def do_resume(self, step: Mapping[str, Any], run: Run) -> None:
        self.work(run, step)

    def do_worker(self, step: Mapping[str, Any], run: Run) -> None:
        self.work(run, {**step, "worker": True})

    def do_crash(self, step: Mapping[str, Any], run: Run) -> None:
        self.work(run, step)
        self.reopen()

    def work(self, run: Run, step: Mapping[str, Any]) -> None:
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
                lambda: self._meanwhile(store.run(run.id), during["send"]),
            )
        try:
            if step.get("worker"):
                self._work_in_group(run, step)
            else:
                budget = Budget(**step["budget"]) if step.get("budget") else None
                llm = "model" if step.get("llm") else None
                forgets = bool(step.get("lifts")) and state is None
                run.resume(llm=llm, budget=budget, forgets_limits=forgets)
            # A worker leaves a run alone that no kit has worked on.
            has_kit = reference.kit_at_work(self.events(run)) is not None
            unread = has_kit and control_waits(self, run) and state != "cancelled"
            expect(self, "control read", not unread, f"{run.id} has an unread control word")
        except Crash:
            pass
        except Broken:
            pass
        except KandoError as error:
            if not self._is_expected(run, error):
                raise Difference("error", f"{type(error).__name__}: {error}") from error
        finally:
            if outside.is_dead:
                self._excuse(run)
            outside.end_step()

    def _meanwhile(self, run: Run, what: str) -> None:
        """Do what another process does while a call of a run is in flight."""
        if what != "rival":
            _send(run, what)
            return
        calls = len(self.outside.calls)
        try:
            if self.program["store"] == "memory":
                run.resume(llm="model")
            else:
                with self.opened() as other:
                    other.context.kits.update(self.store.context.kits)
                    other.run(run.id).resume(llm="model")
        except RunBusy:
            pass
        else:
            self.outside.faults.append(f"two processes work on {run.id}")
        if len(self.outside.calls) > calls:
            self.outside.faults.append(f"a second process calls for {run.id}")

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
        elif step["change"] == "goal" and reference.kit_at_work(events):
            changes["goal"] = "another goal"
        elif step["change"] == "kit" and events:
            changes["kit"] = "model"
        branch = run.fork(at=at, **changes)
        self.runs.append(branch)
        self.parents[branch.id] = run.id
        self.forked[branch.id] = self.forked.get(run.id, 0) + branch.length() - at
        self.touched = {run.id, branch.id}

    def do_delete(self, step: Mapping[str, Any], run: Run) -> None:
        """Delete a run: nothing else changes, and a run with branches stays. It may be restored."""
        if len(self.runs) < 2:
            return
        before = self._heads()
        file = self.folder / f"{run.id}.deleted.jsonl"
        recorded = self.events(run)
        run.export(file)
        has_branches = run.id in self.parents.values()
        try:
            deleted = run.delete()
        except LedgerInUse:
            expect(self, "deletion", has_branches, f"of {run.id} is refused")
            compare(self, "deletion", run, self._heads(), before)
            return
        expect(self, "deletion", not has_branches, f"of {run.id}, which has branches")
        left = {id: head for id, head in before.items() if id not in deleted}
        compare(self, "deletion", run, self._heads(), left)
        for id, verdict in self.store.verify_all():
            expect(self, "deletion", verdict.is_intact, f"of {run.id} damages {id}: {verdict}")
        try:
            run.status()
        except LedgerDeleted:
            pass
        else:
            expect(self, "deletion", False, f"{run.id} can be read")
        for known in (self.sent, self.checked):
            known.pop(run.id, None)
        self.touched.clear()
        if step["restores"] and run.id not in self.parents:
            with file.open("rb") as lines:
                self.store.import_run(lines, accepts_approvals=True)
            compare(self, "restored", run, self.events(run), recorded)
            self.touched = {run.id}
            return
        self.parents.pop(run.id, None)
        self.runs.remove(run)

    def _heads(self) -> dict[str, str]:
        """Return the hash of each ledger of the store."""
        substrate = self.store.context.substrate()
        return {info.id: self.store.run(info.id).head() for info in substrate.ledgers()}

    def do_pause(self, step: Mapping[str, Any], run: Run) -> None:
        run.pause()

    def do_cancel(self, step: Mapping[str, Any], run: Run) -> None:
        run.cancel()

    def do_label(self, step: Mapping[str, Any], run: Run) -> None:
        before, length = run.status(), run.length()
        run.label(step["changes"])
        after, labelled = run.status(), [each["type"] for each in self.events(run)[length:]]
        compare(self, "labels recorded", run, labelled, [reference.LABELLED])
        for name in ("state", "problem", "unread", "objects", "llm_cost_usd"):
            compare(self, f"labelled {name}", run, getattr(after, name), getattr(before, name))

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
            # Another object in the place of a conversation, or of what it is about, ends it.
            ids = [id for id in objects if id != "chat" and not id.startswith("conversation:")]
            if ids:
                id = ids[-1]
                type = step["type"]
                data = {"id": id, "type": type, "data": {"again": 1}}
                run.send("object.created", data)

    def do_say(self, step: Mapping[str, Any], run: Run) -> None:
        attachments = [media(*step["media"])] if "media" in step else []
        run.say(step["text"], attachments=attachments)

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
            is_llm = asked["type"] == "llm.request"
            if asked["type"] == "person.asked":
                if step["which"] % 2:
                    with suppress(KandoError):
                        run.reply(chosen, "this", by="ann")
                else:
                    run.send("person.replied", data | {"answer": 1}, cause=[chosen], actor="ann")
            elif step["which"] % 2 or asked["type"] == "run.requested":
                given: dict[str, Any] = {"text": "by hand"} if is_llm else {"result": 1}
                # It may be answered or denied already, by a message that is not recorded yet.
                with suppress(KandoError):
                    run.answer(chosen, **given, by="ann")
            elif is_llm:
                sent = data | {"text": "by hand", "cost_usd": 2.0}
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
        edit(kit, step)
        self.install(kit)

    def do_snapshot(self, step: Mapping[str, Any], run: Run) -> None:
        for file in sorted((self.folder / "snapshots").glob("*.snapshot")):
            spoil(file, step["how"], step["offset"])

    def do_travel(self, step: Mapping[str, Any], run: Run) -> None:
        """Export a run, and import it into another store, which has the same events."""
        file = self.folder / f"{run.id}.jsonl"
        run.export(file)
        with open_store("memory:", plugins=self.plugins, environ={}) as other:
            other.context.kits.update(self.store.context.kits)
            with file.open("rb") as lines:
                other.import_run(lines, accepts_approvals=True)
            copied = other.run(run.id)
            compare(self, "import", run, self.events(copied), self.events(run))


def _send(run: Run, what: str) -> None:
    if what == "pause":
        run.pause()
    elif what == "cancel":
        run.cancel()
    elif what == "label":
        run.label({"tenant": "c"})
    elif what.startswith("say"):
        run.say(what)
    else:
        run.send("note", {"n": 2})
