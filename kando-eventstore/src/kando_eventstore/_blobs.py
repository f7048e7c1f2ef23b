"""Blobs in streams: the parts of events (see `kando.schema.parts`), each in a stream of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

import attrs

from kando.schema.events import RecordedEvent, parts_of
from kando.schema.parts import Parts

if TYPE_CHECKING:
    from kando_eventstore._streams import Streams

__all__ = ["Blobs"]

# Digests that are remembered as stored.
_MOST_KNOWN = 200_000


class Blobs:
    """The blobs of a server. Blobs are never removed, and no two writers store different ones.

    Args:
        streams: of the server.

    Attributes:
        parts: of the events of the server.
    """

    def __init__(self, streams: Streams) -> None:
        self.parts = Parts(self.get)
        self._streams = streams
        self._known: set[bytes] = set()
        # Nodes that were recorded with all that they name.
        self._whole: set[bytes] = set()

    def store(self, events: Iterable[RecordedEvent]) -> None:
        """Store the blobs of events that the server lacks.

        Each is stored after those that it names, so a blob that exists can be read as a whole,
        also after a crash. A blob that no event names is harmless.

        Args:
            events: complete; they are appended afterwards.
        """
        for event in events:
            parts = parts_of(event)
            if parts is None:
                continue
            new = parts.unproven(self._is_whole)
            for digest, body in parts.missing(self._is_stored, self._is_whole).items():
                self._streams.store(body)
                self._remember(digest)
            if len(self._whole) >= _MOST_KNOWN:
                self._whole.clear()
            self._whole.update(node.digest for node in new)

    def add(self, bodies: Iterable[bytes]) -> None:
        """Store blobs that the server lacks."""
        for body in bodies:
            digest = sha256(body).digest()
            if not self._is_stored(digest):
                self._streams.store(body)
                self._remember(digest)

    def get(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the stored blobs with these digests; those that are missing are left out."""
        connection = self._streams.connection
        if not connection.is_closed:
            return _contents(self._streams, digests)
        # Events stay readable when the store that they were read from is closed.
        reopened = connection.reopened()
        try:
            return _contents(attrs.evolve(self._streams, connection=reopened), digests)
        finally:
            reopened.close()

    def _is_whole(self, digest: bytes) -> bool:
        return digest in self._whole or self.parts.has_read(digest)

    def _is_stored(self, digest: bytes) -> bool:
        if digest not in self._known:
            if not self._streams.has_content(digest.hex()):
                return False
            self._remember(digest)
        return True

    def _remember(self, digest: bytes) -> None:
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known.add(digest)


def _contents(streams: Streams, digests: Sequence[bytes]) -> dict[bytes, bytes]:
    found = {digest: streams.content_if_any(digest.hex()) for digest in digests}
    return {digest: body for digest, body in found.items() if body is not None}
