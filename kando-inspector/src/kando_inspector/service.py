"""The service of a server: a store, and the access to it."""

from __future__ import annotations

from importlib.metadata import version

import attrs

from kando.app.store import Store
from kando.app.world_cache import WorldCache
from kando_inspector.access import Access

__all__ = ["VERSION", "Service"]

#: Version of this distribution, and of all others of Kando.
VERSION = version("kando-inspector")


@attrs.frozen
class Service:
    """The store that a server serves, and the access to it.

    Attributes:
        store: of the runs; one for all requests.
        access: the tokens, and the names of the server.
        worlds: cache of recently shown worlds.
    """

    store: Store
    access: Access
    worlds: WorldCache = attrs.field(factory=WorldCache, init=False)
