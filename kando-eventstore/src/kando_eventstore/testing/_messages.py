"""Messages, errors and filters that the fake server's services share."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import attrs

from kando_eventstore._client import ClientLibrary
from kando_eventstore.testing._store import (
    ANY,
    EXISTS,
    NO_STREAM,
    NewRecord,
    Record,
    StreamStore,
)

__all__ = [
    "Behaviour",
    "Faults",
    "abort",
    "abort_deleted",
    "abort_denied",
    "abort_not_leader",
    "drop_connect",
    "event_filter",
    "expected_version",
    "fill_read_event",
    "new_record",
]


@attrs.frozen
class Behaviour:
    """Differences between versions of the servers, and what a real one takes time for.

    Attributes:
        checkpoint_seconds: after an acknowledgement, until the checkpoint of its group is written;
            a server that is killed before delivers again what was acknowledged.
        recreated_seconds: in which a stream that was deleted and created again is not found.
        catches_up_early: whether a subscription to a stream that does not exist is caught up at
            once, as in EventStoreDB 24.10 and newer; in 23.10, it is once the stream exists.
    """

    checkpoint_seconds: float = 1.0
    recreated_seconds: float = 0.01
    catches_up_early: bool = True


@attrs.define
class Faults:
    """Failures for the server to simulate, so that clients can be tested.

    Attributes:
        lost_answers: how many of the next appends lose their answer: they are written, and the
            call ends as if the connection had been dropped.
        refused_calls: how many of the next writes end the same way before anything is written.
        timed_out_appends: how many of the next appends are answered with a timeout, though they
            are written, as a leader does that loses its followers.
        dropped_connects: how many of the next subscriptions get no answer, not even a confirmation.
        leaderless_calls: how many of the next calls find no leader, and none is named.
        redirected_calls: how many of the next calls are refused because another node leads, which is
            not named.
        denied: names of streams, ``$all`` or ``$ops`` (persistent subscriptions) that no user has the
            right to use.
        leader: host and port of the node that leads instead of this one; None if this one does.
    """

    lost_answers: int = 0
    refused_calls: int = 0
    timed_out_appends: int = 0
    dropped_connects: int = 0
    leaderless_calls: int = 0
    redirected_calls: int = 0
    denied: frozenset[str] = frozenset()
    leader: tuple[str, int] | None = None


def abort(context: Any, code: str, message: str, **trailers: str) -> NoReturn:
    """End a call with a status and trailers.

    Args:
        context: of the call.
        code: name of a ``grpc.StatusCode``.
        message: its details.
        trailers: with underscores for dashes.
    """
    import grpc

    pairs = tuple((name.replace("_", "-"), value) for name, value in trailers.items())
    if pairs:
        context.set_trailing_metadata(pairs)
    context.abort(getattr(grpc.StatusCode, code), message)
    raise AssertionError


def abort_deleted(context: Any, stream: str) -> NoReturn:
    """End a call on a tombstoned stream."""
    message = f"Event stream '{stream}' is deleted."
    abort(context, "FAILED_PRECONDITION", message, exception="stream-deleted", stream_name=stream)


def abort_not_leader(context: Any, faults: Faults) -> None:
    """End a call that requires a leader, if this node does not lead."""
    if faults.leaderless_calls > 0:
        faults.leaderless_calls -= 1
        abort(context, "UNKNOWN", "No leader info available in response")
    if faults.redirected_calls > 0:
        faults.redirected_calls -= 1
        abort(context, "NOT_FOUND", "Leader info available", exception="not-leader")
    if faults.leader is None or ("requires-leader", "true") not in context.invocation_metadata():
        return
    host, port = faults.leader
    abort(
        context,
        "NOT_FOUND",
        "Leader info available",
        exception="not-leader",
        leader_endpoint_host=host,
        leader_endpoint_port=str(port),
    )


def abort_denied(context: Any, faults: Faults, name: str) -> None:
    """End a call that uses what is denied."""
    if name in faults.denied:
        abort(context, "PERMISSION_DENIED", "Access Denied", exception="access-denied")


def drop_connect(context: Any, faults: Faults) -> None:
    """Leave a subscription without an answer until its client gives up, if that is to be simulated."""
    if faults.dropped_connects <= 0:
        return
    faults.dropped_connects -= 1
    gone = threading.Event()
    if context.add_callback(gone.set):
        gone.wait()


def expected_version(options: Any, field: str, revision: str) -> int:
    """Return the version that a writer expects: a revision, or one of the three constants.

    Args:
        options: of the request.
        field: name of the oneof.
        revision: name of the field in it that holds a number.
    """
    chosen = options.WhichOneof(field)
    if chosen == revision:
        return int(getattr(options, revision))
    return {"no_stream": NO_STREAM, "stream_exists": EXISTS}.get(chosen, ANY)


def new_record(message: Any) -> NewRecord:
    """Return the event in a proposed message."""
    return NewRecord(
        message.id.string,
        message.metadata.get("type", ""),
        message.metadata.get("content-type", ""),
        message.custom_metadata,
        message.data,
    )


def fill_recorded_event(library: ClientLibrary, message: Any, record: Record) -> None:
    """Fill a RecordedEvent message of either service."""
    message.id.string = record.id
    message.stream_identifier.stream_name = record.stream.encode()
    message.stream_revision = record.revision
    message.prepare_position = message.commit_position = record.position
    message.metadata["type"] = record.type
    message.metadata["content-type"] = record.content_type
    message.metadata["created"] = str(record.created)
    message.custom_metadata = record.metadata
    message.data = record.data


def fill_read_event(
    library: ClientLibrary, message: Any, record: Record, links: StreamStore | None
) -> None:
    """Fill a ReadEvent message of either service.

    Args:
        library: client whose protocol messages are used.
        message: to fill.
        record: the event, perhaps a link.
        links: the streams, if links are to be resolved. A link to an event that was deleted or
            truncated is sent without an event, and clients skip it.
    """
    if links is None or record.type != "$>":
        fill_recorded_event(library, message.event, record)
    else:
        fill_recorded_event(library, message.link, record)
        target = links.target(record)
        if target is not None:
            fill_recorded_event(library, message.event, target)
    message.commit_position = record.position


def event_filter(options: Any) -> Callable[[Record], bool]:
    """Return the filter of a read or subscription of all streams, as a predicate."""
    if options.WhichOneof("filter_option") != "filter":
        return lambda record: True
    by = options.filter.WhichOneof("filter")
    expression = getattr(options.filter, by)
    prefixes: tuple[str, ...] = tuple(expression.prefix)
    pattern = re.compile(expression.regex)

    def is_accepted(record: Record) -> bool:
        text = record.type if by == "event_type" else record.stream
        return text.startswith(prefixes) if prefixes else pattern.search(text) is not None

    return is_accepted
