"""Draft the first events of a branch, before the branch is created."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from kando.ledger.checks import check_from_position
from kando.ledger.completion import complete
from kando.ledger.interface import LedgerStore
from kando.schema.events import KandoEvent, RecordedEvent

__all__ = ["BranchDraft"]


class BranchDraft(LedgerStore):
    """The future ledger of a branch, with the events after its shared prefix in memory.

    Args:
        parent: ledger to be forked; it is not changed.
        head: the ``branch.created`` of the branch; its position is the fork position.
    """

    def __init__(self, parent: LedgerStore, head: RecordedEvent) -> None:
        self._parent = parent
        self.keeps_blobs = parent.keeps_blobs
        self._shared = head.position
        self._stream = head.source
        self.own = [head]

    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        start = self.length()
        keeps = self.keeps_blobs
        self.own += [
            complete(event, n, self._stream, keeps_blobs=keeps)
            for n, event in enumerate(events, start)
        ]
        return self.length()

    def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        check_from_position(self._stream, from_position)
        shared = max(self._shared - from_position, 0)
        if shared:
            yield from islice(self._parent.read(from_position), shared)
        yield from self.own[max(from_position - self._shared, 0) :]

    def blobs(self, digests: Sequence[bytes]) -> Mapping[bytes, bytes]:
        return self._parent.blobs(digests)

    def stream_name(self) -> str:
        return self._stream

    def length(self) -> int:
        return self._shared + len(self.own)
