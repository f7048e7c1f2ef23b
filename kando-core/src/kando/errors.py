"""Every error that Kando raises, as one tree.

    KandoError
      NotFoundError (KeyError)            the name does not exist
        LedgerNotFound                      no such run or branch
          LedgerDeleted                       it was deleted
        EventNotFound                       no such event in the ledger
        ObjectNotFound                      no such object or relation in the world
      AmbiguousName (LookupError)         a prefix matches more than one name
      PositionOutOfRange (ValueError)     the position is outside the ledger
      RefusedEvent (ValueError)           an event was refused and not recorded
        UnknownReference (KeyError)         it refers to something that does not exist
        DuplicateEvent                      its id is already taken
        InvalidData (TypeError)             its data is not JSON, or violates its declared type
        PayloadTooLarge                     its data exceeds the limit
      NoRootError (ValueError)            a non-empty ledger has no root event
      ReplayDivergence                    a strict replay differs from the ledger
      ConfigurationError (ValueError)     responders, kits or settings are invalid or incompatible
      LedgerExists                        a run or branch with this id already exists
      LedgerInUse                         a run cannot be deleted while another one needs it
      ImpureResponder                     a plain responder reached outside (debug mode)
      RunCancelled                        a cancelled run cannot be resumed
      ConcurrencyError                    another writer was faster; nothing was written
        RunBusy                             another process works on the run
      StoreError                          a substrate cannot be opened, read or written
        StoreDamaged                        its content differs from what was written
      PluginError                         see kando.plugins.errors
      ProviderError                       a provider cannot be opened, or cannot answer; see kando_llm.errors
        BadReply                            an answer is malformed, incomplete, or marked as broken
        RequestRejected                     one request cannot be sent, or its server rejects it
          UnsupportedContent                  it has an image or a file that the model does not take
          ContextOverflow                     it is longer than the model can read

Where a caller would expect a builtin exception, the class also derives from that builtin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

__all__ = [
    "AmbiguousName",
    "BadReply",
    "ConcurrencyError",
    "ConfigurationError",
    "ContextOverflow",
    "DuplicateEvent",
    "EventNotFound",
    "ImpureResponder",
    "InvalidData",
    "KandoError",
    "LedgerDeleted",
    "LedgerExists",
    "LedgerInUse",
    "LedgerNotFound",
    "NoRootError",
    "NotFoundError",
    "ObjectNotFound",
    "PayloadTooLarge",
    "PositionOutOfRange",
    "ProviderError",
    "RefusedEvent",
    "ReplayDivergence",
    "RequestRejected",
    "RunBusy",
    "RunCancelled",
    "StoreDamaged",
    "StoreError",
    "UnknownReference",
    "UnsupportedContent",
]


class KandoError(Exception):
    """Base class of all errors of Kando.

    Args:
        message: what happened, and to what.
        hint: the cure; shown after the message.
    """

    #: Stable short name for machine-readable output.
    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    # Some of these errors are also a KeyError, whose own __str__ would quote the message.
    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class NotFoundError(KandoError, KeyError):
    """The name does not exist."""

    code = "not_found"


class LedgerNotFound(NotFoundError):
    """No run or branch has this id."""

    code = "run_not_found"


class LedgerDeleted(LedgerNotFound):
    """The run or branch with this id was deleted."""

    code = "run_deleted"


class EventNotFound(NotFoundError):
    """The ledger has no event with this id."""

    code = "event_not_found"


class ObjectNotFound(NotFoundError):
    """The world has no object or relation with this id."""

    code = "object_not_found"


class AmbiguousName(KandoError, LookupError):
    """A prefix or short name matches more than one name."""

    code = "ambiguous"


class PositionOutOfRange(KandoError, ValueError):
    """The position is outside the ledger."""

    code = "position_out_of_range"


class RefusedEvent(KandoError, ValueError):
    """An event was refused before it reached the ledger."""

    code = "event_refused"


class UnknownReference(RefusedEvent, KeyError):
    """An event refers to an object, a relation or an event that does not exist."""

    code = "unknown_reference"


class DuplicateEvent(RefusedEvent):
    """An event has the id of another event of the ledger."""

    code = "duplicate_event"


class InvalidData(RefusedEvent, TypeError):
    """The data of an event is not JSON, or violates its declared type."""

    code = "invalid_data"


class PayloadTooLarge(RefusedEvent):
    """The data of an event is larger than the limit."""

    code = "payload_too_large"


class NoRootError(KandoError, ValueError):
    """A non-empty ledger has no root event, so there is nothing to replay from."""

    code = "no_root"


class ReplayDivergence(KandoError):
    """A strict replay produced a different event than the ledger holds.

    Attributes:
        position: of the first difference in the ledger.
        responder: whose firing differs; empty if the difference is not in a firing.
        recorded: the ledger's event as a dict, or None if the ledger ends there.
        replayed: the replay's event as a dict, or None if it produced none.
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
    """Responders, kits or settings are invalid, or cannot be used together."""

    code = "configuration"


class LedgerExists(KandoError):
    """A run or branch with this id already exists."""

    code = "run_exists"


class LedgerInUse(KandoError):
    """A run or branch cannot be deleted: a branch or a parent of it needs it."""

    code = "run_in_use"


class ImpureResponder(KandoError):
    """A plain responder used a clock, a random generator or a socket, or changed the world."""

    code = "impure_responder"


class RunCancelled(KandoError):
    """A cancelled run cannot be resumed; a fork of it can."""

    code = "run_cancelled"


class ConcurrencyError(KandoError):
    """The ledger does not have the expected length: another writer has appended to it."""

    code = "concurrent_writer"


class RunBusy(ConcurrencyError):
    """Another process works on the run, or has taken it over from this one."""

    code = "run_busy"


class StoreError(KandoError):
    """A substrate cannot be opened, read or written."""

    code = "store"


class StoreDamaged(StoreError):
    """The content of a substrate differs from what was written to it.

    Attributes:
        position: of the first event of the ledger that is damaged or missing, if it is known.
    """

    code = "store_damaged"

    def __init__(
        self, message: str, *, position: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.position = position


class ProviderError(KandoError):
    """A provider of language models cannot be opened, or cannot answer a request.

    Attributes:
        status: of the HTTP response; None if there was none.
        attempts: how often the request was sent, from 1.
        retry_after: seconds to wait, as the server asks; or None.
        spent: ``usage`` and ``cost_usd`` as in an ``llm.response``, if the server reported them
            before the failure; else None. The run is charged for them.
    """

    code: ClassVar[str] = "provider"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        status: int | None = None,
        attempts: int = 1,
        retry_after: float | None = None,
        spent: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.attempts = attempts
        self.retry_after = retry_after
        self.spent = spent


class BadReply(ProviderError):
    """An answer is malformed or incomplete, or its server marked it as broken."""

    code = "bad_reply"


class RequestRejected(ProviderError):
    """One request cannot be sent, or its server rejects it; a retry does not help.

    In a run this error is not raised: it is the ``error`` of the answer, and the run continues.
    """

    code = "request_rejected"


class UnsupportedContent(RequestRejected):
    """A request has an image or a file that its model or its server does not take."""

    code = "unsupported_content"


class ContextOverflow(RequestRejected):
    """One request is longer than its model can read.

    The ``error`` of the answer has the type ``RequestRejected`` and this ``code``.
    """

    code = "context_overflow"
