"""The executor of child runs: it starts or resumes the run that a ``run.requested`` asks for.

It answers when the child has ended. A child that waits for a person or a timer has no answer yet: its
request stays open, as a question does, and the run continues without it. Whatever process works on
the child when it ends delivers the answer (`kando.app.children.deliver_end`).
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import attrs

from kando.app.child_ids import asked_of, child_id_of, opened_child
from kando.app.children import CHILD_RUNS, answer_of, pause_key
from kando.app.context import Context
from kando.app.entries import CANCEL_KEY
from kando.app.opened import Choices, OpenedRun
from kando.app.status import WAITING, status_of
from kando.errors import (
    ConcurrencyError,
    InvalidData,
    KandoError,
    ObjectNotFound,
    RunBusy,
    RunCancelled,
    StoreError,
)
from kando.ledger.inbox import InboxEntry
from kando.ledger.interface import LedgerStore
from kando.responders.base import AnswerLater, AnswerPending, Effect, Responder
from kando.responders.budget import Budget
from kando.responders.cancellation import call_is_cancelled, cancellation_of_call
from kando.responders.executor import answer_inline
from kando.responders.reservation import reservation_of_call
from kando.responders.tools import error_data
from kando.schema.events import (
    BRANCH_CHANGED,
    ECHOED,
    RESPONDER_FIRED,
    RUN_CANCELLED,
    RUN_ENDED,
    RUN_PAUSED,
    RUN_REQUESTED,
    STARTED_BY,
    KandoEvent,
    RecordedEvent,
    make_event,
)
from kando.views.labels import labels_event
from kando.views.pending import CONTROL
from kando.views.spending import Accounts
from kando.world.graph import World, WorldObject
from kando.world.projection import project

__all__ = ["ChildRuns", "stop_child"]

#: How many runs may be nested: a run, its child, a child of that, and so on.
MAX_DEPTH = 5

# Seconds between two looks at a child that another process works on, or at a call that may be given up.
_POLL_SECONDS = 0.1


class _TooDeepError(Exception):
    """Runs are nested too deep."""


@attrs.frozen
class ChildRuns:
    """Makes the child runs of one run.

    Args:
        context: the plugins, the settings and the substrate.
        parent: the ledger of the run or branch.
        choices: for it.
        limits: of it.
        work_on: ``work_on(child, limits)`` works on a child until no work is left.
        offer: offers a child to the workers of a group by its id, instead of `work_on`; None if this
            process works on it.
    """

    context: Context
    parent: LedgerStore
    choices: Choices
    limits: Budget
    work_on: Callable[[OpenedRun], None]
    offer: Callable[[str], None] | None = None

    def responder(self) -> Responder:
        """Return the executor."""
        effect = Effect(
            RUN_ENDED, self._call, knows=self._knows, check=self._check, cancel=self._cancelled
        )

        def fn(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
            return answer_inline(effect, event, world)

        return Responder(CHILD_RUNS, frozenset({RUN_REQUESTED}), fn, effect=effect)

    def _knows(self, intent: KandoEvent) -> bool:
        with suppress(KandoError):
            self.context.kit(str(intent.data.get("kit")))
            return True
        return False

    def _check(self, intent: KandoEvent) -> None:
        if not self._knows(intent):
            msg = f"No kit {intent.data.get('kit')!r:.80} is installed."
            raise InvalidData(msg)

    def _call(self, intent: KandoEvent) -> dict[str, Any]:
        """Start or resume the child of a request, and return the data of its ``run.ended``.

        Raises:
            AnswerLater: the child waits, or is paused.
            AnswerPending: the workers of the group have not ended it yet.
        """
        assert isinstance(intent, RecordedEvent)
        stream = self.parent.stream_name()
        child = opened_child(self.context, stream, intent.lineage_key)
        if child is None:
            try:
                child = self._started(intent)
            except StoreError:
                raise
            except _TooDeepError as error:
                return _failed(intent, "TooDeep", str(error))
            except KandoError as error:
                return _failed(intent, type(error).__name__, error.message)
        if self.offer is None:
            return self._worked(child, intent)
        if (ended := answer_of(child, intent)) is not None:
            return ended
        if status_of(child).state == WAITING:
            raise AnswerLater(intent.id)
        # As in one process, the run stops here until the child ends or waits, and is offered then.
        self.offer(child.id)
        raise AnswerPending(intent.id)

    def _cancelled(self, intent: KandoEvent) -> dict[str, Any] | None:
        """Cancel the child of a request, and return the data of its ``run.ended``; None without one."""
        assert isinstance(intent, RecordedEvent)
        child = opened_child(self.context, self.parent.stream_name(), intent.lineage_key)
        if child is None:
            return None
        if (ended := answer_of(child, intent)) is None:
            stop_child(child, _control_of(self.parent, intent))
            with suppress(AnswerLater):
                ended = self._worked(child, intent)
        return ended

    def _worked(self, child: OpenedRun, intent: RecordedEvent) -> dict[str, Any]:
        while (ended := answer_of(child, intent)) is None:
            if call_is_cancelled() and self._stop(child, intent) == RUN_PAUSED:
                raise AnswerLater(intent.id)
            try:
                with _stopped_with(partial(self._stop, child, intent)):
                    self.work_on(child)
            except RunBusy:
                # Another process works on it, and may end it.
                time.sleep(_POLL_SECONDS)
                child = self._again(child)
                continue
            except RunCancelled:
                pass
            except (StoreError, ConcurrencyError):
                raise
            except (Exception, SystemExit):
                # Its ledger says how it failed; if not, the error is the parent's.
                if (ended := answer_of(self._again(child), intent)) is None:
                    raise
                return ended
            child = self._again(child)
            if answer_of(child, intent) is None and not _has_messages(child):
                raise AnswerLater(intent.id)
        return ended

    def _stop(self, child: OpenedRun, intent: RecordedEvent) -> str:
        return stop_child(child, _control_of(self.parent, intent))

    def _again(self, child: OpenedRun) -> OpenedRun:
        return OpenedRun(self.context, child.ledger)

    def _started(self, intent: RecordedEvent) -> OpenedRun:
        """Create the child of a request, with its goal recorded.

        Raises:
            KandoError: it cannot be started.
        """
        # Not at the top: it imports what imports this module.
        from kando.app.start import create_run

        data, id = intent.data, child_id_of(self.parent.stream_name(), intent.lineage_key)
        started_by = self._started_by(intent)
        original, is_fresh = self._of_parents(intent)
        if original is not None:
            return self._branched(original, id, started_by, is_fresh=is_fresh)
        budget = self._budget(data.get("limits"), reservation_of_call())
        create_run(
            self.context,
            data["kit"],
            data["goal"],
            budget=budget,
            settings=data.get("settings"),
            started_by=started_by,
            run_id=id,
            labels=self._labels(),
            handed=self._documents(intent),
        )
        return OpenedRun(self.context, self.context.substrate(read_only=False).open(id))

    def _labels(self) -> dict[str, str]:
        """Return the labels that the run has now: its children begin with them."""
        return OpenedRun(self.context, self.parent).labels

    def _documents(self, intent: RecordedEvent) -> list[WorldObject]:
        """Return the objects that a child begins with, as they were when it was requested.

        Raises:
            ObjectNotFound: the run does not have one of them.
        """
        named = intent.data.get("documents")
        ids = [str(each.get("id")) for each in named or () if isinstance(each, dict)]
        if not ids:
            return []
        run = OpenedRun(self.context, self.parent)
        world = project(run.current.events_about({*ids}, (), intent.position))
        missing = next((id for id in ids if world.get_object(id) is None), None)
        if missing is not None:
            msg = f"The run has no object {missing!r:.80} to hand over."
            raise ObjectNotFound(msg, hint="Pass objects of its world as documents.")
        return [world.objects[id] for id in dict.fromkeys(ids)]

    def _started_by(self, intent: RecordedEvent) -> dict[str, Any]:
        above = self.choices.started_by or {}
        depth = int(above.get("depth", 1)) + 1
        if depth > MAX_DEPTH:
            msg = f"Child runs are nested {MAX_DEPTH} deep: {intent.id} starts no further one."
            raise _TooDeepError(msg)
        kind, _, run_id = self.parent.stream_name().partition(":")
        named = {"run_id": run_id, "event_id": intent.id, "depth": depth}
        holds = above.get("holds_writes") is True or kind == "branch"
        if holds and not self.choices.allows_writes:
            named["holds_writes"] = True
        chosen = {"model": self.choices.model, "llm": self.choices.llm}
        return named | {name: value for name, value in chosen.items() if value is not None}

    def _budget(self, given: object, reserved: Accounts | None) -> Budget:
        """Return the limits of a child: those asked for, and what is reserved of this run's own."""
        asked = Budget(**given) if isinstance(given, dict) else Budget()
        mine = self.limits
        if reserved is None:
            return asked
        left = Budget(
            max_llm_calls=reserved.llm_calls if mine.max_llm_calls is not None else None,
            max_llm_tokens=reserved.llm_tokens if mine.max_llm_tokens is not None else None,
            max_llm_cost_usd=reserved.llm_cost_usd if mine.max_llm_cost_usd is not None else None,
            max_tool_calls=reserved.tool_calls if mine.max_tool_calls is not None else None,
            max_wall_seconds=reserved.seconds if mine.max_wall_seconds is not None else None,
            fallback_usd_per_call=mine.fallback_usd_per_call,
        )
        return asked.capped_by(left)

    def _of_parents(self, intent: RecordedEvent) -> tuple[OpenedRun | None, bool]:
        """Return the child that a parent of a branch has started for an equal request, or None.

        Also return whether the branch ignores the answers of that child's models.
        """
        substrate = self.context.substrate()
        kind, _, id = self.parent.stream_name().partition(":")
        is_fresh = False
        while kind == "branch" and (parent_id := substrate.info(id).parent_id) is not None:
            is_fresh = is_fresh or id == self.choices.fresh_id
            parent = substrate.open(parent_id)
            child = opened_child(self.context, parent.stream_name(), intent.lineage_key)
            if child is not None:
                event_id = (child.choices.started_by or {}).get("event_id")
                asked = parent.find(event_id) if isinstance(event_id, str) else None
                if asked is not None and asked_of(asked.data) == asked_of(intent.data):
                    return child, is_fresh
            id = parent_id
        return None, is_fresh

    def _branched(
        self, original: OpenedRun, id: str, started_by: dict[str, Any], *, is_fresh: bool
    ) -> OpenedRun:
        """Create a child that is a branch of another one: it begins at that one's seeds.

        It repeats no call that the other has made with the same arguments.
        """
        from kando.branch.draft import BranchDraft
        from kando.branch.fork import BranchMeta, head_of
        from kando.runtime import Runtime

        ledger = original.ledger
        first = next((e for e in ledger.read_all() if e.type == RESPONDER_FIRED), None)
        at = ledger.length() if first is None else first.position
        head = head_of(ledger, BranchMeta(id, original.id, at), CHILD_RUNS)
        draft = BranchDraft(ledger, head)
        data = {STARTED_BY: started_by, **({"fresh": True} if is_fresh else {})}
        changed = make_event(BRANCH_CHANGED, "", CHILD_RUNS, [head.id], data)
        labels, inherited = self._labels(), OpenedRun(self.context, draft).labels
        changes = dict.fromkeys(sorted(inherited.keys() - labels.keys())) | labels
        events = [changed] + ([labels_event(changes, CHILD_RUNS)] if labels != inherited else [])
        Runtime(draft, [], edge_logic=()).record(events, is_own=True)
        substrate = self.context.substrate(read_only=False)
        return OpenedRun(self.context, substrate.fork_with(original.id, at, id, draft.own))


def stop_child(child: OpenedRun, control: RecordedEvent | None) -> str:
    """Pause a child, or cancel it if the run that started it is cancelled; return which.

    Args:
        child: the child run.
        control: the event that stopped the run that started it; None if it stops for another reason.
    """
    kind = RUN_PAUSED if control is None else control.type
    key = CANCEL_KEY
    if kind == RUN_PAUSED:
        key = pause_key(secrets.token_hex(8) if control is None else control.id)
    substrate = child.context.substrate(read_only=False)
    entry = InboxEntry(key, make_event(kind, "", CHILD_RUNS, [], {}))
    substrate.deliver(child.id, entry)
    return kind


@contextmanager
def _stopped_with(stop: Callable[[], object]) -> Iterator[None]:
    """Call a function as soon as the call in progress in this thread is given up."""
    is_given_up, is_over = cancellation_of_call(), threading.Event()

    def watch() -> None:
        while not is_over.wait(_POLL_SECONDS):
            if is_given_up():
                # The next resume of the parent resumes the child, whatever state it is in.
                with suppress(KandoError):
                    stop()
                return

    watching = threading.Thread(target=watch, name="kando-child", daemon=True)
    watching.start()
    try:
        yield
    finally:
        is_over.set()
        watching.join()


def _control_of(ledger: LedgerStore, intent: RecordedEvent) -> RecordedEvent | None:
    """Return the event that paused or cancelled a run since a request; None if it is not halted."""
    found = None
    for event in ledger.read(intent.position):
        if event.type in CONTROL or event.is_head:
            found = event if event.type in (RUN_PAUSED, RUN_CANCELLED) else None
    return found


def _has_messages(child: OpenedRun) -> bool:
    return bool(child.context.substrate().inbox(child.id))


def _failed(intent: KandoEvent, kind: str, message: str) -> dict[str, Any]:
    echoed = {name: intent.data[name] for name in ECHOED if name in intent.data}
    return {**echoed, **error_data(kind, message)}
