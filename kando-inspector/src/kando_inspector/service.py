"""What a server serves: a store, and what its operator allows."""

from __future__ import annotations

from importlib.metadata import version

import attrs

from kando.app.store import Store
from kando_inspector.access import Access

__all__ = ["VERSION", "Service"]

#: Version of this distribution, and of all others of Kando.
VERSION = version("kando-inspector")


@attrs.frozen
class Service:
    """What a server serves.

    Attributes:
        store: of the runs; one for all requests.
        access: who has access.
    """

    store: Store
    access: Access
