"""The service of persistent subscriptions: groups of competing consumers."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, NoReturn

import attrs

from kando_eventstore._client import ClientLibrary
from kando_eventstore.testing._group import ALL, Delivery, Group, Settings
from kando_eventstore.testing._messages import (
    Behaviour,
    Faults,
    abort,
    abort_denied,
    abort_not_leader,
    drop_connect,
    fill_read_event,
)
from kando_eventstore.testing._store import Record, StreamStore

__all__ = ["PersistentSubscriptionsService"]

_POLL_SECONDS = 0.1


class PersistentSubscriptionsService:
    """The RPCs of ``event_store.client.persistent_subscriptions.PersistentSubscriptions``.

    Args:
        library: client whose protocol messages are used.
        store: the streams, and the checkpoints of groups.
        faults: failures to simulate.
        behaviour: see `Behaviour`.
    """

    def __init__(
        self, library: ClientLibrary, store: StreamStore, faults: Faults, behaviour: Behaviour
    ) -> None:
        self._library = library
        self._behaviour = behaviour
        self._faults = faults
        self._pb = library.protocol("persistent_pb2")
        self._store = store
        self._consumers = count()
        self._groups: dict[tuple[str, str], Group] = {}
        query = "SELECT source, name, settings, checkpoint FROM groups"
        for source, name, settings, checkpoint in store.connection.execute(query).fetchall():
            self._open(source, name, Settings(**json.loads(settings)), checkpoint)

    def close(self) -> None:
        """End all reads."""
        with self._store.changed:
            for group in self._groups.values():
                group.is_deleted = True
            self._store.changed.notify_all()

    def _open(self, source: str, name: str, settings: Settings, checkpoint: int) -> None:
        self._groups[source, name] = Group(
            self._store,
            source,
            name,
            settings,
            checkpoint,
            _accepts(settings),
            self._behaviour.checkpoint_seconds,
        )

    def Create(self, request: Any, context: Any) -> Any:
        """Create a group."""
        abort_not_leader(context, self._faults)
        abort_denied(context, self._faults, "$ops")
        options = request.options
        source, name = _source(options), options.group_name
        settings = _settings(options)
        with self._store.changed:
            if (source, name) in self._groups:
                abort(
                    context,
                    "ALREADY_EXISTS",
                    f"Subscription group {name} on stream {source} exists.",
                    exception="persistent-subscription-exists",
                    stream_name=source,
                    group_name=name,
                )
            checkpoint = self._start(options, source)
            with self._store.transaction() as connection:
                connection.execute(
                    "INSERT INTO groups (source, name, settings, checkpoint) VALUES (?, ?, ?, ?)",
                    (source, name, json.dumps(attrs.asdict(settings)), checkpoint),
                )
            self._open(source, name, settings, checkpoint)
        return self._pb.CreateResp()

    def _start(self, options: Any, source: str) -> int:
        """Return the last revision or position before the group's first event."""
        where = options.all if source == ALL else options.stream
        chosen = where.WhichOneof("all_option" if source == ALL else "revision_option")
        if chosen == "end":
            if source == ALL:
                return self._store.last_position()
            return self._store.stream(source).last
        if chosen == "revision":
            return int(where.revision) - 1
        if chosen == "position":
            return int(where.position.commit_position)
        return 0 if source == ALL else -1

    def Delete(self, request: Any, context: Any) -> Any:
        """Delete a group; its readers are cut off."""
        with self._store.changed:
            group = self._found(request.options, context)
            del self._groups[group.source, group.name]
            group.is_deleted = True
            with self._store.transaction() as connection:
                connection.execute(
                    "DELETE FROM groups WHERE source = ? AND name = ?", (group.source, group.name)
                )
        return self._pb.DeleteResp()

    def GetInfo(self, request: Any, context: Any) -> Any:
        """Describe a group."""
        abort_not_leader(context, self._faults)
        abort_denied(context, self._faults, "$ops")
        answer = self._pb.GetInfoResp()
        with self._store.changed:
            self._describe(answer.subscription_info, self._found(request.options, context))
        return answer

    def List(self, request: Any, context: Any) -> Any:
        """Describe all groups, or those of one stream."""
        answer = self._pb.ListResp()
        option = request.options.list_for_stream
        with self._store.changed:
            for group in self._groups.values():
                if request.options.WhichOneof(
                    "list_option"
                ) == "list_all_subscriptions" or group.source == (
                    option.stream.stream_name.decode() or ALL
                ):
                    self._describe(answer.subscriptions.add(), group)
            if not answer.subscriptions:
                _abort_unknown(context, "", "")
        return answer

    def _describe(self, message: Any, group: Group) -> None:
        for field, value in group.info().items():
            setattr(message, field, value)
        for consumer, size in group.consumers.items():
            in_flight = sum(1 for each in group.in_flight.values() if each.consumer == consumer)
            message.connections.add(in_flight_messages=in_flight, available_slots=size - in_flight)

    def ReplayParked(self, request: Any, context: Any) -> Any:
        """Redeliver the parked events of a group."""
        abort_not_leader(context, self._faults)
        abort_denied(context, self._faults, "$ops")
        with self._store.changed:
            self._found(request.options, context).replay()
            self._store.changed.notify_all()
        return self._pb.ReplayParkedResp()

    def _found(self, options: Any, context: Any) -> Group:
        group = self._groups.get((_source(options), options.group_name))
        if group is None:
            _abort_unknown(context, _source(options), options.group_name)
        return group

    def Read(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        """Deliver events to one consumer of a group, and read its acknowledgements."""
        abort_not_leader(context, self._faults)
        abort_denied(context, self._faults, "$ops")
        options = next(requests).options
        drop_connect(context, self._faults)
        consumer = next(self._consumers)
        with self._store.changed:
            group = self._found(options, context)
            limit = group.settings.max_subscriber_count
            if 0 < limit <= len(group.consumers):
                abort(
                    context,
                    "FAILED_PRECONDITION",
                    f"Maximum subscriptions reached for group {group.name}",
                    exception="maximum-subscribers-reached",
                )
            group.consumers[consumer] = max(options.buffer_size, 1)
        listener = threading.Thread(target=self._read_requests, args=(group, requests), daemon=True)
        listener.start()
        try:
            confirmed = self._pb.ReadResp()
            confirmed.subscription_confirmation.subscription_id = f"{group.source}::{group.name}"
            yield confirmed
            while context.is_active() and not group.is_deleted:
                with self._store.changed:
                    found = None if group.is_deleted else group.take(consumer)
                    if found is None and not group.is_deleted:
                        self._store.changed.wait(_POLL_SECONDS)
                if found is not None:
                    yield self._event(group, found)
        finally:
            with self._store.changed:
                if not self._store.is_closed:
                    group.leave(consumer)
                    self._store.changed.notify_all()
        if group.is_deleted:
            abort(context, "CANCELLED", "dropped", exception="persistent-subscription-dropped")

    def _read_requests(self, group: Group, requests: Iterator[Any]) -> None:
        try:
            for request in requests:
                with self._store.changed:
                    if self._store.is_closed:
                        return
                    self._handle(group, request)
                    self._store.changed.notify_all()
        except Exception:
            # The call has ended; unacknowledged events go to other consumers.
            return

    def _handle(self, group: Group, request: Any) -> None:
        if request.WhichOneof("content") == "ack":
            for id in request.ack.ids:
                group.ack(id.string)
            return
        action = request.nack.action
        nack = self._pb.ReadReq.Nack
        for id in request.nack.ids:
            if action == nack.Park:
                group.park(id.string, "Client explicitly NAK'ed message.\n")
            elif action in (nack.Retry, nack.Unknown):
                group.retry(id.string)
            else:
                group.ack(id.string)

    def _event(self, group: Group, found: Delivery) -> Any:
        answer = self._pb.ReadResp()
        links = self._store if group.settings.resolves_links else None
        fill_read_event(self._library, answer.event, found.record, links)
        answer.event.retry_count = found.retries
        return answer


def _source(options: Any) -> str:
    chosen = options.WhichOneof("stream_option")
    if chosen == "all":
        return ALL
    where = options.stream.stream_identifier if chosen == "stream" else options.stream_identifier
    name: bytes = where.stream_name
    return name.decode()


def _settings(options: Any) -> Settings:
    given = options.settings
    timeout = given.message_timeout_ms
    if given.WhichOneof("message_timeout") == "message_timeout_ticks":
        timeout = given.message_timeout_ticks // 10_000
    is_filtered = (
        options.WhichOneof("stream_option") == "all"
        and options.all.WhichOneof("filter_option") == "filter"
    )
    filter = options.all.filter if is_filtered else None
    by = filter.WhichOneof("filter") if filter is not None else None
    return Settings(
        timeout,
        given.max_retry_count,
        given.max_subscriber_count,
        getattr(filter, by).regex if by else "",
        by == "stream_identifier",
        given.resolve_links,
    )


def _accepts(settings: Settings) -> Callable[[Record], bool]:
    if not settings.regex:
        return lambda record: True
    pattern = re.compile(settings.regex)
    if settings.filters_streams:
        return lambda record: pattern.search(record.stream) is not None
    return lambda record: pattern.search(record.type) is not None


def _abort_unknown(context: Any, source: str, name: str) -> NoReturn:
    abort(
        context,
        "NOT_FOUND",
        f"Subscription group {name} on stream {source} does not exist.",
        exception="persistent-subscription-does-not-exist",
        stream_name=source,
        group_name=name,
    )
