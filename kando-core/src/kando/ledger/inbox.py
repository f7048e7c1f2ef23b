"""The entries of a run's inbox: events from outside the run that wait to be recorded."""

from __future__ import annotations

import attrs
import msgspec

from kando.errors import InvalidData, StoreDamaged
from kando.schema.events import KandoEvent, make_event
from kando.schema.exact_json import decode, encode, exact
from kando.schema.visible import clean

__all__ = ["InboxEntry", "decode_entry", "encode_entry"]

_MAX_KEY_CHARS = 200


def _check_key(instance: object, attribute: attrs.Attribute[str], key: object) -> None:
    if isinstance(key, str) and 0 < len(key) <= _MAX_KEY_CHARS and key.isprintable():
        return
    msg = f"{key!r:.80} is not a valid key of an inbox entry."
    raise InvalidData(msg, hint=f"Use 1 to {_MAX_KEY_CHARS} printable characters.")


@attrs.frozen
class InboxEntry:
    """An event that was delivered to a run.

    Attributes:
        key: idempotency key, chosen by the sender; a second entry with the same key is ignored.
        event: to be recorded; it gets its source and timestamp when it is recorded.
    """

    key: str = attrs.field(validator=_check_key)
    event: KandoEvent

    @property
    def event_id(self) -> str:
        """The id that the event is recorded with, so that it is recorded only once."""
        # Escaped, so that no two pairs of type and key give one id.
        type = self.event.type.replace("%", "%25").replace("@", "%40")
        return f"{type}@{self.key}"


def encode_entry(entry: InboxEntry) -> bytes:
    """Encode the event of an entry.

    Raises:
        InvalidData: its data has no exact JSON form.
    """
    event = entry.event
    # Data by itself: its depth is limited as in a ledger.
    return encode([*exact([event.type, event.actor, event.cause]), exact(event.data)])


def decode_entry(key: str, body: bytes) -> InboxEntry:
    """Decode an entry that `encode_entry` encoded.

    Raises:
        StoreDamaged: it was not.
    """
    try:
        type, actor, cause, data = decode(body)
    except (msgspec.DecodeError, TypeError, ValueError) as error:
        msg = f"The inbox entry {clean(key):.80} is damaged: {error}."
        raise StoreDamaged(msg, hint="Restore the store from a copy.") from error
    return InboxEntry(key, make_event(type, "", actor, cause, data))
