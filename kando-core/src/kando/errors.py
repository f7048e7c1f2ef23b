"""Every error Kando raises, as one tree.

    KandoError
      NotFoundError (KeyError)            something named does not exist
        LedgerNotFound                      a run or branch
        EventNotFound                       an event of a ledger
        ObjectNotFound                      an object or relation of a world
      AmbiguousName (LookupError)         a prefix fits more than one name
      PositionOutOfRange (ValueError)     a position outside its ledger
      RefusedEvent (ValueError)           an event that must not reach a ledger
        UnknownReference (KeyError)         it refers to something that does not exist
        DuplicateEvent                      its id is taken
        InvalidData (TypeError)             its data is not what was declared, or not JSON
        PayloadTooLarge                     its data is over the limit
      NoRootError (ValueError)            a ledger in which nothing started anything
      ReplayDivergence                    a strict replay that came out differently
      ConfigurationError (ValueError)     responders, kits or settings that cannot work together
      LedgerExists                        the id of a new ledger is taken
      ImpureResponder                     a plain responder that reached outside (debug mode)
      RunCancelled                        a run that was cancelled cannot go on
      ConcurrencyError                    another writer was faster; nothing was written
      StoreError                          a substrate that cannot be used
        StoreDamaged                        ... because its content is not what was written
      PluginError                         see kando.plugins.errors

Where a caller would expect a builtin exception, the class is that builtin as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

__all__ = [
    "AmbiguousName",
    "ConcurrencyError",
    "ConfigurationError",
    "DuplicateEvent",
    "EventNotFound",
    "ImpureResponder",
    "InvalidData",
    "KandoError",
    "LedgerExists",
    "LedgerNotFound",
    "NoRootError",
    "NotFoundError",
    "ObjectNotFound",
    "PayloadTooLarge",
    "PositionOutOfRange",
    "RefusedEvent",
    "ReplayDivergence",
    "RunCancelled",
    "StoreDamaged",
    "StoreError",
    "UnknownReference",
]


class KandoError(Exception):
    """Base of all errors of Kando.

    Args:
        message: what happened, and to what.
        hint: what to do next; shown after the message.
    """

    #: Stable short name, used in machine-readable output.
    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    # Some of these errors are also a KeyError, whose own __str__ would quote the message.
    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class NotFoundError(KandoError, KeyError):
    """Something was named that does not exist."""

    code = "not_found"


class LedgerNotFound(NotFoundError):
    """No run or branch has this id."""

    code = "run_not_found"


class EventNotFound(NotFoundError):
    """The ledger has no such event."""

    code = "event_not_found"


class ObjectNotFound(NotFoundError):
    """The world has no such object or relation."""

    code = "object_not_found"


class AmbiguousName(KandoError, LookupError):
    """A prefix or short name fits more than one thing."""

    code = "ambiguous"


class PositionOutOfRange(KandoError, ValueError):
    """A position that lies outside its ledger."""

    code = "position_out_of_range"


class RefusedEvent(KandoError, ValueError):
    """An event that was refused before it reached the ledger."""

    code = "event_refused"


class UnknownReference(RefusedEvent, KeyError):
    """An event refers to an object, a relation or an event that does not exist."""

    code = "unknown_reference"


class DuplicateEvent(RefusedEvent):
    """An event carries an id that another event of the ledger has."""

    code = "duplicate_event"


class InvalidData(RefusedEvent, TypeError):
    """An event whose data is not JSON, or not what its object type declares."""

    code = "invalid_data"


class PayloadTooLarge(RefusedEvent):
    """An event whose data is larger than the limit."""

    code = "payload_too_large"


class NoRootError(KandoError, ValueError):
    """A non-empty ledger has no root event, so nothing can have started it."""

    code = "no_root"


class ReplayDivergence(KandoError):
    """A strict replay produced another event than the ledger holds.

    Attributes:
        position: where in the ledger.
        responder: whose firing came out differently; empty if it is no firing.
        recorded: the ledger's event as a dict, or None if it ends there.
        replayed: the replay's event as a dict, or None if there was none.
        differences: ``(path, recorded value, replayed value)`` of each field that differs.
    """

    code = "replay_divergence"

    def __init__(
        self,
        message: str,
        *,
        position: int,
        responder: str = "",
        recorded: dict[str, Any] | None = None,
        replayed: dict[str, Any] | None = None,
        differences: Sequence[tuple[str, Any, Any]] = (),
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.position = position
        self.responder = responder
        self.recorded = recorded
        self.replayed = replayed
        self.differences = list(differences)


class ConfigurationError(KandoError, ValueError):
    """Responders, kits or settings that cannot work together."""

    code = "configuration"


class LedgerExists(KandoError):
    """A new ledger was asked for under an id that is taken."""

    code = "run_exists"


class ImpureResponder(KandoError):
    """A plain responder asked a clock, a random generator or a socket, or changed the world."""

    code = "impure_responder"


class RunCancelled(KandoError):
    """A run that was cancelled cannot go on; a fork of it can."""

    code = "run_cancelled"


class ConcurrencyError(KandoError):
    """The ledger is not as long as the writer thought: somebody else has written."""

    code = "concurrent_writer"


class StoreError(KandoError):
    """A substrate that cannot be opened, read or written."""

    code = "store"


class StoreDamaged(StoreError):
    """A substrate whose content is not what was written to it."""

    code = "store_damaged"
