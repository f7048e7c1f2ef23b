"""The inbox of a ledger: a stream of entries that were delivered and taken."""

from __future__ import annotations

import threading
from typing import Any

import msgspec

from kando.ledger.inbox import InboxEntry, decode_entry, encode_entry
from kando_eventstore._streams import NewEvent, Streams

__all__ = ["Inbox", "inbox_stream"]

_DELIVERED = "inbox.delivered"
_TAKEN = "inbox.taken"

# Larger bodies are stored outside the stream.
_INLINE_BYTES = 400_000


class Inbox:
    """The inbox of a ledger, read from its stream.

    Args:
        streams: of the server.
        ledger_id: of the run or branch.
    """

    def __init__(self, streams: Streams, ledger_id: str) -> None:
        self._streams = streams
        self._stream = inbox_stream(ledger_id)
        self._revision = -1
        self._keys: set[str] = set()
        self._waiting: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def deliver(self, entry: InboxEntry) -> bool:
        """Deliver an entry; return False if its key was already delivered."""
        body = encode_entry(entry)
        fields: dict[str, Any] = {"key": entry.key}
        if len(body) > _INLINE_BYTES:
            fields["content"] = self._streams.store(body)
        else:
            fields["body"] = body.decode()
        new = NewEvent(_DELIVERED, msgspec.json.encode(fields))
        with self._lock:
            while True:
                self._catch_up()
                if entry.key in self._keys:
                    return False
                if self._streams.append(self._stream, [new], after=self._revision):
                    return True

    def entries(self) -> list[InboxEntry]:
        """Return the entries that were delivered and not taken, in the order of delivery."""
        with self._lock:
            self._catch_up()
            waiting = list(self._waiting.values())
        return [decode_entry(fields["key"], self._body(fields)) for fields in waiting]

    def _body(self, fields: dict[str, Any]) -> bytes:
        if "content" in fields:
            return self._streams.content(fields["content"])
        body: str = fields["body"]
        return body.encode()

    def acknowledge(self, key: str) -> None:
        """Mark an entry as taken."""
        with self._lock:
            self._catch_up()
            if key in self._waiting:
                # If another process takes it as well, the second take has no effect.
                new = NewEvent(_TAKEN, msgspec.json.encode({"key": key}))
                self._streams.append(self._stream, [new], after=None)

    def _catch_up(self) -> None:
        for event in self._streams.forwards(self._stream, self._revision + 1):
            fields = msgspec.json.decode(event.data)
            if event.type == _TAKEN:
                self._waiting.pop(fields["key"], None)
            elif fields["key"] not in self._keys:
                self._keys.add(fields["key"])
                self._waiting[fields["key"]] = fields
            self._revision = event.revision


def inbox_stream(ledger_id: str) -> str:
    """Return the name of the stream of a ledger's inbox."""
    return f"inbox:{ledger_id}"
