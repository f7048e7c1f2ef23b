"""Delete a run with the child runs that it started, for good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import islice

import attrs

from kando.app.child_ids import child_ids_of
from kando.app.children import start_of
from kando.app.claims import RunClaim
from kando.app.context import Context
from kando.app.daily_spending import spent_today
from kando.app.opened import OpenedRun
from kando.app.operator import OperatorLimits
from kando.app.run import Run
from kando.errors import ConfigurationError, LedgerInUse, RunBusy, StoreDamaged
from kando.ledger.checks import has_branches
from kando.ledger.substrate import LedgerInfo
from kando.views.children import keys_of_requested_runs
from kando.views.spending import CHARGED, Accounts, spent_by

__all__ = ["Deletion", "delete_for_client", "delete_run", "deletion_of"]


@attrs.frozen
class Deletion:
    """A deletion: a run, and the child runs that are deleted with it.

    Attributes:
        lengths: of the ledgers, by id: of its child runs, theirs before them, and of the run, which
            is last. On a branch the shared events count.
        events: number of the events that are deleted: those that a branch shares stay.
        spent: what these events were charged.
    """

    lengths: dict[str, int]
    events: int
    spent: Accounts

    @property
    def run_ids(self) -> list[str]:
        """The ids, the run's last."""
        return [*self.lengths]


def deletion_of(run: OpenedRun) -> Deletion:
    """Return what the deletion of a run deletes, after a check that it may be deleted.

    Raises:
        LedgerInUse: a branch that is not deleted with it shares its events, or those of a child run;
            or it is a child run, and the run that started it exists.
    """
    started = None
    # A damaged run can be deleted, too.
    with suppress(StoreDamaged):
        started = start_of(run)
    if started is not None:
        parent = started[0].id
        msg = f"{run.id} is a child run of {parent}, which would start it again."
        raise LedgerInUse(msg, hint=f"`kando delete {parent}` deletes both.")
    infos = {info.id: info for info in run.context.substrate().ledgers()}
    found = Deletion({}, 0, Accounts())
    for each in _with_children(run, infos):
        found = each.after(found)
    for id in reversed(found.run_ids):
        branches = {each.id for each in infos.values() if each.parent_id == id}
        if others := branches.difference(found.lengths):
            raise has_branches(id, sorted(others))
    return found


@attrs.frozen
class _Found:
    """A run that is deleted; see `Deletion`."""

    id: str
    length: int
    events: int
    spent: Accounts

    def after(self, found: Deletion) -> Deletion:
        """Return a deletion with this run after the others."""
        lengths = found.lengths | {self.id: self.length}
        return Deletion(lengths, found.events + self.events, found.spent + self.spent)


def _with_children(run: OpenedRun, infos: dict[str, LedgerInfo]) -> Iterator[_Found]:
    """Yield the child runs of a run, theirs before them, then the run itself."""
    substrate, stream = run.context.substrate(), run.ledger.stream_name()
    info = infos.get(run.id) or substrate.info(run.id)
    shared, spent, keys = info.fork_position or 0, Accounts(), list[str]()
    # The rest of a damaged ledger goes with it.
    with suppress(StoreDamaged):
        for event in islice(run.ledger.read_all(), info.length):
            keys += keys_of_requested_runs([event])
            if event.position >= shared and event.type in CHARGED:
                spent += spent_by(event)
    for key in keys:
        for id in child_ids_of(stream, key):
            # An empty one, too, which a killed start leaves.
            if id in infos:
                yield from _with_children(OpenedRun(run.context, substrate.open(id)), infos)
    yield _Found(run.id, info.length, info.length - shared, spent)


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
        claimed: set[str] = set()
        # A process may have started a child until its run was claimed, for a request that was recorded.
        while missing := [id for id in wanted.run_ids if id not in claimed]:
            for id in missing:
                _claim(claims, context, id)
            claimed.update(missing)
            wanted = deletion_of(OpenedRun(context, run.ledger))
        if unless_spent_today:
            _refuse_spending(context, wanted.run_ids)
        for id in wanted.run_ids:
            OpenedRun(context, substrate.open(id)).remove_snapshot()
            substrate.delete(id)
    return wanted.run_ids


def delete_for_client(run: Run, named: str, limits: OperatorLimits) -> list[str]:
    """Delete a run for a client of a server, and return the ids as `delete_run` does.

    Args:
        run: that the client named.
        named: what the client named it: only the whole id counts.
        limits: of the operator.

    Raises:
        ConfigurationError: `named` is not the whole id.
        LedgerInUse, RunBusy, StoreError: as for `delete_run`. Under a limit per day, a run that has
            spent money today is refused.
    """
    if run.id != named:
        msg = f"{named!r:.80} is not the whole id of a run."
        raise ConfigurationError(msg, hint=f"To delete it for good, name {run.id}.")
    # Else a client could lift the limit per day by deleting what was spent.
    return run.delete(unless_spent_today=limits.max_usd_per_day is not None)


def _claim(claims: ExitStack, context: Context, run_id: str) -> None:
    try:
        claims.enter_context(RunClaim(context, run_id))
    except RunBusy as error:
        hint = f"`kando cancel {run_id}` stops it; then delete it."
        raise RunBusy(error.message, hint=hint) from error


def _refuse_spending(context: Context, run_ids: Sequence[str]) -> None:
    """Refuse to delete runs that have spent money today: the limit per day counts what ledgers hold."""
    spent = spent_today(context, run_ids)
    if spent.llm_cost_usd or spent.llm_unpriced:
        msg = f"{run_ids[-1]} has spent money today, which the limit per day counts."
        raise LedgerInUse(
            msg, hint=f"Delete it after midnight (UTC), or by `kando delete {run_ids[-1]}`."
        )
