"""The service of a server: a store, and the access to it."""

from __future__ import annotations

from importlib.metadata import version

import attrs

from kando.app.operator import OperatorLimits
from kando.app.store import Store
from kando.app.trace_cache import TraceCache
from kando.app.world_cache import WorldCache
from kando_inspector.access import Access
from kando_inspector.following import Following
from kando_inspector.workers import Workers

__all__ = ["GROUP", "VERSION", "Service"]

#: Group of the workers of a server.
GROUP = "inspector"

#: Version of this distribution, and of all others of Kando.
VERSION = version("kando-inspector")


@attrs.frozen
class Service:
    """The store that a server serves, and the access to it.

    Attributes:
        store: of the runs; one for all requests.
        access: the tokens, and the names of the server.
        worlds: cache of recently shown worlds.
        traces: cache of recently shown traces.
        limits: of the operator, which override what clients ask for.
        group: whose workers work on the runs.
        following: reads the runs that clients follow.
        workers: of the group that this server has started; None if others work.
    """

    store: Store
    access: Access
    worlds: WorldCache = attrs.field(factory=WorldCache, init=False)
    traces: TraceCache = attrs.field(factory=TraceCache, init=False)
    limits: OperatorLimits = attrs.field(factory=lambda: OperatorLimits("kando serve"))
    group: str = GROUP
    following: Following = attrs.field(
        default=attrs.Factory(lambda self: Following(self.store), takes_self=True)
    )
    workers: Workers | None = None

    def begin_work(self) -> None:
        """Start the workers of this server, unless they have been started."""
        if self.workers is not None:
            self.workers.start()
