"""A run and its operations, for the command line, kando-mcp and services."""

# long: one class with a short method for each verb, most of it the reference of these methods.

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import attrs

from kando.app.context import Context
from kando.app.opened import OpenedRun, open_address, open_run
from kando.app.threads import in_thread

if TYPE_CHECKING:
    from kando.app.approvals import Approval
    from kando.app.artifacts import Artifact
    from kando.app.branches import Branch
    from kando.app.cache import CacheUse
    from kando.app.claims import RunClaim
    from kando.app.conversations import Conversation
    from kando.app.export import ExportResult
    from kando.app.inbox import Delivery
    from kando.app.kits.settings import KitSettings
    from kando.app.providers import Provider
    from kando.app.replay import ReplayResult
    from kando.app.resume import RunResult
    from kando.app.status import RunStatus
    from kando.app.store import Store
    from kando.app.tool_servers import GivenServers
    from kando.app.trace import Trace
    from kando.app.workspace import FileChange
    from kando.branch.comparison import LedgerDiff
    from kando.branch.fork import BranchMeta
    from kando.kit import Kit
    from kando.ledger.verification import Verdict
    from kando.responders.budget import Budget
    from kando.schema.events import RecordedEvent
    from kando.schema.trees import Tree
    from kando.views.metrics import RunMetrics
    from kando.views.progress import Follower, Progress
    from kando.views.questions import Question
    from kando.world.graph import Relation, World, WorldObject

__all__ = ["Run"]


@attrs.define
class Run:
    """A run or branch of a store.

    Each call reads the ledger as it is then, so a run that other threads or processes work on can be
    followed. Any thread may call any method; one thread at a time works on a run.
    Where a method takes ``at``, it means the run after its first `at` events: all of them if None.
    Such a method raises PositionOutOfRange if the run is shorter.

    Attributes:
        id: of the run or branch.
        result: of the work that this object did last: its status, the provider that answered, the
            input files that could not be read. None if it did none.
    """

    id: str
    result: RunResult | None = attrs.field(default=None, eq=False, repr=False)
    _context: Context = attrs.field(kw_only=True, eq=False, repr=False)

    @property
    def store(self) -> Store:
        """The store that holds the run."""
        from kando.app.store import Store

        return Store(self._context)

    @property
    def source(self) -> str:
        """Identity of the ledger: ``run:{id}`` or ``branch:{id}``."""
        return self._opened().ledger.stream_name()

    def status(self, *, at: int | None = None) -> RunStatus:
        """Return the state of the run, and what it has done and used.

        Args:
            at: see `Run`. The state after the first events is that of the ledger alone: no process
                worked on it then, and no message waited.
        """
        from kando.app.status import status_at, status_of

        return status_of(self._opened()) if at is None else status_at(*self._opened_at(at))

    def progress(self, follower: Follower | None = None) -> Progress:
        """Return a few numbers of the run's status, for those who wait for the run.

        Args:
            follower: keeps what was read: a later call with it reads only the events since then.
        """
        from kando.app.status import progress_of_run
        from kando.views.progress import Follower

        return progress_of_run(self._opened(), follower or Follower())

    def events(self, from_position: int = 0, *, at: int | None = None) -> Iterator[RecordedEvent]:
        """Return the events of the run, from a position on.

        Raises:
            PositionOutOfRange: the run is shorter.
        """
        from kando.app.inspect import read_events

        run, end = self._opened_at(at)
        return read_events(run, end, start=from_position)

    def follow(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        """Return the events recorded so far from a position on; any position is allowed.

        Call it again with the position after the last event to get those recorded since then.
        """
        return self._opened().ledger.read(from_position)

    def event(self, event_id: str, *, at: int | None = None) -> RecordedEvent:
        """Return one event of the run.

        Raises:
            EventNotFound: the run has no such event.
        """
        from kando.app.inspect import event_of

        return event_of(*self._opened_at(at), event_id)

    def head(self, *, at: int | None = None) -> str:
        """Return the hash of the run's events, in hexadecimal: it differs if any of them does."""
        run, end = self._opened_at(at)
        return run.ledger.digest(end).hex()

    def world(self, *, at: int | None = None) -> World:
        """Return the world of the run."""
        from kando.app.inspect import world_at

        return world_at(*self._opened_at(at))

    def object(self, id: str, *, at: int | None = None) -> WorldObject:
        """Return one object of the run.

        Raises:
            ObjectNotFound: the run has no such object.
        """
        from kando.app.inspect import object_at

        return object_at(*self._opened_at(at), id)

    def relation(self, id: str, *, at: int | None = None) -> Relation:
        """Return one relation of the run.

        Raises:
            ObjectNotFound: the run has no such relation.
        """
        from kando.app.inspect import relation_at

        return relation_at(*self._opened_at(at), id)

    def conversations(self, *, at: int | None = None) -> list[Conversation]:
        """Return the conversations with models, in the order in which they began."""
        from kando.app.conversations import conversations_in
        from kando.app.inspect import read_events

        return conversations_in(read_events(*self._opened_at(at)))

    def length(self) -> int:
        """Return how many events the run has, including those that a branch shares."""
        return self._opened().ledger.length()

    def metrics(self, *, at: int | None = None) -> RunMetrics:
        """Return what the run has done and used, by event type, model and responder."""
        from kando.app.metrics import metrics_of

        return metrics_of(*self._opened_at(at))

    def trace(
        self,
        event_or_object_id: str,
        *,
        at: int | None = None,
        down: bool = False,
        depth: int | None = None,
        with_bookkeeping: bool = False,
    ) -> Trace:
        """Return why an event exists, or what followed from it.

        Args:
            event_or_object_id: an event, or an object or relation, which stands for the event that
                created it.
            at: see `Run`.
            down: return what followed instead of the way to the roots.
            depth: how many links to follow at most; all if None.
            with_bookkeeping: with `down`: follow the runtime's bookkeeping as well.

        Raises:
            EventNotFound: the run has no such event, object or relation.
        """
        from kando.app.trace import trace_event

        run, end = self._opened_at(at)
        return trace_event(
            run,
            event_or_object_id,
            end,
            is_down=down,
            depth=depth,
            with_bookkeeping=with_bookkeeping,
        )

    def diff(self, other: Run, *, at: int | None = None, other_at: int | None = None) -> LedgerDiff:
        """Compare this run with another, usually a branch: worlds, steps and costs."""
        from kando.app.compare import compare_runs

        return compare_runs(*self._opened_at(at), *other._opened_at(other_at))

    def diff_files(
        self, other: Run, *, at: int | None = None, other_at: int | None = None
    ) -> list[FileChange]:
        """Return the files that differ between the workspaces of this run and another."""
        from kando.app.workspace import diff_files

        return diff_files(*self._opened_at(at), *other._opened_at(other_at))

    def files(self, *, at: int | None = None) -> Tree:
        """Return the files in the workspace of the run; none if it has used no workspace."""
        from kando.app.workspace import files_of

        return files_of(*self._opened_at(at))

    def file(self, path: str, *, at: int | None = None) -> bytes:
        """Return the content of a file in the workspace of the run.

        Raises:
            NotFoundError: the workspace has no such file.
        """
        from kando.app.workspace import file_of

        return file_of(*self._opened_at(at), path)

    def write_files(self, folder: str | Path, *, at: int | None = None) -> Tree:
        """Write the files in the workspace of the run into a new or empty folder.

        Raises:
            ConfigurationError: the folder is not empty.
            StoreError: it cannot be written.
        """
        from kando.app.workspace import write_files

        return write_files(*self._opened_at(at), Path(folder))

    def artifacts(self, *, at: int | None = None) -> list[Artifact]:
        """Return the texts that the run has written for its reader, such as a report."""
        from kando.app.artifacts import artifacts_in

        return artifacts_in(self.world(at=at))

    def artifact(self, name: str | None = None, *, at: int | None = None) -> Artifact:
        """Return one artifact: the newest of that name, or the only one.

        Raises:
            NotFoundError: the run has no such artifact, or several and no name was given.
        """
        from kando.app.artifacts import artifact_named

        return artifact_named(self.world(at=at), name, run=self.id)

    def children(self) -> list[Run]:
        """Return the child runs that the run waits for, with theirs; those that have begun."""
        from kando.app.children import waiting_children

        return [Run(each.id, context=self._context) for each in waiting_children(self._opened())]

    def branches(self) -> list[Branch]:
        """Return the run that this one descends from, and all its branches and child runs, as a tree."""
        from kando.app.branches import branches_of

        return branches_of(self._opened())

    def branch_meta(self) -> BranchMeta | None:
        """Return which run this branch was forked from, and where; None for a run."""
        from kando.branch.fork import BranchMeta

        run = self._opened()
        if run.is_demo_run:
            return None
        info = self._context.substrate().info(run.id)
        if info.parent_id is None or info.fork_position is None:
            return None
        return BranchMeta(run.id, info.parent_id, info.fork_position)

    def cache(self) -> CacheUse:
        """Return the cache hits and misses of the run, with their cost."""
        from kando.app.cache import cache_use

        return cache_use(self._opened())

    def replay(self, *, strict: bool = False, kit: str | Kit | None = None) -> ReplayResult:
        """Rebuild the run's world, or re-fire its responders and compare every event.

        Args:
            strict: re-fire, with recorded results of calls.
            kit: the kit to replay with, or its name; the run's kits if None.

        Raises:
            NoRootError: the ledger has no root event.
            ReplayDivergence: in a strict replay, an event differs from the recorded one.
        """
        from kando.app.replay import replay_run

        return replay_run(self._opened(), strict=strict, kit=kit)

    def verify(self) -> Verdict:
        """Recompute the hash chain, and compare the snapshot with the ledger."""
        from kando.app.verify import verify_run

        return verify_run(self._opened())

    def export(
        self,
        file: str | Path | BinaryIO,
        *,
        format: str | None = None,
        at: int | None = None,
        with_children: bool = True,
    ) -> ExportResult:
        """Write the run to a file, as a whole or not at all; or to an open stream.

        Args:
            file: to write; where it is a link, the file that it leads to. An existing file is
                replaced.
            format: ``jsonl``, which can be imported, ``cloudevents``, ``dot``, ``mermaid``, ``svg``, or
                one that a plugin offers, such as ``html``; that of the file's extension if None, and
                ``jsonl`` if it has none.
            at: see `Run`.
            with_children: whether a file that can be imported also has the child runs, each whole.

        Raises:
            ConfigurationError: the format is unknown, or several plugins claim the extension.
            StoreDamaged: the ledger contradicts its hash chain.
            StoreError: the file cannot be written.
        """
        from kando.app.export import export_run

        return export_run(*self._opened_at(at), file, format, with_children=with_children)

    def resume(
        self,
        *,
        kit: str | Kit | None = None,
        llm: str | Provider | None = None,
        budget: Budget | None = None,
        forgets_limits: bool = False,
        at_most: Budget | None = None,
        wait: bool = False,
        take_over: bool = False,
        mcp: GivenServers | None = None,
        claim: RunClaim | None = None,
        on_started: Callable[[str], None] = lambda run_id: None,
    ) -> RunResult:
        """Resume the run from wherever it stopped, and work until no work is left.

        Args:
            kit: the kit, or its name; the run's kit if None.
            llm: ``provider`` or ``provider:argument``, or an open provider, which stays open; if
                None, the script of the run's demo, or the provider that the environment configures.
            budget: limits of the run. Each replaces the one that the ledger remembers; those that
                are not set stay as they were.
            forgets_limits: whether the run keeps only the limits in `budget`.
            at_most: limits of this process, which the ledger does not remember: they never lift
                one.
            wait: stay while the run waits for a timer or a message, and record events that are sent
                to it.
            take_over: resume the run even if another process works on it, which then stops.
            mcp: MCP servers of the run, by name: a command or a URL. One that the run does not have
                yet is added to it.
            claim: of the caller on the run, which it keeps; if None, the run is claimed during the
                work.
            on_started: called with the run's id before the work begins.

        Raises:
            RunCancelled: the run was cancelled.
            RunBusy: another thread or process works on the run, or has taken it over.
            ConfigurationError: the run has no kit, and `kit` is None.
            Exception: the error of a responder; the run can be resumed.
        """
        from kando.app.resume import resume_run

        self.result = resume_run(
            self._opened(read_only=False),
            kit=self._context.remember(kit),
            llm=llm,
            budget=budget,
            forgets_limits=forgets_limits,
            at_most=at_most,
            wait=wait,
            take_over=take_over,
            mcp=mcp,
            claim=claim,
            on_started=on_started,
        )
        return self.result

    aresume = in_thread(resume)

    def offer(self, group: str, *, llm: str | None = None, budget: Budget | None = None) -> None:
        """Have the workers of a group resume the run, paused or not.

        Args:
            group: name of the group.
            llm: ``provider`` or ``provider:argument`` that answers from now on, which the ledger
                keeps; None for the one that the run has.
            budget: limits of the run. Each replaces the one that the ledger remembers.

        Raises:
            RunCancelled: the run was cancelled.
            RunBusy: the run is paused or is to change, and another process works on it.
            UnknownPlugin: no such provider is installed.
            ConfigurationError: the group's name is malformed, or `llm` contains a password.
        """
        from kando.app.resume import offer_run

        offer_run(self._opened(read_only=False), group, llm=llm, budget=budget)

    def fork(
        self,
        *,
        at: int | None = None,
        before: str | None = None,
        patches: Sequence[tuple[str, Mapping[str, Any]]] = (),
        events: Sequence[Mapping[str, Any]] = (),
        goal: str | None = None,
        model: str | None = None,
        llm: str | None = None,
        kit: str | Kit | None = None,
        fresh: bool = False,
        allow_writes: bool = False,
        budget: Budget | None = None,
        settings: KitSettings | None = None,
        labels: Mapping[str, str | None] | None = None,
        actor: str = "cli",
    ) -> Run:
        """Fork the run, with or without changes; no event is copied, and no model or tool is called.

        Args:
            at: number of events that the branch shares.
            before: id of the first event that the branch does not share, or its address ``RUN@N``;
                instead of `at`.
            patches: for each object its id, and the fields to set by name.
            events: each with ``type``, and optionally ``data`` and ``cause``.
            goal: goal for which the kit makes seeds, in addition to the shared events.
            model: of all requests of the branch, regardless of the model that they name.
            llm: ``provider`` or ``provider:argument`` that answers these requests.
            kit: the kit of the branch, or its name; the run's kit if None.
            fresh: whether the branch ignores answers that were cached before the fork.
            allow_writes: whether the branch calls tools that write (`Kit.tool`) without asking a
                person; it never repeats a call that its parent made.
            budget: limits of the branch; where none is set, it has those of the run there.
            settings: of the kit, to change: by name, or an instance of its class.
            labels: of the branch, to change: values by name; None removes a label.
            actor: of the fork.

        Raises:
            PositionOutOfRange: `at` and `before` are missing, or the run is shorter.
            EventNotFound: the run has no event `before`.
            UnknownPlugin: no such kit or provider is installed.
            RefusedEvent: a change cannot be recorded, such as a patch of an unknown object.
            InvalidData: a label is malformed.
            ConfigurationError: `at` and `before` are both given, or no kit can make seeds for the
                goal.
        """
        from kando.app.fork import fork_run

        meta = fork_run(
            self._opened(read_only=False),
            at,
            before=before,
            patches=patches,
            events=events,
            goal=goal,
            model=model,
            llm=llm,
            kit=self._context.remember(kit),
            fresh=fresh,
            allow_writes=allow_writes,
            budget=budget,
            settings=settings,
            labels=labels,
            actor=actor,
        )
        return Run(meta.branch_id, context=self._context)

    def send(
        self,
        type: str,
        data: dict[str, Any] | None = None,
        *,
        cause: list[str] | None = None,
        key: str | None = None,
        actor: str = "cli",
    ) -> Delivery:
        """Put an event into the run's inbox; the process that works on the run records it.

        Args:
            type: of the event.
            data: a JSON object.
            cause: ids of events of the run that it follows from.
            key: idempotency key: a second event with the same key is ignored; a new one if None.
            actor: that sends it.

        Raises:
            InvalidData: type or key are reserved for the runtime, or the data is not JSON.
        """
        from kando.app.send import send_event

        run = self._opened(read_only=False)
        return send_event(run, type, data or {}, cause=cause, key=key, actor=actor)

    def say(
        self,
        text: str,
        *,
        attachments: Sequence[Any] = (),
        about: str | None = None,
        key: str | None = None,
        actor: str = "cli",
    ) -> Delivery:
        """Continue a conversation of the run; the process that works on the run asks the model.

        Args:
            text: of the message.
            attachments: images and files that follow the text, as `kando.image` and `kando.file`
                return them.
            about: id of the object of the conversation; the kit's first conversation if None.
            key: idempotency key: a second message with the same key is ignored; a new one if None.
            actor: that sends it.

        Raises:
            InvalidData: the text is empty, the key is reserved, or an attachment is malformed.
            ObjectNotFound: the run has no such object.
        """
        from kando.app.send import say

        run = self._opened(read_only=False)
        return say(run, text, attachments=attachments, about=about, key=key, actor=actor)

    def answer(
        self,
        request_id: str,
        *,
        text: str | None = None,
        data: Any = attrs.NOTHING,
        result: Any = attrs.NOTHING,
        error: str | None = None,
        by: str = "cli",
    ) -> Delivery:
        """Answer an open request by hand, instead of a model or a tool.

        The answer is put into the run's inbox. It settles the request: the model is not asked, the
        tool does not run, and no approval of the call waits any more. It is not charged, and no cache
        keeps it.

        Args:
            request_id: id of an ``llm.request`` or a ``tool.called`` without an answer. To a
                question use `reply`.
            text: the answer to an ``llm.request``; JSON if the request has an ``output_schema``.
            data: the answer to an ``llm.request`` that has an ``output_schema``, as JSON.
            result: the result of a ``tool.called``, as JSON.
            error: reason why the request fails, for a request of either type.
            by: the actor of the recorded answer.

        Raises:
            EventNotFound: the run has no such event.
            RunCancelled: the run was cancelled.
            InvalidData: the event is not a request, is answered already, or the answer does not fit
                it.
            PayloadTooLarge: the answer is too large for an event.
            ConfigurationError: not exactly one of the four answers is given.
        """
        from kando.app.answer import answer_request

        return answer_request(
            self._opened(read_only=False),
            request_id,
            text=text,
            data=data,
            result=result,
            error=error,
            by=by,
        )

    def undo(self, event_id: str, *, by: str = "cli", kit: str | Kit | None = None) -> Delivery:
        """Have the run take back a call of a tool, by the tool that its ``undo`` names.

        The call of that tool is put into the run's inbox; the process that works on the run makes
        it, if the policies of the kit allow it.

        Args:
            event_id: id of a ``tool.called``, or of its ``tool.returned``.
            by: the actor of the recorded call.
            kit: that works on the run, if neither a plugin nor the store offers it.

        Raises:
            EventNotFound: the run has no such event.
            InvalidData: the event is not a call, the call has no result, its tool has no undo, it
                was undone already, or the run did not make it.
            ConfigurationError: the run has no kit.
        """
        from kando.app.undo import undo_call

        self._offer(kit)
        return undo_call(self._opened(read_only=False), event_id, by=by)

    def pause(self) -> Delivery:
        """Pause the run after its current firing; it can be resumed."""
        from kando.app.send import pause_run

        return pause_run(self._opened(read_only=False))

    def cancel(self) -> Delivery:
        """Stop the run for good after its current firing; it can be forked, but not resumed."""
        from kando.app.send import cancel_run

        return cancel_run(self._opened(read_only=False))

    def delete(self, *, unless_spent_today: bool = False) -> list[str]:
        """Delete the run and the child runs that it started, for good; see `Store.delete`."""
        from kando.app.delete import delete_run

        return delete_run(self._opened(read_only=False), unless_spent_today=unless_spent_today)

    def label(self, changes: Mapping[str, str | None], *, actor: str = "cli") -> Delivery:
        """Change labels of the run, by which it can be found; its state stays what it is.

        The process that works on the run records the change. If none does, it is recorded at once:
        a finished run stays finished, and neither its kit nor a provider is needed.

        Args:
            changes: the new values by name; None removes a label. A name has 1 to 63 characters of
                ``a-z 0-9 . _ - /`` and starts with a letter; a value has at most 200 characters,
                none of them a control character. A run has at most 32 labels.
            actor: who changes them.

        Raises:
            InvalidData: there are no changes, a name or a value is malformed, or the run would have
                too many labels.
        """
        from kando.app.label import label_run

        return label_run(self._opened(read_only=False), changes, actor=actor)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the run: values by name."""
        return dict(self._opened().labels)

    def park(
        self,
        event_id: str,
        responder: str,
        *,
        reason: str | None = None,
        by: str = "cli",
        kit: str | Kit | None = None,
    ) -> Delivery:
        """Have the run step over a firing that it cannot get past.

        All other responders handle the event as before. If the responder is the executor of a
        request, the request is closed without an answer.

        Args:
            event_id: id of the event that is handled.
            responder: name of the responder that is to be stepped over.
            reason: why; `RunStatus.parked_reasons` holds it.
            by: who parks the firing.
            kit: that works on the run, if neither a plugin nor the store offers it.

        Raises:
            EventNotFound: the run has no such event.
            NotFoundError: no such responder handles the event.
            InvalidData: the firing is not pending: it is done, parked, or waits for a person.
            RunCancelled: the run was cancelled.
            ConfigurationError: the run has no kit.
        """
        from kando.app.park import park_firing

        self._offer(kit)
        run = self._opened(read_only=False)
        return park_firing(run, event_id, responder, reason=reason, by=by)

    def questions(self, *, at: int | None = None) -> list[Question]:
        """Return the questions to people that wait for a reply, in order."""
        run, end = self._opened_at(at)
        return [*run.status_fold(end).questions.values()]

    def reply(self, question_id: str, answer: Any, *, by: str = "cli") -> Delivery:
        """Reply to a question that the run asks a person.

        The reply is put into the run's inbox; the process that works on the run records it.

        Args:
            question_id: id of a ``person.asked`` without a reply, of the run or of a child run that it
                waits for.
            answer: JSON that matches the schema of the question, also as text; text if it has none.
            by: the actor of the recorded reply.

        Raises:
            EventNotFound: the run has no such event.
            RunCancelled: the run was cancelled.
            InvalidData: the event is not a question, has a reply already, or the answer does not
                match its schema.
            PayloadTooLarge: the answer is too large for an event.
        """
        from kando.app.answer import answer_request

        return answer_request(self._asking(question_id), question_id, reply=answer, by=by)

    def approvals(self, *, at: int | None = None, decided: bool = False) -> list[Approval]:
        """Return the pending approvals, in the order of their requests.

        Args:
            at: see `Run`.
            decided: whether to return those that wait no more as well, with the decisions.
        """
        from kando.app.approvals import approvals_of

        return approvals_of(*self._opened_at(at), decided=decided)

    def approve(
        self,
        event_id: str,
        arguments: dict[str, Any] | None = None,
        *,
        by: str = "cli",
        kit: str | Kit | None = None,
    ) -> Delivery:
        """Grant a pending approval.

        Args:
            event_id: id of the ``approval.requested``, of the call that waits, or of an object that
                is held back; of an event of a child run that the run waits for, too.
            arguments: all arguments that a tool is called with, instead of those that were asked
                for; they are checked first.
            by: the actor of the recorded decision.
            kit: that works on the run, if neither a plugin nor the store offers it.

        Raises:
            EventNotFound: no approval is pending under this id.
            InvalidData: its deadline has passed, or the call cannot be made with these arguments.
            UnknownPlugin: the arguments cannot be checked: the kit of the run is not installed.
        """
        from kando.app.approvals import answer_approval

        self._offer(kit)
        run = self._asking(event_id)
        return answer_approval(run, event_id, True, arguments=arguments, by=by)

    def deny(self, event_id: str, *, reason: str | None = None, by: str = "cli") -> Delivery:
        """Deny a pending approval.

        Args:
            event_id: as for `approve`.
            reason: the responder that asked receives it.
            by: the actor of the recorded decision.

        Raises:
            EventNotFound: no approval is pending under this id.
            InvalidData: its deadline has passed.
        """
        from kando.app.approvals import answer_approval

        return answer_approval(self._asking(event_id), event_id, False, reason, by=by)

    def _offer(self, kit: str | Kit | None) -> None:
        """Find a kit from now on under its name; one that is given by its name must be installed."""
        self._context.remember(self._context.kit(kit) if isinstance(kit, str) else kit)

    def _asking(self, event_id: str) -> OpenedRun:
        from kando.app.children import asking_run

        return asking_run(self._opened(read_only=False), event_id)

    def _opened(self, *, read_only: bool = True) -> OpenedRun:
        return open_run(self._context, self.id, read_only=read_only)

    def _opened_at(self, at: int | None) -> tuple[OpenedRun, int]:
        return open_address(self._context, self.id, at)
