"""One persistent subscription: deliveries, retries and parked events."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import attrs

from kando_eventstore.testing._store import ANY, NewRecord, Record, StreamStore, _random_id

__all__ = ["ALL", "Delivery", "Group", "Settings"]

#: Source of a group that reads every stream.
ALL = "$all"

_END = 2**62


@attrs.frozen
class Settings:
    """The settings that a group was created with.

    Attributes:
        message_timeout_ms: after which an unacknowledged event is retried.
        max_retry_count: retries after which an event is parked.
        max_subscriber_count: how many consumers may read at once; 0 for any number.
        regex: selects streams or types, in a group of all streams; empty for all.
        filters_streams: whether `regex` is matched against names of streams.
        resolves_links: whether the event that a link refers to is delivered with it.
    """

    message_timeout_ms: int = 30_000
    max_retry_count: int = 10
    max_subscriber_count: int = 0
    regex: str = ""
    filters_streams: bool = False
    resolves_links: bool = False


@attrs.frozen
class Delivery:
    """An event that was delivered, or waits for a retry.

    Attributes:
        record: the event.
        retries: how often the event was delivered before.
        is_replayed: whether the event was parked before.
        consumer: that holds it; None while it waits for a retry.
        deadline: monotonic time at which it is retried.
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
        checkpoint: revision or position up to which all events are done.
        accepts: selects the events of the group.
        checkpoint_seconds: after an acknowledgement, until the checkpoint is written.
    """

    def __init__(
        self,
        store: StreamStore,
        source: str,
        name: str,
        settings: Settings,
        checkpoint: int,
        accepts: Callable[[Record], bool],
        checkpoint_seconds: float = 0.0,
    ) -> None:
        self.source, self.name, self.settings = source, name, settings
        self.checkpoint = checkpoint
        self.is_deleted = False
        self.consumers: dict[int, int] = {}
        self.in_flight: dict[str, Delivery] = {}
        self.retrying: deque[Delivery] = deque()
        self.total = 0
        self._store = store
        self._accepts = accepts
        self._checkpoint_seconds = checkpoint_seconds
        # When the checkpoint is to be written; None if it is up to date.
        self._write_at: float | None = None
        self._read = checkpoint
        self._ahead: deque[Record] = deque()

    @property
    def parked_stream(self) -> str:
        """Name of the stream of links to what was parked."""
        return f"$persistentsubscription-{self.source}::{self.name}-parked"

    def position_of(self, record: Record) -> int:
        """Return an event's revision, or its position if the group reads all streams."""
        return record.position if self.source == ALL else record.revision

    def last_known(self) -> int:
        """Return the revision or position of the last event."""
        if self.source == ALL:
            return self._store.last_position()
        return self._store.stream(self.source).last

    def take(self, consumer: int) -> Delivery | None:
        """Return the next event for a consumer that has room in its buffer, or None."""
        self._expire()
        self._write_checkpoint()
        held = sum(1 for each in self.in_flight.values() if each.consumer == consumer)
        if held >= self.consumers[consumer]:
            return None
        if self.retrying:
            found = self.retrying.popleft()
        else:
            record = self._next()
            if record is None:
                return None
            found = Delivery(record)
        deadline = time.monotonic() + self.settings.message_timeout_ms / 1000
        found = attrs.evolve(found, consumer=consumer, deadline=deadline)
        self.in_flight[found.record.id] = found
        self.total += 1
        return found

    def _next(self) -> Record | None:
        if not self._ahead and self.last_known() > self._read:
            for record in self._records():
                self._read = self.position_of(record)
                if self._accepts(record):
                    self._ahead.append(record)
                    if len(self._ahead) >= 100:
                        break
        return self._ahead.popleft() if self._ahead else None

    def _records(self) -> Iterator[Record]:
        if self.source == ALL:
            return self._store.read_all(self._read + 1, _END, backwards=False)
        return self._store.read_stream(self.source, self._read + 1, _END, backwards=False)

    def _expire(self) -> None:
        now = time.monotonic()
        for late in [each for each in self.in_flight.values() if each.deadline < now]:
            self.retry(late.record.id)

    def ack(self, id: str) -> None:
        """Acknowledge an event."""
        if self.in_flight.pop(id, None) is not None and self._write_at is None:
            self._write_at = time.monotonic() + self._checkpoint_seconds
        self._write_checkpoint()

    def retry(self, id: str) -> None:
        """Deliver an event again, or park it if it has no retries left."""
        found = self.in_flight.get(id)
        if found is None:
            return
        if found.retries >= self.settings.max_retry_count:
            self.park(id, f"Reached retry count of {self.settings.max_retry_count}")
            return
        del self.in_flight[id]
        self.retrying.append(attrs.evolve(found, retries=found.retries + 1, consumer=None))

    def park(self, id: str, reason: str) -> None:
        """Park an event."""
        found = self.in_flight.get(id)
        if found is None:
            return
        link = f"{found.record.revision}@{found.record.stream}".encode()
        about = {
            "added": datetime.now(UTC).isoformat(),
            "reason": reason,
            "subscriptionEventNumber": self.position_of(found.record),
        }
        metadata = json.dumps(about).encode()
        parked = NewRecord(_random_id(), "$>", "application/octet-stream", metadata, link)
        self._store.append(self.parked_stream, ANY, [parked])
        self.ack(id)

    def parked(self) -> Iterator[Record]:
        """Yield the links to what is parked."""
        return self._store.read_stream(self.parked_stream, 0, _END, backwards=False)

    def replay(self) -> None:
        """Redeliver the parked events, and empty the parked stream."""
        last = -1
        for link in list(self.parked()):
            last = link.revision
            revision, _, stream = link.data.decode().partition("@")
            at = int(revision)
            for record in self._store.read_stream(stream, at, at + 1, backwards=False):
                self.retrying.append(Delivery(record, is_replayed=True))
        if last >= 0:
            data = json.dumps({"$tb": last + 1}).encode()
            truncation = NewRecord(_random_id(), "$metadata", "application/json", b"", data)
            self._store.append(f"$${self.parked_stream}", ANY, [truncation])

    def leave(self, consumer: int) -> None:
        """Remove a consumer, and give its events to the others."""
        self.consumers.pop(consumer, None)
        for id in [i for i, each in self.in_flight.items() if each.consumer == consumer]:
            self.retry(id)

    def _write_checkpoint(self) -> None:
        if self._write_at is None or time.monotonic() < self._write_at:
            return
        self._write_at = None
        open_positions = [
            self.position_of(each.record)
            for each in (*self.in_flight.values(), *self.retrying)
            if not each.is_replayed
        ]
        open_positions += [self.position_of(record) for record in self._ahead]
        self.checkpoint = min(open_positions, default=self._read + 1) - 1
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE groups SET checkpoint = ? WHERE source = ? AND name = ?",
                (self.checkpoint, self.source, self.name),
            )

    def info(self) -> dict[str, Any]:
        """Return the fields of ``GetInfo``, by name."""
        self._write_checkpoint()
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
            "total_in_flight_messages": len(self.in_flight),
            "outstanding_messages_count": len(self.in_flight),
            "named_consumer_strategy": "RoundRobin",
            "parked_message_count": sum(1 for _ in self.parked()),
        }
