"""Snapshots of worlds: one stream per ledger, in which the server keeps the last snapshot."""

from __future__ import annotations

import msgspec

from kando_eventstore._streams import NO_EVENTS, NewEvent, Streams

__all__ = ["Snapshots", "snapshot_stream"]

_PART = "snapshot.part"

# A server accepts 1 MiB per append, and per event.
_PART_BYTES = 500_000


class Snapshots:
    """The snapshots of a server's ledgers. They only save time, so an incomplete one is ignored.

    Args:
        streams: of the server.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        # How many events the server keeps of each ledger's stream.
        self._kept: dict[str, int] = {}

    def store(self, ledger_id: str, body: bytes) -> None:
        """Store a snapshot in place of the previous one."""
        stream = snapshot_stream(ledger_id)
        starts = range(0, max(len(body), 1), _PART_BYTES)
        if self._kept.get(ledger_id) != len(starts):
            self._streams.keep_last(stream, len(starts))
            self._kept[ledger_id] = len(starts)
        last = self._streams.last(stream)
        revision = last.revision if last is not None else NO_EVENTS
        for number, start in enumerate(starts):
            about = msgspec.json.encode({"part": number, "of": len(starts)})
            part = NewEvent(_PART, body[start : start + _PART_BYTES], about, is_json=False)
            if not self._streams.append(stream, [part], after=revision):
                # Another process is storing one at this moment, which is as good.
                return
            revision += 1

    def last(self, ledger_id: str) -> bytes | None:
        """Return the last snapshot; None if it is missing or incomplete."""
        stream = snapshot_stream(ledger_id)
        last = self._streams.last(stream)
        if last is None:
            return None
        count = msgspec.json.decode(last.metadata)["of"]
        parts = self._streams.page(stream, max(last.revision - count + 1, 0), count)
        numbers = [msgspec.json.decode(part.metadata)["part"] for part in parts]
        return b"".join(part.data for part in parts) if numbers == [*range(count)] else None


def snapshot_stream(ledger_id: str) -> str:
    """Return the name of the stream of a ledger's snapshots."""
    return f"snapshot:{ledger_id}"
