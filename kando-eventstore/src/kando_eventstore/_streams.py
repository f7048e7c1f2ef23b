"""Streams: atomic appends, reads in pages, and content of any size."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

import attrs

from kando.errors import LedgerDeleted, PayloadTooLarge, StoreDamaged
from kando_eventstore._blobs import Blobs
from kando_eventstore._connection import CALL_SECONDS, Connection

__all__ = ["DELETED", "DELETING", "NO_EVENTS", "NewEvent", "StoredEvent", "Streams"]

#: The revision of a stream without events.
NO_EVENTS = -1

#: Last events of the stream ``ledger:{id}`` of a ledger whose deletion has begun, and has ended.
DELETING, DELETED = "ledger.deleting", "ledger.deleted"

# The server's limit is 1,048,576 bytes an append, unless it is configured otherwise.
_APPEND_BYTES = 900_000
# Size of an event in addition to its data and metadata: type, id, framing.
_EVENT_BYTES = 100
_CHUNK_BYTES = 500_000
_CHUNK = "kando.chunk"
_PAGE = 500

_DELETED = 2**63 - 1


@attrs.frozen
class NewEvent:
    """An event to append."""

    type: str
    data: bytes
    metadata: bytes = b""
    is_json: bool = True

    @property
    def size(self) -> int:
        """Bytes that count towards the server's limit."""
        return len(self.type) + len(self.data) + len(self.metadata) + _EVENT_BYTES


@attrs.frozen
class StoredEvent:
    """An event that was read."""

    revision: int
    type: str
    data: bytes
    metadata: bytes
    id: str


@attrs.frozen
class Streams:
    """The streams of a server.

    Attributes:
        connection: to the server.
        blobs: the parts of events.
    """

    connection: Connection
    blobs: Blobs = attrs.field(init=False, repr=False, eq=False)

    @blobs.default
    def _blobs_of_the_server(self) -> Blobs:
        return Blobs(self)

    def fits(self, events: Sequence[NewEvent]) -> bool:
        """Whether events fit in one append."""
        return sum(event.size for event in events) <= _APPEND_BYTES

    def append(self, stream: str, events: Sequence[NewEvent], *, after: int | None) -> bool:
        """Append events atomically; a retry after a lost answer does not duplicate them.

        Args:
            stream: name.
            events: at least one.
            after: revision that the stream must have; `NO_EVENTS` for a new stream; None for any.

        Returns:
            False if the stream has another revision; nothing was written.

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
        self, stream: str, events: Sequence[NewEvent], version: Any, ids: Sequence[uuid.UUID]
    ) -> None:
        # Created once, so that the server recognises them when they are sent again.
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
        try:
            self.connection.call(
                lambda client: client.append_to_stream(
                    stream, current_version=version, events=new, timeout=CALL_SECONDS
                ),
                right=_right("write to", stream),
            )
        except StoreDamaged as error:
            self._raise_if_ledger_deleted(stream, error)
            raise

    def _raise_if_ledger_deleted(self, stream: str, error: StoreDamaged) -> None:
        """Say so if a stream was deleted with its ledger, whose id follows the first colon."""
        kind, _, id = stream.partition(":")
        if kind == "ledger" or not self.connection.is_of_deleted_stream(error):
            return
        last = self.last(f"ledger:{id}")
        if last is not None and last.type in (DELETING, DELETED):
            msg = f"{id} was deleted from {self.connection.display_url}."
            raise LedgerDeleted(msg, hint="`kando runs` lists what is left.") from error

    def delete(self, stream: str) -> None:
        """Delete a stream permanently, whether it exists or not: no writer can create it again."""
        state = self.connection.library.stream_state
        # A server deletes a stream without events only if that is expected.
        expected = state.ANY
        while True:
            try:
                self._delete(stream, expected)
            except StoreDamaged as error:
                if self.connection.is_of_deleted_stream(error):
                    return
                raise
            except (self.connection.not_found, self.connection.wrong_version):
                expected = state.NO_STREAM if expected is state.ANY else state.ANY
            else:
                return

    def _delete(self, stream: str, expected: Any) -> None:
        self.connection.call(
            lambda client: client.tombstone_stream(
                stream, current_version=expected, timeout=CALL_SECONDS
            ),
            right=_right("delete", stream),
        )

    def append_one(self, stream: str, event: NewEvent) -> str:
        """Append an event at any revision, and return its id."""
        id = uuid.uuid4()
        self._append(stream, [event], self.connection.library.stream_state.ANY, [id])
        return str(id)

    def page(
        self, stream: str, start: int = 0, limit: int = _PAGE, *, backwards: bool = False
    ) -> list[StoredEvent]:
        """Return up to `limit` events from revision `start` on; none if the stream does not exist."""
        if start > _DELETED:
            return []
        where: dict[str, Any] = {} if backwards and start < 0 else {"stream_position": start}
        try:
            events = self.connection.call(
                lambda client: client.get_stream(
                    stream, limit=limit, backwards=backwards, timeout=CALL_SECONDS, **where
                ),
                right=_right("read", stream),
            )
        except self.connection.not_found:
            return []
        except StoreDamaged as error:
            self._raise_if_ledger_deleted(stream, error)
            raise
        return [
            StoredEvent(e.stream_position, e.type, e.data, e.metadata, str(e.id)) for e in events
        ]

    def forwards(self, stream: str, start: int = 0) -> Iterator[StoredEvent]:
        """Yield the events from revision `start` on, page by page."""
        while page := self.page(stream, start):
            yield from page
            if len(page) < _PAGE:
                return
            start = page[-1].revision + 1

    def backwards(self, stream: str) -> Iterator[StoredEvent]:
        """Yield the events, the last first, in growing pages."""
        start, limit = -1, 10
        while page := self.page(stream, start, limit, backwards=True):
            yield from page
            if len(page) < limit or page[-1].revision == 0:
                return
            start, limit = page[-1].revision - 1, _PAGE

    def last(self, stream: str) -> StoredEvent | None:
        """Return the last event, or None."""
        return next(iter(self.page(stream, -1, 1, backwards=True)), None)

    def is_deleted(self, stream: str) -> bool:
        """Whether a stream without events was deleted."""
        metadata = self.connection.call(
            lambda client: client.get_stream_metadata(stream, timeout=CALL_SECONDS),
            right=_right("read the metadata of", stream),
        )
        return bool(metadata[0].get("$tb") == _DELETED)

    def keep_last(self, stream: str, count: int = 1) -> None:
        """Have the server keep only the last events of a stream."""
        self.connection.call(
            lambda client: client.set_stream_metadata(
                stream, metadata={"$maxCount": count}, timeout=CALL_SECONDS
            ),
            right=_right("set the metadata of", stream),
        )

    def truncate(self, stream: str, first: int) -> None:
        """Have the server drop the events of a stream before a revision."""
        self.connection.call(
            lambda client: client.set_stream_metadata(
                stream, metadata={"$tb": first}, timeout=CALL_SECONDS
            ),
            right=_right("set the metadata of", stream),
        )

    def store(self, content: bytes) -> str:
        """Store content of any size, and return its name: its SHA-256, in hexadecimal.

        Content that is already stored is not written again.
        """
        name = sha256(content).hexdigest()
        stream = f"blob:{name}"
        if len(content) < _CHUNK_BYTES:
            # A faster writer, or an earlier one, has stored the same.
            self.append(stream, [NewEvent(_CHUNK, content, is_json=False)], after=NO_EVENTS)
            return name
        chunks = [
            content[start : start + _CHUNK_BYTES] for start in range(0, len(content), _CHUNK_BYTES)
        ]
        stored = self.last(stream)
        for number in range(stored.revision + 1 if stored else 0, len(chunks)):
            # A faster writer has written the same chunk.
            self.append(stream, [NewEvent(_CHUNK, chunks[number], is_json=False)], after=number - 1)
        return name

    def has_content(self, name: str) -> bool:
        """Whether all chunks of content are stored under a name."""
        last = self.last(f"blob:{name}")
        # A writer that was killed between two chunks leaves full ones.
        return last is not None and (
            len(last.data) < _CHUNK_BYTES or sha256(self._content(name)).hexdigest() == name
        )

    def content_if_any(self, name: str) -> bytes | None:
        """Return the content that is stored under a name, unchecked; None if there is none."""
        return self._content(name) or None

    def _content(self, name: str) -> bytes:
        return b"".join(event.data for event in self.forwards(f"blob:{name}"))

    def content(self, name: str) -> bytes:
        """Return the content that was stored under a name.

        Raises:
            StoreDamaged: the content is missing or altered.
        """
        found = self._content(name)
        if sha256(found).hexdigest() != name:
            msg = f"{self.connection.display_url}: the content of stream blob:{name} does not match its name."
            raise StoreDamaged(msg, hint="Restore the server from a backup.")
        return found

    def too_large(self, what: str) -> PayloadTooLarge:
        """Return the error for events that do not fit in one append."""
        msg = f"{what} is too large for one append to {self.connection.display_url}."
        return PayloadTooLarge(msg, hint="Record less at once.")


def _right(what: str, stream: str) -> str:
    note = ", which by default only members of $admins have" if stream.startswith("$") else ""
    return f"the right to {what} {stream}{note}"
