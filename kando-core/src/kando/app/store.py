"""A store: the runs of one substrate, for the command line, kando-mcp and programs that embed Kando."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from kando._closing import Closing
from kando.app.addresses import parse_address
from kando.app.context import Context
from kando.app.opened import open_address, open_run
from kando.app.run import Run
from kando.app.threads import in_thread

if TYPE_CHECKING:
    from kando.app.activities import Activity
    from kando.app.approvals import ApprovalPage
    from kando.app.compare import Outcome
    from kando.app.export import ImportResult
    from kando.app.inspect import RunPage
    from kando.app.kits.settings import KitSettings
    from kando.app.providers import Listen, Provider
    from kando.app.tool_servers import GivenServers
    from kando.evaluation import CaseResult, Evaluation
    from kando.kit import Kit
    from kando.ledger.verification import Verdict
    from kando.plugins import Plugins
    from kando.responders.budget import Budget

__all__ = ["Store", "open_store"]


def open_store(
    url: str | None = None,
    *,
    kits: Iterable[Kit] = (),
    environ: Mapping[str, str] | None = None,
    plugins: Plugins | None = None,
    listen: Listen | None = None,
    llm_options: Mapping[str, Any] | None = None,
) -> Store:
    """Open a store; use it as a context manager, so that it is closed again.

    One store serves a whole process: any thread may use it, and several runs of it may be worked on
    at once. The substrate itself is opened on first use: a store that only reads creates no file.

    Args:
        url: of the substrate, such as ``sqlite:PATH``, ``postgresql://...``, ``esdb://...`` or
            ``memory:``; that of the command line if None: ``KANDO_LEDGER``, ``EVENTSTORE_URL``, or a
            SQLite file under the user's data directory.
        kits: kits that are not installed as plugins. A ledger holds the name of its kit only: a
            process that resumes, replays or checks a run of such a kit passes the kit here.
        environ: settings and keys; those of the process if None.
        plugins: the installed plugins; looked up on first use if None.
        listen: receives the text of answers as it streams in.
        llm_options: of all requests to models, such as ``max_tokens``; they override those in
            ``KANDO_LLM_OPTIONS``, which override the kit's.
    """
    settings = os.environ if environ is None else environ
    context = Context(plugins, settings, url, listen, {}, dict(llm_options or {}))
    for kit in kits:
        context.remember(kit)
    return Store(context)


@attrs.frozen
class Store(Closing):
    """The runs of one substrate. Any thread may call any method.

    Attributes:
        context: the plugins, the settings and the substrate.
    """

    context: Context

    @property
    def url(self) -> str:
        """URL of the substrate."""
        return self.context.url

    def start(
        self,
        kit: str | Kit,
        goal: str | None = None,
        *,
        inputs: Sequence[str | Path] = (),
        demo: bool = False,
        llm: str | Provider | None = None,
        budget: Budget | None = None,
        settings: KitSettings | None = None,
        group: str | None = None,
        workspace: str | Path | None = None,
        mcp: GivenServers | None = None,
        labels: Mapping[str, str] | None = None,
        work: bool = True,
        on_started: Callable[[str], None] = lambda run_id: None,
    ) -> Run:
        """Start a run of a kit and work on it until no work is left.

        Args:
            kit: the kit, or its name. The store remembers a kit for the runs that name it.
            goal: goal of the run; None only for a demo, which has a goal.
            inputs: files and folders, read before anything is recorded.
            demo: whether to work from the kit's demo documents; the demo's script answers unless
                `llm` is given.
            llm: ``provider`` or ``provider:argument``, or an open provider, which stays open; from
                the environment if None. Without `work`, the ledger keeps the name of the provider.
            budget: limits of the run, which its ledger remembers.
            settings: of the kit: by name, or an instance of its class; the defaults if omitted.
            group: the responder group whose workers do the work, instead of this process.
            workspace: folder whose files the run's workspace has first; they are copied.
            mcp: MCP servers to add to the run, by name: a command or a URL.
            labels: of the run: values by name. Its child runs get them, too.
            work: whether to work on the run now; without it only the goal and the inputs are
                recorded, and `Run.resume` works on it, in any process.
            on_started: called with the run's id as soon as it is durable.

        Raises:
            UnknownPlugin: no such kit or provider is installed.
            ConfigurationError: the kit cannot be started from a goal, or the goal is missing.
            NotFoundError: the kit has no demo.
            PluginBroken: the kit fails to make seeds for the goal.
            RefusedEvent: a seed or a label cannot be recorded; no event was recorded.
            Exception: the error of a responder; the run can be resumed.
        """
        from kando.app.start import create_run, start_run

        self.context.remember(kit)
        if not work:
            id = create_run(
                self.context,
                kit,
                goal,
                inputs=inputs,
                demo=demo,
                budget=budget,
                settings=settings,
                workspace=workspace,
                mcp=mcp,
                labels=labels,
                llm=llm if isinstance(llm, str) else None,
            )
            on_started(id)
            return self._run(id)
        result = start_run(
            self.context,
            kit,
            goal,
            inputs=inputs,
            demo=demo,
            llm=llm,
            budget=budget,
            settings=settings,
            group=group,
            workspace=workspace,
            mcp=mcp,
            labels=labels,
            on_started=on_started,
        )
        return Run(result.status.run_id, result, context=self.context)

    astart = in_thread(start)

    def activities(self) -> list[Activity]:
        """Return what the threads of this store are doing now, in the order in which they began.

        It costs next to nothing, and any thread may ask at any time: for a display of progress, or
        for the health check of a service. Work on a run has its `kando.views.progress.Progress`.
        """
        return self.context.activities.now()

    def run(self, name: str) -> Run:
        """Return a run or branch.

        Args:
            name: an id, a unique prefix, ``@last``, or ``demo`` for the demo run.

        Raises:
            LedgerNotFound: no run matches.
            AmbiguousName: the prefix matches several runs.
            PositionOutOfRange: the name is ``RUN@N``.
        """
        return self._run(open_run(self.context, name).id)

    def run_at(self, address: str, at: int | None = None) -> tuple[Run, int]:
        """Return the run that an address names, and how many of its events are addressed.

        Args:
            address: ``RUN``, or ``RUN@N`` for its first N events.
            at: takes precedence over the N of the address.

        Raises:
            LedgerNotFound, AmbiguousName: as for `run`.
            PositionOutOfRange: the run is shorter.
        """
        run, end = open_address(self.context, address, at)
        return self._run(run.id), end

    def fork(self, address: str, at: int | None = None, **changes: Any) -> Run:
        """Fork the run that an address names; see `Run.fork`.

        Args:
            address: ``RUN`` or ``RUN@N``.
            at: takes precedence over the N of the address.
            changes: as for `Run.fork`.
        """
        parsed = parse_address(address)
        position = at if at is not None else parsed.position
        return self.run(parsed.ledger).fork(at=position, **changes)

    def runs(
        self,
        *,
        state: str | None = None,
        kit: str | None = None,
        text: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> RunPage:
        """Return the states of runs and branches, newest first.

        Args:
            state: only runs in this state, such as ``waiting``.
            kit: only runs of the kit with this name.
            text: only runs whose id or goal contains it, in any case.
            labels: only runs that have all of these labels.
            limit: maximum number of runs.
            cursor: the ``next_cursor`` of the previous page.

        Raises:
            ConfigurationError: the cursor is malformed.
            InvalidData: a label is malformed.
        """
        from kando.app.inspect import list_runs

        return list_runs(
            self.context, limit, cursor, state=state, kit=kit, text=text, labels=labels
        )

    def approvals(self, *, limit: int = 20, cursor: str | None = None) -> ApprovalPage:
        """Return the approvals that runs and branches wait for; those of the newest run first.

        Args:
            limit: maximum number of approvals.
            cursor: the ``next_cursor`` of the previous page.

        Raises:
            ConfigurationError: the cursor is malformed.
        """
        from kando.app.approvals import approvals_in_store

        return approvals_in_store(self.context, limit, cursor)

    def verify_all(self) -> Iterator[tuple[str, Verdict]]:
        """Yield the id and the verdict of each run and branch, newest first; see `Run.verify`."""
        from kando.app.verify import verify_store

        return verify_store(self.context)

    def compare(self, names: Sequence[str]) -> list[Outcome]:
        """Return the outcomes of several runs or branches side by side.

        Raises:
            LedgerNotFound, AmbiguousName: as for `run`.
        """
        from kando.app.compare import compare_outcomes

        return compare_outcomes([open_run(self.context, name) for name in names])

    def evaluate(
        self,
        kit: str | Kit,
        evaluation: Evaluation | None = None,
        *,
        cases: int | None = None,
        seed: int = 0,
        errors: Sequence[float] = (0.0, 0.1, 0.3),
        llm: str | Provider | None = None,
        budget: Budget | None = None,
    ) -> Iterator[CaseResult]:
        """Run the cases of a kit's evaluation one after the other, and yield the result of each.

        The store keeps the runs. `kando.evaluation.summarized` adds the results up.

        Args:
            kit: the kit, or the name of an installed one.
            evaluation: of the kit; the one that its `kando.plugins.KitSpec` names if None.
            cases: how many cases to run; all if None.
            seed: of the cases and of the mistakes of the oracle.
            errors: rates at which the oracle errs; each case is run once with each.
            llm: a provider that answers instead of the oracle: each case is run once then.
            budget: limits of each run.

        Raises:
            UnknownPlugin: no such kit or provider is installed.
            NotFoundError: the kit has no evaluation.
            ConfigurationError: a rate is not between 0 and 1, or there are no cases.
            StoreError: the substrate cannot be used.
        """
        from kando.app.eval import evaluate

        return evaluate(
            self.context,
            kit,
            evaluation,
            cases=cases,
            seed=seed,
            errors=errors,
            llm=llm,
            budget=budget,
        )

    def import_run(
        self,
        lines: Iterable[bytes],
        *,
        accepts_approvals: bool = False,
        accepts_choices: bool = False,
    ) -> ImportResult:
        """Import a run or branch that was exported as JSON Lines, exactly as it was, with its children.

        Args:
            lines: of the file.
            accepts_approvals: whether to accept approvals of calls that are not made yet.
            accepts_choices: whether a branch in the file chooses the provider and the model that are
                asked, and whether tools write without asking.

        Raises:
            InvalidData: the file is malformed, or contains approvals that are not accepted.
            LedgerExists: a run or branch of this id already exists.
            StoreError: the substrate cannot be used.
        """
        from kando.app.export import import_run

        return import_run(
            self.context,
            lines,
            accepts_approvals=accepts_approvals,
            accepts_choices=accepts_choices,
        )

    def delete(self, run_id: str, *, unless_spent_today: bool = False) -> list[str]:
        """Delete a run and the child runs that it started, for good, and return their ids.

        Their events, messages, cached answers and snapshots go, and the files that no other needs.
        Processes that follow or work on them get a LedgerDeleted.

        Args:
            run_id: an id, a unique prefix or ``@last``.
            unless_spent_today: refuse to delete runs that have spent money since midnight (UTC): a
                limit per day counts what the ledgers hold.

        Returns:
            The ids of the child runs, theirs before them, and of the run, which is last. A deletion
            that was interrupted can be repeated.

        Raises:
            LedgerNotFound, AmbiguousName: as for `run`; the demo run cannot be deleted.
            LedgerInUse: a branch that is not deleted shares its events; or it is the child run of a
                run that exists; or it has spent money today. Nothing was deleted.
            RunBusy: another thread or process works on one of them. Nothing was deleted.
            StoreError: the substrate does not support deletion.
        """
        from kando.app.delete import delete_run

        run = open_run(self.context, run_id, read_only=False)
        return delete_run(run, unless_spent_today=unless_spent_today)

    def close(self) -> None:
        """Close everything that was opened; no run may be worked on any more."""
        self.context.close()

    def _run(self, id: str) -> Run:
        return Run(id, context=self.context)
