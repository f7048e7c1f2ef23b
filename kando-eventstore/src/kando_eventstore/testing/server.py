"""A fake server in this process: the protocol of EventStoreDB over a SQLite file."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kando_eventstore._client import client_library
from kando_eventstore.testing._messages import Behaviour, Faults
from kando_eventstore.testing._store import StreamStore

__all__ = ["FakeEventStoreServer"]

_BEHAVIOUR = Behaviour()

# gRPC reports a very distant deadline for a call that has none.
_UNLIMITED_SECONDS = 365 * 86_400

# Each subscription holds a thread for as long as it lives.
_THREADS = 64


class FakeEventStoreServer:
    """A server for tests, which imitates the protocol of EventStoreDB and KurrentDB.

    A test that passes against it may fail against a real server. The contract suite in
    ``tests/eventstore/contract`` specifies what the two have in common, and runs against both.

    It supports streams, expected revisions, idempotent appends, ``$maxCount``, ``$maxAge`` and
    ``$tb``, deletion, reads and catch-up subscriptions of one stream or of all, and persistent
    subscriptions. It has no projections, no user permissions and no cluster.

    Args:
        path: of a SQLite file; created if it is missing. It holds all acknowledged writes, so a
            server that is restarted on the same file continues from there.
        port: on the loopback interface; a free one if 0.
        certificate: private key and certificate chain in PEM, for TLS; None for no TLS.
        user: name and password that every client must send; None to admit any client.
        behaviour: see `Behaviour`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        port: int = 0,
        certificate: tuple[bytes, bytes] | None = None,
        user: tuple[str, str] | None = None,
        behaviour: Behaviour = _BEHAVIOUR,
    ) -> None:
        import grpc

        from kando_eventstore.testing._persistent_subscriptions import (
            PersistentSubscriptionsService,
        )
        from kando_eventstore.testing._streams import StreamsService

        library = client_library()
        #: Failures to simulate.
        self.faults = Faults()
        #: Methods that clients have called without a deadline.
        self.methods_without_deadline: set[str] = set()
        self._store = StreamStore(path, recreated_seconds=behaviour.recreated_seconds)
        self._server: Any = grpc.server(
            ThreadPoolExecutor(_THREADS, thread_name_prefix="fake-eventstore"),
            # Two servers on one port would share its connections.
            options=(
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", 17 << 20),
                # As many pings as a client sends, like the servers it imitates.
                ("grpc.http2.max_ping_strikes", 0),
            ),
            interceptors=(
                _deadlines(self.methods_without_deadline.add),
                *(() if user is None else (_authentication(*user),)),
            ),
        )
        streams = library.protocol("streams_pb2_grpc")
        service = _with_stubs(StreamsService, streams.StreamsServicer)
        streams.add_StreamsServicer_to_server(
            service(library, self._store, self.faults, behaviour), self._server
        )
        persistent = library.protocol("persistent_pb2_grpc")
        service = _with_stubs(
            PersistentSubscriptionsService, persistent.PersistentSubscriptionsServicer
        )
        self._groups: PersistentSubscriptionsService = service(
            library, self._store, self.faults, behaviour
        )
        persistent.add_PersistentSubscriptionsServicer_to_server(self._groups, self._server)
        gossip = library.protocol("gossip_pb2_grpc")
        gossip.add_GossipServicer_to_server(_Gossip(self, library), self._server)
        address = f"127.0.0.1:{port}"
        if certificate is None:
            self.port = self._server.add_insecure_port(address)
        else:
            credentials = grpc.ssl_server_credentials([certificate])
            self.port = self._server.add_secure_port(address, credentials)
        self.has_tls = certificate is not None
        self._server.start()

    @property
    def url(self) -> str:
        """Its URL, in the form of ``EVENTSTORE_URL``."""
        return f"{'https' if self.has_tls else 'http'}://127.0.0.1:{self.port}"

    def wait(self) -> None:
        """Serve until the process ends."""
        self._server.wait_for_termination()

    def close(self) -> None:
        """Stop the server; calls in flight are cut off."""
        self._groups.close()
        self._server.stop(None).wait()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _with_stubs(service: type, servicer: type) -> Any:
    """Return a class that answers RPCs that `service` lacks with UNIMPLEMENTED, as the stubs do."""
    return type(service.__name__, (service, servicer), {})


def _deadlines(note: Callable[[str], None]) -> Any:
    """Return an interceptor that notes the methods which are called without a deadline."""
    import grpc

    class Deadlines(grpc.ServerInterceptor):  # type: ignore[misc]
        def intercept_service(self, continuation: Any, call: Any) -> Any:
            handler = continuation(call)
            if handler is None:
                return None
            streams = (handler.request_streaming, handler.response_streaming)
            name = "_".join("stream" if each else "unary" for each in streams)
            behaviour = getattr(handler, name)

            def noted(request: Any, context: Any) -> Any:
                if context.time_remaining() > _UNLIMITED_SECONDS:
                    note(call.method)
                return behaviour(request, context)

            make = getattr(grpc, f"{name}_rpc_method_handler")
            return make(noted, handler.request_deserializer, handler.response_serializer)

    return Deadlines()


def _authentication(name: str, password: str) -> Any:
    """Return an interceptor that admits one user by basic authentication, as both servers do."""
    import grpc

    token = b64encode(f"{name}:{password}".encode()).decode()

    def refuse(request: Any, context: Any) -> None:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "Unauthenticated")

    class Authentication(grpc.ServerInterceptor):  # type: ignore[misc]
        def intercept_service(self, continuation: Any, call: Any) -> Any:
            if ("authorization", f"Basic {token}") in tuple(call.invocation_metadata):
                return continuation(call)
            return grpc.unary_unary_rpc_method_handler(refuse)

    return Authentication()


class _Gossip:
    """The RPC that lists the nodes of the cluster: this node, which leads it."""

    def __init__(self, server: FakeEventStoreServer, library: Any) -> None:
        self._server = server
        self._pb = library.protocol("gossip_pb2")

    def Read(self, request: Any, context: Any) -> Any:
        answer = self._pb.ClusterInfo()
        member = answer.members.add(state=self._pb.MemberInfo.VNodeState.Leader, is_alive=True)
        member.http_end_point.address = "127.0.0.1"
        member.http_end_point.port = self._server.port
        return answer
