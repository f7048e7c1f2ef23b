"""The branches of a run, as a tree."""

from __future__ import annotations

import attrs

from kando.app.opened import OpenedRun

__all__ = ["Branch", "branches_of"]


@attrs.frozen
class Branch:
    """A run or branch in the tree of one run.

    Attributes:
        id: of the run or branch.
        parent_id: of the ledger it was forked from; None for the run.
        fork_position: number of events that it shares with its parent; None for the run.
        length: number of events, including shared ones.
        depth: 0 for the run, 1 for its branches, and so on.
    """

    id: str
    parent_id: str | None
    fork_position: int | None
    length: int
    depth: int


def branches_of(run: OpenedRun) -> list[Branch]:
    """Return the run that `run` descends from, and all its branches, each after its parent.

    Args:
        run: the opened run, or any of its branches.
    """
    id = run.id
    if run.is_demo_run:
        return [Branch(id, None, None, run.ledger.length(), 0)]
    infos = {info.id: info for info in reversed(list(run.context.substrate().ledgers()))}
    children: dict[str | None, list[str]] = {}
    for info in infos.values():
        children.setdefault(info.parent_id, []).append(info.id)
    while (parent := infos[id].parent_id) is not None:
        id = parent
    found: list[Branch] = []
    waiting = [(id, 0)]
    while waiting:
        id, depth = waiting.pop()
        info = infos[id]
        found.append(Branch(id, info.parent_id, info.fork_position, info.length, depth))
        waiting += [(child, depth + 1) for child in reversed(children.get(id, []))]
    return found
