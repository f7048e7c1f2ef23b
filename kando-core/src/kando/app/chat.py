"""A conversation with a run: the turns of a person are sent to it, and what it does comes back.

`kando chat` shows it on a terminal; other programs can use it in the same way. It keeps nothing of its
own: a turn is an event of the run, and all that is shown is read from the ledger, except the text of an
answer that is not recorded yet.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Self

from kando._closing import Closing
from kando.app.chat_worker import Worker
from kando.app.entries import messages_in
from kando.app.happenings import (
    AnswerStream,
    ApprovalAsked,
    Happening,
    HappeningReader,
    QuestionAsked,
    TurnEnded,
)
from kando.app.opened import open_run
from kando.app.providers import Provider
from kando.app.resume import opened_provider
from kando.app.run import Run
from kando.app.status import RunStatus
from kando.app.store import Store
from kando.app.tool_servers import GivenServers
from kando.errors import ConfigurationError
from kando.kit import Kit
from kando.responders.budget import Budget
from kando.schema.attachments import attachment
from kando.schema.events import HUMAN_MESSAGE, KIT_LOADED, RecordedEvent
from kando.settings import GRACE_SECONDS, value_of
from kando.views.approvals import Approval
from kando.views.progress import Follower
from kando.views.questions import Question

__all__ = ["Chat"]

_TICK_SECONDS = 0.05


class Chat(Closing):
    """A conversation with a run. Its methods are called by one thread; the run is worked on by another.

    Args:
        store: opened with ``listen=stream.listen``.
        run: of the store.
        stream: receives the text of answers; without it each answer comes in one piece.
        kit: the kit, or its name; the run's kit if None.
        llm: as for `Run.resume`.
        budget: limits of the run, as for `Run.resume`.
        idle: called again and again while the run works, with a number of seconds to wait at most.
            It may call `send` and `interrupt`.
        actor: of what the person does.

    Attributes:
        run: that the person talks with: the branch, after `fork` and `undo`.
    """

    def __init__(
        self,
        store: Store,
        run: Run,
        stream: AnswerStream | None = None,
        *,
        kit: str | Kit | None = None,
        llm: str | None = None,
        budget: Budget | None = None,
        idle: Callable[[float], object] = time.sleep,
        actor: str = "cli",
    ) -> None:
        self.run = run
        self._store, self._idle, self._actor = store, idle, actor
        self._stream = stream or AnswerStream()
        opened = open_run(store.context, run.id)
        self._kit = opened.require_kit(store.context.remember(kit))
        self._llm = llm or opened.chosen_llm()
        self._is_demo = opened.is_demo_of(self._kit)
        self._budget = budget
        self._about = _types_needed(self._kit)
        self._closers = ExitStack()
        self._provider: Provider | None = None
        self._is_open = False
        self._reader = HappeningReader(self._stream)
        self._worker: Worker | None = None
        self._left: list[Worker] = []
        self._is_interrupted = False
        self._restart_at: int | None = None
        self._attached: list[Mapping[str, Any]] = []
        self._turn_to(run)

    @classmethod
    def start(
        cls,
        store: Store,
        kit: str | Kit,
        goal: str,
        stream: AnswerStream | None = None,
        *,
        settings: Any = None,
        mcp: GivenServers | None = None,
        budget: Budget | None = None,
        **options: Any,
    ) -> Self:
        """Start a run whose goal is the first turn; `turn` then works on it.

        Args:
            store, stream, budget, options: as for `Chat`.
            kit, goal, settings, mcp: as for `Store.start`.

        Raises:
            Exception: as `Store.start` does.
        """
        run = store.start(kit, goal, settings=settings, mcp=mcp, budget=budget, work=False)
        return cls(store, run, stream, kit=kit, **options)

    def attach(self, path: str | os.PathLike[str]) -> Mapping[str, Any]:
        """Read an image, a PDF or another file, which is sent with the next turn, and return the part.

        Raises:
            InvalidData: the file cannot be read, or its media type is unknown.
            PayloadTooLarge: it is too large.
            ConfigurationError: the next turn is the goal of the run, which is text alone.
        """
        if self._restart_at is not None:
            msg = "The next turn is the goal of the run, which is text alone."
            raise ConfigurationError(msg, hint="Attach the file after it.")
        part: Mapping[str, Any] = attachment(path)
        self._attached.append(part)
        return part

    def send(self, text: str) -> None:
        """Send what the person says; the run records it, also while it works.

        The attached files are sent with it.

        Raises:
            ConfigurationError: the kit has no responder for it.
            InvalidData: the text is empty.
            PayloadTooLarge: it is too long for an event.
        """
        attached = [*self._attached]
        self.run.say(text, attachments=attached, about=self._subject(), actor=self._actor)
        self._attached.clear()

    def turn(self, text: str | None = None) -> Iterator[Happening]:
        """Yield what happens until the run does not continue without the person.

        An approval or a question is yielded when all other work is done. If it has been answered
        when the next item is asked for, the run continues.

        Args:
            text: that the person says; None to resume the run without a new turn.

        Raises:
            RunBusy, RunCancelled, Exception: as `Run.resume` does; the run can be resumed.
        """
        began, self._is_interrupted = time.monotonic(), False
        if text is not None and self._restart_at is not None:
            self._restart(self._restart_at, text)
            text = None
        cost = self.run.progress(self._follower).cost_usd
        if text is not None:
            self.send(text)
        while True:
            length = self.run.length()
            status = yield from self._work()
            if self._is_interrupted:
                break
            if self._has_mail():
                if self.run.length() == length:
                    # It reads nothing any more: it has reached a limit.
                    break
                continue
            yield from self._asked()
            if not self._has_mail():
                break
        spent = self.run.progress(self._follower).cost_usd - cost
        yield TurnEnded(
            status,
            max(spent, 0.0),
            time.monotonic() - began,
            self._is_interrupted,
            self._provider is not None,
        )

    def interrupt(self) -> None:
        """End the turn: the run pauses, and the next turn resumes it.

        Calls in flight are not stopped: what they return is recorded.
        """
        if self._worker is not None and not self._is_interrupted:
            self._is_interrupted = True
            self._worker.pause()

    def approve(self, approval: Approval, arguments: dict[str, Any] | None = None) -> None:
        """Grant an approval; see `Run.approve`."""
        self.run.approve(approval.event_id, arguments, by=self._actor)

    def deny(self, approval: Approval, reason: str | None = None) -> None:
        """Deny an approval; see `Run.deny`."""
        self.run.deny(approval.event_id, reason=reason, by=self._actor)

    def reply(self, question: Question, answer: str) -> None:
        """Reply to a question; see `Run.reply`."""
        self.run.reply(question.event_id, answer, by=self._actor)

    def said(self) -> list[str]:
        """Return the turns of the person so far."""
        return [str(each.data.get("text", "")) for each in self._turns()]

    def fork(self) -> Run:
        """Continue on a branch from here, and return it; the run before stays as it is."""
        branch = self.run.fork(at=self.run.length(), actor=self._actor)
        self._turn_to(branch)
        return branch

    def undo(self) -> str | None:
        """Continue on a branch from before the person's last turn; the run before stays as it is.

        The branch asks models anew, so that the same words may get another answer. If the turn was
        the goal of the run, the next turn becomes the goal of the branch, which is forked then.

        Returns:
            the text of the turn; None if the run has no turn to undo.
        """
        turns = self._turns()
        if not turns:
            return None
        last = turns[-1]
        if len(turns) == 1:
            # Before the seeds, of which it is one.
            events = self.run.follow()
            self._restart_at = next(e.position for e in events if e.type != KIT_LOADED)
        else:
            self._turn_to(self.run.fork(before=last.id, fresh=True, actor=self._actor))
        return str(last.data.get("text", ""))

    def _restart(self, at: int, goal: str) -> None:
        self._turn_to(self.run.fork(at=at, goal=goal, fresh=True, actor=self._actor))

    def close(self, seconds: float | None = None) -> None:
        """Pause the run if it is worked on, wait for its calls in flight, and close the provider.

        Args:
            seconds: how long to wait at most; ``KANDO_GRACE_SECONDS`` if None.
        """
        if seconds is None:
            seconds = value_of(GRACE_SECONDS, self._store.context.environ)
        self._leave()
        for worker in self._left:
            worker.pause()
            worker.thread.join(seconds)
        self._left.clear()
        self._closers.close()

    @property
    def is_working(self) -> bool:
        """Whether calls of a turn that was interrupted are still in flight."""
        return self._worker is not None and self._worker.thread.is_alive()

    def _turn_to(self, run: Run) -> None:
        self._leave()
        self.run, self._follower = run, Follower()
        self._restart_at = None
        self._reader.follow(run, run.length(), self._sources(run))

    def _sources(self, run: Run) -> set[str]:
        sources = {run.source}
        # A request that was open at the fork has the run that sent it as its source.
        while (meta := run.branch_meta()) is not None:
            run = self._store.run(meta.parent_run_id)
            sources.add(run.source)
        return sources

    def _leave(self) -> None:
        if self._worker is not None:
            self._left.append(self._worker)
        self._worker = None

    def _turns(self) -> list[RecordedEvent]:
        if self._restart_at is not None:
            return []
        return [each for each in self.run.follow() if each.type == HUMAN_MESSAGE]

    def _subject(self) -> str | None:
        """Return the id of the object that a turn is about, if the kit handles only turns about one.

        Raises:
            ConfigurationError: the kit has no responder for turns, or the run has no such object.
        """
        if self._about is None:
            return None
        if not self._about:
            msg = f"Kit {self._kit.name!r} has no responder for {HUMAN_MESSAGE}: it hears no turn."
            raise ConfigurationError(msg, hint="Declare one with kit.conversation().")
        world = self.run.world()
        found = [each for each in world.objects.values() if each.type in self._about]
        if not found:
            kinds = " or ".join(sorted(self._about))
            msg = f"The run has no object of type {kinds} that a turn can be about."
            raise ConfigurationError(
                msg, hint=f"Let the seeds of kit {self._kit.name!r} create one."
            )
        return found[-1].id

    def _runs(self) -> list[Run]:
        """Return the run, and the child runs that it waits for."""
        return [self.run, *self.run.children()]

    def _has_mail(self) -> bool:
        substrate = self._store.context.substrate()
        return any(messages_in(substrate, each.id) for each in self._runs())

    def _asked(self) -> Iterator[Happening]:
        for run in self._runs():
            for approval in run.approvals():
                yield ApprovalAsked(approval, *_subject_of(approval))
            for question in run.questions():
                yield QuestionAsked(question)

    def _open_provider(self) -> Provider | None:
        if not self._is_open:
            opened = opened_provider(self._store.context, self._kit, self._llm, self._is_demo)
            self._provider = self._closers.enter_context(opened)
            # Their servers stay open between the turns.
            self._closers.enter_context(self._store.context.tool_servers.in_use())
            self._is_open = True
        return self._provider

    def _work(self) -> Generator[Happening, None, RunStatus]:
        """Work on the run in another thread, yield what happens, and return the run's status."""
        if self._worker is not None:
            # Of a turn that was interrupted: it records what its calls return.
            yield from self._watch(self._worker)
        if self._is_interrupted:
            return self.run.status()
        self._worker = worker = Worker(self.run, self._kit, self._open_provider(), self._budget)
        self._budget = None
        yield from self._watch(worker)
        if self._worker is worker:
            return self.run.status()
        if worker.error is not None:
            raise worker.error
        return worker.status if worker.status is not None else self.run.status()

    def _watch(self, worker: Worker) -> Iterator[Happening]:
        """Yield what happens until a worker ends, or is seen to pause."""
        self._reader.is_paused = False
        was_paused = worker.is_paused
        while worker.thread.is_alive():
            yield from self._reader.news()
            if self._is_interrupted and (was_paused or self._reader.is_paused):
                return
            self._idle(_TICK_SECONDS)
        self._worker = None
        yield from self._reader.news()


def _types_needed(kit: Kit) -> set[str] | None:
    """Return the types of the objects that a kit wants turns to be about; None if it needs none."""
    hears = [each for each in kit.responders if not each.pattern or HUMAN_MESSAGE in each.pattern]
    types = {each.object_type for each in hears}
    return None if None in types else {each for each in types if each is not None}


def _subject_of(approval: Approval) -> tuple[str, Any]:
    """Return the tool and its arguments, or the type of the object that waits and its data."""
    if approval.intent is not None:
        return approval.tool or approval.type, approval.arguments
    held = approval.held[0]["data"] if approval.held else {}
    return str(held.get("type", approval.type)), held.get("data")
