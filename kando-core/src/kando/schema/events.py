"""The event: the unit of the ledger, and the types of event that Kando itself records."""

# long: the types, the event, and the ways in which one is made and read.

from __future__ import annotations

import builtins
from datetime import UTC, datetime
from typing import Any, SupportsIndex, TypeVar

import attrs

from kando.errors import InvalidData
from kando.schema.identity import head_id
from kando.schema.parts import Chains, Parts, Split, has_references, split

__all__ = [
    "APPROVAL_DENIED",
    "APPROVAL_GRANTED",
    "APPROVAL_REQUESTED",
    "BRANCH_CHANGED",
    "BRANCH_CREATED",
    "BUDGET_EXHAUSTED",
    "BUDGET_SET",
    "CASE",
    "CONVERSATION_COMPACTED",
    "ECHOED",
    "EXPIRES",
    "HUMAN_MESSAGE",
    "INBOX_REFUSED",
    "KIT_LOADED",
    "KNOWN_TYPES",
    "LLM_REQUEST",
    "LLM_RESPONSE",
    "LONGEST_EXPIRES",
    "OBJECT_CREATED",
    "OBJECT_PATCHED",
    "OBSERVED",
    "PARKED",
    "PERSON_ASKED",
    "PERSON_REMINDED",
    "PERSON_REPLIED",
    "RAISED",
    "RELATION_CREATED",
    "RELATION_REMOVED",
    "REMIND",
    "RESERVED",
    "RESPONDER_COMPLETED",
    "RESPONDER_FAILED",
    "RESPONDER_FIRED",
    "RETRIED",
    "RUN_CANCELLED",
    "RUN_ENDED",
    "RUN_LABELLED",
    "RUN_PAUSED",
    "RUN_REQUESTED",
    "RUN_RESUMED",
    "SETTINGS",
    "SHORTEST_REMIND",
    "STARTED_BY",
    "TIMER_FIRED",
    "TIMER_SET",
    "TOOL_CALLED",
    "TOOL_RETURNED",
    "TOOL_SERVERS",
    "WORKSPACE_LOADED",
    "KandoEvent",
    "RecordedEvent",
    "detach",
    "error_line",
    "event_label",
    "exhausted_limits",
    "limited_size",
    "make_event",
    "make_recorded_event",
    "make_unread_event",
    "parts_of",
]

OBJECT_CREATED = "object.created"
OBJECT_PATCHED = "object.patched"
RELATION_CREATED = "relation.created"
RELATION_REMOVED = "relation.removed"
BRANCH_CREATED = "branch.created"
BRANCH_CHANGED = "branch.changed"
BUDGET_SET = "budget.set"
BUDGET_EXHAUSTED = "budget.exhausted"
LLM_REQUEST = "llm.request"
LLM_RESPONSE = "llm.response"
TOOL_CALLED = "tool.called"
TOOL_RETURNED = "tool.returned"
RESPONDER_FIRED = "responder.fired"
RESPONDER_COMPLETED = "responder.completed"
RESPONDER_FAILED = "responder.failed"
KIT_LOADED = "kit.loaded"
PERSON_ASKED = "person.asked"
PERSON_REMINDED = "person.reminded"
PERSON_REPLIED = "person.replied"
RUN_REQUESTED = "run.requested"
RUN_ENDED = "run.ended"
HUMAN_MESSAGE = "human.message"
CONVERSATION_COMPACTED = "conversation.compacted"
APPROVAL_REQUESTED = "approval.requested"
APPROVAL_GRANTED = "approval.granted"
APPROVAL_DENIED = "approval.denied"
TIMER_SET = "timer.set"
TIMER_FIRED = "timer.fired"
RUN_PAUSED = "run.paused"
RUN_RESUMED = "run.resumed"
RUN_CANCELLED = "run.cancelled"
RUN_LABELLED = "run.labelled"
INBOX_REFUSED = "inbox.refused"
WORKSPACE_LOADED = "workspace.loaded"

#: The key of an event's data that holds measurements (durations, attempts, provider request ids).
#: Kando ignores them in every comparison.
OBSERVED = "observed"

#: Types of events that only the runtime records: what it says about the run and its own work.
RESERVED = frozenset(
    {
        APPROVAL_DENIED,
        APPROVAL_GRANTED,
        APPROVAL_REQUESTED,
        BRANCH_CHANGED,
        BRANCH_CREATED,
        BUDGET_EXHAUSTED,
        BUDGET_SET,
        INBOX_REFUSED,
        KIT_LOADED,
        PERSON_REMINDED,
        RESPONDER_COMPLETED,
        RESPONDER_FAILED,
        RESPONDER_FIRED,
        RUN_CANCELLED,
        RUN_LABELLED,
        RUN_PAUSED,
        RUN_RESUMED,
        TIMER_FIRED,
        WORKSPACE_LOADED,
    }
)

#: All types of events that Kando records or reacts to.
KNOWN_TYPES = RESERVED | {
    CONVERSATION_COMPACTED,
    HUMAN_MESSAGE,
    LLM_REQUEST,
    LLM_RESPONSE,
    OBJECT_CREATED,
    OBJECT_PATCHED,
    PERSON_ASKED,
    PERSON_REPLIED,
    RELATION_CREATED,
    RELATION_REMOVED,
    RUN_ENDED,
    RUN_REQUESTED,
    TIMER_SET,
    TOOL_CALLED,
    TOOL_RETURNED,
}

#: Events that the runtime records about its own firings. They do not count for recursion depth.
BOOKKEEPING = frozenset({RESPONDER_FIRED, RESPONDER_COMPLETED, RESPONDER_FAILED})

#: ``outcome`` of a ``responder.failed``: retried, skipped, or raised to the caller.
RETRIED = "retried"
PARKED = "parked"
RAISED = "raised"

#: Field of an ``approval.requested`` or ``person.asked``: the seconds after its recording at which
#: the run denies it, or answers it with an error.
EXPIRES = "expires"
#: Field of a ``person.asked``: the seconds after its recording, or after the last reminder, at which
#: the run records a ``person.reminded``.
REMIND = "remind"
#: The least of these: a run that waits for a person records at most one reminder a minute.
SHORTEST_REMIND = 60
#: Field of a ``kit.loaded``: the settings of the kit.
SETTINGS = "settings"
#: Field of the first event of a run of an evaluation: its case, and what the run depends on.
CASE = "case"
#: Field of the first event of a child run: the run that started it, and the ``run.requested``.
STARTED_BY = "started_by"

#: Field of a ``kit.loaded``: what each tool server offers, by its name.
TOOL_SERVERS = "tool_servers"
#: A hundred years, in seconds: the longest of these, so that every date can be represented.
LONGEST_EXPIRES = 100 * 366 * 86_400

#: Fields of an intent that its answer repeats, for the responders that react to the answer. They
#: say who asks, so they are not part of the question.
ECHOED = ("cause_object_id", "conversation")

#: Types of events about objects, and the field of their data with the data of the object.
_OF_OBJECTS = {OBJECT_CREATED: "data", OBJECT_PATCHED: "patch"}

_Class = TypeVar("_Class")


class _Fields:
    """The fields of an event while they are mutable: `make_event` turns this into an event.

    The initialiser of a frozen attrs class calls ``object.__setattr__`` for each field. Setting the
    fields first and the class last takes a quarter of that time, and runs create millions of
    events. Python allows the change of class because all three classes have the same layout.
    """

    __slots__ = (
        "__weakref__",
        "actor",
        "cause",
        "data",
        "encoded",
        "id",
        "lineage_key",
        "parts",
        "position",
        "source",
        "timestamp",
        "type",
        "version",
    )


@attrs.frozen(eq=False)
class KandoEvent(_Fields):
    """Something that happened, or that a responder wants recorded.

    Two events are equal if their seven fields are, whether they are recorded or not.

    Attributes:
        id: unique within the ledger; empty until the event is recorded, unless its author chose
            one.
        type: dotted name, such as ``object.created``.
        source: identity of the ledger, ``run:{id}`` or ``branch:{id}``.
        actor: who emitted it: a responder's name, or for seeds a name such as ``cli``.
        cause: ids of the events that caused it; empty for a root.
        timestamp: timezone-aware; when it was recorded, or until then when it was made.
        data: JSON object; its fields depend on the type.
    """

    id: str
    type: str
    source: str
    actor: str
    cause: list[str]
    timestamp: datetime
    data: dict[str, Any]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KandoEvent):
            return NotImplemented
        return (
            self.id == other.id
            and self.type == other.type
            and self.source == other.source
            and self.actor == other.actor
            and self.cause == other.cause
            and self.timestamp == other.timestamp
            and self.data == other.data
        )

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def is_root(self) -> bool:
        """Whether no event of the ledger caused this event."""
        return not self.cause

    @property
    def is_head(self) -> bool:
        """Whether this is the head of a branch: the ``branch.created`` after its shared prefix."""
        return self.type == BRANCH_CREATED and self.id == head_id(self.source)

    @property
    def object_id(self) -> str | None:
        """The id of the object that it creates or patches, or that an answer is about; else None."""
        named = self.data.get("id" if self.type in _OF_OBJECTS else "cause_object_id")
        return named if isinstance(named, str) else None

    @property
    def object(self) -> dict[str, Any]:
        """The data of the object that it creates, or the fields that it patches; else empty.

        `kando.world.graph.World.get` returns the whole object, as an instance of its class.
        """
        field = _OF_OBJECTS.get(self.type)
        found = self.data.get(field) if field is not None else None
        return found if isinstance(found, dict) else {}

    def as_object(self, cls: builtins.type[_Class]) -> _Class:
        """Return the object that it creates as an instance of its class.

        Args:
            cls: the declared class; its name is the type of the object.

        Raises:
            InvalidData: it creates no object of this class, or one whose data does not fit.
        """
        from kando.schema.typed import instance_of

        if self.type != OBJECT_CREATED or self.data.get("type") != cls.__name__:
            msg = f"{event_label(self)} creates no {cls.__name__}."
            raise InvalidData(msg, hint="world.get(cls, event.object_id) returns a patched object.")
        return instance_of(cls, self.object)

    @property
    def text(self) -> str:
        """The text of an answer or a message; empty if it has none, as a failed answer has."""
        text = self.data.get("text")
        return text if isinstance(text, str) and self.data.get("error") is None else ""


@attrs.frozen(eq=False)
class RecordedEvent(KandoEvent):
    """An event at its position in a ledger.

    Attributes:
        position: 0-based index in the ledger; on a branch the shared prefix counts.
        lineage_key: identifies the step that produced the event, as 32 hexadecimal digits; the
            same step has the same key on every branch (see `kando.schema.identity`).
        encoded: its data as stored, kept so that it is encoded only once. It may have references
            to parts of the data (see `kando.schema.parts`).
        version: schema version of its data.
    """

    position: int
    lineage_key: str
    encoded: bytes = attrs.field(repr=False)
    version: int = 1


def event_label(event: KandoEvent) -> str:
    """Return the id of an event (its type if it has none yet) and its actor, for messages."""
    name = event.id or event.type
    return f"{name} by {event.actor}" if event.actor else name


def error_line(error: object) -> str:
    """Return the ``error`` of a recorded failure or answer, as type and message."""
    if isinstance(error, dict):
        return f"{error.get('type')}: {error.get('message')}"
    return f"Error: {error}"


def exhausted_limits(event: KandoEvent) -> list[str]:
    """Return the limits that a ``budget.exhausted`` says were reached."""
    reasons = event.data.get("reasons")
    return [str(each) for each in reasons] if isinstance(reasons, list) else []


def make_event(
    type: str, source: str, actor: str, cause: list[str], data: dict[str, Any]
) -> KandoEvent:
    """Make an event that is not recorded yet; it gets its id when it is recorded.

    Args:
        type: dotted name, such as ``object.created``.
        source: identity of the ledger it is meant for.
        actor: who emits it.
        cause: ids of the events that caused it; empty for a root.
        data: a JSON object.
    """
    event: Any = _Fields()
    event.id = ""
    event.type = type
    event.source = source
    event.actor = actor
    event.cause = list(cause)
    event.timestamp = datetime.now(UTC)
    event.data = data
    event.__class__ = KandoEvent
    made: KandoEvent = event
    return made


def make_recorded_event(
    id: str,
    type: str,
    source: str,
    actor: str,
    cause: list[str],
    timestamp: datetime,
    data: dict[str, Any],
    position: int,
    lineage_key: str,
    encoded: bytes,
    version: int = 1,
    parts: Parts | Split | None = None,
) -> RecordedEvent:
    """Make a `RecordedEvent` faster than its class does; the arguments are its attributes.

    Args:
        id: as its other attributes.
        parts: of its data, if its encoding has references.
    """
    event: Any = _Fields()
    event.id = id
    event.type = type
    event.source = source
    event.actor = actor
    event.cause = cause
    event.timestamp = timestamp
    event.data = data
    event.position = position
    event.lineage_key = lineage_key
    event.encoded = encoded
    event.version = version
    event.parts = parts
    event.__class__ = RecordedEvent
    made: RecordedEvent = event
    return made


class _UnreadEvent(RecordedEvent):
    """An event whose data has references that are not resolved yet.

    When its data is read for the first time, it becomes a `RecordedEvent`. A class of its own, since
    a ``__getattr__`` of `RecordedEvent` would slow down every access to an attribute.
    """

    __slots__ = ()

    @property
    def data(self) -> dict[str, Any]:
        """The whole data."""
        try:
            known: dict[str, Any] = _data.__get__(self)
        except AttributeError:
            known = _parts.__get__(self).resolve(self.encoded)
            _data.__set__(self, known)
        object.__setattr__(self, "__class__", RecordedEvent)
        return known

    @data.setter
    def data(self, value: dict[str, Any]) -> None:
        _data.__set__(self, value)

    # Copied, pickled and shown as what it becomes.

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return self._read().__reduce_ex__(protocol)

    def __repr__(self) -> str:
        return repr(self._read())

    def _read(self) -> RecordedEvent:
        _ = self.data
        return self


_data: Any = vars(_Fields)["data"]
_parts: Any = vars(_Fields)["parts"]


def make_unread_event(
    id: str,
    type: str,
    source: str,
    actor: str,
    cause: list[str],
    timestamp: datetime,
    parts: Parts,
    position: int,
    lineage_key: str,
    encoded: bytes,
    version: int = 1,
) -> RecordedEvent:
    """Make a `RecordedEvent` from an encoding with references, which are resolved when they are read.

    Args:
        id: as its other attributes.
        parts: of the store that it was read from.
    """
    event: Any = _Fields()
    event.id = id
    event.type = type
    event.source = source
    event.actor = actor
    event.cause = cause
    event.timestamp = timestamp
    event.position = position
    event.lineage_key = lineage_key
    event.encoded = encoded
    event.version = version
    event.parts = parts
    event.__class__ = _UnreadEvent
    made: RecordedEvent = event
    return made


def limited_size(event: RecordedEvent) -> int:
    """Return the size in bytes that the limit of an event holds for.

    That is the size of its data, in which each message of a long list counts for itself.
    """
    known = getattr(event, "parts", None)
    return known.largest if isinstance(known, Split) else len(event.encoded)


def detach(event: RecordedEvent) -> None:
    """Read the data of an event, so that it no longer depends on the store that it was read from."""
    _ = event.data
    if isinstance(getattr(event, "parts", None), Parts):
        _parts.__set__(event, None)


def parts_of(event: RecordedEvent) -> Split | None:
    """Return the parts of an event whose encoding has references, else None.

    Raises:
        InvalidData: its data is not what its encoding refers to.
    """
    if not has_references(event.encoded):
        return None
    # Unset in a copy of an event.
    known = getattr(event, "parts", None)
    if isinstance(known, Split):
        return known
    if isinstance(known, Parts):
        return known.split(event.encoded)
    _, encoded, made = split(event.data, Chains())
    if encoded != event.encoded or made is None:
        msg = f"The data of {event_label(event)} is not what its encoding refers to."
        raise InvalidData(msg, hint="Set `encoded` together with `data`.")
    return made
