"""The inbox of a ledger: a stream of what was delivered and what was taken."""

from __future__ import annotations

import threading
from typing import Any

import msgspec

from kando.ledger.inbox import InboxEntry, decode_entry, encode_entry
from kando_eventstore._streams import New, Streams

__all__ = ["Inbox"]

_DELIVERED = "inbox.delivered"
_TAKEN = "inbox.taken"

# Larger bodies are kept beside the stream.
_INLINE_BYTES = 400_000


class Inbox:
    """What was delivered to a ledger, as its stream tells.

    Args:
        streams: of the server.
        ledger_id: of the run or branch.
    """

    def __init__(self, streams: Streams, ledger_id: str) -> None:
        self._streams = streams
        self._stream = f"inbox:{ledger_id}"
        self._revision = -1
        self._keys: set[str] = set()
        self._waiting: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def deliver(self, entry: InboxEntry) -> bool:
        """Put an entry in; return False if its key was delivered before."""
        body = encode_entry(entry)
        said: dict[str, Any] = {"key": entry.key}
        if len(body) > _INLINE_BYTES:
            said["content"] = self._streams.store(body)
        else:
            said["body"] = body.decode()
        new = New(_DELIVERED, msgspec.json.encode(said))
        with self._lock:
            while True:
                self._catch_up()
                if entry.key in self._keys:
                    return False
                if self._streams.append(self._stream, [new], after=self._revision):
                    return True

    def entries(self) -> list[InboxEntry]:
        """Return what was delivered and not taken, in the order of delivery."""
        with self._lock:
            self._catch_up()
            waiting = list(self._waiting.values())
        return [decode_entry(said["key"], self._body(said)) for said in waiting]

    def _body(self, said: dict[str, Any]) -> bytes:
        if "content" in said:
            return self._streams.content(said["content"])
        body: str = said["body"]
        return body.encode()

    def acknowledge(self, key: str) -> None:
        """Mark an entry as taken."""
        with self._lock:
            self._catch_up()
            if key in self._waiting:
                # Whoever takes it as well, no matter: it is gone after the first.
                new = New(_TAKEN, msgspec.json.encode({"key": key}))
                self._streams.append(self._stream, [new], after=None)

    def _catch_up(self) -> None:
        for event in self._streams.forwards(self._stream, self._revision + 1):
            said = msgspec.json.decode(event.data)
            if event.type == _TAKEN:
                self._waiting.pop(said["key"], None)
            elif said["key"] not in self._keys:
                self._keys.add(said["key"])
                self._waiting[said["key"]] = said
            self._revision = event.revision
