"""The branches of a run, as a tree."""

from __future__ import annotations

import attrs

from kando.app.addresses import starter_of
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
        depth: 0 for the run, 1 for its branches and child runs, and so on.
        started_by: id of the run that started it as a child; None for any other run.
    """

    id: str
    parent_id: str | None
    fork_position: int | None
    length: int
    depth: int
    started_by: str | None = None


def branches_of(run: OpenedRun) -> list[Branch]:
    """Return the run that `run` descends from, its branches and child runs, each after its parent.

    Args:
        run: the opened run, or any of its branches.
    """
    id = run.id
    if run.is_demo_run:
        return [Branch(id, None, None, run.ledger.length(), 0)]
    substrate = run.context.substrate()
    infos = {info.id: info for info in reversed(list(substrate.ledgers()))}
    if id not in infos:
        # It was deleted meanwhile, which this raises.
        infos[id] = substrate.info(id)
    starters = {info.id: starter_of(substrate, info) for info in infos.values()}
    above = {id: info.parent_id or starters[id] for id, info in infos.items()}
    children: dict[str | None, list[str]] = {}
    for each, parent in above.items():
        children.setdefault(parent, []).append(each)
    seen = {id}
    while (parent := above[id]) in infos and parent not in seen:
        id = str(parent)
        seen.add(id)
    found: list[Branch] = []
    waiting = [(id, 0)]
    while waiting:
        id, depth = waiting.pop()
        info = infos[id]
        found.append(
            Branch(id, info.parent_id, info.fork_position, info.length, depth, starters[id])
        )
        waiting += [(child, depth + 1) for child in reversed(children.get(id, []))]
    return found
