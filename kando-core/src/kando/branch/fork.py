"""Fork a ledger: a branch is a parent, a position and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, overload

import attrs

from kando.errors import PositionOutOfRange
from kando.ledger.interface import LedgerStore
from kando.ledger.substrate import Substrate
from kando.schema.events import BRANCH_CREATED, RecordedEvent
from kando.schema.exact_json import encode
from kando.schema.identity import head_id, root_key

__all__ = ["BranchMeta", "fork"]


@attrs.frozen
class BranchMeta:
    """The parent of a branch, and the position of its fork.

    Attributes:
        branch_id: its id, without ``branch:``.
        parent_run_id: the run or branch it was forked from.
        fork_position: how many events it shares with its parent.
    """

    branch_id: str
    parent_run_id: str
    fork_position: int


@overload
def fork(
    substrate: Substrate, parent_id: str, position: int, branch_id: str, *, actor: str = "cli"
) -> LedgerStore: ...


@overload
def fork(parent_run_id: str, fork_position: int, branch_id: str) -> BranchMeta: ...


def fork(*args: Any, **named: Any) -> BranchMeta | LedgerStore:
    """Open a branch that shares the first `position` events of its parent.

    Nothing is copied or executed: the cost does not depend on the length of the parent. The
    first event of the branch's own is ``branch.created``; it follows from the last shared event.

    Without a substrate nothing is opened: ``fork(parent_run_id, fork_position, branch_id)``
    returns the values that describe such a branch.

    Args:
        substrate: where the parent lives, and the branch will.
        parent_id: a run or a branch.
        position: 0 to the length of the parent; it may cut a firing in two.
        branch_id: id of the new branch.
        actor: who forks.

    Raises:
        LedgerNotFound: the parent does not exist.
        PositionOutOfRange: `position` is negative or past the end of the parent.
        LedgerExists: the branch id is taken.
    """
    is_described = isinstance(args[0], str) if args else "substrate" not in named
    return _described(*args, **named) if is_described else _forked(*args, **named)


def _described(parent_run_id: str, fork_position: int, branch_id: str) -> BranchMeta:
    if fork_position < 0:
        msg = f"Cannot fork {parent_run_id} at {fork_position}."
        raise PositionOutOfRange(msg, hint="Positions start at 0.")
    return BranchMeta(branch_id, parent_run_id, fork_position)


def _forked(
    substrate: Substrate, parent_id: str, position: int, branch_id: str, *, actor: str = "cli"
) -> LedgerStore:
    head = head_of(substrate.open(parent_id), BranchMeta(branch_id, parent_id, position), actor)
    return substrate.fork_with(parent_id, position, branch_id, [head])


def head_of(parent: LedgerStore, meta: BranchMeta, actor: str = "cli") -> RecordedEvent:
    """Return the ``branch.created`` that the events of a branch's own begin with.

    Args:
        parent: ledger that is forked.
        meta: of the branch.
        actor: who forks.
    """
    last = parent.at(meta.fork_position - 1) if meta.fork_position > 0 else None
    stream = f"branch:{meta.branch_id}"
    data = attrs.asdict(meta)
    return RecordedEvent(
        head_id(stream),
        BRANCH_CREATED,
        stream,
        actor,
        [last.id] if last is not None else [],
        datetime.now(UTC),
        data,
        position=meta.fork_position,
        lineage_key=root_key(BRANCH_CREATED, meta.branch_id.encode(), 0),
        encoded=encode(data),
    )
