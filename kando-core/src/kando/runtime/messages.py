"""Messages: what others deliver to a run is recorded at the tail of its ledger, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from kando.errors import InvalidData, RefusedEvent
from kando.ledger.inbox import InboxEntry
from kando.runtime.approval_gate import ApprovalGate
from kando.runtime.commit import Committer
from kando.runtime.inbox import Inbox, refusal_event
from kando.runtime.parking import Parking
from kando.schema.events import (
    APPROVAL_DENIED,
    APPROVAL_GRANTED,
    APPROVAL_REQUESTED,
    RESPONDER_FAILED,
    RUN_LABELLED,
    KandoEvent,
)
from kando.views.firings import is_failed_attempt
from kando.views.labels import LABELS, check_changes
from kando.views.pending import ANSWERS, CONTROL, answered_by

__all__ = ["Messages"]

#: See `_precedence`.
_LABELS, _CONTROL, _ORDINARY = 0, 1, 4

#: Reserved types that reach a run through its inbox: a person, or another process, decides.
_OWN_MESSAGES = CONTROL | {
    APPROVAL_DENIED,
    APPROVAL_GRANTED,
    APPROVAL_REQUESTED,
    RESPONDER_FAILED,
    RUN_LABELLED,
}


class Messages:
    """Reads the inbox of a run.

    Args:
        committer: records the messages.
        gate: judges them.
        inbox: holds them.
        parking: checks the firings that they park.

    Attributes:
        has_caught_up: whether the run has dispatched the events that its ledger held when it was
            opened. Until then only messages that decide about calls are recorded.
        hold_calls: called with True before a control word is recorded, so that no call starts after
            the word that pauses or cancels the run, and with False if the run continues.
    """

    def __init__(
        self, committer: Committer, gate: ApprovalGate, inbox: Inbox, parking: Parking
    ) -> None:
        self.has_caught_up = False
        self.hold_calls: Callable[[bool], None] = lambda is_held: None
        self._committer = committer
        self._gate = gate
        self._inbox = inbox
        self._parking = parking
        self._is_reading = False

    def read(self) -> bool:
        """Record the messages to the run; False if it must stop."""
        entries = sorted(self._inbox.entries(), key=_precedence)
        has_control = any(_precedence(entry) == _CONTROL for entry in entries)
        if has_control:
            self.hold_calls(True)
        self._is_reading = True
        try:
            may_continue = self._record(entries)
        finally:
            self._is_reading = False
        if has_control and may_continue:
            self.hold_calls(False)
        return may_continue

    def may_start_calls(self) -> bool:
        """Record the messages to the run; False if one of them forbids to start calls."""
        # While messages are recorded no call starts: the next of them may pause the run.
        return not self._is_reading and self.read()

    def _record(self, entries: Sequence[InboxEntry]) -> bool:
        committer = self._committer
        pending = committer.cursor.pending
        for entry in entries:
            # After a pause only labels and further control words are recorded: a cancel may follow.
            if pending.halted_by is not None and _precedence(entry) > _CONTROL:
                return False
            if not self.has_caught_up and _precedence(entry) == _ORDINARY:
                continue
            if not self._record_entry(entry):
                return False
        return pending.halted_by is None

    def _record_entry(self, entry: InboxEntry) -> bool:
        """Record a message and take it; False if a limit forbids it."""
        committer = self._committer
        if committer.recorder.position_of(entry.event_id) is None:
            try:
                self._require_first(entry)
                event = attrs.evolve(entry.event, id=entry.event_id)
                is_within_limits = self.admit(event)
            except RefusedEvent as error:
                refused = refusal_event(entry, error)
                is_within_limits = committer.deliver([refused], is_own=True)
            if not is_within_limits:
                return False
            # Saved before it leaves the inbox: after a crash it is read again, and ignored.
            committer.save()
        self._inbox.take(entry.key)
        return True

    def read_ordinary(self) -> None:
        """Record the messages that decide about nothing: events of the kit's own, and what people say."""
        if not self.has_caught_up or self._is_reading:
            return
        for entry in self._inbox.entries():
            if _precedence(entry) == _ORDINARY and not self._record_entry(entry):
                return

    def read_labels(self) -> None:
        """Record the changes of labels: they decide about nothing, and need no kit."""
        for entry in self._inbox.entries():
            if entry.event.type == RUN_LABELLED:
                self._record_entry(entry)

    def read_failed_attempts(self) -> None:
        """Record what workers report of failed attempts: a stopped run is charged for them, too."""
        for entry in self._inbox.entries():
            if is_failed_attempt(entry.event):
                self._record_entry(entry)

    def _require_first(self, entry: InboxEntry) -> None:
        """Refuse an answer by hand if the answer of the call was delivered before it."""
        for intent_id in answered_by(entry.event):
            if self._inbox.is_answered_before(intent_id, entry.key):
                msg = (
                    f"{intent_id} is answered already: the answer of its call was delivered first."
                )
                raise InvalidData(msg, hint="Fork the run before the answer to give another one.")

    def admit(self, event: KandoEvent) -> bool:
        """Record an external event, or the approval that it needs; False if a limit forbids it.

        Raises:
            RefusedEvent: it must not be recorded.
        """
        admitted = self._gate.admit(event, self._committer.recorder.world)
        if admitted.type == RUN_LABELLED:
            check_changes(admitted.data.get(LABELS))
        parked = None
        if admitted.type == RESPONDER_FAILED:
            parked = self._parking.check(admitted.data)
        if not self._committer.deliver([admitted], is_own=admitted.type in _OWN_MESSAGES):
            return False
        if parked is not None and admitted.data["call"]:
            self._committer.on_failed(parked)
        return True


def _precedence(entry: InboxEntry) -> int:
    """Return how early a message is recorded.

    Labels come first, then control words, answers, decisions, and the rest.
    """
    kind = entry.event.type
    if kind == RUN_LABELLED:
        return _LABELS
    if kind in CONTROL:
        return _CONTROL
    if kind in ANSWERS:
        return 2
    return 3 if kind in _OWN_MESSAGES else _ORDINARY
