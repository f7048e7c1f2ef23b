"""A batch: the events of one firing, or external events, that are recorded as one step."""

# long: everything that is checked and completed when an event is added, in one class.

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from kando.errors import (
    DuplicateEvent,
    InvalidData,
    PayloadTooLarge,
    ReplayDivergence,
    UnknownReference,
)
from kando.runtime.cursor import AFTER, TRACKED
from kando.runtime.emission import OwnEvent
from kando.runtime.recorder import Entry, Recorder
from kando.schema.events import (
    BOOKKEEPING,
    LLM_RESPONSE,
    OBJECT_CREATED,
    RELATION_CREATED,
    RESERVED,
    RESPONDER_COMPLETED,
    RESPONDER_FIRED,
    KandoEvent,
    RecordedEvent,
    event_label,
    limited_size,
    make_recorded_event,
)
from kando.schema.exact_json import encode, exact
from kando.schema.firing import Firing
from kando.schema.identity import default_event_id, object_id, step_key
from kando.schema.parts import MARK, whole_encoded
from kando.views.approvals import GATE
from kando.views.pending import ANSWERS, BY
from kando.views.spending import spent_by
from kando.world.projection import change_of
from kando.world.staged import StagedWorld

__all__ = ["Batch", "diverged"]

_SEQUENCES = (list, tuple)

# The first byte of data with references.
_MARK = MARK[0]

#: Types of events whose data has the id of what they create.
_NAMED = (OBJECT_CREATED, RELATION_CREATED)


class Batch:
    """Events to be recorded together.

    Each event is checked against the world and the earlier events of the batch when it is added, and
    gets its identity at once, so that its author can refer to it.

    Args:
        recorder: records the batch.
        trigger: the event that a responder handles; None for external events.
        responder: its name.
        is_call: whether the responder is an executor, which answers an intent.
        is_own: whether the runtime itself says this, such as a failure or a due timer.

    The ``responder.fired`` and ``responder.completed`` of a whole firing are not among the entries:
    they follow from the firing.

    Attributes:
        entries: the accepted events, in order.
        depth: the greatest recursion depth among them.
        cost_usd: the cost of LLM calls that they report.
        tracked: those that change more than the world (see `kando.runtime.cursor.TRACKED`).
        silent: the responders that have handled the trigger since the last event, silently.
    """

    # Here is what most batches keep, so that it need not be set for each.
    cost_usd = 0.0
    tracked: Sequence[RecordedEvent] = ()
    silent: Sequence[str] = ()
    # All events of a batch have the same timestamp.
    _at: datetime | None = None
    # The world with the changes of the first `_staged_count` entries.
    _staged: StagedWorld | None = None
    _staged_count = 0
    _has_explicit = False
    # Number of equal roots, by the key of the first.
    _roots: dict[str, int] | None = None
    # The first `len(_by_id)` entries, by the ids of their events.
    _by_id: dict[str, Entry] | None = None
    # Whether ``responder.fired`` and ``responder.completed`` enclose the entries.
    _is_open = _is_whole = False

    def __init__(
        self,
        recorder: Recorder,
        trigger: RecordedEvent | None = None,
        responder: str = "",
        *,
        is_call: bool = False,
        is_own: bool = False,
    ) -> None:
        self.entries: list[Entry] = []
        depth = 0 if trigger is None else recorder.depth_of(trigger.position)
        self.depth = self._trigger_depth = depth
        self._recorder = recorder
        self._trigger = trigger
        self._responder = responder
        self._is_call = is_call
        # The runtime itself records its reserved types; the gate asks and answers for a person.
        self._is_own = is_own or responder == GATE
        self._start = recorder.length

    def __len__(self) -> int:
        """Return the number of events to be recorded."""
        return len(self.entries) + self._is_open + self._is_whole

    def add(self, event: KandoEvent, ordinal: int | str = 0) -> RecordedEvent:
        """Check and identify an event, and return it as it will be recorded.

        Args:
            event: as its author made it.
            ordinal: its index among the outputs of the firing, or a word for its bookkeeping.

        Raises:
            RefusedEvent: it must not be recorded; the batch is unchanged.
        """
        identified = self._identified(event, ordinal)
        self._add(identified, not event.id or self._recorder.has_default_id(identified))
        return identified

    def add_recorded(self, event: RecordedEvent) -> None:
        """Check an event as another ledger recorded it, and add it unchanged.

        Raises:
            RefusedEvent: it must not be recorded; the batch is unchanged.
        """
        self._add(event, self._recorder.has_default_id(event))

    def checked(self, event: KandoEvent, present: RecordedEvent) -> RecordedEvent:
        """Compare an output of a repeated firing with the one that the ledger holds; return the latter.

        The ledger may have been recorded before defaults were filled in, or answers marked.

        Raises:
            ReplayDivergence: they differ.
        """
        data = exact(event.data)
        if "id" not in data and "id" in present.data:
            data = {"id": present.data["id"], **data}
        is_same = event.type == present.type and present.data in (
            data,
            self._recorder.types.completed(event.type, data),
            self._marked(data, "") if event.type in ANSWERS else data,
        )
        if not is_same:
            raise diverged(present, f"{present.actor} now emits {event.type} with other data")
        return present

    def _add(self, event: RecordedEvent, has_default_id: bool) -> None:
        """Check a complete event, which follows the entries, and add it."""
        recorder, trigger, kind, id = self._recorder, self._trigger, event.type, event.id
        # Data with references takes more than its encoding.
        encoded = event.encoded
        if len(encoded) > recorder.max_payload_bytes or encoded[0] == _MARK:
            self._check_size(event)
        # Another event can have the default id of this position only if its author set it.
        entries, explicit = self.entries, recorder.explicit_ids
        if has_default_id:
            is_taken = id in explicit if explicit else False
        else:
            is_taken, self._has_explicit = self._position_of(id) is not None, True
        if is_taken or (entries and id in self._known_ids()):
            raise self._duplicate(id)
        if trigger is not None and event.cause == [trigger.id] and kind not in BOOKKEEPING:
            depth = self._trigger_depth + 1
        else:
            depth = self._depth_of(event)
        staged = self._staged_world() if entries else recorder.world
        change = change_of(event, staged)
        if change is not None:
            recorder.types.check(event, change, staged)
        if kind in TRACKED:
            self.tracked = [*self.tracked, event]
            if kind == LLM_RESPONSE:
                self.cost_usd += spent_by(event).llm_cost_usd
        if depth > self.depth:
            self.depth = depth
        entries.append((event, change, depth, has_default_id))

    def _check_size(self, event: RecordedEvent) -> None:
        size, limit = limited_size(event), self._recorder.max_payload_bytes
        if size > limit:
            msg = f"{event_label(event)}: its data takes {size:,} bytes; the limit is {limit:,}."
            raise PayloadTooLarge(
                msg, hint="Split it, or store it in a file and record its path and hash."
            )

    def _known_ids(self) -> dict[str, Entry]:
        """Return the entries by the ids of their events; most batches have one and need no look-up."""
        known = self._by_id
        if known is None:
            known = self._by_id = {}
        for entry in self.entries[len(known) :]:
            known[entry[0].id] = entry
        return known

    def _position_of(self, id: str) -> int | None:
        """Return the position of an event of the ledger or of this batch, or None."""
        recorder, here = self._recorder, self._known_ids().get(id)
        if here is not None:
            return here[0].position
        if self._is_open and id == default_event_id(RESPONDER_FIRED, self._start, recorder.heads):
            return self._start
        return recorder.position_of(id)

    def _staged_world(self) -> StagedWorld:
        """Return the world with the changes of all entries; most batches have one entry."""
        entries = self.entries
        if self._staged is None:
            self._staged = StagedWorld(self._recorder.world)
        for _, change, _, _ in entries[self._staged_count :]:
            self._staged.stage(change)
        self._staged_count = len(entries)
        return self._staged

    def _duplicate(self, id: str) -> DuplicateEvent:
        """Return the error for an id that is already taken, in the ledger or in this batch."""
        source, position = self._recorder.source, self._position_of(id)
        msg = f"{source} already has an event {id!r}, at position {position}."
        return DuplicateEvent(msg, hint="Give the event another id, or none.")

    def _depth_of(self, event: RecordedEvent) -> int:
        depth, recorder = -1, self._recorder
        for cause in event.cause:
            position = self._position_of(cause)
            if (entry := self._known_ids().get(cause)) is not None:
                _, _, of_cause, _ = entry
                depth = max(depth, of_cause)
            elif position is not None:
                is_fired = position >= self._start
                of_cause = self._trigger_depth if is_fired else recorder.depth_of(position)
                depth = max(depth, of_cause)
            else:
                msg = f"{event_label(event)} has cause {cause!r}, which does not exist."
                hint = f"Use ids of events of {recorder.source}."
                raise UnknownReference(msg, hint=hint)
        return max(depth, 0) if event.type in BOOKKEEPING else depth + 1

    def open(self) -> None:
        """Begin a firing: the entries follow a ``responder.fired``, caused by the trigger."""
        self._is_open = True
        recorder = self._recorder
        if recorder.explicit_ids:
            self._require_free(default_event_id(RESPONDER_FIRED, self._start, recorder.heads))

    def close(self) -> None:
        """End the firing: a ``responder.completed`` follows the entries. Without any, begin it first."""
        if not self._is_open:
            self.open()
        recorder = self._recorder
        if recorder.explicit_ids or self._has_explicit:
            position = self._start + len(self)
            self._require_free(default_event_id(RESPONDER_COMPLETED, position, recorder.heads))
        self._is_whole = True

    def complete(self, fired: RecordedEvent, outputs: int) -> None:
        """Add the ``responder.completed`` of a firing that the ledger holds in part.

        Args:
            fired: its ``responder.fired``, before this batch.
            outputs: how many events the responder emitted.
        """
        recorder, trigger = self._recorder, self._trigger
        assert trigger is not None
        position = self._start + len(self)
        id = default_event_id(RESPONDER_COMPLETED, position, recorder.heads)
        self._require_free(id)
        data = {"responder": self._responder, "trigger": trigger.id, "outputs": outputs}
        event = make_recorded_event(
            id,
            RESPONDER_COMPLETED,
            recorder.source,
            self._responder,
            [fired.id],
            self._at or self._now(),
            data,
            position,
            step_key(trigger.lineage_key, self._responder, "completed"),
            encode(data),
        )
        # Bookkeeping does not count for recursion depth.
        self.entries.append((event, None, self._trigger_depth, True))

    def firing(self) -> Firing | None:
        """Return the whole firing that the batch is, or None for any other batch."""
        recorder, trigger = self._recorder, self._trigger
        if not self._is_whole or trigger is None:
            return None
        firing = Firing(
            self._start,
            recorder.heads,
            recorder.source,
            self._at or self._now(),
            self._responder,
            trigger.id,
            trigger.lineage_key,
            [entry[0] for entry in self.entries],
        )
        if self._is_call:
            firing.is_call = True
        if self.silent:
            firing.observed = {AFTER: [trigger.id, list(self.silent)]}
        return firing

    def all_entries(self) -> list[Entry]:
        """Return the entries, with those of the firing's lifecycle."""
        firing = self.firing()
        if firing is None:
            return self.entries
        depth = self._trigger_depth
        fired, completed = firing.fired, firing.completed
        return [(fired, None, depth, True), *self.entries, (completed, None, depth, True)]

    def _require_free(self, id: str) -> None:
        """Require that an id of the runtime's own is not taken."""
        if id in self._recorder.explicit_ids or id in self._known_ids():
            raise self._duplicate(id)

    def _now(self) -> datetime:
        self._at = self._recorder.clock()
        return self._at

    def record(self) -> Firing | Sequence[RecordedEvent]:
        """Record the whole batch and return its firing or its events."""
        firing = self.firing()
        if firing is None:
            is_external = self._trigger is None
            return self._recorder.record(self.entries, self._roots, is_external=is_external)
        of_trigger = self._trigger_depth
        self._recorder.record_firing(firing, self.entries, of_trigger, self.depth, self.tracked)
        return firing

    def _identified(self, event: KandoEvent, ordinal: int | str) -> RecordedEvent:
        if not isinstance(event, KandoEvent):
            msg = f"{self._responder or 'A seed'} emitted {type(event).__name__}, not an event."
            raise InvalidData(msg, hint="Emit what make_event() or kando.emit returns.")
        recorder, trigger = self._recorder, self._trigger
        kind, given, actor = event.type, event.data, event.actor or self._responder
        if not isinstance(kind, str) or not kind or not isinstance(given, dict):
            by = f" by {actor}" if actor else ""
            msg = f"An event{by} has type {kind!r} and data {given!r:.60}."
            raise InvalidData(msg, hint="Its type is a dotted name and its data a JSON object.")
        if kind in RESERVED and not self._is_own and not isinstance(event, OwnEvent):
            msg = f"{actor or 'A seed'} emitted {kind}, which only the runtime records."
            raise InvalidData(msg, hint="Choose a type of your own.")
        if kind in ANSWERS:
            given = self._marked(given, actor)
        position = self._start + len(self.entries) + self._is_open
        id = event.id or f"{kind}-{position - recorder.heads}"
        is_named = kind in _NAMED
        needs_id = is_named and "id" not in given
        try:
            if trigger is not None:
                key = step_key(trigger.lineage_key, self._responder, ordinal)
                if needs_id:
                    given = {"id": self._free_id(event, key), **given}
                data, encoded, parts = recorder.encoded(given)
            else:
                data, encoded, parts = recorder.encoded(given)
                identity = event.id.encode() or whole_encoded(data, encoded)
                key = recorder.free_root_key(kind, identity, self._reserved())
                if needs_id:
                    named = {"id": self._free_id(event, key), **data}
                    data, encoded, parts = recorder.encoded(named)
            if is_named:
                completed = recorder.completed(kind, data, position)
                if completed is not data:
                    data, encoded, parts = recorder.encoded(completed)
        except InvalidData as error:
            msg = f"{id} by {actor}: {error.message}" if actor else f"{id}: {error.message}"
            raise InvalidData(msg, hint=error.hint) from error
        return make_recorded_event(
            id,
            kind,
            recorder.source,
            actor,
            [trigger.id] if trigger is not None and event.cause == [] else self._causes(event),
            self._at or self._now(),
            data,
            position,
            key,
            encoded,
            parts=parts,
        )

    def _reserved(self) -> dict[str, int]:
        if self._roots is None:
            self._roots = {}
        return self._roots

    def _marked(self, answer: dict[str, Any], actor: str) -> dict[str, Any]:
        """Return the data of an answer, marked if no executor gives it."""
        if self._trigger is None:
            return {**answer, BY: actor or "unknown"}
        if self._is_call or self._is_own:
            return answer
        # Whatever a plain responder says, an intent waits for its executor.
        return {**answer, "answers": False}

    def _causes(self, event: KandoEvent) -> list[str]:
        causes = event.cause
        if not causes and isinstance(causes, _SEQUENCES):
            return [self._trigger.id] if self._trigger is not None else []
        if not isinstance(causes, _SEQUENCES) or not all(isinstance(c, str) for c in causes):
            msg = f"An event {event.type} has cause {causes!r:.80}."
            raise InvalidData(msg, hint="A cause is a list of event ids.")
        if "" in causes:
            msg = f"An event {event.type} has a cause without an id."
            raise InvalidData(
                msg, hint="Use the event that `yield` returned, or give the cause an id."
            )
        return list(causes)

    def _free_id(self, event: KandoEvent, key: str) -> str:
        type = event.data.get("type")
        if not isinstance(type, str) or not type:
            msg = f"{event.type}: data.type must be a non-empty string, not {type!r:.60}."
            raise InvalidData(msg, hint="Set it to the name of the type.")
        staged = self._staged_world() if self.entries else self._recorder.world
        is_object = event.type == OBJECT_CREATED
        return object_id(type, key, staged.get_object if is_object else staged.get_relation)


def diverged(present: RecordedEvent, what: str) -> ReplayDivergence:
    """Return the error for a firing whose outputs differ from those that the ledger holds."""
    msg = f"{present.source} holds {present.id} of an unfinished firing, but {what}."
    return ReplayDivergence(
        msg,
        position=present.position,
        hint="Use the kit version that began the firing, or fork before it.",
    )
