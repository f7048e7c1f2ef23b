"""For tests: a fake server with the protocol of EventStoreDB."""

from kando_eventstore.testing._messages import Behaviour
from kando_eventstore.testing.server import FakeEventStoreServer

__all__ = ["Behaviour", "FakeEventStoreServer"]
