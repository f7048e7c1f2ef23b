"""Delete a run with the child runs that it started, for good."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress

import attrs

from kando.app.child_ids import child_ids_of
from kando.app.children import start_of
from kando.app.claims import RunClaim
from kando.app.context import Context
from kando.app.daily_spending import spent_today
from kando.app.opened import OpenedRun
from kando.errors import LedgerInUse, RunBusy, StoreDamaged
from kando.ledger.checks import has_branches
from kando.ledger.interface import LedgerStore
from kando.ledger.substrate import LedgerInfo
from kando.schema.events import RecordedEvent
from kando.views.children import keys_of_requested_runs

__all__ = ["Deletion", "delete_run", "deletion_of"]


@attrs.frozen
class Deletion:
    """What is deleted with a run.

    Attributes:
        run_ids: of its child runs, theirs before them, and of the run, which is last.
        events: their number, without those that a branch shares with its parent.
    """

    run_ids: tuple[str, ...]
    events: int


def deletion_of(run: OpenedRun) -> Deletion:
    """Return what the deletion of a run deletes, after a check that it may be deleted.

    Raises:
        LedgerInUse: a branch that is not deleted with it shares its events, or those of a child run;
            or it is a child run, and the run that started it exists.
    """
    started = None
    with suppress(StoreDamaged):
        started = start_of(run)
    if started is not None:
        parent = started[0].id
        msg = f"{run.id} is a child run of {parent}, which would start it again."
        raise LedgerInUse(msg, hint=f"`kando delete {parent}` deletes both.")
    infos = {info.id: info for info in run.context.substrate().ledgers()}
    # A run that has just begun may be missing; then it has no branch either.
    found = [*_with_children(run, infos)]
    for id in reversed(found):
        others = {each.id for each in infos.values() if each.parent_id == id}.difference(found)
        if others:
            raise has_branches(id, sorted(others))
    own = (infos[id].length - (infos[id].fork_position or 0) for id in found if id in infos)
    return Deletion(tuple(found), sum(own))


def _with_children(run: OpenedRun, infos: dict[str, LedgerInfo]) -> Iterator[str]:
    """Yield the ids of the child runs of a run, theirs before them, then its own."""
    substrate, stream = run.context.substrate(), run.ledger.stream_name()
    for key in keys_of_requested_runs(_readable(run.ledger)):
        for id in child_ids_of(stream, key):
            # An empty one, too, which a killed start leaves.
            if id in infos:
                yield from _with_children(OpenedRun(run.context, substrate.open(id)), infos)
    yield run.id


def _readable(ledger: LedgerStore) -> Iterator[RecordedEvent]:
    """Yield the events up to the first that is damaged: such a run can be deleted, too."""
    with suppress(StoreDamaged):
        yield from ledger.read_all()


def delete_run(run: OpenedRun, *, unless_spent_today: bool = False) -> list[str]:
    """Delete a run and the child runs that it started, and return their ids.

    Child runs are deleted first: a deletion that was interrupted can be repeated.

    Args:
        run: opened for writing.
        unless_spent_today: refuse runs that have spent money since midnight (UTC).

    Raises:
        LedgerInUse: as for `deletion_of`, or a run has spent money today; nothing was deleted.
        RunBusy: another process or thread works on one of them; nothing was deleted.
        StoreError: the substrate does not support deletion; nothing was deleted.
    """
    context, substrate = run.context, run.context.substrate(read_only=False)
    # Checked before the claims: a run that is in use is not disturbed.
    wanted = deletion_of(run)
    with ExitStack() as claims:
        for id in wanted.run_ids:
            _claim(claims, context, id)
        # Nobody works on them from now on, so no more child runs are started.
        now = deletion_of(OpenedRun(context, run.ledger)).run_ids
        for id in now:
            if id not in wanted.run_ids:
                _claim(claims, context, id)
        if unless_spent_today:
            _refuse_spending(context, now)
        for id in now:
            opened = OpenedRun(context, substrate.open(id))
            opened.remove_snapshot()
            substrate.delete(id)
    return [*now]


def _claim(claims: ExitStack, context: Context, run_id: str) -> None:
    try:
        claims.enter_context(RunClaim(context, run_id))
    except RunBusy as error:
        hint = f"`kando cancel {run_id}` stops it; then delete it."
        raise RunBusy(error.message, hint=hint) from error


def _refuse_spending(context: Context, run_ids: tuple[str, ...]) -> None:
    """Refuse to delete runs that have spent money today: the limit per day counts what ledgers hold."""
    spent = spent_today(context, run_ids)
    if spent.llm_cost_usd or spent.llm_unpriced:
        msg = f"{run_ids[-1]} has spent money today, which the limit per day counts."
        raise LedgerInUse(msg, hint="Delete it after midnight (UTC), or by `kando delete`.")
