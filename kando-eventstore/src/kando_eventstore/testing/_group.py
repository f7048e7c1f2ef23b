"""One persistent subscription: who has which event, what is tried again, what is parked."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import attrs

from kando_eventstore.testing._store import ANY, NewRecord, Record, StreamStore, _random_id

__all__ = ["ALL", "Delivered", "Group", "Settings"]

#: Source of a group that reads every stream.
ALL = "$all"

_END = 2**62


@attrs.frozen
class Settings:
    """What a group was created with.

    Attributes:
        start: revision or position after which it begins; what is acknowledged moves it on.
        message_timeout_ms: after which an event that is not acknowledged is tried again.
        max_retry_count: after so many tries again it is parked.
        max_subscriber_count: how many may read at once; 0 for any number.
        regex: which streams or types of a group of all streams.
        filters_streams: whether `regex` is matched with names of streams.
    """

    message_timeout_ms: int = 30_000
    max_retry_count: int = 10
    max_subscriber_count: int = 0
    regex: str = ""
    filters_streams: bool = False


@attrs.frozen
class Delivered:
    """An event on its way.

    Attributes:
        record: the event.
        retries: how often it was delivered before.
        is_replayed: whether it was parked before.
        consumer: who has it; None while it waits to be tried again.
        deadline: monotonic time at which it is tried again.
    """

    record: Record
    retries: int = 0
    is_replayed: bool = False
    consumer: int | None = None
    deadline: float = 0.0


class Group:
    """A group of consumers that share the events of a stream, or of all streams.

    Every method is called with the store's lock held.

    Args:
        store: the streams.
        source: name of the stream, or `ALL`.
        name: of the group.
        settings: see `Settings`.
        checkpoint: last revision or position that is done with, as all before it.
        accepts: which events it is about.
    """

    def __init__(
        self,
        store: StreamStore,
        source: str,
        name: str,
        settings: Settings,
        checkpoint: int,
        accepts: Callable[[Record], bool],
    ) -> None:
        self.source, self.name, self.settings = source, name, settings
        self.checkpoint = checkpoint
        self.is_deleted = False
        self.consumers: dict[int, int] = {}
        self.flying: dict[str, Delivered] = {}
        self.retrying: deque[Delivered] = deque()
        self.total = 0
        self._store = store
        self._accepts = accepts
        self._read = checkpoint
        self._ahead: deque[Record] = deque()

    @property
    def parked_stream(self) -> str:
        """Name of the stream of links to what was parked."""
        return f"$persistentsubscription-{self.source}::{self.name}-parked"

    def place(self, record: Record) -> int:
        """Return what a checkpoint counts by: the revision, or the position of all."""
        return record.position if self.source == ALL else record.revision

    def last_known(self) -> int:
        """Return the place of the last event there is."""
        if self.source == ALL:
            return self._store.last_position()
        return self._store.stream(self.source).last

    def take(self, consumer: int) -> Delivered | None:
        """Return the next event for a consumer that has room, or None."""
        self._expire()
        had = sum(1 for each in self.flying.values() if each.consumer == consumer)
        if had >= self.consumers[consumer]:
            return None
        if self.retrying:
            found = self.retrying.popleft()
        else:
            record = self._next()
            if record is None:
                return None
            found = Delivered(record)
        deadline = time.monotonic() + self.settings.message_timeout_ms / 1000
        found = attrs.evolve(found, consumer=consumer, deadline=deadline)
        self.flying[found.record.id] = found
        self.total += 1
        return found

    def _next(self) -> Record | None:
        if not self._ahead and self.last_known() > self._read:
            for record in self._records():
                self._read = self.place(record)
                if self._accepts(record):
                    self._ahead.append(record)
                    if len(self._ahead) >= 100:
                        break
        return self._ahead.popleft() if self._ahead else None

    def _records(self) -> Iterator[Record]:
        if self.source == ALL:
            return self._store.of_all(self._read + 1, _END, backwards=False)
        return self._store.of_stream(self.source, self._read + 1, _END, backwards=False)

    def _expire(self) -> None:
        now = time.monotonic()
        for late in [each for each in self.flying.values() if each.deadline < now]:
            self.retry(late.record.id)

    def ack(self, id: str) -> None:
        """Be done with an event."""
        if self.flying.pop(id, None) is not None:
            self._move_checkpoint()

    def retry(self, id: str) -> None:
        """Deliver an event again, or park it if that was tried often enough."""
        found = self.flying.get(id)
        if found is None:
            return
        if found.retries >= self.settings.max_retry_count:
            self.park(id, f"Reached retry count of {self.settings.max_retry_count}")
            return
        del self.flying[id]
        self.retrying.append(attrs.evolve(found, retries=found.retries + 1, consumer=None))

    def park(self, id: str, reason: str) -> None:
        """Set an event aside."""
        found = self.flying.get(id)
        if found is None:
            return
        link = f"{found.record.revision}@{found.record.stream}".encode()
        about = {
            "added": datetime.now(UTC).isoformat(),
            "reason": reason,
            "subscriptionEventNumber": self.place(found.record),
        }
        metadata = json.dumps(about).encode()
        parked = NewRecord(_random_id(), "$>", "application/octet-stream", metadata, link)
        self._store.append(self.parked_stream, ANY, [parked])
        self.ack(id)

    def parked(self) -> Iterator[Record]:
        """Yield the links to what is parked."""
        return self._store.of_stream(self.parked_stream, 0, _END, backwards=False)

    def replay(self) -> None:
        """Deliver anew what is parked, and forget that it was."""
        last = -1
        for link in list(self.parked()):
            last = link.revision
            revision, _, stream = link.data.decode().partition("@")
            at = int(revision)
            for record in self._store.of_stream(stream, at, at + 1, backwards=False):
                self.retrying.append(Delivered(record, is_replayed=True))
        if last >= 0:
            data = json.dumps({"$tb": last + 1}).encode()
            forget = NewRecord(_random_id(), "$metadata", "application/json", b"", data)
            self._store.append(f"$${self.parked_stream}", ANY, [forget])

    def leave(self, consumer: int) -> None:
        """Give what a consumer had to the others."""
        self.consumers.pop(consumer, None)
        for id in [i for i, each in self.flying.items() if each.consumer == consumer]:
            self.retry(id)

    def _move_checkpoint(self) -> None:
        open_places = [
            self.place(each.record)
            for each in (*self.flying.values(), *self.retrying)
            if not each.is_replayed
        ]
        open_places += [self.place(record) for record in self._ahead]
        self.checkpoint = min(open_places, default=self._read + 1) - 1
        with self._store.writing() as connection:
            connection.execute(
                "UPDATE groups SET checkpoint = ? WHERE source = ? AND name = ?",
                (self.checkpoint, self.source, self.name),
            )

    def info(self) -> dict[str, Any]:
        """Return what ``GetInfo`` tells, by field."""
        return {
            "event_source": self.source,
            "group_name": self.name,
            "status": "Live",
            "total_items": self.total,
            "last_checkpointed_event_position": str(self.checkpoint),
            "last_known_event_position": str(self.last_known()),
            "message_timeout_milliseconds": self.settings.message_timeout_ms,
            "max_retry_count": self.settings.max_retry_count,
            "max_subscriber_count": self.settings.max_subscriber_count,
            "retry_buffer_count": len(self.retrying),
            "read_buffer_count": len(self._ahead),
            "total_in_flight_messages": len(self.flying),
            "outstanding_messages_count": len(self.flying),
            "named_consumer_strategy": "RoundRobin",
            "parked_message_count": sum(1 for _ in self.parked()),
        }
