"""For tests: a server that speaks the protocol of EventStoreDB, and is none."""

from kando_eventstore.testing.server import FakeEventStoreServer

__all__ = ["FakeEventStoreServer"]
