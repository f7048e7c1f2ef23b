"""The view workspace: the tree of files that a run has at a position of its ledger."""

from __future__ import annotations

from itertools import islice

import attrs

from kando.ledger.interface import LedgerStore
from kando.schema.events import RecordedEvent
from kando.schema.trees import tree_named_by

__all__ = ["WorkspaceView", "tree_at"]


@attrs.define
class WorkspaceView:
    """The tree of a run after the events observed so far.

    Attributes:
        length: number of events observed so far.
        tree: digest of the tree; None if the run has used no workspace.
    """

    length: int = 0
    tree: bytes | None = None

    def observe(self, event: RecordedEvent) -> None:
        """Process the next event of a ledger."""
        self.length += 1
        named = tree_named_by(event)
        if named is not None:
            self.tree = named

    def catch_up(self, ledger: LedgerStore) -> bytes | None:
        """Process the events recorded since the last one observed, and return the tree."""
        for event in ledger.read(self.length):
            self.observe(event)
        return self.tree


def tree_at(ledger: LedgerStore, end: int) -> bytes | None:
    """Return the digest of the tree after the first `end` events of a ledger, or None."""
    view = WorkspaceView()
    for event in islice(ledger.read(0), end):
        view.observe(event)
    return view.tree
