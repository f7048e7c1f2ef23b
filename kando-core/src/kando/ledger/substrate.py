"""What a substrate is: the place where many ledgers live."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

import attrs

from kando.errors import ConfigurationError, StoreError
from kando.ledger.groups import ResponderGroup
from kando.ledger.inbox import InboxEntry
from kando.ledger.interface import LedgerStore
from kando.ledger.notice import Worker
from kando.schema.events import RecordedEvent

__all__ = ["LedgerInfo", "Substrate", "check_ledger_id"]


@attrs.frozen
class LedgerInfo:
    """What a substrate knows about a ledger without reading its events.

    Attributes:
        id: of the run or branch, without its ``run:`` or ``branch:``.
        created_at: timezone-aware.
        length: number of events; on a branch the shared prefix counts.
        parent_id: of the ledger a branch was forked from; None for a run.
        fork_position: how many events a branch shares with its parent; None for a run.
    """

    id: str
    created_at: datetime
    length: int
    parent_id: str | None = None
    fork_position: int | None = None

    @property
    def is_branch(self) -> bool:
        """Whether the ledger shares a prefix with another."""
        return self.parent_id is not None

    @property
    def stream_name(self) -> str:
        """The ledger's identity: ``run:{id}`` or ``branch:{id}``."""
        return f"branch:{self.id}" if self.is_branch else f"run:{self.id}"


class Substrate(ABC):
    """Many ledgers. Implementations are judged by ``kando.testing.substrates.SubstrateContract``.

    Ids are unique over runs and branches together.
    """

    @abstractmethod
    def create(self, ledger_id: str) -> LedgerStore:
        """Create the empty ledger of a new run.

        Raises:
            LedgerExists: the id is taken.
            ConfigurationError: the id is malformed.
        """

    @abstractmethod
    def open(self, ledger_id: str) -> LedgerStore:
        """Open an existing run or branch.

        Raises:
            LedgerNotFound: there is none with this id; nothing was created.
        """

    @abstractmethod
    def fork(self, parent_id: str, position: int, branch_id: str) -> LedgerStore:
        """Create a branch that shares the first `position` events of its parent.

        No event is copied or read: the cost does not depend on the length of the parent. The
        caller records ``branch.created`` (see `kando.branch.fork.fork`).

        Raises:
            LedgerNotFound: no such parent.
            PositionOutOfRange: `position` is negative or past the end of the parent.
            LedgerExists: the branch id is taken.
        """

    def fork_with(
        self, parent_id: str, position: int, branch_id: str, events: Sequence[RecordedEvent]
    ) -> LedgerStore:
        """Create a branch as `fork` does, with the first events of its own.

        A substrate that can do it all in one step overrides this.
        """
        branch = self.fork(parent_id, position, branch_id)
        branch.append([*events], expected_length=position)
        return branch

    @abstractmethod
    def info(self, ledger_id: str) -> LedgerInfo:
        """Describe one ledger.

        Raises:
            LedgerNotFound: there is none with this id.
        """

    @abstractmethod
    def ledgers(self) -> Iterator[LedgerInfo]:
        """Describe every ledger, newest first."""

    def ids_starting_with(self, prefix: str, limit: int) -> list[str]:
        """Return up to `limit` ledger ids that start with `prefix`, sorted."""
        return sorted(i.id for i in self.ledgers() if i.id.startswith(prefix))[:limit]

    @abstractmethod
    def cached(self, ledger_id: str, key: str) -> bytes | None:
        """Return the response stored under `key` by this ledger or an ancestor, nearest first."""

    @abstractmethod
    def cache(self, ledger_id: str, key: str, response: bytes) -> None:
        """Store a response of this ledger; the first one stored under a key stays.

        Raises:
            LedgerNotFound: there is no such ledger.
        """

    def snapshot(self, ledger_id: str) -> bytes | None:
        """Return what `store_snapshot` was given last for a ledger, or None.

        A substrate may keep no snapshots: they only save time.
        """
        return None

    def store_snapshot(self, ledger_id: str, body: bytes) -> None:  # noqa: B027 - optional
        """Keep a snapshot of a ledger in place of the one before.

        Raises:
            LedgerNotFound: there is no such ledger.
        """

    @abstractmethod
    def deliver(self, ledger_id: str, entry: InboxEntry) -> bool:
        """Put an entry into a ledger's inbox, durably; the ledger's owner records it.

        Returns:
            False if the key was delivered before; the first entry stays.

        Raises:
            LedgerNotFound: there is no such ledger.
            InvalidData: the entry's data is not JSON.
        """

    @abstractmethod
    def inbox(self, ledger_id: str) -> list[InboxEntry]:
        """Return the entries that were delivered and not taken, in the order of delivery.

        Raises:
            LedgerNotFound: there is no such ledger.
        """

    @abstractmethod
    def acknowledge(self, ledger_id: str, key: str) -> None:
        """Mark an entry as taken. Taking it twice, or one that is not there, is harmless."""

    @abstractmethod
    def register_worker(self, ledger_id: str, worker: Worker) -> None:
        """Note that a process works on a ledger now; an older notice is replaced.

        Raises:
            LedgerNotFound: there is no such ledger.
        """

    @abstractmethod
    def unregister_worker(self, ledger_id: str, worker: Worker) -> None:
        """Remove the notice of a process, if it is still the one that stands."""

    @abstractmethod
    def worker(self, ledger_id: str) -> Worker | None:
        """Return the notice that stands, or None.

        Raises:
            LedgerNotFound: there is no such ledger.
        """

    def group(self, name: str) -> ResponderGroup:
        """Open a responder group; one without jobs is a group as well.

        Raises:
            ConfigurationError: the name is malformed.
            StoreError: the substrate has no groups, or was opened read-only.
        """
        msg = f"{type(self).__name__} has no responder groups."
        raise StoreError(msg, hint="Use a SQLite file, or an EventStoreDB server.")

    def groups(self) -> list[str]:
        """Return the names of the responder groups that have jobs, sorted."""
        return []

    @abstractmethod
    def close(self) -> None:
        """Release files and connections. Closing twice is harmless."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def check_ledger_id(ledger_id: str) -> str:
    """Return a well-formed ledger id, or refuse it.

    An id is 1 to 100 characters of ``a-z A-Z 0-9 . _ -`` and starts with a letter or digit, so
    that it fits file names, URLs and stream names everywhere.

    Raises:
        ConfigurationError: it is malformed.
    """
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    if 1 <= len(ledger_id) <= 100 and set(ledger_id) <= allowed and ledger_id[0].isalnum():
        return ledger_id
    msg = f"{ledger_id[:120]!r} is not a run id."
    raise ConfigurationError(
        msg, hint="Use 1 to 100 letters, digits, '.', '_' or '-', starting with a letter or digit."
    )
