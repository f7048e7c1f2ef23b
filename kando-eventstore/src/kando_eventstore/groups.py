"""Responder groups on a server: a persistent subscription delivers jobs to competing workers."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from datetime import UTC, datetime
from typing import Any

import attrs
import msgspec

from kando.errors import KandoError, StoreError
from kando.ledger.claims import Worker
from kando.ledger.groups import MAX_ATTEMPTS, GroupInfo, Job, Lease, ParkedJob, ResponderGroup
from kando_eventstore._connection import CALL_SECONDS
from kando_eventstore._delayed_jobs import DelayedJobs
from kando_eventstore._jobs import JobState, JobStates
from kando_eventstore._streams import NewEvent, Streams

__all__ = ["EventStoreGroup", "group_names"]

#: The stream that lists the groups.
_LIST = "kando:groups"

#: Name of the persistent subscription to a group's stream.
_WORKERS = "workers"

_LISTED = "group.created"
_OFFERED = "job.offered"
_REPLAYED = "job.replayed"

_RIGHT = "the right to use persistent subscriptions, which only members of $ops and $admins have"

# The server takes a job back if its worker's connection ends; this is for one that hangs.
_MESSAGE_TIMEOUT_SECONDS = 3600

# The group counts attempts itself: a delivery that a worker never opened is not an attempt.
_SERVER_RETRIES = 1000

_MAX_WORKERS = 1000
_TAKE_SECONDS = 0.05
_RECONNECT_SECONDS = 0.2

# How many events after the checkpoint are counted by the states of their jobs. The checkpoint lags by
# a second, so jobs that are done are among the first; the later ones wait.
_COUNTED_BY_STATE = 500


def group_names(streams: Streams) -> list[str]:
    """Return the names of the groups, sorted."""
    listed = {msgspec.json.decode(event.data)["name"] for event in streams.forwards(_LIST)}
    return sorted(listed)


class EventStoreGroup(ResponderGroup):
    """A group whose jobs are events of the stream ``group:{name}``.

    Args:
        name: of the group.
        streams: of the server.
    """

    def __init__(self, name: str, streams: Streams) -> None:
        self.name = name
        self._stream = f"group:{name}"
        self._parked_stream = f"$persistentsubscription-{self._stream}::{_WORKERS}-parked"
        self._streams = streams
        self._connection = streams.connection
        self._states = JobStates(streams, name)
        self._arrived: queue.Queue[tuple[Any, Any]] = queue.Queue()
        self._deliveries: dict[str, tuple[Any, Any]] = {}
        self._delayed = DelayedJobs(streams, name)
        self._subscription: Any = None
        self._is_closed = False
        self._reader: threading.Thread | None = None

    def offer(self, job: Job, delay: float = 0.0) -> None:
        self._create()
        if delay > 0:
            self._delayed.add(job, delay)
            return
        while True:
            state, revision = self._states.of(job)
            if state.is_waiting or state.is_parked:
                return
            if not state.is_held:
                break
            if self._states.change(job, attrs.evolve(state, is_due_again=True), revision):
                return
        # Queued first: if the process dies now, the job is done all the same.
        event = self._queue(job)
        self._states.change(job, state.queued(event), revision)

    def _queue(self, job: Job, type: str = _OFFERED) -> str:
        event = NewEvent(type, msgspec.json.encode(attrs.asdict(job)))
        return self._streams.append_one(self._stream, event)

    def _create(self) -> None:
        if self._states.is_group_known:
            return
        try:
            self._connection.call(
                lambda client: client.create_subscription_to_stream(
                    _WORKERS,
                    self._stream,
                    consumer_strategy="RoundRobin",
                    message_timeout=_MESSAGE_TIMEOUT_SECONDS,
                    max_retry_count=_SERVER_RETRIES,
                    max_subscriber_count=_MAX_WORKERS,
                    min_checkpoint_count=1,
                    checkpoint_after=0.5,
                    timeout=CALL_SECONDS,
                ),
                right=_RIGHT,
            )
        except self._connection.already_exists:
            pass
        else:
            listed = NewEvent(_LISTED, msgspec.json.encode({"name": self.name}))
            self._streams.append(_LIST, [listed], after=None)
        self._states.is_group_known = True

    def take(self, worker: Worker, seconds: float) -> Lease | None:
        if due := self._delayed.due():
            for job in due:
                self.offer(job)
            self._delayed.truncate()
        if self._reader is None:
            self._create()
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
        deadline = time.monotonic() + _TAKE_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            try:
                subscription, event = self._arrived.get(timeout=left)
            except queue.Empty:
                return None
            lease = self._opened(subscription, event)
            if lease is not None:
                return lease
        return None

    def _opened(self, subscription: Any, event: Any) -> Lease | None:
        """Return the job of a delivered event, or None if there is nothing to do."""
        job, id = Job(**msgspec.json.decode(event.data)), str(event.id)
        while True:
            state, revision = self._states.of(job)
            if state.is_stale(id, is_replay=event.type == _REPLAYED):
                _report(subscription, event, "ack")
                return None
            if state.is_parked and state.event == id:
                # The worker's report was lost, or the server was killed before it wrote its checkpoint.
                _report(subscription, event, "ack" if self._is_listed(event) else "park")
                return None
            if state.is_held and state.event != id:
                # Another worker holds it, from another delivery; that worker will do it once more.
                if self._states.change(job, attrs.evolve(state, is_due_again=True), revision):
                    _report(subscription, event, "ack")
                    return None
                continue
            # Lease from this same delivery: the server has given up on the previous worker.
            attempt = state.attempt + 1 if state.event == id else 1
            if attempt > MAX_ATTEMPTS:
                reason = f"its worker died or lost its connection {state.attempt} times"
                if self._states.change(job, state.parked(reason), revision):
                    _report(subscription, event, "park")
                    return None
                continue
            taken = state.taken(id, attempt)
            if self._states.change(job, taken, revision):
                self._deliveries[taken.token] = (subscription, event)
                return Lease(job, attempt, taken.token)

    def _is_listed(self, event: Any) -> bool:
        """Whether the server lists an event as parked."""
        link = f"{event.stream_position}@{self._stream}".encode()
        # A user who may not read the list has the event listed twice.
        with contextlib.suppress(StoreError):
            return any(each.data == link for each in self._streams.forwards(self._parked_stream))
        return False

    def _read(self) -> None:
        """Queue the server's deliveries for `take`, one job at a time."""
        connection = self._connection.clone()
        while not self._is_closed:
            with contextlib.suppress(KandoError, ValueError, connection.library.base_error):
                self._subscription = connection.subscribe(
                    lambda client: client.read_subscription_to_stream(
                        _WORKERS,
                        self._stream,
                        event_buffer_size=1,
                        max_ack_batch_size=1,
                        max_ack_delay=0.05,
                    ),
                    right=_RIGHT,
                )
                for event in self._subscription:
                    self._arrived.put((self._subscription, event))
            if not self._is_closed:
                time.sleep(_RECONNECT_SECONDS)
        connection.close()

    def extend(self, lease: Lease, seconds: float) -> bool:
        return self._states.of(lease.job)[0].token == lease.token

    def finish(self, lease: Lease) -> None:
        while True:
            state, revision = self._states.of(lease.job)
            if state.token != lease.token:
                return
            following = state.done()
            if state.is_due_again:
                following = state.queued(self._queue(lease.job))
            if self._states.change(lease.job, following, revision):
                self._settle(lease, "ack")
                return

    def retry(self, lease: Lease, reason: str, delay: float = 0.0) -> bool:
        if lease.attempt >= MAX_ATTEMPTS:
            self.park(lease, reason)
            return False
        # The server redelivers at once, so wait here, while the job is held.
        time.sleep(delay)
        state, revision = self._states.of(lease.job)
        waiting = attrs.evolve(state, kind=JobState.WAITING, token="")
        if state.token == lease.token and self._states.change(lease.job, waiting, revision):
            self._settle(lease, "retry")
        return True

    def park(self, lease: Lease, reason: str) -> None:
        state, revision = self._states.of(lease.job)
        if state.token == lease.token:
            self._states.change(lease.job, state.parked(reason), revision)
            self._settle(lease, "park")

    def _settle(self, lease: Lease, what: str) -> None:
        subscription, event = self._deliveries.pop(lease.token, (None, None))
        if subscription is not None:
            _report(subscription, event, what)

    def parked(self) -> list[ParkedJob]:
        return [ParkedJob(job, reason) for job, reason in self._parked().items()]

    def _parked(self) -> dict[Job, str]:
        """Return the parked jobs, with the reason for each, in the order in which they were parked."""
        found: dict[Job, str] = {}
        for link in self._streams.forwards(self._parked_stream):
            revision = int(link.data.decode().partition("@")[0])
            for event in self._streams.page(self._stream, revision, 1):
                if event.revision != revision:
                    # The linked event was truncated, and the server returned the next one.
                    continue
                job = Job(**msgspec.json.decode(event.data))
                about = msgspec.json.decode(link.metadata) if link.metadata else {}
                state, _ = self._states.of(job)
                if state.event == event.id:
                    found.setdefault(job, state.reason or about.get("reason", "").strip())
        return found

    def replay_parked(self) -> int:
        jobs = list(self._parked())
        for job in jobs:
            state, revision = self._states.of(job)
            event = self._queue(job, _REPLAYED)
            # If a worker has already taken it from this event, its state stays.
            self._states.change(job, state.queued(event), revision)
        if jobs:
            # The server empties its list, and delivers the events that were parked; they are obsolete.
            self._connection.call(
                lambda client: client.replay_parked_events(
                    _WORKERS, self._stream, timeout=CALL_SECONDS
                ),
                right=_RIGHT,
            )
        return len(jobs)

    def info(self) -> GroupInfo:
        self._create()
        info = self._connection.call(
            lambda client: client.get_subscription_info(
                _WORKERS, self._stream, timeout=CALL_SECONDS
            ),
            right=_RIGHT,
        )
        waiting, in_flight = self._open_jobs(int(info.last_checkpointed_event_position or -1))
        times = self._delayed.times()
        later = [at for at in times if at > time.time()]
        return GroupInfo(
            self.name,
            len(waiting) + len(times),
            len(in_flight),
            info.parked_message_count,
            len(later),
            datetime.fromtimestamp(later[0], UTC) if later else None,
        )

    def _open_jobs(self, checkpoint: int) -> tuple[set[Job], set[Job]]:
        """Return the jobs that wait and those in flight, by their own states."""
        waiting: set[Job] = set()
        in_flight: set[Job] = set()
        for number, event in enumerate(self._streams.forwards(self._stream, checkpoint + 1)):
            job = Job(**msgspec.json.decode(event.data))
            if number >= _COUNTED_BY_STATE:
                waiting.add(job)
                continue
            state, _ = self._states.of(job)
            is_parked = state.is_parked and state.event == event.id
            if state.is_held:
                in_flight.add(job)
            elif not is_parked and not state.is_stale(event.id, is_replay=event.type == _REPLAYED):
                waiting.add(job)
        return waiting - in_flight, in_flight

    def close(self) -> None:
        self._is_closed = True
        if self._subscription is not None:
            with contextlib.suppress(Exception):
                self._subscription.stop()
        if self._reader is not None:
            self._reader.join(timeout=CALL_SECONDS)
        self._subscription = None


def _report(subscription: Any, event: Any, what: str) -> None:
    """Report the outcome of a delivery to the server, if its connection still exists.

    Otherwise the server redelivers the event, and the job's state shows that it is obsolete.
    """
    with contextlib.suppress(Exception):
        if what == "ack":
            subscription.ack(event)
        else:
            subscription.nack(event, what)
