"""Ledgers, groups and the substrate on a server pass the contracts of every substrate."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kando.ledger.interface import LedgerStore
from kando.ledger.substrate import Substrate
from kando.testing.groups import GroupContract
from kando.testing.ledgers import LedgerContract
from kando.testing.substrates import SubstrateContract
from kando_eventstore.substrate import open_eventstore
from kando_eventstore.testing import FakeEventStoreServer


class _OnServers:
    """One fake server per path, for the duration of the test."""

    @pytest.fixture(autouse=True)
    def _servers(self) -> Iterator[None]:
        self.servers: dict[Path, FakeEventStoreServer] = {}
        self.opened: list[Substrate] = []
        yield
        for substrate in self.opened:
            substrate.close()
        for server in self.servers.values():
            server.close()
            # Deliveries end only with the worker; their confirmation has a deadline, and pings do.
            assert server.methods_without_deadline <= {
                "/event_store.client.persistent_subscriptions.PersistentSubscriptions/Read"
            }

    def substrate_at(self, path: Path) -> Substrate:
        if path not in self.servers:
            self.servers[path] = FakeEventStoreServer(path)
        self.opened.append(open_eventstore(self.servers[path].url))
        return self.opened[-1]


class TestEventStoreSubstrate(_OnServers, SubstrateContract):
    deletes_ledgers = True
    reuses_ids = False

    def open_substrate(self, path: Path) -> Substrate:
        return self.substrate_at(path)


class TestEventStoreGroups(_OnServers, GroupContract):
    def open_substrate(self, path: Path) -> Substrate:
        return self.substrate_at(path)


class TestEventStoreLedger(_OnServers, LedgerContract):
    def make_ledger(self, path: Path, run_id: str) -> LedgerStore:
        substrate = self.substrate_at(path)
        known = {info.id for info in substrate.ledgers()}
        return substrate.open(run_id) if run_id in known else substrate.create(run_id)
