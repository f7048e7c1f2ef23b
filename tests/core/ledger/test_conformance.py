"""Every substrate of kando-core passes the suites that plugin authors inherit."""

from pathlib import Path

from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemoryLedgerStore, MemorySubstrate
from kando.ledger.sqlite import SQLiteLedgerStore
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.ledger.substrate import Substrate
from kando.testing.ledgers import LedgerContract
from kando.testing.substrates import SubstrateContract


class TestMemoryLedger(LedgerContract):
    is_durable = False

    def make_ledger(self, path: Path, run_id: str) -> LedgerStore:
        return MemoryLedgerStore(run_id)


class TestSQLiteLedger(LedgerContract):
    def make_ledger(self, path: Path, run_id: str) -> LedgerStore:
        return SQLiteLedgerStore(run_id, path)


class TestMemorySubstrate(SubstrateContract):
    is_durable = False
    deletes_ledgers = True

    def open_substrate(self, path: Path) -> Substrate:
        return MemorySubstrate()


class TestSQLiteSubstrate(SubstrateContract):
    deletes_ledgers = True

    def open_substrate(self, path: Path) -> Substrate:
        return SQLiteSubstrate(path)
