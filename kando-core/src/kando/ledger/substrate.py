"""The interface of a substrate, which stores many ledgers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import attrs

from kando._closing import Closing
from kando.errors import ConfigurationError, StoreError
from kando.ledger.claims import Claim, Slot, Worker
from kando.ledger.inbox import InboxEntry
from kando.ledger.interface import LedgerStore
from kando.schema.events import RecordedEvent

if TYPE_CHECKING:
    from kando.ledger.groups import ResponderGroup

__all__ = ["LedgerInfo", "Substrate", "check_ledger_id", "is_ledger_id"]


@attrs.frozen
class LedgerInfo:
    """Metadata of a ledger, known without reading its events.

    Attributes:
        id: of the run or branch, without its ``run:`` or ``branch:``.
        created_at: timezone-aware.
        length: number of events; on a branch the shared prefix counts.
        parent_id: id of the ledger that a branch was forked from; None for a run.
        fork_position: number of events that a branch shares with its parent; None for a run.
    """

    id: str
    created_at: datetime
    length: int
    parent_id: str | None = None
    fork_position: int | None = None

    @property
    def is_branch(self) -> bool:
        """Whether the ledger is a branch, which shares a prefix with its parent."""
        return self.parent_id is not None

    @property
    def stream_name(self) -> str:
        """The ledger's identity: ``run:{id}`` or ``branch:{id}``."""
        return f"branch:{self.id}" if self.is_branch else f"run:{self.id}"


class Substrate(Closing):
    """Many ledgers. Implementations must pass ``kando.testing.substrates.SubstrateContract``.

    An id names one run or one branch, never both.
    """

    @abstractmethod
    def create(self, ledger_id: str) -> LedgerStore:
        """Create the empty ledger of a new run.

        Raises:
            LedgerExists: the id already exists.
            ConfigurationError: the id is malformed.
        """

    @abstractmethod
    def open(self, ledger_id: str) -> LedgerStore:
        """Open an existing run or branch.

        Raises:
            LedgerNotFound: no run or branch has this id; nothing was created. If one was deleted, it
                is a LedgerDeleted.
        """

    @abstractmethod
    def fork(self, parent_id: str, position: int, branch_id: str) -> LedgerStore:
        """Create a branch that shares the first `position` events of its parent.

        No event is copied or read: the cost does not depend on the length of the parent. The
        caller records ``branch.created`` (see `kando.branch.fork.fork`).

        Raises:
            LedgerNotFound: the parent does not exist.
            PositionOutOfRange: `position` is negative or past the end of the parent.
            LedgerExists: the branch id already exists.
        """

    def fork_with(
        self, parent_id: str, position: int, branch_id: str, events: Sequence[RecordedEvent]
    ) -> LedgerStore:
        """Create a branch as `fork` does, and append the first events after the shared prefix.

        A substrate that can do both in one step overrides this.
        """
        branch = self.fork(parent_id, position, branch_id)
        branch.append([*events], expected_length=position)
        return branch

    @abstractmethod
    def info(self, ledger_id: str) -> LedgerInfo:
        """Return the metadata of one ledger.

        Raises:
            LedgerNotFound: no run or branch has this id.
        """

    @abstractmethod
    def ledgers(self) -> Iterator[LedgerInfo]:
        """Return the metadata of every ledger, newest first."""

    def ids_starting_with(self, prefix: str, limit: int) -> list[str]:
        """Return up to `limit` ledger ids that start with `prefix`, sorted."""
        return sorted(i.id for i in self.ledgers() if i.id.startswith(prefix))[:limit]

    def delete(self, ledger_id: str) -> None:
        """Delete a ledger with everything that belongs to it, as one step, for good.

        These are its events, its inbox, its cache, its snapshot, its claims, its jobs of responder
        groups and the blobs that no other ledger names. A process that still uses the ledger gets
        LedgerDeleted at its next step, and writes nothing. The caller claims the ledger first, and
        deletes its child runs (see `kando.app.delete`).

        A ledger of the same id may be created again if the substrate can do so: it is a new ledger,
        whose claims have greater epochs than those of the deleted one.

        Raises:
            LedgerNotFound: no run or branch has this id.
            LedgerInUse: a branch shares events with the ledger; nothing was deleted.
            StoreError: the substrate does not support deletion, or was opened read-only.
        """
        msg = f"{type(self).__name__} does not support the deletion of runs."
        raise StoreError(msg, hint="Use a SQLite file, or an EventStoreDB server.")

    @abstractmethod
    def cached(self, ledger_id: str, key: str) -> bytes | None:
        """Return the response cached under `key` by this ledger or its nearest ancestor, or None."""

    @abstractmethod
    def cache(self, ledger_id: str, key: str, response: bytes) -> None:
        """Cache a response for this ledger; a second one under the same key is ignored.

        Raises:
            LedgerNotFound: the ledger does not exist.
        """

    def cache_soon(self, ledger_id: str, key: str, response: bytes) -> None:
        """Cache a response like `cache`, for this substrate now, and for others with its next change.

        The ledger has the response already, so a crash may lose it. `close` stores it, too. A
        substrate need not override this.

        Raises:
            LedgerNotFound: the ledger does not exist.
        """
        self.cache(ledger_id, key, response)

    def snapshot(self, ledger_id: str) -> bytes | None:
        """Return the snapshot that was stored last for a ledger, or None.

        A substrate need not store snapshots: they only save time.
        """
        return None

    def store_snapshot(self, ledger_id: str, body: bytes) -> None:
        """Store a snapshot of a ledger, replacing the previous one.

        Raises:
            LedgerNotFound: the ledger does not exist.
        """

    @abstractmethod
    def deliver(self, ledger_id: str, entry: InboxEntry) -> bool:
        """Put an entry into a ledger's inbox, durably; the run that owns the ledger records it.

        Returns:
            False if an entry with this key was delivered before; the new one is ignored.

        Raises:
            LedgerNotFound: the ledger does not exist.
            InvalidData: the entry's data is not JSON.
        """

    @abstractmethod
    def inbox(self, ledger_id: str) -> list[InboxEntry]:
        """Return the entries that are not acknowledged yet, in the order of delivery.

        Raises:
            LedgerNotFound: the ledger does not exist.
        """

    @abstractmethod
    def acknowledge(self, ledger_id: str, key: str) -> None:
        """Remove an entry from the inbox; its key stays known. Acknowledging twice is harmless."""

    def acknowledge_soon(self, ledger_id: str, key: str) -> None:
        """Acknowledge an entry like `acknowledge`, for this substrate now, and for others with its next change.

        The ledger has what the entry says already, so a crash may lose it. `close` stores it, too. A
        substrate need not override this.
        """
        self.acknowledge(ledger_id, key)

    @abstractmethod
    def claim(
        self, ledger_id: str, worker: Worker, seconds: float, *, take_over: bool = False
    ) -> Claim | None:
        """Claim a ledger, so that no other process works on it.

        Of several that ask at once, one gets the claim. Its epoch is greater than that of every
        earlier claim of the ledger, released ones included.

        Args:
            ledger_id: of the run or branch.
            worker: that will work on it.
            seconds: until the claim ends unless it is renewed.
            take_over: claim it even if another claim is live; that one cannot be renewed then.

        Returns:
            None if another claim is live (`Claim.is_live`): its lease has not ended, and its holder
            is not known to be dead.

        Raises:
            LedgerNotFound: the ledger does not exist.
        """

    @abstractmethod
    def renew(self, claim: Claim, seconds: float) -> bool:
        """Extend the lease of a claim to `seconds` from now.

        It is called every few seconds: a substrate need not wait until it is on disk.

        Returns:
            False if the claim was released, or the ledger was claimed again or deleted.
        """

    @abstractmethod
    def release(self, claim: Claim) -> None:
        """Release a claim. Nothing happens if the ledger was claimed again or deleted."""

    @abstractmethod
    def claim_of(self, ledger_id: str) -> Claim | None:
        """Return the last claim of a ledger, which need not be live; None if it was released.

        Raises:
            LedgerNotFound: the ledger does not exist.
        """

    def last_claim(self, ledger_id: str) -> Claim | None:
        """Return the last claim of a ledger, released or not; None if it was never claimed.

        A message wakes the group of this claim. A substrate that does not keep released claims
        wakes it only while the claim is held.

        Raises:
            LedgerNotFound: the ledger does not exist.
        """
        return self.claim_of(ledger_id)

    @abstractmethod
    def acquire_slot(
        self, lane: str, limit: float, worker: Worker, seconds: float, weight: float = 1.0
    ) -> Slot | None:
        """Acquire one of the slots of a lane, for a call that all processes together limit.

        Args:
            lane: any text.
            limit: of the sum of the weights of the slots of the lane that are live at once: of
                their number, if each has the weight 1.
            worker: that makes the call.
            seconds: until the slot ends unless it is renewed.
            weight: of the slot, such as the cost of the call.

        Returns:
            None if the lane has no room for it (`kando.ledger.claims.has_room`).
        """

    @abstractmethod
    def renew_slot(self, slot: Slot, seconds: float) -> bool:
        """Extend the lease of a slot to `seconds` from now; return False if it has been lost."""

    @abstractmethod
    def release_slot(self, slot: Slot) -> None:
        """Release a slot. Releasing twice is harmless."""

    @abstractmethod
    def slots(self, lane: str) -> list[Slot]:
        """Return the live slots of a lane."""

    def group(self, name: str) -> ResponderGroup:
        """Open a responder group, which need not have jobs yet.

        Raises:
            ConfigurationError: the name is malformed.
            StoreError: the substrate does not support groups, or was opened read-only.
        """
        msg = f"{type(self).__name__} does not support responder groups."
        raise StoreError(msg, hint="Use a SQLite file, or an EventStoreDB server.")

    def groups(self) -> list[str]:
        """Return the names of the responder groups that have jobs, sorted."""
        return []

    @abstractmethod
    def close(self) -> None:
        """Release files and connections. Closing twice is harmless."""


_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def is_ledger_id(value: object) -> bool:
    """Whether a value is a well-formed ledger id (see `check_ledger_id`)."""
    return (
        isinstance(value, str)
        and 1 <= len(value) <= 100
        and _ID_CHARACTERS.issuperset(value)
        and value[0].isalnum()
    )


def check_ledger_id(ledger_id: str) -> str:
    """Return a ledger id if it is well-formed.

    An id is 1 to 100 characters of ``a-z A-Z 0-9 . _ -`` and starts with a letter or digit, so
    that it is valid in file names, URLs and stream names.

    Raises:
        ConfigurationError: the id is malformed.
    """
    if is_ledger_id(ledger_id):
        return ledger_id
    msg = f"{ledger_id[:120]!r} is not a valid run id."
    raise ConfigurationError(
        msg, hint="Use 1 to 100 letters, digits, '.', '_' or '-', starting with a letter or digit."
    )
