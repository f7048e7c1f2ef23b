"""The work on a run in a thread, while a person is shown what happens."""

from __future__ import annotations

import threading

import attrs

from kando.app.providers import Provider
from kando.app.run import Run
from kando.app.status import RunStatus
from kando.kit import Kit
from kando.responders.budget import Budget

__all__ = ["Worker"]


@attrs.define(eq=False)
class Worker:
    """Works on a run in a thread, until the run does not continue by itself.

    Attributes:
        status: of the run, at the end.
        error: that ended the work.
        is_paused: whether a pause of the run was requested.
    """

    _run: Run
    _kit: Kit
    _provider: Provider | None
    _budget: Budget | None
    status: RunStatus | None = attrs.field(default=None, init=False)
    error: BaseException | None = attrs.field(default=None, init=False)
    is_paused: bool = attrs.field(default=False, init=False)
    thread: threading.Thread = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # A daemon: a call that hangs must not keep the process alive.
        self.thread = threading.Thread(target=self._work, name="kando-chat", daemon=True)
        self.thread.start()

    def pause(self) -> None:
        """Pause the run, unless the work has ended or was paused before."""
        if self.thread.is_alive() and not self.is_paused:
            self.is_paused = True
            self._run.pause()

    def _work(self) -> None:
        try:
            done = self._run.resume(kit=self._kit, llm=self._provider, budget=self._budget)
            self.status = done.status
        except BaseException as error:
            self.error = error
