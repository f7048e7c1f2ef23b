"""The service of streams: append, read, subscribe, delete."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any
from uuid import uuid4

from kando_eventstore._client import ClientLibrary
from kando_eventstore.testing._messages import (
    Behaviour,
    Faults,
    abort,
    abort_deleted,
    abort_denied,
    abort_not_leader,
    drop_connect,
    event_filter,
    expected_version,
    fill_read_event,
    new_record,
)
from kando_eventstore.testing._store import (
    MAX_APPEND_BYTES,
    NO_STREAM,
    Appended,
    AppendTooLarge,
    NewRecord,
    Record,
    StreamDeleted,
    StreamStore,
    WrongVersion,
)

__all__ = ["StreamsService"]

_END = 2**62
_POLL_SECONDS = 0.2


class _TimedOut(Exception):
    """The leader did not hear from enough followers in time; the events may be written."""


class StreamsService:
    """The RPCs of ``event_store.client.streams.Streams``.

    Args:
        library: client whose protocol messages are used.
        store: the streams.
        faults: failures to simulate.
        behaviour: see `Behaviour`.
    """

    def __init__(
        self, library: ClientLibrary, store: StreamStore, faults: Faults, behaviour: Behaviour
    ) -> None:
        self._library = library
        self._behaviour = behaviour
        self._pb = library.protocol("streams_pb2")
        self._shared = library.protocol("shared_pb2")
        self._store = store
        self._faults = faults

    def Append(self, requests: Iterator[Any], context: Any) -> Any:
        """Append the proposed events; a conflict is a normal answer."""
        abort_not_leader(context, self._faults)
        options = next(requests).options
        stream = options.stream_identifier.stream_name.decode()
        expected = expected_version(options, "expected_stream_revision", "revision")
        events = [new_record(request.proposed_message) for request in requests]
        answer = self._pb.AppendResp()
        try:
            done = self._append(context, stream, expected, events)
        except WrongVersion as conflict:
            _fill_conflict(answer.wrong_expected_version, conflict)
        except StreamDeleted as deleted:
            abort_deleted(context, deleted.stream)
        except _TimedOut:
            abort(context, "ABORTED", "Operation timed out: Timeout")
        except AppendTooLarge:
            abort(
                context,
                "INVALID_ARGUMENT",
                "Maximum Append Size Exceeded.",
                exception="maximum-append-size-exceeded",
                maximum_append_size=str(MAX_APPEND_BYTES),
            )
        else:
            _fill_success(answer.success, done)
        return answer

    def BatchAppend(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        """Append batch after batch; each is answered under its correlation id."""
        abort_not_leader(context, self._faults)
        batches: dict[str, tuple[Any, list[NewRecord]]] = {}
        for request in requests:
            id = request.correlation_id.string
            options, events = batches.setdefault(id, (request.options, []))
            events += map(new_record, request.proposed_messages)
            if request.is_final:
                del batches[id]
                yield self._batch_answer(id, options, events, context)

    def _batch_answer(self, id: str, options: Any, events: list[NewRecord], context: Any) -> Any:
        answer = self._pb.BatchAppendResp()
        answer.correlation_id.string = id
        answer.stream_identifier.CopyFrom(options.stream_identifier)
        stream = options.stream_identifier.stream_name.decode()
        expected = expected_version(options, "expected_stream_position", "stream_position")
        try:
            done = self._append(context, stream, expected, events)
        except WrongVersion as conflict:
            detail = self._shared.WrongExpectedVersion()
            if conflict.actual == NO_STREAM:
                detail.current_no_stream.SetInParent()
            else:
                detail.current_stream_revision = conflict.actual
            _fill_error(answer.error, 6, "WrongExpectedVersion", detail)
        except StreamDeleted as deleted:
            detail = self._shared.StreamDeleted()
            detail.stream_identifier.stream_name = deleted.stream.encode()
            _fill_error(answer.error, 5, "Stream deleted", detail)
        except AppendTooLarge:
            detail = self._shared.MaximumAppendSizeExceeded(maxAppendSize=MAX_APPEND_BYTES)
            _fill_error(answer.error, 3, "Maximum Append Size Exceeded", detail)
        except _TimedOut:
            _fill_error(answer.error, 4, "Timeout", self._shared.Timeout())
        else:
            _fill_success(answer.success, done)
        return answer

    def _append(
        self, context: Any, stream: str, expected: int, events: list[NewRecord]
    ) -> Appended:
        abort_denied(context, self._faults, stream)
        if self._faults.refused_calls > 0:
            self._faults.refused_calls -= 1
            abort(context, "UNAVAILABLE", "Socket closed")
        done = self._store.append(stream, expected, events)
        if self._faults.lost_answers > 0:
            self._faults.lost_answers -= 1
            abort(context, "UNAVAILABLE", "Socket closed")
        if self._faults.timed_out_appends > 0:
            self._faults.timed_out_appends -= 1
            raise _TimedOut
        return done

    def Read(self, request: Any, context: Any) -> Iterator[Any]:
        """Read a stream or all streams, or subscribe to them."""
        abort_not_leader(context, self._faults)
        options = request.options
        is_of_stream = options.WhichOneof("stream_option") == "stream"
        name = options.stream.stream_identifier.stream_name.decode() if is_of_stream else "$all"
        abort_denied(context, self._faults, name)
        try:
            if options.WhichOneof("count_option") == "subscription":
                yield from self._subscription(options, context)
            elif options.WhichOneof("stream_option") == "stream":
                yield from self._stream(options)
            else:
                records = filter(event_filter(options), self._all(options))
                for record in islice(records, _count(options)):
                    yield self._event(options, record)
        except StreamDeleted as deleted:
            abort_deleted(context, deleted.stream)

    def _stream(self, options: Any) -> Iterator[Any]:
        name = options.stream.stream_identifier.stream_name.decode()
        known = self._store.readable(name)
        if known is None:
            answer = self._pb.ReadResp()
            answer.stream_not_found.stream_identifier.stream_name = name.encode()
            yield answer
            return
        backwards = options.read_direction == self._pb.ReadReq.Options.Backwards
        start, stop = 0, known.last + 1
        chosen = options.stream.WhichOneof("revision_option")
        if chosen == "revision":
            revision = options.stream.revision
            start, stop = (0, min(stop, revision + 1)) if backwards else (revision, stop)
        records = self._store.read_stream(name, min(start, _END), stop, backwards=backwards)
        for record in islice(records, _count(options)):
            yield self._event(options, record)

    def _all(self, options: Any) -> Iterator[Record]:
        backwards = options.read_direction == self._pb.ReadReq.Options.Backwards
        start, stop = 0, self._store.last_position() + 1
        if options.all.WhichOneof("all_option") == "position":
            position = min(options.all.position.commit_position, _END)
            start, stop = (0, position) if backwards else (position, stop)
        return self._store.read_all(start, stop, backwards=backwards)

    def _subscription(self, options: Any, context: Any) -> Iterator[Any]:
        drop_connect(context, self._faults)
        confirmed = self._pb.ReadResp()
        confirmed.confirmation.subscription_id = str(uuid4())
        yield confirmed
        is_of_stream = options.WhichOneof("stream_option") == "stream"
        follow = self._follow_stream if is_of_stream else self._follow_all
        reached = self._start_of(options)
        caught_up = False
        while context.is_active() and not self._store.is_closed:
            seen = self._store.last_position()
            may_catch_up = self._may_catch_up(options)
            for answer, position in follow(options, reached):
                reached = position
                if answer is not None:
                    yield answer
            if not caught_up and may_catch_up:
                caught_up = True
                yield self._caught_up(reached, is_of_stream)
            with self._store.changed:
                if not self._store.is_closed and self._store.last_position() == seen:
                    self._store.changed.wait(_POLL_SECONDS)

    def _may_catch_up(self, options: Any) -> bool:
        if options.WhichOneof("stream_option") != "stream" or self._behaviour.catches_up_early:
            return True
        name = options.stream.stream_identifier.stream_name.decode()
        return self._store.readable(name) is not None

    def _start_of(self, options: Any) -> int:
        """Return the last revision or position that the subscriber has."""
        if options.WhichOneof("stream_option") == "stream":
            chosen = options.stream.WhichOneof("revision_option")
            if chosen == "end":
                name = options.stream.stream_identifier.stream_name.decode()
                return self._store.stream(name).last
            return int(options.stream.revision) if chosen == "revision" else -1
        chosen = options.all.WhichOneof("all_option")
        if chosen == "end":
            return self._store.last_position()
        return int(options.all.position.commit_position) if chosen == "position" else 0

    def _follow_stream(self, options: Any, reached: int) -> Iterator[tuple[Any, int]]:
        name = options.stream.stream_identifier.stream_name.decode()
        if self._store.readable(name) is None:
            return
        for record in self._store.read_stream(name, reached + 1, _END, backwards=False):
            yield self._event(options, record), record.revision

    def _follow_all(self, options: Any, reached: int) -> Iterator[tuple[Any, int]]:
        is_accepted = event_filter(options)
        is_filtered = options.WhichOneof("filter_option") == "filter"
        every = max(options.filter.max * options.filter.checkpointIntervalMultiplier, 1)
        records = self._store.read_all(reached + 1, _END, backwards=False)
        for scanned, record in enumerate(records, 1):
            yield (self._event(options, record) if is_accepted(record) else None), record.position
            if is_filtered and scanned % every == 0:
                yield self._checkpoint(record.position), record.position

    def _event(self, options: Any, record: Record) -> Any:
        answer = self._pb.ReadResp()
        links = self._store if options.resolve_links else None
        fill_read_event(self._library, answer.event, record, links)
        return answer

    def _checkpoint(self, position: int) -> Any:
        answer = self._pb.ReadResp()
        answer.checkpoint.commit_position = answer.checkpoint.prepare_position = position
        return answer

    def _caught_up(self, reached: int, is_of_stream: bool) -> Any:
        answer = self._pb.ReadResp()
        answer.caught_up.SetInParent()
        # The older client's protocol has no more fields.
        if "timestamp" in answer.caught_up.DESCRIPTOR.fields_by_name:
            answer.caught_up.timestamp.GetCurrentTime()
            if is_of_stream:
                answer.caught_up.stream_revision = reached
            else:
                answer.caught_up.position.commit_position = reached
                answer.caught_up.position.prepare_position = reached
        return answer

    def Delete(self, request: Any, context: Any) -> Any:
        """Delete a stream so that it can be created again."""
        return self._delete(request, context, self._pb.DeleteResp(), "Delete", tombstone=False)

    def Tombstone(self, request: Any, context: Any) -> Any:
        """Delete a stream permanently."""
        answer = self._pb.TombstoneResp()
        return self._delete(request, context, answer, "Tombstone", tombstone=True)

    def _delete(
        self, request: Any, context: Any, answer: Any, what: str, *, tombstone: bool
    ) -> Any:
        abort_not_leader(context, self._faults)
        stream = request.options.stream_identifier.stream_name.decode()
        expected = expected_version(request.options, "expected_stream_revision", "revision")
        try:
            position = self._store.delete(stream, expected, tombstone=tombstone)
        except StreamDeleted as deleted:
            abort_deleted(context, deleted.stream)
        except WrongVersion as conflict:
            abort(
                context,
                "FAILED_PRECONDITION",
                f"{what} failed due to WrongExpectedVersion. Stream: {stream}, "
                f"Expected version: {expected}, Actual version: {conflict.actual}",
                exception="wrong-expected-version",
                stream_name=stream,
                expected_version=str(expected),
                actual_version=str(conflict.actual),
            )
        answer.position.commit_position = answer.position.prepare_position = position
        return answer


def _count(options: Any) -> int:
    return min(int(options.count), _END)


def _fill_success(success: Any, done: Appended) -> None:
    if done.revision < 0:
        success.no_stream.SetInParent()
    else:
        success.current_revision = done.revision
    success.position.commit_position = success.position.prepare_position = done.position


def _fill_conflict(answer: Any, conflict: WrongVersion) -> None:
    if conflict.actual == NO_STREAM:
        answer.current_no_stream.SetInParent()
        answer.no_stream_20_6_0.SetInParent()
    else:
        answer.current_revision = answer.current_revision_20_6_0 = conflict.actual
    if conflict.expected >= 0:
        answer.expected_revision = answer.expected_revision_20_6_0 = conflict.expected
    elif conflict.expected == NO_STREAM:
        answer.expected_no_stream.SetInParent()
    else:
        answer.expected_stream_exists.SetInParent()
        answer.stream_exists_20_6_0.SetInParent()


def _fill_error(error: Any, code: int, message: str, detail: Any) -> None:
    error.code = code
    error.message = message
    error.details.Pack(detail)
