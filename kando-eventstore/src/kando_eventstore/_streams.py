"""Streams as the substrate uses them: appended to atomically, read in pages, and large content."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

import attrs

from kando.errors import PayloadTooLarge, StoreDamaged
from kando_eventstore._connection import CALL_SECONDS, Connection

__all__ = ["NO_EVENTS", "Found", "New", "Streams"]

#: Revision of the last event of a stream without events.
NO_EVENTS = -1

# The server's limit is 1,048,576 bytes an append, unless it is configured otherwise.
_APPEND_BYTES = 900_000
# What an event costs beside its data and metadata: type, id, framing.
_EVENT_BYTES = 100
_CHUNK_BYTES = 500_000
_CHUNK = "kando.chunk"
_PAGE = 500

_DELETED = 2**63 - 1


@attrs.frozen
class New:
    """An event to append."""

    type: str
    data: bytes
    metadata: bytes = b""
    is_json: bool = True

    @property
    def size(self) -> int:
        """How much of the server's limit it takes, in bytes."""
        return len(self.type) + len(self.data) + len(self.metadata) + _EVENT_BYTES


@attrs.frozen
class Found:
    """An event that was read."""

    revision: int
    type: str
    data: bytes
    metadata: bytes


@attrs.frozen
class Streams:
    """The streams of a server."""

    connection: Connection

    def fits(self, events: Sequence[New]) -> bool:
        """Whether events can be appended as one step."""
        return sum(event.size for event in events) <= _APPEND_BYTES

    def append(self, stream: str, events: Sequence[New], *, after: int | None) -> bool:
        """Append events as one step; asked again without an answer, they are there once.

        Args:
            stream: name.
            events: at least one.
            after: revision of the last event the stream is to have; `NO_EVENTS` for a new stream;
                None for any.

        Returns:
            False if the stream is elsewhere, and nothing was written.

        Raises:
            StoreError, StoreDamaged, PayloadTooLarge: see `Connection.call`.
        """
        state = self.connection.library.stream_state
        version = state.ANY if after is None else state.NO_STREAM if after < 0 else after
        try:
            self._append(stream, events, version, [uuid.uuid4() for _ in events])
        except self.connection.wrong_version:
            return False
        return True

    def _append(
        self, stream: str, events: Sequence[New], version: Any, ids: Sequence[uuid.UUID]
    ) -> None:
        # Made once, so that the server knows them when they are sent again.
        new = [
            self.connection.library.new_event(
                type=event.type,
                data=event.data,
                metadata=event.metadata,
                content_type="application/json" if event.is_json else "application/octet-stream",
                id=id,
            )
            for id, event in zip(ids, events, strict=True)
        ]
        self.connection.call(
            lambda client: client.append_to_stream(
                stream, current_version=version, events=new, timeout=CALL_SECONDS
            )
        )

    def append_one(self, stream: str, event: New) -> str:
        """Append an event, wherever the stream stands, and return its id."""
        id = uuid.uuid4()
        self._append(stream, [event], self.connection.library.stream_state.ANY, [id])
        return str(id)

    def page(
        self, stream: str, start: int = 0, limit: int = _PAGE, *, backwards: bool = False
    ) -> list[Found]:
        """Return up to `limit` events from revision `start` on; none if there is no such stream."""
        if start > _DELETED:
            return []
        where: dict[str, Any] = {} if backwards and start < 0 else {"stream_position": start}
        try:
            events = self.connection.call(
                lambda client: client.get_stream(
                    stream, limit=limit, backwards=backwards, timeout=CALL_SECONDS, **where
                )
            )
        except self.connection.not_found:
            return []
        return [Found(e.stream_position, e.type, e.data, e.metadata) for e in events]

    def forwards(self, stream: str, start: int = 0) -> Iterator[Found]:
        """Yield the events from revision `start` on, page by page."""
        while page := self.page(stream, start):
            yield from page
            if len(page) < _PAGE:
                return
            start = page[-1].revision + 1

    def backwards(self, stream: str) -> Iterator[Found]:
        """Yield the events, the last first, in pages that grow."""
        start, limit = -1, 10
        while page := self.page(stream, start, limit, backwards=True):
            yield from page
            if len(page) < limit or page[-1].revision == 0:
                return
            start, limit = page[-1].revision - 1, _PAGE

    def last(self, stream: str) -> Found | None:
        """Return the last event, or None."""
        return next(iter(self.page(stream, -1, 1, backwards=True)), None)

    def is_deleted(self, stream: str) -> bool:
        """Whether a stream without events had some, and was deleted."""
        metadata = self.connection.call(
            lambda client: client.get_stream_metadata(stream, timeout=CALL_SECONDS)
        )
        return bool(metadata[0].get("$tb") == _DELETED)

    def keep_last(self, stream: str, count: int = 1) -> None:
        """Have the server keep only the last events of a stream."""
        self.connection.call(
            lambda client: client.set_stream_metadata(
                stream, metadata={"$maxCount": count}, timeout=CALL_SECONDS
            )
        )

    def truncate(self, stream: str, first: int) -> None:
        """Have the server forget the events of a stream before a revision."""
        self.connection.call(
            lambda client: client.set_stream_metadata(
                stream, metadata={"$tb": first}, timeout=CALL_SECONDS
            )
        )

    def store(self, content: bytes) -> str:
        """Keep content of any size, and return its name: its SHA-256, in hexadecimal.

        What is there already is not written again.
        """
        name = sha256(content).hexdigest()
        stream = f"blob:{name}"
        chunks = [
            content[start : start + _CHUNK_BYTES]
            for start in range(0, max(len(content), 1), _CHUNK_BYTES)
        ]
        there = self.last(stream)
        for number in range(there.revision + 1 if there else 0, len(chunks)):
            # Whoever was faster has written the same.
            self.append(stream, [New(_CHUNK, chunks[number], is_json=False)], after=number - 1)
        return name

    def content(self, name: str) -> bytes:
        """Return what `store` kept under a name.

        Raises:
            StoreDamaged: it is not there, or something else is.
        """
        found = b"".join(event.data for event in self.forwards(f"blob:{name}"))
        if sha256(found).hexdigest() != name:
            msg = f"{self.connection.where}: stream blob:{name} is not what was written."
            raise StoreDamaged(msg, hint="Restore the server from a backup.")
        return found

    def refuse_too_large(self, what: str) -> PayloadTooLarge:
        """Return the error for what cannot be stored as one step."""
        msg = f"{what} is more than {self.connection.where} takes as one step."
        return PayloadTooLarge(msg, hint="Record less at once.")
