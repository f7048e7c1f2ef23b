"""Follow runs as they happen: one reader of each ledger serves all clients that follow it.

A reader keeps the last events. A client that is slower than that reads the ledger by itself, so it
holds up no other, and nothing is kept for it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from itertools import islice
from typing import Any

import anyio.to_thread
import attrs

from kando.app.run import Run
from kando.app.shapes import event_dict, status_dict
from kando.app.store import Store
from kando.errors import (
    KandoError,
    LedgerDeleted,
    LedgerNotFound,
    PositionOutOfRange,
    StoreError,
)
from kando_inspector.clients import Clients
from kando_inspector.encoding import encoded
from kando_inspector.following_runs import RunsReader
from kando_inspector.problems import problem_body, problem_of
from kando_inspector.texts import Piece, Texts

__all__ = ["Following", "Sent"]

#: The fields of a server-sent event.
Sent = dict[str, Any]

_POLL_SECONDS = 0.2
# A state may change without an event: a process dies, or a message arrives.
_STATE_SECONDS = 1.0
# Events that are read at once.
_PAGE = 500
# Events, and bytes of them, that a reader keeps for clients.
_KEPT, _KEPT_BYTES = 2_000, 16_000_000


class Following:
    """The runs that clients follow. Used in the thread of the event loop, unless noted.

    Args:
        store: of the runs.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._readers: dict[str, _Reader] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.texts = Texts()
        self.is_ending = False
        self._runs = RunsReader(store, lambda: self.is_ending)

    async def events(self, run_id: str, after: int) -> AsyncIterator[Sent]:
        """Yield the events of a run, its states, and the texts of answers as they stream in.

        Args:
            run_id: of the run or branch.
            after: position of the last event that the client knows; -1 for none.
        """
        self._loop = asyncio.get_running_loop()
        reader = self._readers.get(run_id)
        if reader is None:
            reader = self._readers[run_id] = _Reader(self, self._store, run_id)
        reader.clients.enter(reader.read)
        try:
            async for sent in reader.sent(after + 1):
                yield sent
        finally:
            if reader.clients.leave():
                self._readers.pop(run_id, None)

    async def runs(self, after: int) -> AsyncIterator[Sent]:
        """Yield the states of all runs as they change.

        Args:
            after: id of the last state that the client knows; -1 for changes from now on.
        """
        self._loop = asyncio.get_running_loop()
        self._runs.clients.enter(self._runs.read)
        try:
            async for sent in self._runs.sent(after):
                yield sent
        finally:
            self._runs.clients.leave()

    def add_text(self, piece: Piece) -> None:
        """Show a piece of an answer that streams in. Any thread may call this."""
        self._in_loop(lambda: self._add(piece))

    def end(self) -> None:
        """End all streams. Any thread, and a signal handler, may call this."""
        self.is_ending = True
        self._in_loop(self._wake)

    def _in_loop(self, action: Callable[[], None]) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(action)

    def _add(self, piece: Piece) -> None:
        self.texts.add(piece)
        reader = self._readers.get(piece.run_id)
        if reader is not None:
            reader.add_text(piece)

    def _wake(self) -> None:
        for reader in self._readers.values():
            reader.clients.wake()
        self._runs.clients.wake()


@attrs.frozen
class _News:
    """The news of a ledger since its reader looked last.

    Attributes:
        events: their positions, and their JSON.
        state: JSON of the state of the run; None if it was not looked up.
    """

    events: list[tuple[int, str]]
    state: str | None = None


class _Reader:
    """The reader of one ledger, for all clients that follow it."""

    def __init__(self, following: Following, store: Store, run_id: str) -> None:
        self._following, self._store, self._run_id = following, store, run_id
        self.clients = Clients()
        # The next position to read; None until the length of the ledger is known.
        self._next: int | None = None
        # Hash of the events before it.
        self._head = ""
        self._kept: deque[tuple[int, str]] = deque()
        self._bytes = 0
        self._state, self._states, self._looked_at = "", 0, 0.0
        self._texts: deque[Piece] = deque(maxlen=1_000)
        self._count = 0
        self._error: KandoError | None = None

    def add_text(self, piece: Piece) -> None:
        """Show a piece of an answer to all clients."""
        self._texts.append(piece)
        self._count += 1
        self.clients.wake()

    async def sent(self, position: int) -> AsyncIterator[Sent]:
        """Yield what one client is sent, from the event at a position on."""
        states = 0
        count = self._count
        for begun in self._following.texts.of_run(self._run_id):
            yield _sent_text(begun)
        while True:
            changed = self.clients.changed
            if self._error is None and self._next is not None and position < self._next:
                try:
                    page = await self._page(position)
                except LedgerNotFound as error:
                    # It was deleted, which the reader has not seen yet.
                    self._error = error
                    page = []
                for number, text in page:
                    yield {"event": "event", "id": str(number), "data": text}
                    position = number + 1
                continue
            if states != self._states:
                states = self._states
                yield {"event": "status", "data": self._state}
                continue
            missed = self._count - count
            count = self._count
            for piece in list(self._texts)[-missed:] if missed else ():
                yield _sent_text(piece)
            if self._error is not None:
                problem = problem_body(problem_of(self._error))
                yield {"event": "problem", "data": encoded(problem).decode()}
                return
            if self._following.is_ending:
                return
            await self.clients.wait(changed)

    async def _page(self, position: int) -> list[tuple[int, str]]:
        """Return the next events from a position on: from memory if they are kept, or from the ledger."""
        if self._kept and position >= self._kept[0][0]:
            skipped = position - self._kept[0][0]
            return list(islice(self._kept, skipped, skipped + _PAGE))
        return await anyio.to_thread.run_sync(self._read_events, position)

    async def read(self) -> None:
        """Read until the server ends; the clients start and end this."""
        while not self._following.is_ending:
            try:
                news = await anyio.to_thread.run_sync(self._news)
            except StoreError:
                # The next attempt may succeed.
                news = _News([])
            except KandoError as error:
                self._error = error
                self.clients.wake()
                return
            self._apply(news)
            if len(news.events) < _PAGE:
                await asyncio.sleep(_POLL_SECONDS)

    def _apply(self, news: _News) -> None:
        for position, text in news.events:
            self._kept.append((position, text))
            self._bytes += len(text)
            self._next = position + 1
        while len(self._kept) > _KEPT or (self._bytes > _KEPT_BYTES and len(self._kept) > 1):
            self._bytes -= len(self._kept.popleft()[1])
        is_new = news.state is not None and news.state != self._state
        if is_new and news.state is not None:
            self._state, self._states = news.state, self._states + 1
        if news.events or is_new:
            self.clients.wake()

    def _news(self) -> _News:
        """Return the news of the ledger; in a thread."""
        run = self._store.run(self._run_id)
        if self._next is None:
            # Clients read the events before by themselves.
            self._next = run.length()
            self._head = run.head(at=self._next)
        new, now = run.length() - self._next, time.monotonic()
        if new <= 0 and now - self._looked_at < _STATE_SECONDS:
            return _News([])
        state = None
        if new < _PAGE:
            # Before the events: a client gets those that have led to a state before it.
            self._looked_at, state = now, encoded(status_dict(run.status())).decode()
        events = self._read_events(self._next)
        self._require_same(run, self._next)
        if events:
            self._head = run.head(at=events[-1][0] + 1)
        return _News(events, state if len(events) < _PAGE else None)

    def _require_same(self, run: Run, position: int) -> None:
        """Check that the events that clients know are those of the run.

        Raises:
            LedgerDeleted: the run was deleted, and one with the same id was imported.
        """
        with suppress(PositionOutOfRange):
            if run.head(at=position) == self._head:
                return
        msg = f"{self._run_id} was deleted, and another run was imported under its id."
        raise LedgerDeleted(msg, hint="Read it from its first event.")

    def _read_events(self, position: int) -> list[tuple[int, str]]:
        found = islice(self._store.run(self._run_id).follow(position), _PAGE)
        return [(each.position, encoded(event_dict(each)).decode()) for each in found]


def _sent_text(piece: Piece) -> Sent:
    data = {"request_id": piece.request_id, "text": piece.text, "is_first": piece.is_first}
    return {"event": "text", "data": encoded(data).decode()}
